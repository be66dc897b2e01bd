"""A function on the unit square or interval to be approximated: what a network of a given width can do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor

from rlgan.erm.problems.base import Kind, Problem, Sample

Target = Literal["affine", "polynomial", "absolute", "sine", "runge", "step"]

# Of t = 2 x - 1, in [-1, 1]^d, as (n, d) -> (n,).
_TARGETS: dict[Target, Callable[[Tensor, float], Tensor]] = {
    "affine": lambda t, frequency: t.mean(1),
    "polynomial": lambda t, frequency: (4 * t**3 - 3 * t).prod(1),
    "absolute": lambda t, frequency: t.abs().mean(1),
    "sine": lambda t, frequency: torch.sin(frequency * math.pi * t).prod(1),
    "runge": lambda t, frequency: 1 / (1 + 25 * t.square().sum(1)),
    "step": lambda t, frequency: (t.sum(1) > 0).to(t.dtype),
}


@final
@dataclass(frozen=True)
class Curve(Problem):
    """g on [0, 1]^d, d = 1 or 2, at evenly spaced points; with t = 2 x - 1,

        affine        mean_j t_j                        a network without an activation has it exactly
        polynomial    prod_j T_3(t_j)                   Chebyshev's 4 t^3 - 3 t
        absolute      mean_j |t_j|                      a kink
        sine          prod_j sin(frequency pi t_j)      `frequency` periods
        runge         1 / (1 + 25 |t|^2)                smooth; interpolating polynomials diverge (Runge 1901)
        step          1 where sum_j t_j > 0, else 0     not continuous: the largest error stays 1/2

    A network of one hidden layer comes as near to every continuous g as one likes, if it is wide enough and its
    activation no polynomial (Cybenko 1989; Leshno et al. 1993). The test samples are the points in the middle between
    training points.

    Args:
        target: g.
        dimension: d, 1 or 2.
        samples: training points along an axis, from 0 to 1; samples^d in all.
        frequency: of `sine`, periods on [0, 1].
        sigma: noise on the training values, N(0, sigma^2).

    Raises:
        ValueError: an impossible choice or number.
    """

    kind: ClassVar[Kind] = "values"

    target: Target = "sine"
    dimension: int = 1
    samples: int = 101
    frequency: float = 1.0
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.target not in _TARGETS:
            raise ValueError(f"target = {self.target}: must be one of {', '.join(get_args(Target))}")
        if self.dimension not in (1, 2):
            raise ValueError(f"dimension = {self.dimension}: must be 1 or 2")
        if self.samples < 2:
            raise ValueError(f"samples = {self.samples}: at least 2 along an axis, for example 101")
        for name in ("frequency", "sigma"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} = {value}: must not be negative, for example {getattr(Curve, name)}")

    def value(self, x: Tensor) -> Tensor:
        """g at points ``(n, d)`` of [0, 1]^d, ``(n,)``."""
        return _TARGETS[self.target](2 * x - 1, self.frequency)

    @property
    def inputs(self) -> tuple[int, ...]:
        return (self.dimension,)

    def _at(self, ticks: Tensor) -> Sample:
        x = torch.cartesian_prod(*[ticks] * self.dimension).reshape(-1, self.dimension)
        return Sample(x, self.value(x))

    @cached_property
    def train(self) -> Sample:
        x, y = self._at(torch.linspace(0, 1, self.samples, dtype=torch.float64))
        noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return Sample(x, y + self.sigma * noise)

    @cached_property
    def test(self) -> Sample:
        return self._at((torch.arange(self.samples - 1, dtype=torch.float64) + 0.5) / (self.samples - 1))
