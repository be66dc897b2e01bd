"""The critic's Lipschitz constant, from below and from above, and what its dual then says of W1.

For every critic f with Lipschitz constant L, E f(x) - E f(y) <= L W1. So the dual over an UPPER bound of L is a true
lower bound of W1, however badly the critic was trained; the dual over a slope that was only seen at some points is an
estimate, which may err on either side.
"""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.gan.lipschitz import interpolate, sample_norms
from rlgan.nets import MLP, DCGANCritic, ResNetCritic
from rlgan.nets.resnet import Residual

FREQUENCIES = 16
"""Frequencies per dimension at which a convolution's norm is looked at: with 16 of them the bound of a kernel of 4 and
stride 2 is at most 2 % above the supremum, with 64 0.2 %."""

_CHANNELS = 128
"""Up to here one matrix a frequency is affordable."""

SILU_SLOPE = 1.0999
"""The largest derivative of x sigmoid(x) is 1.09984, at x = 2.3994."""

_CONTRACTIONS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.ReLU, nn.Tanh)


@runtime_checkable
class KnowsItsBound(Protocol):
    """A module that can say how steep it is at most, as only it knows how its parts are put together."""

    def lipschitz_bound(self) -> float:
        """An upper bound of its Lipschitz constant in the Euclidean norm, in evaluation mode; 1 of a network that is
        1-Lipschitz by construction."""


def lipschitz_bound(module: nn.Module, frequencies: int = 0) -> float | None:
    """An UPPER bound of the module's Lipschitz constant in evaluation mode: the product over its layers.

    Of a linear layer the spectral norm, of a convolution `convolution_bound`, of batch norm the largest scale, of layer
    norm its slope at a constant input (1/sqrt(eps) = 316, so that nothing is left of a bound that it enters), of
    ReLU, leaky ReLU and tanh 1. A product of norms is far above the true constant of a deep network with ReLU.

    Args:
        module: f. One that offers `lipschitz_bound()` is asked; of the networks here `MLP`,
            `DCGANCritic` and `ResNetCritic` are known.
        frequencies: see `convolution_bound`; 0 is quick.

    Returns:
        The bound, or None where a module is of a kind that is not known: that it holds known layers does not say how
        they are put together.
    """
    if isinstance(module, KnowsItsBound):
        return float(module.lipschitz_bound())
    kind = type(module)
    if kind is nn.Sequential or kind is MLP:
        layers = module.layers if isinstance(module, MLP) else module
        return _product([lipschitz_bound(layer, frequencies) for layer in layers.children()])
    if isinstance(module, DCGANCritic):
        return _product([lipschitz_bound(module.layers, frequencies), lipschitz_bound(module.head, frequencies)])
    if isinstance(module, ResNetCritic):
        # A mean of n values is as steep as 1/sqrt(n) of their Euclidean norm.
        mean = 1 / math.sqrt(module.pixels)
        return _product([lipschitz_bound(module.blocks, frequencies), mean, lipschitz_bound(module.head, frequencies)])
    if isinstance(module, Residual):
        return _residual_bound(module, frequencies)
    if kind in _CONTRACTIONS:
        return 1.0
    if isinstance(module, nn.SiLU):
        return SILU_SLOPE
    if isinstance(module, nn.LeakyReLU):
        return max(1.0, abs(module.negative_slope))
    if isinstance(module, nn.ELU):
        return max(1.0, module.alpha)
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        return float(_norms(_double(module.weight)))
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d:
        return convolution_bound(module, frequencies)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_var is not None:
        scale = _double(module.weight).abs() if module.affine else torch.ones(1, dtype=torch.float64)
        return float((scale / (_double(module.running_var) + module.eps).sqrt()).max())
    if isinstance(module, nn.LayerNorm | nn.GroupNorm):
        affine = module.weight is not None
        return (float(_double(module.weight).abs().max()) if affine else 1.0) / math.sqrt(module.eps)
    return None


def _residual_bound(block: Residual, frequencies: int) -> float | None:
    """The sum over its two ways; means over 2 x 2 pixels are as steep as 1/2, doubling both sides as 2."""
    around = lipschitz_bound(block.shortcut, frequencies)
    through = _product([lipschitz_bound(part, frequencies) for part in (*block.norms, *block.convs)])
    if around is None or through is None:
        return None
    return (around + through) * {"up": 2.0, "down": 0.5, "none": 1.0}[block.resample]


