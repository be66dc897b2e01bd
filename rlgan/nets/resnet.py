"""The residual generator and critic of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028, appendix F, table 7)."""

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets.dcgan import ImagePairSpec, halvings, image_norm
from rlgan.nets.layers import Init, Norm, squashed
from rlgan.nets.lipschitz.bounds import bound_in_sequence, lipschitz_bound, product

Resample = Literal["up", "down", "none"]


def doubled(x: Tensor) -> Tensor:
    """Nearest-neighbour upsampling, ``(batch, C, H, W) -> (batch, C, 2 H, 2 W)``."""
    b, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(b, c, h, 2, w, 2).reshape(b, c, 2 * h, 2 * w)


@final
class Residual(nn.Module):
    """shortcut(x) + conv(act(norm(conv(act(norm(x)))))), 3x3 convolutions; resampled by a factor of 2 on both ways.

    ``up`` doubles before the first convolution and the shortcut's 1x1, ``down`` takes 2x2 means after the second and
    the shortcut's. `first`: the critic's first block, without norm and activation before its first convolution; its
    shortcut takes the means before the 1x1, at a quarter of the cost.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, resample: Resample, first: bool = False) -> None:
        super().__init__()
        self.resample, self.first = resample, first
        norm = "none" if first else norm
        self.norms = nn.ModuleList(nn.Sequential(*image_norm(norm, n)) for n in (inputs, outputs))
        self.convs = nn.ModuleList(
            (nn.Conv2d(inputs, outputs, 3, padding=1, bias=norm == "none"), nn.Conv2d(outputs, outputs, 3, padding=1))
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs or resample != "none" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.first else F.relu(self.norms[0](x))
        if self.resample == "up":
            x, y = doubled(x), doubled(y)
        if self.first:
            x = F.avg_pool2d(x, 2)
        x = self.shortcut(x)
        y = self.convs[1](F.relu(self.norms[1](self.convs[0](y))))
        if self.resample == "down":
            y = F.avg_pool2d(y, 2)
            x = x if self.first else F.avg_pool2d(x, 2)
        return x + y

    def lipschitz_bound(self, frequencies: int = 0) -> float | None:
        """The sum over the two ways; means over 2 x 2 pixels are as steep as 1/2, doubling both sides as 2."""
        around = lipschitz_bound(self.shortcut, frequencies)
        through = bound_in_sequence((*self.norms, *self.convs), frequencies)
        if around is None or through is None:
            return None
        return (around + through) * {"up": 2.0, "down": 0.5, "none": 1.0}[self.resample]


@final
class ResNetGenerator(nn.Module):
    """``(batch, latent) -> (batch, C, H, W)``: a linear layer to the smallest image, a residual block per doubling of
    its sides, norm, ReLU, a 3x3 convolution, the output activation; `width` channels throughout."""

    def __init__(self, latent: int, shape: tuple[int, ...], spec: ImagePairSpec) -> None:
        super().__init__()
        width, norm, count = spec.width, spec.norm, halvings(shape, spec.smallest)
        self.start = (width, shape[1] >> count, shape[2] >> count)
        self.project = nn.Linear(latent, math.prod(self.start))
        self.blocks = nn.Sequential(*(Residual(width, width, norm, "up") for _ in range(count)))
        self.last = nn.Sequential(*image_norm(norm, width), nn.ReLU(), nn.Conv2d(width, shape[0], 3, padding=1))
        self._squash = squashed(spec.output, shape)

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.last(self.blocks(self.project(z).reshape(-1, *self.start)))
        return torch.tanh(x) if self._squash else x


@final
class ResNetCritic(nn.Module):
    """``(batch, C, H, W) -> (batch, *outputs)``: residual blocks that halve the sides, two that keep them, ReLU, the
    mean over all pixels, a linear layer; `width` channels throughout. From 32 x 32 two halvings, as in the paper:
    one less than the generator has doublings, but at least one."""

    def __init__(self, shape: tuple[int, ...], outputs: tuple[int, ...], spec: ImagePairSpec) -> None:
        super().__init__()
        self.outputs, width, norm = outputs, spec.width, spec.norm
        down = max(1, halvings(shape, spec.smallest) - 1)
        blocks = [Residual(shape[0], width, norm, "down", first=True)]
        blocks += [Residual(width, width, norm, "down") for _ in range(down - 1)]
        self.pixels = (shape[1] >> down) * (shape[2] >> down)  # over which the mean is taken
        self.blocks = nn.Sequential(*blocks, *(Residual(width, width, norm, "none") for _ in range(2)))
        self.head = nn.Linear(width, math.prod(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(F.relu(self.blocks(x)).mean((2, 3)))
        return y.reshape(-1, *self.outputs)

    def lipschitz_bound(self, frequencies: int = 0) -> float | None:
        blocks, head = (lipschitz_bound(part, frequencies) for part in (self.blocks, self.head))
        # A mean of n values is as steep as 1/sqrt(n) of their Euclidean norm.
        return product(blocks, 1 / math.sqrt(self.pixels), head)


@final
@dataclass(frozen=True)
class ResNetSpec(ImagePairSpec):
    """The residual pair of WGAN-GP, for images of 8 x 8 to 64 x 64: `ResNetGenerator`, `ResNetCritic`.

    At 32 x 32 and width 128 it is table 7 of the paper, with batch norm in the generator, none in the critic and the
    init ``he`` (there but for the shortcuts); other sizes change the number of blocks.
    """

    width: int = 128
    init: Init = "he"

    generator, critic = ResNetGenerator, ResNetCritic
