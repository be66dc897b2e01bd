"""What a trained generator is measured by: exact W1, modes, the critic's slope, a classifier's opinion.

Everything here is for evaluation: it synchronises, works on the CPU in float64 where that matters, and draws nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import ot
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from rlgan.gan.lipschitz import interpolate, sample_norms

COVERAGE_SAMPLES = 2500
"""Samples that mode counts are taken from, as in the published ring and grid tables."""

PRIMAL_LIMIT = 2048
"""Largest sample of which `wasserstein_primal` takes the exact distance (1 to 2 seconds, 100 MB)."""

# The network simplex stops at the optimum, which takes some 1e5 pivots at 2,048 points; POT's own limit of 1e5 is too
# small there (seen in 64 dimensions) and would return a plan that is not optimal. This one is only a guard.
_PIVOTS = 10_000_000


def wasserstein_primal(x: Tensor, y: Tensor) -> float:
    """Exact Wasserstein-1 distance of two samples of equal size: min over couplings of E |x - y|, Euclidean.

    The primal side of Kantorovich-Rubinstein, by POT's network simplex in float64. As an estimate of the distance of
    the two DISTRIBUTIONS it is biased upwards: two samples of one and the same are apart, by O(n^-1/2) up to a
    logarithm in two dimensions and by O(n^-1/d) in d > 2; compare with the distance of two real samples.

    Args:
        x, y: ``(n, *shape)``, n at most 2,048; flattened to vectors.

    Raises:
        ValueError: sizes differ, n is 0 or above 2,048, or a value is not finite.
        RuntimeError: the solver did not reach the optimum.
    """
    n = len(x)
    if x.shape != y.shape:
        raise ValueError(
            f"samples = {tuple(x.shape)} and {tuple(y.shape)}: must be of equal shape; draw as many of each"
        )
    if not 0 < n <= PRIMAL_LIMIT:
        raise ValueError(f"samples = {n}: exact W1 takes 1 to {PRIMAL_LIMIT:,}; draw fewer")
    x, y = (s.detach().to("cpu", torch.float64).flatten(1) for s in (x, y))
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("samples = nan or inf: W1 is of finite points; the generator has diverged")
    # By differences: |x|^2 - 2 x.y + |y|^2 loses half of the digits between near points.
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    weights = np.full(n, 1 / n)
    value, log = ot.emd2(weights, weights, cost, numItermax=_PIVOTS, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"exact W1 of {n} samples: {log['warning']}")
    return float(value)


@final
@dataclass(frozen=True)
class ModeCoverage:
    """Which modes of a mixture a sample covers. A sample is of high quality within 3 sigma of its nearest mode.

    Attributes:
        counts: ``(k,)``, high-quality samples nearest to each mode.
        total: number of samples, good and bad.
    """

    counts: Tensor
    total: int

    @property
    def covered(self) -> int:
        """Modes with at least one high-quality sample."""
        return int((self.counts > 0).sum())

    @property
    def high_quality(self) -> float:
        """Share of high-quality samples. Of the true mixture 1 - exp(-9/2) = 98.89 % in two dimensions: a figure
        clearly above is a sampler that shrinks its modes."""
        return float(self.counts.sum()) / self.total

    @cached_property
    def shares(self) -> Tensor:
        """Each mode's share of the high-quality samples, ``(k,)``; zeros where there is none."""
        return self.counts / self.counts.sum().clamp(min=1)

    def scalars(self) -> dict[str, float]:
        """`modes/covered`: a count. `modes/high_quality`: share of all samples. `modes/smallest_share`: the emptiest
        mode's share OF THE HIGH-QUALITY SAMPLES, 1/k at best."""
        return {
            "modes/covered": float(self.covered),
            "modes/high_quality": self.high_quality,
            "modes/smallest_share": float(self.shares.min()),
        }


