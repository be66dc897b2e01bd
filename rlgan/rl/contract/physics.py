"""What a batched environment promises: the same physics for one state and for arrays, tried once for each class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rlgan.optim.contract.calls import calling, foreign, refuse, shown
from rlgan.rl.envs.batched import Arrays, BatchedEnv, Floats, of_one

_TRIED: set[type[BatchedEnv]] = set()


def check_declared(kind: type[BatchedEnv]) -> None:
    """Refuse a class that does not say all that one of its kind says.

    Raises:
        ValueError: as ``id = Class: what is wrong; remedy``.
    """
    for name, example in (
        ("one_observation", "spaces.Box(-np.inf, np.inf, (2,), np.float64)"),
        ("one_action", "spaces.Box(-1.0, 1.0, (1,), np.float32)"),
        ("width", "2, the numbers in a state"),
    ):
        if getattr(kind, name, None) is None:
            raise refuse("id", kind, f"does not say {name}", f"for example {name} = {example}")
    if lacking := [
        name for name in ("start", "advance", "observe") if getattr(kind, name) is getattr(BatchedEnv, name)
    ]:
        raise refuse("id", kind, f"does not say {', '.join(lacking)}", "write it")


def check_physics(env: BatchedEnv) -> None:
    """Try an environment that is not one of ours: one state by `Floats`, and three by `Arrays`.

    Raises:
        ValueError: as ``id = Class: what is wrong; remedy``.
    """
    boxes = isinstance(env.one_observation, spaces.Box) and isinstance(env.one_action, spaces.Box)
    if type(env) in _TRIED or not foreign(env) or not boxes:  # other spaces are refused by whoever wants boxes
        return
    _TRIED.add(type(env))

    def sized(method: str, given: object, size: int) -> list[Any]:
        found = list(given) if isinstance(given, Sequence | np.ndarray) else None
        if found is None or len(found) != size:
            said = shown(given) if found is None else f"{len(found)} numbers"
            raise refuse("id", env, f"{method} returned {said}", f"return {size}, as declared, a component each")
        return found

    with calling("id", env, "start"):
        first: object = env.start(np.random.default_rng(0))
    state = [float(value) for value in sized("start", first, env.width)]
    action = tuple(
        np.full(env.one_action.shape, 0.5, env.one_action.dtype).clip(env.one_action.low, env.one_action.high)
    )
    hint = "components may be arrays; write maths.where(condition, yes, no) for an if"
    results = []
    for maths, n in ((Floats, 0), (Arrays, 3)):
        now, push = (tuple(np.repeat(x, n) if n else x for x in whole) for whole in (state, action))
        with calling("id", env, "advance", hint if n else ""):
            given: object = env.advance(now, push, maths) if n else of_one(env.advance, now, push)
        if not (isinstance(given, tuple | list) and len(given) == 3):
            said = f"{len(given)} values" if isinstance(given, tuple | list) else shown(given)
            remedy = "return the next state, the reward, and whether the episode terminates"
            raise refuse("id", env, f"advance returned {said}", remedy)
        moved = sized("advance", given[0], env.width)
        with calling("id", env, "observe", hint if n else ""):
            # What it writes into, as a state of floats allows, is a copy.
            seen: object = env.observe(tuple(map(np.array, moved)), maths) if n else of_one(env.observe, moved)
        parts = [*moved, given[1], *sized("observe", seen, int(np.prod(env.one_observation.shape)))]
        with calling("id", env, "advance"):
            results.append([float(np.ravel(part)[0]) for part in parts])
    if not np.allclose(results[0], results[1], rtol=1e-5, atol=1e-8, equal_nan=True):
        raise refuse("id", env, "gives other numbers for arrays than for one state", "use the functions of maths alone")
