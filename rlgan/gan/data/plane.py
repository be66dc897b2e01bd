"""Distributions in the plane, and the point mass of the Dirac-GAN."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from rlgan.gan.data.base import Data, check_count, check_not_negative, check_positive, draw
from rlgan.gan.metrics.modes import mode_coverage


class Mixture(Data):
    """Equal isotropic Gaussians: x = m_j + sigma n with j uniform and n ~ N(0, I)."""

    sigma: float

    @property
    @abstractmethod
    def modes(self) -> Tensor:
        """Means ``(k, d)``, float32, on the CPU."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.modes.shape[1:])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        j = torch.randint(len(self.modes), (n,), generator=generator, device=generator.device)
        noise = draw(torch.randn, generator, n, *self.shape)
        return self.modes.to(noise.device)[j] + self.sigma * noise

    def measure(self, samples: Tensor) -> dict[str, float]:
        return mode_coverage(samples, self.modes, self.sigma).scalars()

    def remarks(self, samples: Tensor) -> list[str]:
        spreads = mode_coverage(samples, self.modes, self.sigma).spreads
        width, mode = (x.item() for x in spreads.min(0))
        place = ", ".join(f"{x:.2f}" for x in self.modes[int(mode)].tolist())
        return [f"the narrowest mode is number {int(mode)}, at ({place}): {width:.3g} of its true width"]


@final
@dataclass(frozen=True)
class Ring(Mixture):
    """`components` Gaussians on a circle about the origin, the first at angle 0.

    Args:
        components: number of modes.
        radius: of the circle.
        sigma: standard deviation of a mode, per dimension (0.01 in the published tables).
    """

    components: int = 8
    radius: float = 1.0
    sigma: float = 0.02

    def __post_init__(self) -> None:
        check_count(self, "components")
        check_positive(self, "radius", "sigma")

    @cached_property
    def modes(self) -> Tensor:
        angle = 2 * math.pi * torch.arange(self.components, dtype=torch.float64) / self.components
        return (self.radius * torch.stack((angle.cos(), angle.sin()), 1)).float()


@final
@dataclass(frozen=True)
class Grid(Mixture):
    """`side` x `side` Gaussians on a square lattice about the origin: 5 x 5 from -4 to 4 by default.

    Args:
        side: modes along an edge.
        spacing: distance of neighbours.
        sigma: standard deviation of a mode, per dimension.
    """

    side: int = 5
    spacing: float = 2.0
    sigma: float = 0.05

    def __post_init__(self) -> None:
        check_count(self, "side")
        check_positive(self, "spacing", "sigma")

    @cached_property
    def modes(self) -> Tensor:
        ticks = self.spacing * (torch.arange(self.side) - (self.side - 1) / 2)
        return torch.cartesian_prod(ticks, ticks).reshape(-1, 2)


@final
@dataclass(frozen=True)
class SwissRoll(Data):
    """A spiral in the plane: ((t cos t, t sin t) + noise n) / scale, t = 3 pi/2 (1 + 2 u), u uniform, n ~ N(0, I).

    The first and third coordinates of scikit-learn's ``make_swiss_roll``, as in improved_wgan_training, whose scale of
    7.5 puts the outer end at radius 3 pi/5 = 1.88.

    Args:
        noise: standard deviation per dimension, before scaling.
        scale: divides the spiral and its noise.
    """

    shape = (2,)

    noise: float = 0.25
    scale: float = 7.5

    def __post_init__(self) -> None:
        check_not_negative(self, "noise")
        check_positive(self, "scale")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        t = 1.5 * math.pi * (1 + 2 * draw(torch.rand, generator, n))
        noise = draw(torch.randn, generator, n, 2)
        return (torch.stack((t * t.cos(), t * t.sin()), 1) + self.noise * noise) / self.scale


@final
@dataclass(frozen=True)
class TwoMoons(Data):
    """Two interleaved half circles: (cos t, sin t) or (1 - cos t, 1/2 - sin t), each with probability 1/2, + noise n.

    t is uniform on [0, pi] and n ~ N(0, I): scikit-learn's ``make_moons`` with independent draws in place of its evenly
    spaced points.

    Args:
        noise: standard deviation per dimension.
    """

    shape = (2,)

    noise: float = 0.05

    def __post_init__(self) -> None:
        check_not_negative(self, "noise")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        lower = torch.randint(2, (n,), generator=generator, device=generator.device) == 1
        t = math.pi * draw(torch.rand, generator, n)
        noise = draw(torch.randn, generator, n, 2)
        x = torch.where(lower, 1 - t.cos(), t.cos())
        y = torch.where(lower, 0.5 - t.sin(), t.sin())
        return torch.stack((x, y), 1) + self.noise * noise


@final
@dataclass(frozen=True)
class Dirac(Data):
    """All mass at the origin: with a linear critic f(x) = psi x and a generator that is one point theta the Dirac-GAN.

    Its value f(0) - f(theta) = -psi theta is bilinear, its one equilibrium theta = psi = 0. Mescheder, Geiger & Nowozin
    2018 (arXiv:1801.04406), section 2.

    Args:
        dimension: of the space.
    """

    dimension: int = 1

    def __post_init__(self) -> None:
        check_count(self, "dimension")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(n, self.dimension, device=generator.device)
