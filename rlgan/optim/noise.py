"""Noise xi that a step adds to the point it arrives at.

Draws are made outside of the update, from a generator that the checkpoint carries, and passed in: random numbers inside
a compiled or stacked update would tie the trajectory to the way it is run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Noise(ABC):
    """A source of displacements xi (d,), scaled by what the step passes as `scale`."""

    active: bool = True

    @abstractmethod
    def draw(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        """One standard draw of the shape, dtype and device of `theta`."""

    @abstractmethod
    def scale(self, lr: float) -> float:
        """sigma, what the draw is multiplied by in a step with learning rate `lr`."""


@dataclass(frozen=True)
class NoNoise(Noise):
    """xi = 0."""

    active = False

    def draw(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        return torch.zeros_like(theta)

    def scale(self, lr: float) -> float:
        return 0.0


@dataclass(frozen=True)
class Gaussian(Noise):
    """sigma xi with xi ~ N(0, I).

    Args:
        sigma: standard deviation in units of the parameters, positive.

    Raises:
        ValueError: if `sigma` is not positive.
    """

    sigma: float = 1e-3

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"sigma = {self.sigma}: must be positive, for example 1e-3; noise=none for no noise")

    def draw(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(theta.shape, generator=generator, dtype=theta.dtype, device=theta.device)

    def scale(self, lr: float) -> float:
        return self.sigma
