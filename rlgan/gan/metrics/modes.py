"""Which modes of a mixture, or classes of labelled images, a sample covers, and how evenly.

On the CPU, in float64; draws nothing.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression
from torch import Tensor

COVERAGE_SAMPLES = 2500
"""Samples that mode counts are taken from, as in the published ring and grid tables."""


@dataclass(frozen=True)
class Coverage:
    """How many good samples each of k modes or classes got.

    Attributes:
        counts: ``(k,)``, good samples of each.
        total: number of samples, good and bad.
    """

    counts: Tensor
    total: int

    @property
    def covered(self) -> int:
        """Modes or classes with at least one good sample."""
        return int((self.counts > 0).sum())

    @property
    def high_quality(self) -> float:
        """Share of good samples. Of a true mixture 1 - exp(-9/2) = 98.89 % in two dimensions: a figure clearly above is
        a sampler that shrinks its modes."""
        return float(self.counts.sum()) / self.total

    @cached_property
    def shares(self) -> Tensor:
        """Each mode's or class's share of the good samples, ``(k,)``; zeros where there is none."""
        return self.counts / self.counts.sum().clamp(min=1)

    def of_classes(self) -> dict[str, float]:
        """`classes/confident`: share of all samples. `classes/covered`: a count. `classes/smallest_share`: the rarest
        class's share OF THE CONFIDENT SAMPLES, 1/k at best."""
        return {
            "classes/confident": self.high_quality,
            "classes/covered": float(self.covered),
            "classes/smallest_share": float(self.shares.min()),
        }


@final
@dataclass(frozen=True)
class ModeCoverage(Coverage):
    """Which modes of a mixture a sample covers. A sample is good, of high quality, within 3 sigma of its nearest mode.

    Attributes:
        nearest: ``(k,)``, samples nearest to each mode, good and bad; of finite ones.
        spreads: ``(k,)``, standard deviation per dimension of the high-quality samples about their own mean, in units
            of what the true mixture has there; 0 of a mode with fewer than two.
    """

    nearest: Tensor
    spreads: Tensor

    @property
    def reverse_kl(self) -> float:
        """KL(q || uniform) = sum_j q_j log(k q_j) in nats, q_j the share of ALL samples nearest to mode j.

        0 of a sampler that serves the modes evenly, log k of one that knows a single mode (and, for want of a worse
        figure, of one whose samples are not finite). The reverse KL of PacGAN's tables (Lin et al. 2018, section 4).
        """
        k, n = len(self.nearest), int(self.nearest.sum())
        q = self.nearest.double() / n if n else torch.ones(1)
        return max(0.0, math.log(k) + float(torch.special.xlogy(q, q).sum()))

    def scalars(self) -> dict[str, float]:
        """`modes/covered`: a count. `modes/high_quality`: share of all samples. `modes/smallest_share`: the emptiest
        mode's share OF THE HIGH-QUALITY SAMPLES, 1/k at best. `modes/reverse_kl`: nats, 0 at best, log k at worst.
        `modes/smallest_spread`: the narrowest mode's spread over the true sigma; 1 but for its noise at best (of 2,500
        samples 0.95 on the ring, 0.9 on the grid), 0 where a mode is missing."""
        return {
            "modes/covered": float(self.covered),
            "modes/high_quality": self.high_quality,
            "modes/smallest_share": float(self.shares.min()),
            "modes/reverse_kl": self.reverse_kl,
            "modes/smallest_spread": float(self.spreads.min()),
        }


def mode_coverage(samples: Tensor, modes: Tensor, sigma: float) -> ModeCoverage:
    """Count the high-quality samples of every mode (the measure of VEEGAN, Srivastava et al. 2017, section 4.1).

    Args:
        samples: ``(n, d)``, usually 2,500.
        modes: ``(k, d)``, means of the mixture.
        sigma: standard deviation of every component, per dimension.
    """
    assert samples.ndim == modes.ndim == 2 and samples.shape[1] == modes.shape[1]
    x = samples.detach().to("cpu", torch.float64)
    k, d = modes.shape
    means = modes.to("cpu", torch.float64)
    distance, nearest = torch.cdist(x, means, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    good = distance <= 3 * sigma
    counts = torch.bincount(nearest[good], minlength=k)
    # Variance about the samples' own mean: a mode that is displaced is not thereby wide.
    sums = torch.zeros(k, d, dtype=torch.float64).index_add_(0, nearest[good], x[good])
    centred = x[good] - (sums / counts.clamp(min=1)[:, None])[nearest[good]]
    squares = torch.zeros(k, dtype=torch.float64).index_add_(0, nearest[good], centred.square().sum(1))
    # Cut off at 3 sigma the true mixture itself is narrower: E [r^2; r <= 3] / (d P(r <= 3)) of its variance is left.
    left = chi2.cdf(9, d + 2) / chi2.cdf(9, d)
    variances = squares / (d * (counts - 1).clamp(min=1)) / left
    finite = x.isfinite().all(1)
    return ModeCoverage(counts, len(samples), torch.bincount(nearest[finite], minlength=k), variances.sqrt() / sigma)


@final
class DigitsJudge:
    """Says which digit an image shows, and how surely: a logistic regression on the real, labelled scans.

    An image is good, confident, when its largest probability is above 0.8. Multinomial, L2, scikit-learn's lbfgs,
    fitted once. It knows nothing but digits and cannot say "none of them". Of scikit-learn's digits it is confident on
    94 % of the real scans, 25 % of uniform noise, 36 % of a Gaussian with the right mean and covariance: read a figure
    between these. A high one is necessary, not sufficient; look at the pictures, and at W1 beside it.

    Args:
        images: real images ``(n, *shape)``.
        labels: class of each, ``(n,)``, 0 ... k - 1.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        pixels = images.flatten(1).double().numpy()
        self.classifier = LogisticRegression(max_iter=1000).fit(pixels, labels.numpy())

    def probabilities(self, samples: Tensor) -> Tensor:
        """Of every image the probability of each class: ``(n, *shape) -> (n, k)``, float64, on the CPU."""
        x = samples.detach().to("cpu", torch.float64).flatten(1)
        return torch.from_numpy(self.classifier.predict_proba(x.numpy()))

    def __call__(self, samples: Tensor) -> Coverage:
        """Confident samples per class. A sample that is not finite is of no class."""
        finite = samples.flatten(1).isfinite().all(1)
        classes = len(self.classifier.classes_)
        if not finite.any():
            return Coverage(torch.zeros(classes, dtype=torch.int64), len(samples))
        confidence, digit = self.probabilities(samples[finite]).max(1)
        return Coverage(torch.bincount(digit[confidence > 0.8], minlength=classes), len(samples))
