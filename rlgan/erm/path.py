"""The way of a model of few parameters, and of its averages."""

import torch
from torch import Tensor

from rlgan.optim import Player

LARGEST = 3
"""Parameters, at most, of a model whose way is kept."""


class Path:
    """Where theta and its averages have been, after every step.

    Args:
        model: the player.
        follows: whether its way is wanted; one of more than `LARGEST` parameters is not followed.
    """

    def __init__(self, model: Player, follows: bool) -> None:
        self._model = model
        self.follows = follows and model.vector.theta.numel() <= LARGEST
        self.names = ["theta", *(name or "average" for name in model.kept)]
        self._points: list[list[list[float]]] = []
        self.record()

    def record(self) -> None:
        """Add where they are now."""
        if self.follows:
            averages = [self._model.state["average"][kept.slot] for kept in self._model.kept.values()]
            self._points.append([at.tolist() for at in (self._model.vector.theta.detach(), *averages)])

    @property
    def points(self) -> Tensor:
        """All points so far, ``(steps + 1, 1 + averages, d)``, float64; ``(0, 1 + averages, d)`` if not followed."""
        if not self.follows:
            return torch.zeros(0, len(self.names), 0, dtype=torch.float64)
        return torch.tensor(self._points, dtype=torch.float64)

    def load(self, points: Tensor) -> None:
        """Go on from `points`."""
        self._points = points.tolist()
