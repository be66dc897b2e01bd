"""Where real samples come from: two-dimensional distributions and images.

Every draw is independent and identically distributed, with a generator and in draws of fixed shape: so it resumes
exactly, stacks over seeds, and a batch needs no state but its generator's. A finite data set is drawn from WITH
replacement, which makes the empirical distribution the one that is learnt; there are no epochs.

Samples are drawn in float32 whatever the precision of a run (cast them), so that runs of either precision see the same.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from rlgan.gan.metrics import DigitsJudge, mode_coverage


class Data(ABC):
    """A distribution of real samples."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (d,) for a point, (C, H, W) with values in [-1, 1] for an image."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` independent samples ``(n, *shape)``, float32, on the generator's device."""

    @property
    def images(self) -> bool:
        """Whether a sample is an image (C, H, W)."""
        return len(self.shape) == 3

    @property
    def size(self) -> int | None:
        """Number of samples of a finite data set; None for a distribution."""
        return None

    @property
    def modes(self) -> Tensor | None:
        """Means of a mixture of equal, isotropic Gaussians, ``(k, d)``; None for any other distribution."""
        return None

    def measure(self, samples: Tensor) -> dict[str, float]:
        """What can be said of generated samples ``(n, *shape)`` for these data in particular, under its tags."""
        return {}

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch that is larger than a finite data set: it could only repeat it.

        Raises:
            ValueError: naming both sizes.
        """
        if self.size is not None and batch_size > self.size:
            raise ValueError(
                f"batch_size = {batch_size}: larger than the data set ({self.size:,} samples); use at most {self.size}"
            )


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
        device = generator.device
        j = torch.randint(len(self.modes), (n,), generator=generator, device=device)
        noise = torch.randn(n, *self.shape, generator=generator, device=device)
        return self.modes.to(device)[j] + self.sigma * noise

    def measure(self, samples: Tensor) -> dict[str, float]:
        return mode_coverage(samples, self.modes, self.sigma).scalars()

    def _check_sigma(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma = {self.sigma}: must be positive, for example 0.02")


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
        if self.components < 1:
            raise ValueError(f"components = {self.components}: must be at least 1, for example 8")
        if not 0 < self.radius < math.inf:
            raise ValueError(f"radius = {self.radius}: must be positive, for example 1.0")
        self._check_sigma()

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
        if self.side < 1:
            raise ValueError(f"side = {self.side}: must be at least 1, for example 5")
        if not 0 < self.spacing < math.inf:
            raise ValueError(f"spacing = {self.spacing}: must be positive, for example 2.0")
        self._check_sigma()

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

    noise: float = 0.25
    scale: float = 7.5

    def __post_init__(self) -> None:
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise = {self.noise}: must not be negative, for example 0.25")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale = {self.scale}: must be positive, for example 7.5")

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        t = 1.5 * math.pi * (1 + 2 * torch.rand(n, generator=generator, device=device))
        noise = torch.randn(n, 2, generator=generator, device=device)
        return (torch.stack((t * t.cos(), t * t.sin()), 1) + self.noise * noise) / self.scale


@final
@dataclass(frozen=True)
class Digits(Data):
    """scikit-learn's 1,797 scans of hand-written digits, 8 x 8, grey levels 0 ... 16 scaled to [-1, 1].

    Real data that need no network: they are inside the scikit-learn package (UCI, Alpaydin & Kaynak 1998). In memory.
    """

    @cached_property
    def _scans(self) -> tuple[Tensor, Tensor]:
        pixels, labels = load_digits(return_X_y=True)
        return torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 8 - 1, torch.from_numpy(labels)

    @property
    def points(self) -> Tensor:
        """All images ``(1797, 1, 8, 8)``, float32, on the CPU."""
        return self._scans[0]

    @property
    def labels(self) -> Tensor:
        """The digit on each, ``(1797,)``, int64."""
        return self._scans[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.points.shape[1:])

    @property
    def size(self) -> int:
        return len(self.points)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(self.size, (n,), generator=generator, device=generator.device)
        return self._on(generator.device)[index]

    def measure(self, samples: Tensor) -> dict[str, float]:
        return self._judge(samples).scalars()

    @cached_property
    def _judge(self) -> DigitsJudge:
        return DigitsJudge(self.points, self.labels)

    @cached_property
    def _copies(self) -> dict[torch.device, Tensor]:
        return {self.points.device: self.points}

    def _on(self, device: torch.device) -> Tensor:
        """The images on `device`, copied there once."""
        if device not in self._copies:
            self._copies[device] = self.points.to(device)
        return self._copies[device]
