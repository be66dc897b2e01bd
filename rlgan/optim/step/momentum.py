"""Momentum: what becomes of the gradient before the metric, and of the displacement after it.

Adam averages gradients *before* the metric; heavy ball, Nesterov and RMSProp-with-momentum accumulate displacements
*after* it. Both are one slot with two places to act. A third says where the gradient is taken.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rlgan.optim.errors import weight_of_the_past
from rlgan.optim.step.schedule import Factor, unscheduled
from rlgan.optim.step.types import Scalars, Slots


class Frame(NamedTuple):
    """A method written as a step along H^-1 g and a share of the last displacement, before any projection:

        theta+ = theta - alpha H_t^-1 g + beta R (theta - theta_prev),

    with R = H_t^-1 H_{t-1} where `in_metric`, else the identity. `alpha` in units of the learning rate; under a
    schedule `beta` carries lr_t / lr_{t-1} where `in_metric`.
    """

    alpha: float
    beta: float
    in_metric: bool


class Momentum(ABC):
    """What is made of the gradient before the metric, m = momentum(g), and of the displacement after it."""

    looks_ahead: bool = False
    """Whether the gradient is taken at another point than theta."""

    def init(self, theta: Tensor) -> Slots:
        """The state before the first gradient, by slot name."""
        return {}

    def scalars(self, t: int, factor: Factor) -> dict[str, float]:
        """The numbers that the `t`-th step (t = 1, 2, ...) needs when the coefficient follows `factor`."""
        return {}

    def point(self, theta: Tensor, state: Slots, s: Scalars) -> Tensor:
        """Where the gradient is taken (d,)."""
        return theta

    @abstractmethod
    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        """The direction that the metric receives for the gradient `g` (d,), and the new state."""

    @abstractmethod
    def after(self, u: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        """The displacement made of u = -lr H^-1 m (d,), and the new state."""

    @abstractmethod
    def frame(self, t: int, factor: Factor) -> Frame:
        """alpha_t and beta_t of the uniform frame at step `t` (1, 2, ...)."""


@dataclass(frozen=True)
class NoMomentum(Momentum):
    """No momentum: m = g."""

    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        return g, {}

    def after(self, u: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        return u, {}

    def frame(self, t: int, factor: Factor) -> Frame:
        return Frame(1.0, 0.0, False)


@dataclass(frozen=True)
class Velocity(Momentum):
    """The heavy ball: v <- rho v + u, theta + v with u = -lr H^-1 g (Polyak 1964).

    With `nesterov` the gradient is taken at the look-ahead point theta + rho v (Nesterov 1983; Sutskever et al. 2013).
    theta and not the look-ahead point is what is stored and played (torch.optim.SGD stores the latter).

    The learning rate is inside of v; torch.optim.SGD keeps it outside, which is the same only while the
    learning rate is constant.

    Args:
        rho: share of the velocity that is kept, in [-1, 1); negative values are "negative momentum"
            (Gidel et al. 2019).
        nesterov: whether the gradient is taken ahead.

    Raises:
        ValueError: if `rho` is outside of [-1, 1).
    """

    rho: float
    nesterov: bool = False

    def __post_init__(self) -> None:
        if not -1 <= self.rho < 1:
            raise ValueError(f"rho = {self.rho}: the share of the velocity kept lies in [-1, 1), for example 0.9")

    @property
    def looks_ahead(self) -> bool:  # type: ignore[override]
        return self.nesterov

    def init(self, theta: Tensor) -> Slots:
        return {"velocity": torch.zeros_like(theta)}

    def scalars(self, t: int, factor: Factor) -> dict[str, float]:
        return {"rho": self.rho * factor(t - 1)}

    def point(self, theta: Tensor, state: Slots, s: Scalars) -> Tensor:
        return theta + state["velocity"] * s["rho"] if self.nesterov else theta

    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        return g, {"velocity": state["velocity"]}

    def after(self, u: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        v = state["velocity"] * s["rho"] + u
        return v, {"velocity": v}

    def frame(self, t: int, factor: Factor) -> Frame:
        return Frame(1.0, self.rho * factor(t - 1) if t > 1 else 0.0, False)


@dataclass(frozen=True)
class GradientEMA(Momentum):
    """Adam's mean of gradients: m <- beta m + (1 - beta) g, handed on as m / (1 - beta^t) (Kingma & Ba 2015).

    Under a schedule beta_t the correction is 1 - beta_1 ... beta_t, what m weighs the gradients with in all.

    Args:
        beta: weight of the old mean, in [0, 1).
        bias_correction: False hands on m itself (Reddi et al. 2018, Algorithm 2).

    Raises:
        ValueError: if `beta` is outside of [0, 1).
    """

    beta: float
    bias_correction: bool = True

    def __post_init__(self) -> None:
        weight_of_the_past("beta", self.beta)

    def init(self, theta: Tensor) -> Slots:
        return {"mean": torch.zeros_like(theta)}

    def scalars(self, t: int, factor: Factor) -> dict[str, float]:
        s = {"t": float(t), "beta": self.beta * factor(t - 1)}
        return {**s, "momentum_bias": self._weight(t, factor)} if self.bias_correction else s

    def _weight(self, t: int, factor: Factor) -> float:
        if factor is unscheduled:
            return 1 - self.beta**t
        return 1 - _product(self.beta, factor)(t)

    def before(self, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        m = state["mean"]
        m = m + (g - m) * (1 - s["beta"])
        return m / s["momentum_bias"] if self.bias_correction else m, {"mean": m}

    def after(self, u: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        return u, {"mean": state["mean"]}

    def frame(self, t: int, factor: Factor) -> Frame:
        beta = self.beta * factor(t - 1)
        if not self.bias_correction:
            return Frame(1 - beta, beta if t > 1 else 0.0, True)
        now = self._weight(t, factor)
        return Frame((1 - beta) / now, beta * self._weight(t - 1, factor) / now if t > 1 else 0.0, True)


class _Product:
    """prod_{i < t} beta factor(i), each t a multiplication beyond the last."""

    def __init__(self, beta: float, factor: Factor) -> None:
        self._beta, self._factor = beta, factor
        self._values = [1.0]

    def __call__(self, t: int) -> float:
        while len(self._values) <= t:
            self._values.append(self._values[-1] * self._beta * self._factor(len(self._values) - 1))
        return self._values[t]


@functools.lru_cache(maxsize=64)
def _product(beta: float, factor: Factor) -> _Product:
    return _Product(beta, factor)
