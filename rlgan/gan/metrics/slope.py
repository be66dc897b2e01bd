"""The critic's Lipschitz constant, from below and from above, and what its dual then says of W1.

For every critic f with Lipschitz constant L, E f(x) - E f(y) <= L W1. So the dual over an UPPER bound of L is at most
W1, however badly the critic was trained; the dual over a slope that was only seen at some points is an estimate, which
may err on either side. The upper bound itself is that of `rlgan.nets.lipschitz.bounds`. The dual's expectations are of
the distributions: of finite draws they are known up to a sampling error, for which `Gap` allows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import final

import torch
from torch import Tensor, nn

from rlgan.gan.lipschitz import interpolate, sample_norms
from rlgan.nets.layers import in_evaluation_mode


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
    with in_evaluation_mode(*((critic,) if isinstance(critic, nn.Module) else ())), torch.enable_grad():
        x = points.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x)
    return float(sample_norms(gradient).max())


LEVEL = 0.95
"""Of ``wasserstein/dual_lower_bound``: the share of draws on which it is at most W1."""


@final
@dataclass(frozen=True)
class Gap:
    """The dual E f(x) - E f(y) as the difference of two means of draws, with its sampling error.

    Args:
        value: mean of f(x_i) - mean of f(y_j).
        variance: of `value`, s_x^2 / n + s_y^2 / m of independent draws.
        third: third cumulant of `value`, k_x / n^2 - k_y / m^2 with k the third central moment of the scores.
    """

    value: float
    variance: float
    third: float

    @classmethod
    def of(cls, scores: Tensor, whole: bool = False) -> "Gap":
        """The mean of independent scores ``(n,)``, n at least 2; the gap of a pair of moved points f(T(x_i)) - f(x_i).

        Args:
            scores: of draws.
            whole: they are not draws but the whole of a finite distribution: their mean has no error.
        """
        scores, n = scores.double(), len(scores)
        mean = scores.mean()
        if whole:
            return cls(float(mean), 0.0, 0.0)
        apart = scores - mean
        variance, third = apart.square().sum() / (n - 1) / n, apart.pow(3).mean() / n**2
        return cls(float(mean), float(variance), float(third))

    def __sub__(self, other: "Gap") -> "Gap":
        """Of independent draws: variances add."""
        return Gap(self.value - other.value, self.variance + other.variance, self.third - other.third)

    @property
    def error(self) -> float:
        """Standard error of `value`."""
        return math.sqrt(self.variance)

    def at_least(self, level: float = LEVEL) -> float:
        """A lower confidence bound of the dual of the distributions, one-sided.

        By the central limit theorem for the studentised mean with its first correction (Johnson 1978, "Modified t
        tests", equation 2.9; Hall 1992, section 3): value - z error + min(0, third / variance) (2 z^2 + 1) / 6, z the
        normal quantile of `level`. The correction is for skewed scores and only ever lowers the bound. The scores need
        finite third moments, which those of bounded data have; f is Lipschitz, so that their tails are no heavier than
        the data's. Of 8,192 draws a Gaussian, a lognormal of sigma 1 and Student's t of 3 degrees of freedom have 95 %;
        a one-sided tail without a third moment (Pareto 3) has 91 %. It holds at `level` for one measurement, not for
        all of a run at once, and for a critic that was not trained on these draws.

        Args:
            level: share of draws on which the bound holds, above 1/2 and below 1.
        """
        z = NormalDist().inv_cdf(level)
        skew = min(0.0, self.third / self.variance) if self.variance > 0 else 0.0
        return self.value - z * self.error + skew * (2 * z * z + 1) / 6


def dual_scalars(dual: Gap, slope: float, bound: float | None) -> dict[str, float]:
    """The critic's dual read as a distance, each under the name of what it is.

    `wasserstein/dual_eval`: the dual, and `wasserstein/dual_error` its standard error.
    `critic/lipschitz`: the largest slope seen, a lower bound of the constant L. `critic/lipschitz_upper_bound`: of L.
    `wasserstein/dual_lower_bound` = `dual.at_least()` over the upper bound: at most W1 on 95 % of draws.
    `wasserstein/dual_estimate` = dual over the largest slope seen: W1 if the critic is optimal up to scale and was seen
    where it is steepest; may err on either side.

    Args:
        dual: E f(x_real) - E f(x_fake) of an evaluation.
        slope: `critic_lipschitz`.
        bound: `rlgan.nets.lipschitz.bounds.lipschitz_bound`; None leaves out what follows from it.
    """
    scalars = {"wasserstein/dual_eval": dual.value, "wasserstein/dual_error": dual.error, "critic/lipschitz": slope}
    if slope > 0:
        scalars["wasserstein/dual_estimate"] = dual.value / slope
    if bound is not None:
        scalars["critic/lipschitz_upper_bound"] = bound
        if bound > 0:
            scalars["wasserstein/dual_lower_bound"] = dual.at_least() / bound
    return scalars