def _double(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float64)


def _product(bounds: list[float | None]) -> float | None:
    known = [bound for bound in bounds if bound is not None]
    return math.prod(known) if len(known) == len(bounds) else None


def _norms(a: Tensor) -> Tensor:
    """Spectral norms of matrices ``(..., n, m)``, by the smaller Gram matrix: half the work of a singular value."""
    gram = a @ a.mH if a.shape[-2] <= a.shape[-1] else a.mH @ a
    return torch.linalg.eigvalsh(gram)[..., -1].clamp(min=0).sqrt()


def convolution_bound(layer: nn.Conv2d, frequencies: int = FREQUENCIES) -> float | None:
    """An upper bound of a zero-padded convolution's norm, on images of every size.

    On an infinite image the convolution is, at each frequency w, the matrix W(w) = sum_k W_k exp(i w.k), so that its
    norm is sup_w |W(w)|; zero padding only restricts it. With stride s the s x s phases of the image are channels, and
    the stride is 1. The smaller of two bounds of that supremum:

    - sqrt(h w) times the smallest norm of the kernel's four unfoldings into a matrix (Singla & Feizi 2021, theorem 1);
    - the maximum over N frequencies per dimension, over the square root of cos(pi (k - 1)/N) once for each dimension:
      |W(w)|^2 is, between any two vectors, a trigonometric polynomial of degree k - 1 in each (Ehlich & Zeller 1964).
      As images grow it is met, but for that last factor.

    Args:
        layer: zero-padded, without dilation or groups; otherwise there is no bound: None.
        frequencies: N; 0, or more than 128 channels, leaves the second bound out.
    """
    stride = layer.stride[0]
    if layer.padding_mode != "zeros" or layer.groups != 1 or set(layer.dilation) != {1} or layer.stride[1] != stride:
        return None
    weight = _double(layer.weight)
    weight = F.pad(weight, (0, -weight.shape[3] % stride, 0, -weight.shape[2] % stride))
    weight = F.pixel_unshuffle(weight, stride)
    n, m, height, width = weight.shape
    unfoldings = (
        weight.reshape(n, -1),
        weight.permute(0, 2, 3, 1).reshape(-1, m),
        weight.permute(0, 2, 1, 3).reshape(n * height, m * width),
        weight.permute(0, 3, 1, 2).reshape(n * width, m * height),
    )
    bound = math.sqrt(height * width) * min(float(_norms(unfolding)) for unfolding in unfoldings)
    if frequencies == 0 or min(n, m) > _CHANNELS:
        return bound
    # Real weights: W(-w) is W(w)'s conjugate, so that half of the plane is enough.
    count = max(frequencies, 2 * height, 2 * width)
    symbols = torch.fft.rfft2(weight, s=(count, count)).permute(2, 3, 0, 1)
    between = math.prod(math.sqrt(math.cos(math.pi * (k - 1) / count)) for k in (height, width))
    return min(bound, float(_norms(symbols).max()) / between)


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


def dual_scalars(dual: float, slope: float, bound: float | None) -> dict[str, float]:
    """The critic's dual read as a distance, each under the name of what it is.

    `critic/lipschitz`: the largest slope seen, a lower bound of the constant L. `critic/lipschitz_upper_bound`: of L.
    `wasserstein/dual_lower_bound` = dual over the upper bound: never above the W1 of the two samples.
    `wasserstein/dual_estimate` = dual over the largest slope seen: W1 if the critic is optimal up to scale and was seen
    where it is steepest; may err on either side.

    Args:
        dual: E f(x_real) - E f(x_fake) of an evaluation.
        slope: `critic_lipschitz`.
        bound: `lipschitz_bound`; None leaves out what follows from it.
    """
    scalars = {"critic/lipschitz": slope}
    if slope > 0:
        scalars["wasserstein/dual_estimate"] = dual / slope
    if bound is not None:
        scalars["critic/lipschitz_upper_bound"] = bound
        if bound > 0:
            scalars["wasserstein/dual_lower_bound"] = dual / bound
    return scalars
