"""The smallest players: a linear critic and a generator that is one point, for games that are solved by hand."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from rlgan.nets.layers import NetworkSpec


@final
class LinearMap(nn.Module):
    """A linear map f(x) = W x, ``(batch, *inputs) -> (batch, *outputs)``, every weight `start` at first; no bias."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], start: float) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.weight = nn.Parameter(torch.full((math.prod(outputs), math.prod(inputs)), start))

    def lipschitz_bound(self, frequencies: int = 0) -> float:
        """The norm of W, in the Euclidean norms of inputs and outputs."""
        return float(torch.linalg.matrix_norm(self.weight.detach(), 2))

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(-len(self.inputs)) @ self.weight.t()
        return y.unflatten(-1, self.outputs) if self.outputs else y.squeeze(-1)


@final
class ConstantPoint(nn.Module):
    """One point whatever z, ``(batch, *inputs) -> (batch, *outputs)``; every coordinate is `start` at first."""

    def __init__(self, outputs: tuple[int, ...], start: float) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.full(outputs, start))

    def forward(self, z: Tensor) -> Tensor:
        return self.point.expand(z.shape[0], *self.point.shape)


@final
@dataclass(frozen=True)
class LinearSpec(NetworkSpec):
    """A linear critic f(x) = psi . x: that of the Dirac-GAN (Mescheder et al. 2018, arXiv:1801.04406, section 2).

    Args:
        start: every weight at first.
    """

    start: float = 1.0

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> LinearMap:
        return LinearMap(inputs, outputs, self.start)


@final
@dataclass(frozen=True)
class PointSpec(NetworkSpec):
    """One point that does not see its noise, G(z) = theta: the generator of the Dirac-GAN.

    Args:
        start: every coordinate at first.
    """

    start: float = 1.0

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> ConstantPoint:
        return ConstantPoint(outputs, self.start)
