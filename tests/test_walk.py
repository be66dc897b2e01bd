"""How many files one opens to follow a minibatch from the replay to the written parameters."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import rlgan
from rlgan.rl.trainer import Trainer
from rlgan.task.task import drive
from tests.small import TASKS, build

PACKAGE = Path(rlgan.__file__).parent
MOST = 17


def holds_tensors(value: Any, depth: int = 5) -> bool:
    if isinstance(value, torch.Tensor):
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return depth > 0 and any(holds_tensors(part, depth - 1) for part in parts)


def test_a_minibatch_is_followed_through_few_files() -> None:
    """Every file of which a function is handed a tensor or gives one, in one move of DDPG by Adam."""
    task = build(*TASKS["ddpg"])
    assert isinstance(task, Trainer)
    while task._moves < 2:
        task.advance()
    entered: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        file = Path(frame.f_code.co_filename)
        if event not in ("call", "return") or PACKAGE not in file.parents:
            return
        name = str(file.relative_to(PACKAGE))
        if name not in entered and holds_tensors(argument if event == "return" else dict(frame.f_locals)):
            entered.append(name)

    learn = task._learn(False)
    sys.setprofile(note)
    try:
        drive(learn, task.answer)
    finally:
        sys.setprofile(None)
    assert {"optim/play/game.py", "rl/agents/ddpg.py", "optim/step/method.py"} <= set(entered)
    assert len(entered) <= MOST, entered
