"""The step, and the methods that are settings of it.

    theta+ = P_K( theta + v + sigma xi ),    v = momentum's displacement of  u = -lr H^-1 m,
    m = momentum(g),    H = metric(g),       g = gradient + weight_decay theta

A method fills the slots `momentum` and `metric`; the player adds schedule, noise, projection and average.
A new method is a function here and one YAML.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from rlgan.optim.metric import RMS, Identity, Metric, Scalars, Slots
from rlgan.optim.momentum import GradientEMA, Momentum, NoMomentum, Velocity


@dataclass(frozen=True)
class Method:
    """A first-order method: learning rate, momentum, metric, and L2 weight decay in the gradient.

    Args:
        lr: the step size alpha, positive.
        momentum, metric: the slots.
        weight_decay: lambda in g + lambda theta, at least 0.

    Raises:
        ValueError: if `lr` is not positive or `weight_decay` is negative.
    """

    lr: float
    momentum: Momentum = field(default_factory=NoMomentum)
    metric: Metric = field(default_factory=Identity)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr = {self.lr}: the learning rate must be positive, for example 1e-3")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay = {self.weight_decay}: must be at least 0, for example 1e-2")

    def init(self, theta: Tensor) -> Slots:
        """The method's state before the first gradient: vectors like `theta` (d,), by slot name."""
        return {**self.momentum.init(theta), **self.metric.init(theta)}

    def scalars(self, t: int, factor: float) -> dict[str, float]:
        """The numbers of step `t` (1, 2, ...) when the schedule stands at `factor`."""
        return {"lr": self.lr * factor, **self.momentum.scalars(t), **self.metric.scalars(t)}

    def displacement(self, theta: Tensor, g: Tensor, state: Slots, s: Scalars) -> tuple[Tensor, Slots]:
        """The move v (d,) away from `theta` for the gradient `g` (d,), and the new state. Nothing is written."""
        if self.weight_decay:
            g = g + theta * self.weight_decay
        metric = self.metric.update(g, state)
        m, momentum = self.momentum.before(g, state, s)
        u = self.metric.solve(m, metric, s) * -s["lr"]
        v, momentum = self.momentum.after(u, momentum)
        return v, {**momentum, **metric}


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} = {value}: the weight of the old mean lies in [0, 1), for example 0.9")


def _delta(value: float) -> None:
    if not value > 0:
        raise ValueError(f"eps = {value}: must be positive, it keeps 0/0 away; for example 1e-8")


def sgd(lr: float = 1e-2, weight_decay: float = 0.0) -> Method:
    """theta - lr g: minibatch gradient descent (Robbins & Monro 1951; deck 000, "SGD")."""
    return Method(lr, weight_decay=weight_decay)


def heavy_ball(lr: float = 1e-2, rho: float = 0.9, weight_decay: float = 0.0) -> Method:
    """v <- rho v - lr g, theta + v (Polyak 1964; deck 000, "momentum")."""
    return Method(lr, momentum=Velocity(rho), weight_decay=weight_decay)


def rmsprop(lr: float = 2e-3, decay: float = 0.9, eps: float = 1e-8, weight_decay: float = 0.0) -> Method:
    """r <- decay r + (1 - decay) g*g, theta - lr g / (eps + sqrt r) (Tieleman & Hinton 2012; deck 000, "RMSProp")."""
    _share("decay", decay)
    _delta(eps)
    return Method(lr, metric=RMS(decay, eps, bias_correction=False), weight_decay=weight_decay)


def adam(
    lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> Method:
    """theta - lr m^ / (eps + sqrt v^), m^ and v^ bias-corrected EMAs of g and g*g, t = 1, 2, ... (Kingma & Ba 2015).

    Deck 002 counts from k = 0, where the correction divides by zero; this counts from 1.
    """
    _share("beta1", beta1)
    _share("beta2", beta2)
    _delta(eps)
    return Method(lr, GradientEMA(beta1), RMS(beta2, eps, bias_correction=True), weight_decay)
