"""A small convolutional network from an image to scores: what a classifier of labelled pictures is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor, nn

from rlgan.nets.dcgan import image_norm
from rlgan.nets.layers import ACTIVATIONS, Activation, Init, NetworkSpec, Norm, initialise
from rlgan.nets.lipschitz.bounds import bound_in_sequence

Reduce = Literal["stride", "max", "average", "none"]


@final
class ConvNet(nn.Module):
    """``(batch, C, H, W) -> (batch, *outputs)``: 3x3 convolution, norm, activation, repeated; then one linear layer.

    After each convolution both sides are halved: by its stride 2, or by the largest or the mean of 2x2 pixels after the
    activation (LeCun et al. 1998 take means). An odd side is rounded up by a stride, down by a mean or maximum.
    """

    def __init__(self, shape: tuple[int, ...], outputs: tuple[int, ...], spec: ConvSpec) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        stride = 2 if spec.reduce == "stride" else 1
        bias = spec.norm == "none"  # a norm subtracts the bias before it and has its own
        channels, height, width = shape
        layers: list[nn.Module] = []
        for n in spec.channels:
            layers.append(nn.Conv2d(channels, n, 3, stride, 1, bias=bias))
            layers += [*image_norm(spec.norm, n), ACTIVATIONS[spec.activation].module()]
            if spec.reduce in ("max", "average"):
                layers.append((nn.MaxPool2d if spec.reduce == "max" else nn.AvgPool2d)(2))
            channels, height, width = n, spec.halved(height), spec.halved(width)
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels * height * width, math.prod(self.outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).flatten(1)).reshape(-1, *self.outputs)

    def lipschitz_bound(self, frequencies: int = 0) -> float | None:
        return bound_in_sequence((self.layers, self.head), frequencies)


@final
@dataclass(frozen=True)
class ConvSpec(NetworkSpec):
    """A few 3x3 convolutions that halve an image's sides, then a linear layer: for images (C, H, W) of any size.

    Args:
        channels: of each convolution.
        reduce: how a convolution's sides are halved: ``stride`` 2, the ``max`` or ``average`` of 2x2 pixels; ``none``.
        activation: after every convolution.
        norm: between a convolution and its activation; ``batch`` couples samples: not with a per-sample penalty.
        init: see `initialise`.

    Raises:
        ValueError: no convolution, or one without channels.
    """

    channels: tuple[int, ...] = (16, 32)
    reduce: Reduce = "stride"
    activation: Activation = "relu"
    norm: Norm = "none"
    init: Init = "he"

    def __post_init__(self) -> None:
        if not self.channels or any(n < 1 for n in self.channels):
            raise ValueError(
                f"channels = {list(self.channels)}: a number, at least 1, for each convolution; for example [16, 32]"
            )

    def halved(self, side: int) -> int:
        """An image's side after one convolution, in pixels."""
        return {"stride": (side + 1) // 2, "none": side}.get(self.reduce, side // 2)

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> ConvNet:
        """As `NetworkSpec.build`.

        Raises:
            ValueError: the inputs are no image (C, H, W), or one whose sides cannot be halved so often.
        """
        if len(inputs) != 3:
            raise ValueError(
                f"shape = {tuple(inputs)} -> {tuple(outputs)}: {type(self).__name__} takes images (C, H, W); "
                "use network mlp for data that are not images"
            )
        smallest = min(inputs[1:])
        for _ in self.channels:
            smallest = self.halved(smallest)
        if smallest < 1:
            raise ValueError(
                f"channels = {list(self.channels)}: halve an image of {inputs[1]} x {inputs[2]} down to nothing; "
                f"use at most {int(math.log2(min(inputs[1:])))} of them, or reduce=stride"
            )
        module = ConvNet(inputs, outputs, self)
        initialise(module, self.init, gain=ACTIVATIONS[self.activation].gain)
        return module
