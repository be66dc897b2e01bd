"""What a task promises the loop, looked at before its first step where the task is not one of ours."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rlgan.optim.contract.calls import calling, foreign, refuse, shown
from rlgan.task.ring import Ring
from rlgan.task.seeding import kept_globals
from rlgan.task.task import Task

_PLAIN = (Tensor, Ring, int, float, str, bool, type(None))


def check_task(task: Task) -> None:
    """Refuse a task that cannot be stepped, measured or saved; it makes no step.

    Raises:
        ValueError: as ``task = Class: what is wrong; remedy``.
    """
    if not foreign(task):
        return
    best: object = getattr(task, "best", None)
    if not (isinstance(best, tuple) and len(best) == 2 and best[1] in ("min", "max")):
        remedy = 'say by which metric checkpoints are ranked: best = ("return/eval", "max")'
        raise refuse("task", task, f"best is {shown(best)}", remedy)
    if getattr(task, "settings", None) is None:
        raise refuse("task", task, "does not keep its settings", "write self.settings = settings into __init__")
    for name in ("advance", "metrics", "evaluate", "state_dict"):
        given = inspect.signature(getattr(task, name)).parameters.values()
        lacking = [one.name for one in given if one.default is one.empty and one.kind < one.VAR_POSITIONAL]
        if lacking:
            raise refuse("task", task, f"{name} wants {', '.join(lacking)}", f"define it as {name}(self)")
    with calling("task", task, "state_dict"):
        state: object = task.state_dict()
    _check_state(task, state, "state_dict")
    if not type(task).evaluate.__module__.startswith("rlgan."):
        with kept_globals(), calling("task", task, "evaluate"):
            found: object = task.evaluate()
        numbers(task, "evaluate", found)


def numbers(task: Task, method: str, found: Any) -> dict[str, float]:
    """What a task measured, as numbers by tag.

    Args:
        task: whose.
        method: of the task, which returned it.
        found: what that was.

    Raises:
        ValueError: it is no dict of numbers by tag; as ``task = Class: what is wrong; remedy``.
    """
    if not isinstance(found, Mapping):
        remedy = f'return a dict of numbers by tag: {{"{task.best[0]}": 0.0}}'
        raise refuse("task", task, f"{method} returned {shown(found)}", remedy)
    plain: dict[str, float] = {}
    for tag, value in found.items():
        if not isinstance(tag, str):
            raise refuse(
                "task", task, f"{method} returned the tag {shown(tag)}", 'tags are words, such as "loss/train"'
            )
        try:
            plain[tag] = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise refuse("task", task, f"{method} returned {shown(value)} for {tag}", "return one number") from None
    return plain


def _check_state(task: Task, state: Any, where: str) -> None:
    if where == "state_dict" and not isinstance(state, dict):
        raise refuse("task", task, f"state_dict returned {shown(state)}", "return a dict of all that a step depends on")
    if isinstance(state, dict | list | tuple):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            _check_state(task, value, f"{where}[{key!r}]")
    elif not isinstance(state, _PLAIN):
        remedy = "a checkpoint holds plain containers, numbers, words and tensors"
        raise refuse("task", task, f"{where} is {shown(state)}", remedy)
