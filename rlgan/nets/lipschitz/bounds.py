"""How steep a network is at most: upper bounds of its Lipschitz constant, the product over its layers.

A network of a kind of its own says it itself, as only it knows how its parts are put together: see `KnowsItsBound`.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCIES = 16
"""Frequencies per dimension at which a convolution's norm is looked at: with 16 of them the bound of a kernel of 4 and
stride 2 is at most 2 % above the supremum, with 64 0.2 %."""

_CHANNELS = 128
"""Up to here one matrix a frequency is affordable."""


@runtime_checkable
class KnowsItsBound(Protocol):
    """A module that can say how steep it is at most."""

    def lipschitz_bound(self, frequencies: int = 0) -> float | None:
        """An upper bound of its Lipschitz constant in the Euclidean norm, in evaluation mode; None if it has none.

        1 of a network that is 1-Lipschitz by construction. `frequencies`: see `convolution_bound`.
        """


def lipschitz_bound(module: nn.Module, frequencies: int = 0) -> float | None:
    """An UPPER bound of the module's Lipschitz constant in evaluation mode.

    Of a linear layer the spectral norm, of a convolution `convolution_bound`, of batch norm the largest scale, of layer
    norm its slope at a constant input (1/sqrt(eps) = 316, so that nothing is left of a bound that it enters), of
    ReLU, leaky ReLU and tanh 1, of a sigmoid 1/4; of a sequence the product, which is far above the true constant of a
    deep network.

    Args:
        module: f. One that offers `lipschitz_bound(frequencies)` is asked.
        frequencies: see `convolution_bound`; 0 is quick.

    Returns:
        The bound, or None where a module is of a kind that is not known: that it holds known layers does not say how
        they are put together.
    """
    if isinstance(module, KnowsItsBound):
        return module.lipschitz_bound(frequencies)
    of = _LAYERS.get(type(module))
    return None if of is None else of(module, frequencies)


def product(*bounds: float | None) -> float | None:
    """The bound of maps one after the other; None where one of them has none."""
    known = [bound for bound in bounds if bound is not None]
    return math.prod(known) if len(known) == len(bounds) else None


def bound_in_sequence(modules: Iterable[nn.Module], frequencies: int) -> float | None:
    """The bound of modules one after the other."""
    return product(*(lipschitz_bound(module, frequencies) for module in modules))


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
    weight = F.pixel_unshuffle(F.pad(weight, (0, -weight.shape[3] % stride, 0, -weight.shape[2] % stride)), stride)
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


def _double(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float64)


def _norms(a: Tensor) -> Tensor:
    """Spectral norms of matrices ``(..., n, m)``, by the smaller Gram matrix: half the work of a singular value."""
    gram = a @ a.mH if a.shape[-2] <= a.shape[-1] else a.mH @ a
    return torch.linalg.eigvalsh(gram)[..., -1].clamp(min=0).sqrt()


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, frequencies: int) -> float | None:
    if layer.running_var is None:
        return None
    scale = _double(layer.weight).abs() if layer.affine else torch.ones(1, dtype=torch.float64)
    return float((scale / (_double(layer.running_var) + layer.eps).sqrt()).max())


def _layer_norm(layer: nn.LayerNorm | nn.GroupNorm, frequencies: int) -> float:
    scale = 1.0 if layer.weight is None else float(_double(layer.weight).abs().max())
    return scale / math.sqrt(layer.eps)


_LAYERS: dict[type[nn.Module], Callable[[Any, int], float | None]] = {
    **dict.fromkeys((nn.Identity, nn.Flatten, nn.Unflatten, nn.ReLU, nn.Tanh), lambda layer, n: 1.0),
    nn.SiLU: lambda layer, n: 1.0999,  # the largest derivative of x sigmoid(x) is 1.09984, at x = 2.3994
    nn.Sigmoid: lambda layer, n: 0.25,
    nn.LeakyReLU: lambda layer, n: max(1.0, abs(layer.negative_slope)),
    nn.ELU: lambda layer, n: max(1.0, layer.alpha),
    nn.Linear: lambda layer, n: float(_norms(_double(layer.weight))),
    nn.Conv2d: convolution_bound,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _layer_norm,
    nn.Sequential: bound_in_sequence,
}
