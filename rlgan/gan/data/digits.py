"""scikit-learn's scans of hand-written digits: real images that need no network."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from rlgan.gan.data.base import FiniteData, OnDevice, split_by_count
from rlgan.gan.metrics.features import DigitsClassifier
from rlgan.gan.metrics.modes import DigitsJudge


@final
@dataclass(frozen=True)
class Digits(FiniteData):
    """scikit-learn's 1,797 scans of hand-written digits, 8 x 8, grey levels 0 ... 16 scaled to [-1, 1].

    Real data that need no network: they are inside the scikit-learn package (UCI, Alpaydin & Kaynak 1998). In memory.

    Args:
        held_out: share that training never sees, for measures of memorisation and of distance.
    """

    shape = (1, 8, 8)
    total = 1797

    held_out: float = 0.2

    @cached_property
    def _scans(self) -> tuple[OnDevice, Tensor]:
        pixels, labels = load_digits(return_X_y=True)
        return OnDevice(torch.from_numpy(pixels).float().reshape(-1, *self.shape) / 8 - 1), torch.from_numpy(labels)

    @cached_property
    def _split(self) -> tuple[Tensor, Tensor]:
        return split_by_count(self.total, self.held_out)

    @property
    def points(self) -> Tensor:
        """All images ``(1797, 1, 8, 8)``, held out or not, float32, on the CPU."""
        return self._scans[0].whole

    @property
    def labels(self) -> Tensor:
        """The digit on each, ``(1797,)``, int64."""
        return self._scans[1]

    def read(self, index: Tensor) -> Tensor:
        return self._scans[0][index]

    def measure(self, samples: Tensor) -> dict[str, float]:
        """`digits/confident`: share of all samples. `digits/classes`: a count. `digits/smallest_share`: the rarest
        digit's share OF THE CONFIDENT SAMPLES."""
        seen = self._judge(samples)
        return {
            "digits/confident": seen.high_quality,
            "digits/classes": float(seen.covered),
            "digits/smallest_share": float(seen.shares.min()),
        }

    def remarks(self, samples: Tensor) -> list[str]:
        share, digit = (x.item() for x in self._judge(samples).shares.min(0))
        return [f"the rarest digit is {int(digit)}: {share:.3g} of the samples that are told for sure"]

    @cached_property
    def _judge(self) -> DigitsJudge:
        return DigitsJudge(self.points, self.labels)

    @cached_property
    def extractor(self) -> DigitsClassifier:
        return DigitsClassifier.cached(self.points, self.labels)
