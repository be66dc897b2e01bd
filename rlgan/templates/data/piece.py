"""Data: the shape of one sample, and how some are drawn."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rlgan.gan import Data


@dataclass(frozen=True)
class Mine(Data):
    """Points on a circle about the origin, with Gaussian noise.

    Args:
        radius: of the circle, positive.
        sigma: standard deviation of the noise, at least 0.
    """

    radius: float = 2.0
    sigma: float = 0.05

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius = {self.radius}: must be positive, for example 2.0")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (2,) is a point, (channels, height, width) an image with values in [-1, 1]."""
        return (2,)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n samples (n, 2), on the generator's device; all randomness comes from `generator`."""
        device = generator.device
        angle = 2 * math.pi * torch.rand(n, generator=generator, device=device)
        circle = self.radius * torch.stack((angle.cos(), angle.sin()), 1)
        return circle + self.sigma * torch.randn(n, 2, generator=generator, device=device)
