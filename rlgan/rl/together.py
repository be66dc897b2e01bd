"""Many seeds of an off-policy run as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rlgan.task.task import Asked, Together

if TYPE_CHECKING:
    pass


class Trainers(Together["Trainer"]):
    """Several `Trainer`s, their updates made as one."""

    order = ("collect", "learn", "evaluate")

    def learn(self, asked: Asked) -> Sequence[Any]:
        """`Trainer.learn` of many."""
        drawn = [
            None if own is None else [task._draw(sampler) for sampler in task._samplers]
            for task, own in zip(self.tasks, asked, strict=True)
        ]
        moved = self.move(
            [
                None if own is None or batches is None else (batches, *own)
                for own, batches in zip(asked, drawn, strict=True)
            ]
        )
        for task, own, batches, report in zip(self.tasks, asked, drawn, moved, strict=True):
            if own is not None and batches is not None and not isinstance(report, Exception):
                task.learnt(report, own[0], batches[-1].obs)
        return moved
