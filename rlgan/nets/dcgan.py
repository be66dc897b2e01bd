"""A small convolutional generator and critic for images (Radford et al. 2016)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from rlgan.nets.layers import ACTIVATIONS, Activation, Init, NetworkSpec, Norm, Output, initialise, squashed
from rlgan.nets.lipschitz.bounds import bound_in_sequence


def image_norm(norm: Norm, channels: int) -> list[nn.Module]:
    """The layers, none or one, that normalise ``(batch, channels, H, W)``."""
    if norm == "none":
        return []
    # One group: moments over the channels and pixels of one sample, as in WGAN-GP's critics; affine per channel.
    return [nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels)]


def halvings(shape: tuple[int, ...], smallest: int, odd: bool = False) -> int:
    """How often both sides of an image can be halved without falling below `smallest`.

    Args:
        shape: (C, H, W).
        smallest: pixels.
        odd: halves of odd sides are rounded down; else they are halved while they are even.

    Raises:
        ValueError: not once; names the sides that can.
    """
    height, width = shape[1:]
    count = 0
    while min(height, width) // 2 >= smallest and (odd or (height % 2 == 0 and width % 2 == 0)):
        height, width, count = height // 2, width // 2, count + 1
    if count == 0:
        least = 2 * smallest
        if odd:
            raise ValueError(
                f"shape = {shape}: this network halves an image's sides, down to {smallest} pixels; use sides of at "
                f"least {least} pixels, odd ones too, for example {least}, 28, 32 or 45; or network mlp"
            )
        raise ValueError(
            f"shape = {shape}: this network halves an image's sides at least once, down to {smallest} pixels; every "
            f"even side from {least} on works ({', '.join(str(least + 2 * i) for i in range(4))}, ..., 28, 32, ...), "
            "best a power of two; use such images (data.side), or network dcgan, which takes odd sides, or mlp"
        )
    return count


@dataclass(frozen=True)
class ImagePairSpec(NetworkSpec):
    """Two networks for images of one size: a generator from a latent vector, and a critic that scores them.

    A subclass names both classes, and the activation of each, by which `init` scales its weights.

    Args:
        width: channels of the largest layers; of the image at full resolution.
        norm: ``layer`` or ``none`` for a critic under a per-sample gradient penalty.
        smallest: sides are halved while they stay at least this many pixels (and, of a residual pair, are even).
        init: see `initialise`.
        output: the generator's last activation; ``auto`` is tanh.
    """

    generator: ClassVar[type[nn.Module]]
    critic: ClassVar[type[nn.Module]]
    activations: ClassVar[tuple[Activation, Activation]] = ("relu", "relu")

    width: int = 32
    norm: Norm = "batch"
    smallest: int = 4
    init: Init = "torch"
    output: Output = "auto"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width = {self.width}: must be at least 1 channel, for example 32")
        if self.smallest < 1:
            raise ValueError(f"smallest = {self.smallest}: must be at least 1 pixel, for example 4")

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
        kind = type(self)
        if len(inputs) == 1 and len(outputs) == 3:
            module, activation = kind.generator(inputs[0], tuple(outputs), self), self.activations[0]
        elif len(inputs) == 3 and len(outputs) <= 1:
            module, activation = kind.critic(tuple(inputs), tuple(outputs), self), self.activations[1]
        else:
            raise ValueError(
                f"shape = {tuple(inputs)} -> {tuple(outputs)}: {kind.__name__} maps a latent vector to an image "
                "(C, H, W), or an image to a score; use network mlp for data that are not images"
            )
        initialise(module, self.init, gain=ACTIVATIONS[activation].gain)
        return module


@final
class DCGANGenerator(nn.Module):
    """``(batch, latent) -> (batch, C, H, W)``: a linear layer to the smallest image, transposed convolutions (kernel 4,
    stride 2) that double its sides and halve its channels down to `width`, a 3x3 convolution, the output activation.

    Radford et al. 2016 with the 3x3 convolution at full resolution of Miyato et al. 2018 (table 3), which is what lets
    an 8x8 image have any depth at all; without it (`full_resolution`) as in Radford et al. ReLU, as there.
    """

    def __init__(self, latent: int, shape: tuple[int, ...], spec: DCGANSpec) -> None:
        super().__init__()
        norm, count, full = spec.norm, halvings(shape, spec.smallest, odd=True), spec.full_resolution
        channels = spec.width * 2 ** (count if full else count - 1)
        self.start = (channels, shape[1] >> count, shape[2] >> count)
        bias = norm == "none"  # a norm subtracts the bias before it and has its own
        self.project = nn.Linear(latent, math.prod(self.start), bias=bias)
        layers: list[nn.Module] = [*image_norm(norm, channels), nn.ReLU()]
        for i in reversed(range(count)):
            beyond = (shape[1] >> i) % 2, (shape[2] >> i) % 2  # 2 n + 1 where the halving has rounded down
            last = i == 0 and not full
            after = shape[0] if last else channels // 2
            layers.append(nn.ConvTranspose2d(channels, after, 4, 2, 1, beyond, bias=bias or last))
            channels = after
            layers += [] if last else [*image_norm(norm, channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *([nn.Conv2d(channels, shape[0], 3, 1, 1)] if full else []))
        self._squash = squashed(spec.output, shape)

    def forward(self, z: Tensor) -> Tensor:
        x = self.layers(self.project(z).reshape(-1, *self.start))
        return torch.tanh(x) if self._squash else x


@final
class DCGANCritic(nn.Module):
    """The generator's mirror image, ``(batch, C, H, W) -> (batch, *outputs)``.

    A 3x3 convolution to `width` channels, convolutions (kernel 4, stride 2) that halve the sides and double the
    channels, one linear layer; without `full_resolution` the first of these makes the `width` channels. Leaky ReLU of
    slope 0.2; the first layer has no norm (Radford et al. 2016).
    """

    def __init__(self, shape: tuple[int, ...], outputs: tuple[int, ...], spec: DCGANSpec) -> None:
        super().__init__()
        self.outputs = outputs
        norm, count, channels = spec.norm, halvings(shape, spec.smallest, odd=True), spec.width
        bias, full = norm == "none", spec.full_resolution
        first = nn.Conv2d(shape[0], channels, 3, 1, 1) if full else nn.Conv2d(shape[0], channels, 4, 2, 1)
        layers: list[nn.Module] = [first, nn.LeakyReLU(0.2)]
        for _ in range(count if full else count - 1):
            layers.append(nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=bias))
            channels *= 2
            layers += [*image_norm(norm, channels), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels * (shape[1] >> count) * (shape[2] >> count), math.prod(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).flatten(1)).reshape(-1, *self.outputs)

    def lipschitz_bound(self, frequencies: int = 0) -> float | None:
        return bound_in_sequence((self.layers, self.head), frequencies)


@final
@dataclass(frozen=True)
class DCGANSpec(ImagePairSpec):
    """A small convolutional pair: `DCGANGenerator` from a latent vector, `DCGANCritic` from an image.

    Channels double with every halving of the sides. The paper has batch norm, and the init ``normal``, N(0, 0.02^2),
    which is meant for it: without it the first outputs, and the gradients back through them, are nearly zero.

    Args:
        full_resolution: a convolution before the first halving, and behind the last doubling. It is most of the cost:
            without it an update of 28 x 28 images takes a fifth of the time, and `width` is the number of channels at
            half the sides.
    """

    full_resolution: bool = True

    generator, critic, activations = DCGANGenerator, DCGANCritic, ("relu", "leaky_relu")
