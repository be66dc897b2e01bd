"""Noise xi that a step adds to the point it arrives at: theta + ... + sigma xi.

Draws are made outside of the update, from a generator that the checkpoint carries, and passed in: random numbers inside
a compiled or stacked update would tie the trajectory to the way it is run.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rlgan.optim.errors import positive
from rlgan.optim.step.types import Slots


class Noise(ABC):
    """A source of displacements xi (d,), scaled by sigma in the step."""

    active: ClassVar[bool] = True

    def init(self, theta: Tensor) -> Slots:
        """The state of a process with memory; carried by the checkpoint."""
        return {}

    def draw(self, theta: Tensor, generator: torch.Generator, state: Slots) -> Tensor:
        """The next draw, N(0, I) here, of the shape, dtype and device of `theta` (d,); may write to `state`."""
        return torch.randn(theta.shape, generator=generator, dtype=theta.dtype, device=theta.device)

    @abstractmethod
    def scale(self, lr: float, factor: float) -> float:
        """sigma in a step with learning rate `lr` when the noise's schedule stands at `factor`."""


@dataclass(frozen=True)
class NoNoise(Noise):
    """No noise: xi = 0."""

    active = False

    def draw(self, theta: Tensor, generator: torch.Generator, state: Slots) -> Tensor:
        return torch.zeros_like(theta)

    def scale(self, lr: float, factor: float) -> float:
        return 0.0


@dataclass(frozen=True)
class GaussianNoise(Noise):
    """Gaussian noise of one size: sigma xi with xi ~ N(0, I).

    Args:
        sigma: standard deviation in units of the parameters, positive.

    Raises:
        ValueError: if `sigma` is not positive.
    """

    sigma: float = 1e-3

    def __post_init__(self) -> None:
        positive("sigma", self.sigma, "for example 1e-3; noise=none for no noise")

    def scale(self, lr: float, factor: float) -> float:
        return self.sigma * factor


@dataclass(frozen=True)
class Sphere(Noise):
    """Noise in a uniform direction, on the gradient: lr sigma xi, xi on the unit sphere of R^d, d over ALL parameters.

    theta - lr (g + sigma xi) is perturbed SGD (Ge et al. 2015); xi enters with a plus, for the sphere is
    symmetric. After the metric, if the method has one.

    Args:
        sigma: radius of the sphere in units of the gradient, positive.

    Raises:
        ValueError: if `sigma` is not positive.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        positive("sigma", self.sigma, "for example 1.0; noise=none for no noise")

    def draw(self, theta: Tensor, generator: torch.Generator, state: Slots) -> Tensor:
        xi = super().draw(theta, generator, state)
        return xi / xi.norm()

    def scale(self, lr: float, factor: float) -> float:
        return lr * self.sigma * factor


@dataclass(frozen=True)
class Langevin(Noise):
    """The noise of Langevin dynamics, sqrt(2 lr T) xi with xi ~ N(0, I) (Welling & Teh 2011).

    With sgd the iterates are samples of exp(-f/T) as lr -> 0.

    On f = lambda x^2 / 2 the stationary variance is T / (lambda (1 - lr lambda / 2)).

    Args:
        temperature: T, positive; 1 in the paper. Its schedule multiplies sqrt(T).

    Raises:
        ValueError: if `temperature` is not positive.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        positive("temperature", self.temperature)

    def scale(self, lr: float, factor: float) -> float:
        return math.sqrt(2 * lr * self.temperature) * factor


@dataclass(frozen=True)
class OrnsteinUhlenbeckNoise(Noise):
    """Noise that remembers: xi <- xi - rate xi dt + sigma sqrt(dt) N(0, I), xi_0 = 0 (Uhlenbeck & Ornstein 1930).

    Stationary variance sigma^2 / (rate (2 - rate dt)), correlation 1 - rate dt from step to step.

    Args:
        sigma: diffusion in units of the parameters, positive.
        rate: theta of the process, positive.
        dt: time between two steps, positive, with rate dt < 2.

    Raises:
        ValueError: if a number is out of range.
    """

    sigma: float = 1e-3
    rate: float = 0.15
    dt: float = 1e-2

    def __post_init__(self) -> None:
        for name in ("sigma", "rate", "dt"):
            positive(name, getattr(self, name), "for example 0.01; noise=none for no noise")
        if self.rate * self.dt >= 2:
            raise ValueError(
                f"dt = {self.dt}: the process explodes unless rate dt < 2; for example dt = {1 / self.rate:.3g}"
            )

    def init(self, theta: Tensor) -> Slots:
        return {"xi": torch.zeros_like(theta)}

    def draw(self, theta: Tensor, generator: torch.Generator, state: Slots) -> Tensor:
        xi, normal = state["xi"], super().draw(theta, generator, state)
        xi.mul_(1 - self.rate * self.dt).add_(normal, alpha=self.sigma * math.sqrt(self.dt))
        return xi.clone()

    def scale(self, lr: float, factor: float) -> float:
        return factor