def mode_coverage(samples: Tensor, modes: Tensor, sigma: float) -> ModeCoverage:
    """Count the high-quality samples of every mode (the measure of VEEGAN, Srivastava et al. 2017, section 4.1).

    Args:
        samples: ``(n, d)``, usually 2,500.
        modes: ``(k, d)``, means of the mixture.
        sigma: standard deviation of every component, per dimension.
    """
    assert samples.ndim == modes.ndim == 2 and samples.shape[1] == modes.shape[1]
    distances = torch.cdist(
        samples.detach().to("cpu", torch.float64),
        modes.to("cpu", torch.float64),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    distance, nearest = distances.min(1)
    counts = torch.bincount(nearest[distance <= 3 * sigma], minlength=len(modes))
    return ModeCoverage(counts, len(samples))


def probe_points(x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> Tensor:
    """Where the critic's slope is measured: real, fake and interpolated points, ``(3 batch, *shape)``.

    Args:
        x_real, x_fake, epsilon: as for `rlgan.gan.lipschitz.interpolate`.
    """
    return torch.cat((x_real, x_fake.detach(), interpolate(x_real, x_fake, epsilon)))


def critic_lipschitz(critic: nn.Module | Callable[[Tensor], Tensor], points: Tensor) -> float:
    """Largest |grad f| over `points`: a LOWER bound of the critic's Lipschitz constant (``critic/lipschitz``).

    A module is put in evaluation mode meanwhile: in training mode batch norm would mix the samples' gradients, and this
    measurement would move its running averages.

    Args:
        critic: f, ``(batch, *shape) -> (batch,)``; gradients of its parameters are neither needed nor touched.
        points: ``(batch, *shape)``.
    """
    training = isinstance(critic, nn.Module) and critic.training
    if isinstance(critic, nn.Module):
        critic.eval()
    try:
        with torch.enable_grad():
            x = points.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(critic(x).sum(), x)
    finally:
        if isinstance(critic, nn.Module):
            critic.train(training)
    return float(sample_norms(gradient).max())


@final
@dataclass(frozen=True)
class ClassCoverage:
    """How a classifier of the real data sees a sample. An image is confident when its largest probability is above 0.8.

    Attributes:
        counts: ``(k,)``, confident samples of each class.
        total: number of samples.
    """

    counts: Tensor
    total: int

    @property
    def confident(self) -> float:
        return float(self.counts.sum()) / self.total

    @property
    def classes(self) -> int:
        """Classes with at least one confident sample."""
        return int((self.counts > 0).sum())

    @cached_property
    def shares(self) -> Tensor:
        """Each class's share of the confident samples, ``(k,)``; zeros where there is none."""
        return self.counts / self.counts.sum().clamp(min=1)

    def scalars(self) -> dict[str, float]:
        """`digits/confident`: share of all samples. `digits/classes`: a count. `digits/smallest_share`: the rarest
        digit's share OF THE CONFIDENT SAMPLES."""
        return {
            "digits/confident": self.confident,
            "digits/classes": float(self.classes),
            "digits/smallest_share": float(self.shares.min()),
        }


@final
class DigitsJudge:
    """A logistic regression fitted once on the real, labelled images (multinomial, L2, scikit-learn's lbfgs).

    It knows nothing but digits and cannot say "none of them". On scikit-learn's digits at 0.8 it is confident on 94 %
    of the real scans, 25 % of uniform noise, 36 % of a Gaussian with the right mean and covariance: read a figure
    between these. A high one is necessary, not sufficient; look at the pictures, and at W1 beside it.

    Args:
        images: real images ``(n, *shape)``.
        labels: class of each, ``(n,)``, 0 ... k - 1.
        threshold: probability above which an image counts as confident.
    """

    def __init__(self, images: Tensor, labels: Tensor, threshold: float = 0.8) -> None:
        self.threshold = threshold
        self.classifier = LogisticRegression(max_iter=1000)
        self.classifier.fit(images.flatten(1).double().numpy(), labels.numpy())

    def probabilities(self, samples: Tensor) -> Tensor:
        """``(n, *shape) -> (n, k)``, float64, on the CPU."""
        x = samples.detach().to("cpu", torch.float64).flatten(1)
        return torch.from_numpy(self.classifier.predict_proba(x.numpy()))

    def __call__(self, samples: Tensor) -> ClassCoverage:
        """Confident samples per class. A sample that is not finite is of no class."""
        finite = samples.flatten(1).isfinite().all(1)
        classes = len(self.classifier.classes_)
        if not finite.any():
            return ClassCoverage(torch.zeros(classes, dtype=torch.int64), len(samples))
        confidence, digit = self.probabilities(samples[finite]).max(1)
        counts = torch.bincount(digit[confidence > self.threshold], minlength=classes)
        return ClassCoverage(counts, len(samples))
