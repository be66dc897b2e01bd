"""Surfaces on which methods part: bent and steep-then-flat valleys, a kink, a constant slope, craters, a sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from rlgan.erm.problems.surfaces import Surface, Window


def check_ranges(of: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse fields of a dataclass that are below the first number or above the second.

    Raises:
        ValueError: naming the field.
    """
    for name, (low, high) in ranges.items():
        value = getattr(of, name)
        if not low <= value <= high or value == math.inf:
            said = f"must be at least {low:g}" if high == math.inf else f"lies in [{low:g}, {high:g}]"
            raise ValueError(f"{name} = {value}: {said}, for example {getattr(type(of), name)}")


@final
@dataclass(frozen=True)
class Rosenbrock(Surface):
    """A valley that bends: f = sum_i (1 - theta_i)^2 + b (theta_{i+1} - theta_i^2)^2 (Rosenbrock 1960).

    The minimum is 0 at (1, ..., 1). The floor follows theta_2 = theta_1^2, so that the mean of two points on it lies
    above it.

    Args:
        steepness: b, of the walls.
        dimension: d, at least 2.
        start: theta_0; null is (-1.2, 1, -1.2, 1, ...).
        gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    steepness: float = 100.0
    dimension: int = 2
    start: tuple[float, ...] | None = None
    gradient_noise: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, {"steepness": (0, math.inf), "dimension": (2, math.inf)})
        self.check()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return tuple(1.0 if i % 2 else -1.2 for i in range(self.dimension))

    @property
    def window(self) -> Window:
        return -1.8, 1.8, -1.0, 2.6

    def value(self, theta: Tensor) -> Tensor:
        here, ahead = theta[:-1], theta[1:]
        return ((1 - here) ** 2 + self.steepness * (ahead - here**2) ** 2).sum()

    def optimum(self) -> Tensor:
        return torch.ones(self.dimension, dtype=torch.float64)

    def least(self) -> float:
        return 0.0


@final
@dataclass(frozen=True)
class SteepThenFlat(Surface):
    """A flat bowl between steep walls: f = sum_i s theta_i^2 / 2 + S max(0, |theta_i| - w)^2 / 2.

    Convex, its gradient continuous; the curvature is s on the floor, |theta_i| < w, and s + S on the walls. The minimum
    is 0 at the origin. (EE-556, Lecture 9: a steep function, flat around its minimum.)

    Args:
        flat: s, of the floor.
        steep: S, of the walls.
        width: w, half of the floor's.
        dimension: d, at least 1.
        start: theta_0; null is (3 w, ..., 3 w).
        gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    flat: float = 1.0
    steep: float = 100.0
    width: float = 1.0
    dimension: int = 1
    start: tuple[float, ...] | None = None
    gradient_noise: float = 0.0

    def __post_init__(self) -> None:
        anything = (0.0, math.inf)
        check_ranges(self, {"flat": anything, "steep": anything, "width": anything, "dimension": (1, math.inf)})
        self.check()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return (3 * self.width,) * self.dimension

    @property
    def window(self) -> Window:
        reach = 3.4 * self.width or 1.0
        return -reach, reach, -reach, reach

    def value(self, theta: Tensor) -> Tensor:
        over = (theta.abs() - self.width).clamp(min=0)
        return (self.flat * theta**2 + self.steep * over**2).sum() / 2

    def optimum(self) -> Tensor:
        return torch.zeros(self.dimension, dtype=torch.float64)

    def least(self) -> float:
        return 0.0


@final
@dataclass(frozen=True)
class AbsoluteDeviations(Surface):
    """Least absolute deviations, convex and without a gradient at its minimum: f = (1/n) sum_i |a_i . theta - b_i|.

    The a_i are random directions of length 1, so that f is 1-Lipschitz; b_i = a_i . theta*, so that the minimum is 0 at
    theta*, a random point of length 1/2. Rows and theta* are the same for every seed of a run.

    Args:
        rows: n, at least d, or theta* would not be the only minimum.
        dimension: d.
        start: theta_0; null is the origin.
        gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    rows: int = 40
    dimension: int = 20
    start: tuple[float, ...] | None = None
    gradient_noise: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, {"dimension": (1, math.inf), "rows": (self.dimension, math.inf)})
        _ = self._drawn  # now, and not within a derivative, where chance has other rules
        self.check()

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        """a (n, d) and theta* (d,), float64."""
        drawn = torch.randn(
            (self.rows + 1, self.dimension), generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        unit = drawn / drawn.norm(dim=1, keepdim=True)
        return unit[:-1], unit[-1] / 2

    @property
    def usual_start(self) -> tuple[float, ...]:
        return (0.0,) * self.dimension

    def value(self, theta: Tensor) -> Tensor:
        a, optimum = self._drawn
        return ((theta - optimum.to(theta)) @ a.to(theta).T).abs().mean()

    def optimum(self) -> Tensor:
        return self._drawn[1]

    def least(self) -> float:
        return 0.0


@final
@dataclass(frozen=True)
class Ramp(Surface):
    """A plane: f = <slope, theta>, of which the gradient is the same everywhere and which has no minimum.

    Args:
        slope: the gradient (d,).
        start: theta_0; null is the origin.
        gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    slope: tuple[float, ...] = (1.0, 0.0)
    start: tuple[float, ...] | None = None
    gradient_noise: float = 0.0

    def __post_init__(self) -> None:
        if not self.slope or not all(map(math.isfinite, self.slope)):
            raise ValueError(f"slope = {list(self.slope)}: the gradient, one number a variable; for example [1, 0]")
        self.check()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return (0.0,) * len(self.slope)

    def value(self, theta: Tensor) -> Tensor:
        return (theta.new_tensor(self.slope) * theta).sum()


