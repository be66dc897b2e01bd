"""Metrics H (preconditioners): what the gradient is divided by.

A metric keeps its state in vectors of the player, changes it with every gradient and applies H^-1. Numbers that change
from step to step (bias corrections) come in from outside as `s`, computed in Python doubles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Slots: TypeAlias = dict[str, Tensor]
Scalars: TypeAlias = Mapping[str, float | Tensor]


class Metric(ABC):
    """H, as state and as an operation."""

    def init(self, theta: Tensor) -> Slots:
        """The state before the first gradient, by slot name."""
        return {}

    def scalars(self, t: int) -> dict[str, float]:
        """The numbers that the `t`-th step (t = 1, 2, ...) needs."""
        return {}

    @abstractmethod
    def update(self, g: Tensor, state: Slots) -> Slots:
        """The state after the gradient `g` (d,)."""

    @abstractmethod
    def solve(self, m: Tensor, state: Slots, s: Scalars) -> Tensor:
        """H^-1 m (d,)."""


@dataclass(frozen=True)
class Identity(Metric):
    """H = I."""

    def update(self, g: Tensor, state: Slots) -> Slots:
        return {}

    def solve(self, m: Tensor, state: Slots, s: Scalars) -> Tensor:
        return m


@dataclass(frozen=True)
class RMS(Metric):
    """H = delta + sqrt(r / c_t) with r <- decay r + (1 - decay) g*g, elementwise.

    c_t = 1 - decay^t corrects the bias of starting at r = 0 (Adam), or c_t = 1 (RMSProp).

    Args:
        decay: weight of the old mean square, in [0, 1).
        delta: added to the root, positive; keeps 0/0 away.
        bias_correction: whether c_t is used.

    Raises:
        ValueError: if `decay` or `delta` is out of range.
    """

    decay: float
    delta: float
    bias_correction: bool

    def init(self, theta: Tensor) -> Slots:
        return {"mean_square": torch.zeros_like(theta)}

    def scalars(self, t: int) -> dict[str, float]:
        return {"metric_bias": (1 - self.decay**t) ** 0.5} if self.bias_correction else {}

    def update(self, g: Tensor, state: Slots) -> Slots:
        r = state["mean_square"]
        return {"mean_square": r * self.decay + (g * g) * (1 - self.decay)}

    def solve(self, m: Tensor, state: Slots, s: Scalars) -> Tensor:
        root = state["mean_square"].sqrt()
        if self.bias_correction:
            root = root / s["metric_bias"]
        return m / (root + self.delta)
