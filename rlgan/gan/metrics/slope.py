"""The critic's Lipschitz constant, from below and from above, and what its dual then says of W1.

For every critic f with Lipschitz constant L, E f(x) - E f(y) <= L W1. So the dual over an UPPER bound of L is a true
lower bound of W1, however badly the critic was trained; the dual over a slope that was only seen at some points is an
estimate, which may err on either side. The upper bound itself is that of `rlgan.nets.lipschitz.bounds`.
"""

from collections.abc import Callable

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


def dual_scalars(dual: float, slope: float, bound: float | None) -> dict[str, float]:
    """The critic's dual read as a distance, each under the name of what it is.

    `critic/lipschitz`: the largest slope seen, a lower bound of the constant L. `critic/lipschitz_upper_bound`: of L.
    `wasserstein/dual_lower_bound` = dual over the upper bound: never above the W1 of the two samples.
    `wasserstein/dual_estimate` = dual over the largest slope seen: W1 if the critic is optimal up to scale and was seen
    where it is steepest; may err on either side.

    Args:
        dual: E f(x_real) - E f(x_fake) of an evaluation.
        slope: `critic_lipschitz`.
        bound: `rlgan.nets.lipschitz.bounds.lipschitz_bound`; None leaves out what follows from it.
    """
    scalars = {"critic/lipschitz": slope}
    if slope > 0:
        scalars["wasserstein/dual_estimate"] = dual / slope
    if bound is not None:
        scalars["critic/lipschitz_upper_bound"] = bound
        if bound > 0:
            scalars["wasserstein/dual_lower_bound"] = dual / bound
    return scalars
