"""A network: everything but its shapes, and how it is built from these."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlgan.nets import NetworkSpec


class Residual(nn.Module):
    """A perceptron whose hidden layers add to what they are given, (batch, *inputs) -> (batch, *outputs)."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.first = nn.Linear(math.prod(inputs), width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, math.prod(outputs))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(-len(self.inputs)))
        for layer in self.hidden:
            h = h + layer(torch.relu(h))
        y: Tensor = self.last(torch.relu(h))
        return y.unflatten(-1, self.outputs) if self.outputs else y.squeeze(-1)


@dataclass(frozen=True)
class Mine(NetworkSpec):
    """A residual perceptron; an actor and a critic of actions are made of it, too.

    Args:
        width: of every hidden layer.
        depth: how many hidden layers there are beside the first.
    """

    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width = {self.width}: must be at least 1, for example 64")

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
        """A new network; of no outputs, (), it gives one number per sample, (batch,)."""
        return Residual(inputs, outputs, self.width, self.depth)
