"""A chain of layers with one node each: the smallest deep network, of which every derivative has a closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from rlgan.erm.problems.surfaces import Surface


@final
@dataclass(frozen=True)
class Chain(Surface):
    """One node a layer and no non-linearity, R(w) = (y - p)^2 with the output p = x w_1 w_2 ... w_l.

    The output is linear in x and in each weight alone, and a polynomial of degree l in all of them: a step that moves
    all weights at once has terms of every order up to 2 l. With q_i = p / w_i, the product of x and the other weights,

        g_i = 2 (p - y) q_i,    H_ij = 2 q_i q_j + 2 (p - y) p / (w_i w_j) for i != j,    H_ii = 2 q_i^2.

    (CMSC 35246, Lecture 6: Optimization for Deep Neural Networks, "Batch Normalization"; Goodfellow et al. 2016,
    section 8.7.1.)

    Args:
        layers: l.
        weight: of every layer at the start.
        x: the one input.
        slope: delta = dR/dp at the start, which sets y = p - slope/2, so that R starts at slope^2 / 4 whatever the
            depth and the weights.
        start: the weights one by one; null is `weight` throughout.
        gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    layers: int = 10
    weight: float = 1.2
    x: float = 1.0
    slope: float = 1.0
    start: tuple[float, ...] | None = None
    gradient_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError(f"layers = {self.layers}: must be at least 1, for example 10")
        for name in ("weight", "x", "slope"):
            if not math.isfinite(value := getattr(self, name)):
                raise ValueError(f"{name} = {value}: must be a finite number, for example {getattr(Chain, name)}")
        self.check()
        if not math.isfinite(self.target):
            raise ValueError(
                f"layers = {self.layers}: {self.layers} weights of {self.weight} have a product beyond the largest "
                "number; use fewer, or weights nearer to 1"
            )

    @property
    def usual_start(self) -> tuple[float, ...]:
        return (self.weight,) * self.layers

    def output(self, theta: Tensor) -> Tensor:
        """p = x w_1 ... w_l, a scalar, of theta (l,)."""
        return self.x * theta.prod()

    @property
    def target(self) -> float:
        """y = p - slope/2 of the start."""
        return float(self.output(self.beginning)) - self.slope / 2

    def value(self, theta: Tensor) -> Tensor:
        return (self.target - self.output(theta)).square()

    def least(self) -> float:
        return 0.0 if self.x else self.target**2

    def gradient(self, theta: Tensor) -> Tensor:
        """g (l,) by the closed form, float64; no weight may be 0."""
        w = theta.double()
        p = self.output(w)
        return 2 * (p - self.target) * p / w

    def hessian(self, theta: Tensor) -> Tensor:
        """H ``(l, l)`` by the closed form, float64; no weight may be 0."""
        w = theta.double()
        p = self.output(w)
        q = p / w
        return 2 * torch.outer(q, q) + 2 * (p - self.target) * p * (1 / torch.outer(w, w) - torch.diag(w**-2))
