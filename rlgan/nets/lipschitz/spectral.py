"""Spectral normalisation: every layer's weight divided by its largest singular value, inside the layer's forward.

    v+ = W^T u / |W^T u|,   u = W v / |W v|,   y = (W / |W v+|) x + b

One power iteration a forward pass in training mode (Miyato et al. 2018, arXiv:1802.05957, Algorithm 1); v is a buffer:
it is saved, stacked over seeds and goes in and out of the compiled update like the statistics of batch norm.
torch's own spectral norms write through a parametrisation and fail under vmap or compile.
"""

import math
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets.layers import ComputedWeight, in_evaluation_mode
from rlgan.nets.mlp import MLP

EVALUATION_ITERATIONS = 16
"""Power iterations in evaluation mode, from the buffer and not kept: there the weight may have moved on, or be another
(that of an average), and nothing is in a hurry."""


class _Spectral(ComputedWeight):
    """The weight of a layer over its largest singular value, as a matrix of one row per unit."""

    v: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d, iterations: int) -> None:
        super().__init__()
        self.weight, self.bias, self.iterations = layer.weight, layer.bias, iterations
        # From the exact singular vector: right from the first evaluation on, before any step of training.
        with torch.no_grad():
            self.register_buffer("v", torch.linalg.svd(self.weight.flatten(1), full_matrices=False).Vh[0].clone())

    def effective_weight(self) -> Tensor:
        """W / sigma, of the weight's shape; in training mode moves the buffer."""
        w, v = self.weight.flatten(1), self.v
        fixed = w.detach()
        for _ in range(self.iterations if self.training else EVALUATION_ITERATIONS):
            towards = fixed.t().mv(fixed.mv(v))
            length = towards.square().sum().sqrt()
            # A weight of zeros has no direction; what is kept must not become zero with it.
            v = torch.where(length > 0, towards / length.clamp(min=torch.finfo(w.dtype).tiny), v)
        if self.training:
            self.v.copy_(v)
        # |W v| has the gradient u v^T, u = W v / |W v|: that of the largest singular value.
        sigma = w.mv(v).square().sum().clamp(min=torch.finfo(w.dtype).tiny).sqrt()
        return self.weight / sigma

    def lipschitz_bound(self, frequencies: int = 0) -> float:
        """The largest singular value of W / sigma as it is applied in evaluation: 1 to the iteration's accuracy."""
        with torch.no_grad(), in_evaluation_mode(self):
            return float(torch.linalg.matrix_norm(self.effective_weight().flatten(1), 2))


@final
class SpectralLinear(_Spectral):
    """A linear layer of spectral norm 1, made of `layer`'s own parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.effective_weight(), self.bias)


@final
class SpectralConv2d(_Spectral):
    """A convolution whose weight as a matrix (units, channels * taps) has spectral norm 1, of `layer`'s own parameters.

    The norm of the convolution as a map is up to sqrt(taps) times that; of a stride, the taps that one input feeds.
    """

    def __init__(self, layer: nn.Conv2d, iterations: int) -> None:
        super().__init__(layer, iterations)
        self.stride, self.padding = layer.stride, layer.padding
        self.dilation, self.groups = layer.dilation, layer.groups

    def lipschitz_bound(self, frequencies: int = 0) -> float:
        """An upper bound of the layer's Lipschitz constant: an input feeds at most so many of the taps.

        Those whose distance, a multiple of the dilation d, is one of the stride s: every s / gcd(s, d)-th.
        """
        sizes = zip(self.weight.shape[2:], self.stride, self.dilation, strict=True)
        taps = math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in sizes)
        return super().lipschitz_bound() * math.sqrt(taps)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.effective_weight()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def spectrally_normalised(module: nn.Module, iterations: int = 1) -> nn.Module:
    """`module` with every linear layer and convolution replaced by its normalised twin, on the same parameters.

    Raises:
        ValueError: if there is no such layer, or one of a kind that is not known here.
    """
    kinds: dict[type[nn.Module], Any] = {nn.Linear: SpectralLinear, nn.Conv2d: SpectralConv2d}
    found = False
    for owner in list(module.modules()):
        for name, child in list(owner.named_children()):
            if not isinstance(child, nn.Linear | nn.modules.conv._ConvNd):
                continue
            if type(child) not in kinds or getattr(child, "padding_mode", "zeros") != "zeros":
                raise ValueError(
                    f"network = with a {type(child).__name__}: spectral norm knows nn.Linear and zero-padded nn.Conv2d"
                )
            setattr(owner, name, kinds[type(child)](child, iterations))
            found = True
        if isinstance(owner, MLP):
            owner.layers_replaced()
    if not found:
        raise ValueError(
            f"network = {type(module).__name__}: has no linear layer or convolution to normalise; a network that is "
            "1-Lipschitz already needs no control"
        )
    return module
