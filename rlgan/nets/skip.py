"""A linear way past a network, from its input to its output."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from rlgan.nets.linear import Linear


@final
class Skip(nn.Module):
    """f(x) + A x, ``(batch, *inputs) -> (batch, *outputs)``: a network f and a matrix A that is 0 at first.

    In a generator A z is a spread that all samples have: the modes of a mixture need not each learn their own.
    """

    def __init__(self, network: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.skip = Linear(inputs, outputs, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y + self.skip(x)
