"""A metric: numbers of a task, taken at every evaluation."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from rlgan.task import Metric


class Mine(Metric):
    """The largest weight of all players, and the share of those near zero.

    Args:
        below: a weight of at most this size counts as small, at least 0.
    """

    explained: ClassVar[Mapping[str, str]] = {
        "largest": "size of the largest weight",
        "small": "share of the weights that are nearly zero",
    }

    def __init__(self, below: float = 0.01) -> None:
        if not below >= 0:
            raise ValueError(f"below = {below}: must be at least 0, for example 0.01")
        self.below = below

    def check(self, task: Any) -> None:
        """Refuse, before the run, a task that cannot be measured."""
        if not hasattr(task, "learner"):
            raise ValueError("is for a task with players; leave it out")

    def __call__(self, task: Any) -> dict[str, float]:
        """Numbers by name; `largest` has the tag `my_name/largest`."""
        sizes = torch.cat([player.vector.theta.detach().abs() for player in task.learner.players.values()])
        return {"largest": float(sizes.max()), "small": float((sizes <= self.below).double().mean())}
