"""Functions of the parameters alone, of which everything is known: where to look at a method's way."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from rlgan.erm.problems.base import Kind, Problem, Sample
from rlgan.task.settings import Settings

Window = tuple[float, float, float, float]


class SurfaceNet(nn.Module):
    """A surface as a network: noise ``(n, d) -> (n,)``, see `Surface.of_samples`."""

    def __init__(self, surface: Surface, start: Tensor) -> None:
        super().__init__()
        self.surface = surface
        self.theta = nn.Parameter(start)

    def forward(self, noise: Tensor) -> Tensor:
        return self.surface.of_samples(self.theta, noise)


class Surface(Problem):
    """A function f of theta (d,) with a start, and a noise on its gradients where one is wanted.

    A minibatch of b samples has the gradient grad f(theta) + N(0, sigma^2 / b I): unbiased, its variance falls as 1/b.
    `batch_size=null` has no noise.

    Attributes:
        start: theta_0, or one number for all of its coordinates; None for the surface's own start, which begins at a
            place that tells something.
        start_spread: r: each seed of a run starts somewhere else, uniformly in the box theta_0 +- r.
        gradient_noise: sigma, the standard deviation of one sample's gradient: in every coordinate, or one for each.
    """

    kind: ClassVar[Kind] = "surface"

    start: tuple[float, ...] | float | None = None
    start_spread: float = 0.0
    gradient_noise: float | tuple[float, ...] = 0.0

    @abstractmethod
    def value(self, theta: Tensor) -> Tensor:
        """f(theta), a scalar, of theta (d,)."""

    def of_samples(self, theta: Tensor, noise: Tensor) -> Tensor:
        """The loss of each sample ``(n,)``: f(theta) + <noise_i, theta>, which has the gradient grad f + noise_i.

        Noise of zeros ``(1, d)`` is the surface itself.
        """
        # Summed by hand: one loss for each sample, also where many thetas are evaluated at once.
        return self.value(theta) + (noise * theta).sum(-1)

    @property
    @abstractmethod
    def usual_start(self) -> tuple[float, ...]:
        """Where a run starts, if it is not said."""

    @property
    def window(self) -> Window:
        """(left, right, low, high): what a picture of a surface of two variables shows."""
        return -2.0, 2.0, -2.0, 2.0

    @cached_property
    def beginning(self) -> Tensor:
        """theta_0 (d,), float64.

        Raises:
            ValueError: a start of another length, or not finite.
        """
        usual = self.usual_start
        given = usual if self.start is None else self.start
        given = given if isinstance(given, tuple | list) else (float(given),) * len(usual)
        if len(given) != len(usual):
            raise ValueError(f"start = {list(given)}: {type(self).__name__} has {len(usual)} variables; give so many")
        if not all(map(math.isfinite, given)):
            raise ValueError(f"start = {list(given)}: has to be finite, for example {list(usual)[:3]}")
        return torch.tensor(given, dtype=torch.float64)

    def check(self) -> None:
        """Refuse an impossible noise or start.

        Raises:
            ValueError: naming it.
        """
        d = len(self.beginning)
        given = self.gradient_noise
        deviations = given if isinstance(given, tuple) else (given,) * d
        if len(deviations) != d or not all(0 <= sigma < math.inf for sigma in deviations):
            raise ValueError(
                f"gradient_noise = {given}: a standard deviation, at least 0, or one for each of {d} coordinates; for "
                "example 1.0"
            )
        if not 0 <= self.start_spread < math.inf:
            raise ValueError(f"start_spread = {self.start_spread}: half the width of a box, at least 0; e.g. 0.5")

    @property
    def inputs(self) -> tuple[int, ...]:
        return (len(self.beginning),)

    @property
    def train(self) -> Sample:
        d = len(self.beginning)
        return Sample(torch.zeros(1, d), torch.zeros(1))

    def network(self, settings: Settings, outputs: tuple[int, ...]) -> nn.Module:
        start = self.beginning.clone()
        if self.start_spread:  # drawn as other networks' parameters are
            start += self.start_spread * (2 * torch.rand_like(start) - 1)
        return SurfaceNet(self, start.to(settings.torch_device, settings.dtype))

    def noise(self, n: int, generator: torch.Generator, count: int) -> Tensor:
        x = torch.randn((n, len(self.beginning)), generator=generator, device=generator.device)
        return x * torch.as_tensor(self.gradient_noise, dtype=x.dtype, device=x.device)


@final
@dataclass(frozen=True)
class Quadratic(Surface):
    """A bowl, f = sum_i lambda_i theta_i^2 / 2 with eigenvalues from 1/kappa to 1, evenly spaced in their logarithms.

    The minimum is 0 at the origin. `kappa` is the condition number: 1 is round, 100 is a narrow valley.

    Args:
        kappa: the largest eigenvalue over the smallest, at least 1; the largest is `largest`.
        dimension: d, at least 1.
        largest: L, the largest eigenvalue.
        start: theta_0, or one number for all coordinates; null is (1, ..., 1).
        start_spread, gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    kappa: float = 10.0
    dimension: int = 2
    largest: float = 1.0
    start: tuple[float, ...] | float | None = None
    start_spread: float = 0.0
    gradient_noise: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.kappa < math.inf:
            raise ValueError(f"kappa = {self.kappa}: the condition number is at least 1, for example 10")
        if self.dimension < 1:
            raise ValueError(f"dimension = {self.dimension}: must be at least 1, for example 2")
        if not 0 < self.largest < math.inf:
            raise ValueError(f"largest = {self.largest}: the largest eigenvalue is positive, for example 1.0")
        self.check()

    @cached_property
    def eigenvalues(self) -> Tensor:
        """lambda (d,), float64, the smallest first; of one dimension the largest alone."""
        exponents = torch.linspace(1, 0, self.dimension, dtype=torch.float64) if self.dimension > 1 else torch.zeros(1)
        return self.largest * self.kappa ** -exponents.double()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return (1.0,) * self.dimension

    @property
    def window(self) -> Window:
        return -1.25, 1.25, -1.25, 1.25

    def value(self, theta: Tensor) -> Tensor:
        return (self.eigenvalues.to(theta) * theta * theta).sum() / 2

    def optimum(self) -> Tensor:
        return torch.zeros(self.dimension, dtype=torch.float64)

    def least(self) -> float:
        return 0.0
