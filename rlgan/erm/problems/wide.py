"""A wide network of one hidden layer, whose gradient descent is a linear system when it is wide enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from rlgan.erm.problems.base import Kind, Problem, Sample
from rlgan.task.settings import Settings

Last = Literal["signs", "uniform"]
"""How a_r is drawn: -1 or 1, or from U[-1, 1]."""


@final
class WideNet(nn.Module):
    """f(x) = (1/sqrt m) sum_r a_r relu(w_r . x), ``(..., d) -> (...)``.

    Attributes:
        hidden: w ``(m, d)``, from N(0, I).
        last: a ``(m,)``; trained or not.
        start: w as it was at first, ``(m, d)``.
    """

    last: Tensor
    start: Tensor

    def __init__(self, dimension: int, width: int, last: Last, trains_last: bool) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.randn(width, dimension))
        a = torch.rand(width) * 2 - 1
        a = a.sign() if last == "signs" else a
        if trains_last:
            self.last = nn.Parameter(a)
        else:
            self.register_buffer("last", a)
        self.register_buffer("start", self.hidden.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.hidden.t()) @ self.last / math.sqrt(len(self.last))


@final
@dataclass(frozen=True)
class Wide(Problem):
    """Points on the unit sphere with values y ~ N(0, 1), learnt by a network of width m that belongs to the problem.

    f(x) = (1/sqrt m) sum_r a_r relu(w_r . x) with w_r ~ N(0, I) trained and a_r = -1 or 1 fixed. Of the answers
    u = f(x_i) and E = |u - y|^2 / 2, gradient descent with step eta makes u+ - y = (I - eta H) (u - y), where H
    depends on w, and is nearly H_inf for all time when m is large:

        H_inf_ij = x_i . x_j (pi - arccos x_i . x_j) / (2 pi),
        |u_k - y|^2 <= (1 - eta lambda_0 / 2)^k |u_0 - y|^2,        lambda_0 the smallest eigenvalue of H_inf.

    (Du et al. 2019, arXiv:1810.02054, theorem 4.1: with m of order n^6 / (lambda_0^4 delta^3) and eta of order
    lambda_0 / n^2 this holds with probability 1 - delta.) The risk here is R = |u - y|^2 / n = 2 E / n, so that the
    learning rate is lr = eta n / 2. Points and values are the same for every seed of a run.

    Args:
        samples: n, to train on.
        dimension: d, of the sphere's space.
        width: m.
        last: a_r is -1 or 1 (`signs`), or from U[-1, 1] (`uniform`), which makes H_inf a third of what it was.
        trains_last: whether a is trained too; then H_inf has E[relu(w . x_i) relu(w . x_j)] added.

    Raises:
        ValueError: an impossible number.
    """

    kind: ClassVar[Kind] = "values"

    samples: int = 50
    dimension: int = 50
    width: int = 1000
    last: Last = "signs"
    trains_last: bool = False

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("dimension", 2), ("width", 1)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} = {value}: must be at least {least}, for example {getattr(type(self), name)}")

    @property
    def inputs(self) -> tuple[int, ...]:
        return (self.dimension,)

    @cached_property
    def train(self) -> Sample:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.samples, self.dimension, generator=generator, dtype=torch.float64)
        y = torch.randn(self.samples, generator=generator, dtype=torch.float64)
        return Sample(x / x.norm(dim=1, keepdim=True), y)

    def network(self, settings: Settings, outputs: tuple[int, ...]) -> nn.Module:
        return WideNet(self.dimension, self.width, self.last, self.trains_last)

    @cached_property
    def kernel(self) -> Tensor:
        """H_inf ``(n, n)``, float64."""
        x = self.train.x
        cosine = (x @ x.T).clamp(-1, 1).fill_diagonal_(1.0)
        angle = torch.arccos(cosine)
        square = 1.0 if self.last == "signs" else 1 / 3
        gates = square * cosine * (math.pi - angle) / (2 * math.pi)
        if not self.trains_last:
            return gates
        return gates + (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi)

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Of H_inf, ``(n,)`` float64, the smallest, lambda_0, first."""
        return torch.linalg.eigvalsh(self.kernel)

    def notes(self) -> list[str]:
        least, most = float(self.eigenvalues[0]), float(self.eigenvalues[-1])
        return [
            f"the network is the problem's, of width {self.width:,}; H_inf has eigenvalues from {least:.3g} to "
            f"{most:.3g}, so that lr = {self.samples / 2 / most:.3g} is the largest without oscillation"
        ]