@final
@dataclass(frozen=True)
class Crater(Surface):
    """A non-convex pit with a level rim: f = sum_i phi(sqrt(lambda_i) theta_i), phi(t) = t^2 / (2 (1 + t^2)).

    phi (Geman & McClure 1985) has its largest curvature, 1, at 0 and negative curvature beyond |t| = 1/sqrt(3): so f is
    L-smooth with L = 1, the largest of the lambda_i, which are spread evenly in their logarithms from 1/kappa on. The
    minimum is 0 at the origin, and f < d/2. While all |sqrt(lambda_i) theta_i| <= 1 the inequality of Polyak and
    Lojasiewicz holds, |grad f|^2 >= 2 mu f, with mu = 1/(8 kappa).

    From the usual start, sqrt(lambda_i) theta_i = 1 for all i, every lambda_i counts as much as every other, so that
    gradient descent makes |grad f|^2 fall as 1/k as long as k is between L/lambda_max = 1 and kappa, and not faster.

    `relative_noise` makes a sample the same pit, deeper or shallower: sample i is (1 + z_i) f with z_i = s or -s. All
    gradients vanish together then: strong growth, E |grad f_i|^2 = rho |grad f|^2, rho = 1 + s^2.

    Args:
        kappa: the largest lambda over the smallest.
        dimension: d.
        start: theta_0; null is 1/sqrt(lambda_i).
        gradient_noise: additive, see `Surface`.
        relative_noise: s, in [0, 1).

    Raises:
        ValueError: an impossible number, or both kinds of noise.
    """

    kappa: float = 10.0
    dimension: int = 20
    start: tuple[float, ...] | None = None
    gradient_noise: float = 0.0
    relative_noise: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, {"kappa": (1, math.inf), "dimension": (1, math.inf), "relative_noise": (0, 1)})
        if self.relative_noise and self.gradient_noise:
            raise ValueError(
                f"relative_noise = {self.relative_noise}: there is gradient_noise = {self.gradient_noise} as well; set "
                "one of them to 0"
            )
        self.check()

    @cached_property
    def eigenvalues(self) -> Tensor:
        """lambda (d,), float64, the smallest first: of the Hessian at the origin."""
        d = self.dimension
        exponents = torch.linspace(1, 0, d, dtype=torch.float64) if d > 1 else torch.zeros(1, dtype=torch.float64)
        return self.kappa**-exponents

    @property
    def usual_start(self) -> tuple[float, ...]:
        return tuple((1 / self.eigenvalues.sqrt()).tolist())

    @property
    def window(self) -> Window:
        ends = [2.5 * at for at in self.usual_start]
        wide, high = (ends[0], ends[1]) if len(ends) > 1 else (ends[0], 1.0)
        return -wide, wide, -high, high

    def value(self, theta: Tensor) -> Tensor:
        square = self.eigenvalues.to(theta) * theta**2
        return (square / (1 + square)).sum() / 2

    def of_samples(self, theta: Tensor, noise: Tensor) -> Tensor:
        if not self.relative_noise:
            return super().of_samples(theta, noise)
        return self.value(theta) * (1 + noise[..., 0])

    def noise(self, n: int, generator: torch.Generator, count: int) -> Tensor:
        if not self.relative_noise:
            return super().noise(n, generator, count)
        sign = torch.randint(2, (n, 1), generator=generator, device=generator.device) * 2.0 - 1
        return (sign * self.relative_noise).expand(n, self.dimension)

    def optimum(self) -> Tensor:
        return torch.zeros(self.dimension, dtype=torch.float64)

    def least(self) -> float:
        return 0.0


@final
@dataclass(frozen=True)
class RareLargeGradient(Surface):
    """A sequence of lines, f_t = C theta if t mod 3 = 1 and -theta otherwise, t = 1, 2, ... (Reddi et al. 2018).

    Their sum over three steps is (C - 2) theta: on [-1, 1] the best point is -1. The surface itself is the mean,
    (C - 2)/3 theta; what belongs to a step comes as the noise of its minibatch, so it needs `batch_size`.

    Args:
        large: C, above 2.
        start: theta_0; null is 0.

    Raises:
        ValueError: C is not above 2, or a start of another length.
    """

    large: float = 3.0
    start: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 2 < self.large < math.inf:
            raise ValueError(f"large = {self.large}: C must be above 2, so that -1 is the best point; for example 3.0")
        self.check()

    def slopes(self, steps: int) -> Tensor:
        """The slopes of f_1, ..., f_steps, ``(steps,)`` float64."""
        t = torch.arange(1, steps + 1)
        return torch.where(t % 3 == 1, self.large, -1.0).double()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def window(self) -> Window:
        return -1.1, 1.1, -1.1, 1.1

    def value(self, theta: Tensor) -> Tensor:
        return (self.large - 2) / 3 * theta.sum()

    def noise(self, n: int, generator: torch.Generator, count: int) -> Tensor:
        slope = self.large if count % 3 == 0 else -1.0
        mean = (self.large - 2) / 3
        return torch.full((n, 1), slope - mean, dtype=torch.float64, device=generator.device)
