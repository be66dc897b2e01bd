"""Two classes in the plane: clouds that a line separates, and a disc inside of a ring, which none does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from rlgan.erm.problems.base import Labelled, Sample

TRAIN, TEST = 0, 1
"""Seeds of the samples, which are the same for every seed of a run."""
CUT = 3.0
"""Standard deviations at which a cloud ends."""


def directions(n: int, generator: torch.Generator) -> Tensor:
    """Points on the unit circle ``(n, 2)``, float64, uniformly."""
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.stack((angle.cos(), angle.sin()), 1)


def balanced(n: int, classes: int) -> Tensor:
    """Classes ``(n,)``, as many of each as there can be."""
    return torch.arange(n) % classes


@final
@dataclass(frozen=True)
class Blobs(Labelled):
    """Round clouds, one for each class, with centres evenly on a circle: N(c_j, sigma^2 I) cut off at 3 sigma.

    Where neighbours' centres are more than 6 sigma apart, no clouds meet: two classes are separated by a line, with a
    margin of distance - 6 sigma.

    Args:
        samples: to train on; as many others are the test.
        classes: number of clouds.
        distance: of neighbouring centres.
        sigma: standard deviation of a cloud, per dimension.
        random_labels: share of the training labels that is replaced at random.

    Raises:
        ValueError: an impossible number or share.
    """

    samples: int = 400
    classes: int = 2
    distance: float = 2.0
    sigma: float = 0.3
    random_labels: float = 0.0

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes = {self.classes}: at least 2, to tell apart; for example 2")
        if self.samples < self.classes:
            raise ValueError(f"samples = {self.samples}: at least one for each of {self.classes} classes; e.g. 400")
        for name in ("distance", "sigma"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} = {value}: must be positive, for example {getattr(Blobs, name)}")
        _ = self.train

    @property
    def centres(self) -> Tensor:
        """c_j ``(classes, 2)``, float64: the corners of a regular polygon; of two the ends of a diameter."""
        angle = 2 * math.pi * torch.arange(self.classes, dtype=torch.float64) / self.classes
        radius = self.distance / (2 * math.sin(math.pi / self.classes))
        return radius * torch.stack((angle.cos(), angle.sin()), 1)

    @property
    def margin(self) -> float:
        """Between the clouds of neighbours, at least; negative where they may meet."""
        return self.distance - 2 * CUT * self.sigma

    def make(self) -> tuple[Sample, Sample]:
        def drawn(seed: int) -> Sample:
            generator = torch.Generator().manual_seed(seed)
            y = balanced(self.samples, self.classes)
            # |x - c| / sigma is Rayleigh's: by its inverse distribution function, up to the cut.
            u = torch.rand(self.samples, generator=generator, dtype=torch.float64)
            radius = self.sigma * (-2 * torch.log1p(-u * (1 - math.exp(-(CUT**2) / 2)))).sqrt()
            x = self.centres[y] + radius[:, None] * directions(self.samples, generator)
            return Sample(x.float(), y)

        return drawn(TRAIN), drawn(TEST)

    def notes(self) -> list[str]:
        meet = [] if self.margin > 0 else ["the clouds may meet: distance is not above 6 sigma, so no line need do"]
        return [*meet, *super().notes()]


@final
@dataclass(frozen=True)
class Rings(Labelled):
    """A disc (class 0) inside of a ring (class 1): no line separates them, a circle does.

    Both are filled evenly: |x| <= 1 and 1 + gap <= |x| <= 1 + gap + width. `lifted` adds |x| = sqrt(x_1^2 + x_2^2) as a
    third input, in which the plane |x| = 1 + gap/2 separates them.

    Args:
        samples: to train on; as many others are the test.
        gap: between disc and ring.
        width: of the ring.
        sigma: noise on the points, N(0, sigma^2 I), before they are lifted; 0 keeps the gap.
        lifted: whether |x| is the third input.
        random_labels: share of the training labels that is replaced at random.

    Raises:
        ValueError: an impossible number or share.
    """

    classes = 2

    samples: int = 400
    gap: float = 0.5
    width: float = 0.5
    sigma: float = 0.0
    lifted: bool = False
    random_labels: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples = {self.samples}: at least 2, one for each class; for example 400")
        for name in ("gap", "width", "sigma"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} = {value}: must not be negative, for example {getattr(Rings, name)}")
        _ = self.train

    def make(self) -> tuple[Sample, Sample]:
        def drawn(seed: int) -> Sample:
            generator = torch.Generator().manual_seed(seed)
            y = balanced(self.samples, 2)
            inner = torch.tensor([0.0, 1 + self.gap], dtype=torch.float64)[y]
            outer = torch.tensor([1.0, 1 + self.gap + self.width], dtype=torch.float64)[y]
            # Evenly by area: |x|^2 is uniform.
            u = torch.rand(self.samples, generator=generator, dtype=torch.float64)
            radius = (inner**2 + u * (outer**2 - inner**2)).sqrt()
            x = radius[:, None] * directions(self.samples, generator)
            x = x + self.sigma * torch.randn(x.shape, generator=generator, dtype=torch.float64)
            if self.lifted:
                x = torch.cat((x, x.norm(dim=1, keepdim=True)), 1)
            return Sample(x.float(), y)

        return drawn(TRAIN), drawn(TEST)
