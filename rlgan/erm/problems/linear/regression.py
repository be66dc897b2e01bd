"""Linear models of which the optimum is known: least squares, logistic regression, sparse and badly scaled features.

The model is f(x) = theta . x, from theta = 0 on, whatever `network` is; `linear=false` takes that network instead, and
then no optimum is known. Numbers are kept in float64, so that with precision=float64 an interpolating model reaches 0.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from rlgan.erm.losses import Loss, Squared
from rlgan.erm.problems.base import Kind, Problem, Sample
from rlgan.nets.linear import LinearMap
from rlgan.task.settings import Settings

TRUTH, TRAIN, TEST = 0, 1, 2
"""Seeds of the true parameters and of the samples, which are the same for every seed of a run."""


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """N(0, 1), float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def spread(ratio: float, n: int) -> Tensor:
    """n numbers from 1/ratio to 1, evenly in their logarithms, ``(n,)`` float64; of one number 1."""
    return ratio ** -torch.linspace(1, 0, n, dtype=torch.float64) if n > 1 else torch.ones(1, dtype=torch.float64)


def rotation(generator: torch.Generator, n: int) -> Tensor:
    """An orthogonal matrix ``(n, n)``, uniformly (Mezzadri 2007: the signs of R's diagonal are put into Q)."""
    q, r = torch.linalg.qr(normal(generator, n, n))
    return q * r.diagonal().sign()


def check_numbers(of: object, least: Mapping[str, float]) -> None:
    """Refuse fields of a dataclass that are below their least value, or not finite.

    Raises:
        ValueError: naming the field.
    """
    for name, bound in least.items():
        if not bound <= (value := getattr(of, name)) < math.inf:
            raise ValueError(f"{name} = {value}: must be at least {bound:g}, for example {getattr(type(of), name)}")


class LeastSquares(Problem):
    """Values y = x . theta_true + noise, and the squared loss: R(theta) = |X theta - y|^2 / n.

    R is quadratic with the Hessian 2 X^T X / n. Its minimiser that is nearest to 0, where theta starts, is that of
    gradient descent, also where there are more parameters than samples.
    """

    kind: ClassVar[Kind] = "values"

    linear: bool = True
    sigma: float = 0.0

    @abstractmethod
    def drawn(self, seed: int) -> Tensor:
        """Inputs ``(samples, d)``, float64."""

    @property
    @abstractmethod
    def truth(self) -> Tensor:
        """theta_true (d,), float64."""

    def _sample(self, seed: int) -> Sample:
        x = self.drawn(seed)
        return Sample(x, x @ self.truth + self.sigma * normal(seeded(seed + 100), len(x)))

    @property
    def inputs(self) -> tuple[int, ...]:
        return (len(self.truth),)

    @cached_property
    def train(self) -> Sample:
        return self._sample(TRAIN)

    @cached_property
    def test(self) -> Sample:
        return self._sample(TEST)

    def network(self, settings: Settings, outputs: tuple[int, ...]) -> nn.Module | None:
        return LinearMap(self.inputs, outputs, 0.0) if self.linear else None

    def solved(self, loss: Loss | None) -> bool:
        return self.linear and isinstance(loss, Squared)

    @cached_property
    def _decomposed(self) -> tuple[Tensor, Tensor]:
        """The Hessian's eigenvalues (d,), the smallest first, and the minimiser of least norm (d,)."""
        x, y = self.train
        u, s, vh = torch.linalg.svd(x, full_matrices=False)
        kept = s > s[0] * max(x.shape) * torch.finfo(s.dtype).eps
        values = torch.zeros(x.shape[1], dtype=torch.float64)
        values[x.shape[1] - len(s) :] = (2 / len(x) * s**2).flip(0)
        inverse = torch.where(kept, 1 / s.where(kept, torch.ones_like(s)), torch.zeros_like(s))
        return values, vh.T @ (inverse * (u.T @ y))

    @property
    def eigenvalues(self) -> Tensor:
        """Of the Hessian 2 X^T X / n, ``(d,)`` float64, the smallest first; the largest is L, the smallest mu."""
        return self._decomposed[0]

    def optimum(self) -> Tensor:
        return self._decomposed[1]

    def least(self) -> float:
        x, y = self.train
        return float((x @ self._decomposed[1] - y).square().mean())

    def notes(self) -> list[str]:
        if not self.linear:
            return []
        values = self.eigenvalues
        own = f"the model is linear: f(x) = theta . x, of {len(values)} parameters; L = {float(values[-1]):.4g}"
        flat = int((values <= values[-1] * 1e-14).sum())
        more = f"{flat} directions of theta change nothing" if flat else f"mu = {float(values[0]):.4g}"
        return [f"{own}, {more}"]


