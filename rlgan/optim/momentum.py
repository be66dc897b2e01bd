"""Momentum: what becomes of the gradient before the metric, and of the displacement after it.

Adam averages gradients *before* the metric; heavy ball and RMSProp-with-momentum accumulate displacements *after* it.
Both are one slot with two places to act.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from rlgan.optim.metric import Scalars, Slots


class Momentum(ABC):
    """m = momentum(g), and the displacement that it leads to."""

    def init(self, theta: Tensor) -> Slots:
        """The state before the first gradient, by slot name."""
        return {}

    def scalars(self, t: int) -> dict[str, float]:
        """The numbers that the `t`-th step (t = 1, 2, ...) needs."""
        return {}

    @abstractmethod
    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        """The direction that the metric receives for the gradient `g` (d,), and the new state."""

    @abstractmethod
    def after(self, u: Tensor, state: Slots) -> tuple[Tensor, Slots]:
        """The displacement made of u = -lr H^-1 m (d,), and the new state."""


@dataclass(frozen=True)
class NoMomentum(Momentum):
    """m = g."""

    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        return g, {}

    def after(self, u: Tensor, state: Slots) -> tuple[Tensor, Slots]:
        return u, {}


@dataclass(frozen=True)
class Velocity(Momentum):
    """v <- rho v + u, theta + v: the heavy ball (Polyak 1964; deck 000, "momentum"), with u = -lr H^-1 g.

    The learning rate is inside of v as on the slide; torch.optim.SGD keeps it outside, which is the same only while the
    learning rate is constant.

    Args:
        rho: share of the velocity that is kept, in [-1, 1); negative values are "negative momentum"
            (Gidel et al. 2019).

    Raises:
        ValueError: if `rho` is outside of [-1, 1).
    """

    rho: float

    def __post_init__(self) -> None:
        if not -1 <= self.rho < 1:
            raise ValueError(f"rho = {self.rho}: the share of the velocity kept lies in [-1, 1), for example 0.9")

    def init(self, theta: Tensor) -> Slots:
        return {"velocity": torch.zeros_like(theta)}

    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        return g, {"velocity": state["velocity"]}

    def after(self, u: Tensor, state: Slots) -> tuple[Tensor, Slots]:
        v = state["velocity"] * self.rho + u
        return v, {"velocity": v}


@dataclass(frozen=True)
class GradientEMA(Momentum):
    """m <- beta m + (1 - beta) g, handed on as m / (1 - beta^t) (Kingma & Ba 2015, t = 1, 2, ...).

    Args:
        beta: weight of the old mean, in [0, 1).
    """

    beta: float

    def init(self, theta: Tensor) -> Slots:
        return {"mean": torch.zeros_like(theta)}

    def scalars(self, t: int) -> dict[str, float]:
        return {"momentum_bias": 1 - self.beta**t}

    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        m = state["mean"]
        m = m + (g - m) * (1 - self.beta)
        return m / s["momentum_bias"], {"mean": m}

    def after(self, u: Tensor, state: Slots) -> tuple[Tensor, Slots]:
        return u, {"mean": state["mean"]}
