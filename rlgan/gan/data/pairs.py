"""Pairs of distributions whose Wasserstein-1 distance is known: what a critic's dual is held against.

All but one of them rest on one argument. Let f be 1-Lipschitz and let T move a point by the distance c so that f grows
by c. For x ~ nu and mu the law of T(x),

    c = E |T(x) - x| >= W1(mu, nu)             (the coupling (T(x), x)),
    W1(mu, nu) >= E_mu f - E_nu f = c          (Kantorovich-Rubinstein),

so W1 = c exactly, and f is an optimal critic.

`rlgan.gan.data.displaced` has pairs whose points are moved by distances that differ.

The real samples are mu, a generator that nothing moves is nu: a run on such data trains the critic alone.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from rlgan.gan.data.base import Data, check_count, check_not_negative, check_positive, draw


class FixedSampler(nn.Module):
    """A generator that training leaves as it is: nu as the image of N(0, I), ``(batch, latent) -> (batch, *shape)``.

    A player needs a vector; this one's has a single entry, which the samples do not depend on: its gradient is 0, and a
    method leaves it where it is.
    """

    def __init__(self, pair: "Pair") -> None:
        super().__init__()
        self._pair = pair
        self.idle = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        return self._pair.fake(z) + 0.0 * self.idle


class Pair(Data):
    """Real samples mu, a fixed distribution nu beside them, their distance and a critic that attains it."""

    @property
    @abstractmethod
    def w1(self) -> float:
        """W1(mu, nu)."""

    @abstractmethod
    def real(self, z: Tensor) -> Tensor:
        """mu as the image of z ~ N(0, I): ``(n, latent_dim) -> (n, *shape)``."""

    @abstractmethod
    def fake(self, z: Tensor) -> Tensor:
        """nu as the image of z ~ N(0, I): ``(n, latent_dim) -> (n, *shape)``."""

    @abstractmethod
    def critic(self, x: Tensor) -> Tensor:
        """An optimal critic: 1-Lipschitz with E_mu f - E_nu f = W1, ``(n, *shape) -> (n,)``."""

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Length of z."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.real(draw(torch.randn, generator, n, self.latent_dim))

    def generator(self) -> FixedSampler:
        return FixedSampler(self)

    def notes(self) -> list[str]:
        return [f"the generator is fixed, the critic trains alone: W1 = {self.w1:.6g} is known"]


@final
@dataclass(frozen=True)
class Cones(Pair):
    """Points in rings about `centres` tips, and the same points pushed by `distance` towards them.

    The critic is f(x) = -min_j |x - c_j|, 1-Lipschitz as a maximum of such functions. nu lies in rings about the
    centres, |x - c_j| uniform between `distance` and `distance + width`, its direction uniform and j too. A ring is
    nearer to its own centre than to any other (2 (distance + width) <= spacing), and a step towards the centre keeps it
    so: f grows by `distance` along it. So mu, the law of |x - c_j| uniform in [0, width], has W1(mu, nu) = `distance`,
    to the last digit.

    Three centres in the plane are the three cones of the literature. One centre in 128 dimensions is the
    high-dimensional cone, and with a width of 0 a point against the sphere about it.

    Args:
        centres: number of cones; their tips are the corners of a regular polygon, or the origin.
        dimension: of the space; two or more for several cones.
        distance: W1.
        width: of the rings.
        spacing: of neighbouring tips.
    """

    centres: int = 3
    dimension: int = 2
    distance: float = 1.0
    width: float = 1.0
    spacing: float = 4.0

    def __post_init__(self) -> None:
        check_count(self, "centres")
        check_count(self, "dimension", least=1 if self.centres == 1 else 2)
        check_positive(self, "distance")
        check_not_negative(self, "width")
        if self.centres > 1 and not 2 * (self.distance + self.width) <= self.spacing < math.inf:
            raise ValueError(
                f"spacing = {self.spacing}: the rings of two cones would meet, and W1 be unknown; use at least "
                f"2 (distance + width) = {2 * (self.distance + self.width):g}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    @property
    def w1(self) -> float:
        return self.distance

    @property
    def latent_dim(self) -> int:
        return self.dimension + 2  # a direction, a radius, a cone

    @cached_property
    def tips(self) -> Tensor:
        """c_j ``(centres, dimension)``, float32, on the CPU."""
        tips = torch.zeros(self.centres, self.dimension, dtype=torch.float64)
        if self.centres > 1:
            angle = 2 * math.pi * torch.arange(self.centres, dtype=torch.float64) / self.centres
            radius = self.spacing / (2 * math.sin(math.pi / self.centres))
            tips[:, :2] = radius * torch.stack((angle.cos(), angle.sin()), 1)
        return tips.float()

    def _about(self, z: Tensor, nearest: float) -> Tensor:
        """|x - c_j| uniform in [nearest, nearest + width]."""
        uniform = torch.special.ndtr(z[:, -2:])
        j = (self.centres * uniform[:, 0]).long().clamp(max=self.centres - 1)
        radius = nearest + self.width * uniform[:, 1]
        direction = torch.nn.functional.normalize(z[:, : self.dimension], dim=1)
        return self.tips.to(z)[j] + radius[:, None] * direction

    def real(self, z: Tensor) -> Tensor:
        return self._about(z, 0.0)

    def fake(self, z: Tensor) -> Tensor:
        return self._about(z, self.distance)

    def critic(self, x: Tensor) -> Tensor:
        return -torch.linalg.vector_norm(x[:, None] - self.tips.to(x), dim=2).min(1).values


@final
@dataclass(frozen=True)
class Gaussians(Pair):
    """A Gaussian and its translate, N(m, sigma^2 I) and N(0, sigma^2 I), m = distance (1, ..., 1)/sqrt(d): W1 = |m|.

    f(x) = m.x / |m| is 1-Lipschitz, and x -> x + m moves every point by |m| and raises f by |m|. The optimal critic is
    linear, so that any architecture can have it: what a control gets wrong here it gets wrong by itself.

    Args:
        dimension: of the space.
        distance: W1.
        sigma: standard deviation per dimension.
    """

    dimension: int = 2
    distance: float = 1.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_count(self, "dimension")
        check_positive(self, "distance", "sigma")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    @property
    def w1(self) -> float:
        return self.distance

    @property
    def latent_dim(self) -> int:
        return self.dimension

    def real(self, z: Tensor) -> Tensor:
        return self.distance / math.sqrt(self.dimension) + self.sigma * z

    def fake(self, z: Tensor) -> Tensor:
        return self.sigma * z

    def critic(self, x: Tensor) -> Tensor:
        return x.sum(1) / math.sqrt(self.dimension)


@final
@dataclass(frozen=True)
class Atoms(Pair):
    """Images: one atom against two. nu is the grey image 0, mu shows a square of white or of black, each half the time.

    There is one coupling with a point mass, hence W1(mu, nu) = E_mu |x| = the square's norm = its side in pixels: 35
    for torchlip's 35 x 35 square in 64 x 64 pixels. No MAP carries the one atom to the two (Monge's problem has no
    solution, Kantorovich's has); f(x) = |x| is an optimal critic, with a kink at nu.

    Args:
        side: pixels along an edge of the image.
        square: pixels along an edge of the square in its middle; W1.
    """

    latent_dim = 1

    side: int = 64
    square: int = 35

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side = {self.side}: must be at least 1 pixel, for example 64")
        if not 1 <= self.square <= self.side:
            raise ValueError(f"square = {self.square}: must be 1 to side = {self.side} pixels, for example 35 in 64")

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.side, self.side)

    @property
    def w1(self) -> float:
        return float(self.square)

    @cached_property
    def image(self) -> Tensor:
        """The white square ``(1, side, side)``, float32, on the CPU."""
        start = (self.side - self.square) // 2
        image = torch.zeros(1, self.side, self.side)
        image[:, start : start + self.square, start : start + self.square] = 1.0
        return image

    def real(self, z: Tensor) -> Tensor:
        sign = torch.where(z > 0, 1.0, -1.0).to(z)
        return sign[:, :, None, None] * self.image.to(z)

    def fake(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)[:, :, None, None] * self.image.to(z)

    def critic(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x.flatten(1), dim=1)