@final
@dataclass(frozen=True)
class LinearRegression(LeastSquares):
    """Least squares of a given condition number: the covariance of x has eigenvalues from 1/kappa to 1.

    It is that of the training samples themselves, exactly, where there are at least as many as dimensions; fewer are
    drawn from a normal distribution that has it, and can be met exactly whatever the noise. The Hessian of R has twice
    these eigenvalues. y = x . theta_true + N(0, sigma^2), with theta_true ~ N(0, I).

    Without noise every sample is met exactly: all their gradients vanish at the optimum (interpolation), and the
    expected square of a sample's gradient is at most a multiple of |grad R|^2: strong growth (Schmidt & Le Roux 2013,
    arXiv:1308.6370).

    Args:
        samples: n, to train on; as many others are the test.
        dimension: d.
        sigma: standard deviation of y about its mean.
        kappa: the largest eigenvalue over the smallest.
        rotated: whether eigenvectors point anywhere; false: along the axes, as a diagonal metric would have them.
        linear: f(x) = theta . x; false: the chosen network.

    Raises:
        ValueError: an impossible number.
    """

    samples: int = 200
    dimension: int = 20
    sigma: float = 0.0
    kappa: float = 10.0
    rotated: bool = True
    linear: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, {"samples": 1, "dimension": 1, "sigma": 0, "kappa": 1})

    @cached_property
    def truth(self) -> Tensor:
        return normal(seeded(TRUTH), self.dimension)

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """Standard deviations (d,) along directions ``(d, d)``."""
        axes = rotation(seeded(TRUTH), self.dimension) if self.rotated else torch.eye(self.dimension).double()
        return spread(self.kappa, self.dimension).sqrt(), axes

    def drawn(self, seed: int) -> Tensor:
        deviations, axes = self._axes
        z = normal(seeded(seed), self.samples, self.dimension)
        if seed == TRAIN and self.samples >= self.dimension:  # z^T z / n = I, to rounding
            z = torch.linalg.qr(z).Q * math.sqrt(self.samples)
        return (z * deviations) @ axes


@final
@dataclass(frozen=True)
class SparseFeatures(LeastSquares):
    """Least squares on features of very different frequency and scale, each as important when it is there.

    Feature j is on with probability p_j, from `rarest` to 1, and is then s_j or -s_j; theta_true_j is 1/s_j or -1/s_j:
    so a feature that is on moves y by 1. The Hessian is 2 diag(p_j s_j^2) but for chance: a rare feature is a flat
    direction and seldom has a gradient, which a learning rate of its own makes up for (Duchi et al. 2011, section 1).
    Frequencies and scales are spread evenly in their logarithms, the scales in a random order.

    Args:
        samples: to train on; as many others are the test.
        dimension: number of features.
        rarest: frequency of the rarest; the most frequent is always on. 1: all are.
        scales: the largest s_j over the smallest, which is 1/scales; 1: all are 1.
        sigma: standard deviation of y about its mean.
        linear: f(x) = theta . x; false: the chosen network.

    Raises:
        ValueError: an impossible number.
    """

    samples: int = 2000
    dimension: int = 20
    rarest: float = 0.01
    scales: float = 1.0
    sigma: float = 0.1
    linear: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, {"samples": 1, "dimension": 1, "sigma": 0, "scales": 1})
        if not 1 / self.samples <= self.rarest <= 1:
            raise ValueError(
                f"rarest = {self.rarest}: the frequency of the rarest feature lies between 1/samples = "
                f"{1 / self.samples:g} and 1, for example 0.01"
            )

    @property
    def frequencies(self) -> Tensor:
        """p_j (d,), float64, the rarest first."""
        return spread(1 / self.rarest, self.dimension)

    @cached_property
    def sizes(self) -> Tensor:
        """s_j (d,), float64."""
        return spread(self.scales, self.dimension)[torch.randperm(self.dimension, generator=seeded(TRUTH))]

    @cached_property
    def truth(self) -> Tensor:
        return normal(seeded(TRUTH), self.dimension).sign() / self.sizes

    def drawn(self, seed: int) -> Tensor:
        generator = seeded(seed)
        on = torch.rand((self.samples, self.dimension), generator=generator, dtype=torch.float64) < self.frequencies
        return on * normal(generator, self.samples, self.dimension).sign() * self.sizes
