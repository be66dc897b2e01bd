"""A problem: samples with labels, to train on and to test on."""

import math
from dataclasses import dataclass

import torch

from rlgan.erm import Labelled, Sample


@dataclass(frozen=True)
class Mine(Labelled):
    """Two spirals that wind about each other, a class each.

    Args:
        samples: to train on; as many others are the test.
        turns: of a spiral.
        sigma: standard deviation of the noise, at least 0.
        random_labels: share of the training labels that is drawn at random.
    """

    classes = 2

    samples: int = 400
    turns: float = 1.5
    sigma: float = 0.02
    random_labels: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples = {self.samples}: at least one of each class, for example 400")

    def make(self) -> tuple[Sample, Sample | None]:
        """Inputs (n, 2) and classes (n,): to train on, and to test on."""
        return self._drawn(0), self._drawn(1)

    def _drawn(self, seed: int) -> Sample:
        generator = torch.Generator().manual_seed(seed)
        y = torch.arange(self.samples) % 2
        t = torch.rand(self.samples, generator=generator).sqrt()
        angle = 2 * math.pi * self.turns * t + math.pi * y
        x = t[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
        return Sample(x + self.sigma * torch.randn(x.shape, generator=generator), y)
