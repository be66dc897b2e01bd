"""Critics that are 1-Lipschitz by construction: orthonormal linear layers and activations that only sort.

A linear layer with orthonormal rows or columns moves no two points further apart, and neither does sorting features
within groups; so the whole is 1-Lipschitz for ALL weights, and the gradient's norm is kept wherever widths allow it.
ReLU networks under the same constraint cannot represent |x| (Anil, Lucas & Grosse 2019, arXiv:1811.05381, theorem 1);
with GroupSort they approximate every 1-Lipschitz function (theorem 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets.layers import ComputedWeight, NetworkSpec
from rlgan.nets.mlp import MLP

Orthonormal = Literal["cayley", "bjorck"]


def cayley(w: Tensor) -> Tensor:
    """A matrix ``(n, m)`` with orthonormal columns (n >= m) or rows (n < m) from any matrix of that shape.

    For n >= m, with w = [U; V] and A = U - U^T + V^T V: Q = [(I + A)^-1 (I - A); -2 V (I + A)^-1], Q^T Q = I (Trockman
    & Kolter 2021, arXiv:2104.07167). I + A is always invertible: x^T (I + A) x >= |x|^2.
    """
    if w.shape[0] < w.shape[1]:
        return cayley(w.t()).t()
    m = w.shape[1]
    u, v = w[:m], w[m:]
    identity = torch.eye(m, dtype=w.dtype, device=w.device)
    inverse = torch.linalg.inv(identity + u - u.t() + v.t() @ v)
    return torch.cat((2 * inverse - identity, -2 * v @ inverse))


def bjorck(w: Tensor, iterations: int) -> Tensor:
    """The orthonormal matrix next to `w` ``(n, m)``: X <- X (3 I - X^T X) / 2 from X = w / sqrt(|w|_1 |w|_inf).

    (Bjorck & Bowie 1971; Anil et al. 2019, section 4.1.) That start has no singular value above 1, and a singular value
    s <= 1 becomes s (3 - s^2) / 2 <= 1: so the result is 1-Lipschitz after ANY number of iterations. How near all
    singular values are to 1 depends on it: small ones grow by half an iteration at first.
    """
    if w.shape[0] < w.shape[1]:
        return bjorck(w.t(), iterations).t()
    sums = w.abs()
    bound = (sums.sum(0).amax() * sums.sum(1).amax()).clamp(min=torch.finfo(w.dtype).tiny).sqrt()
    x = w / bound
    for _ in range(iterations):
        x = 1.5 * x - 0.5 * x @ (x.t() @ x)
    return x


def group_sort(x: Tensor, group: int) -> Tensor:
    """Features ``(..., n)`` sorted within every group of `group`, which are n / group apart; MaxMin for 2.

    Its Jacobian is a permutation almost everywhere (at a tie within a pair, the mean of two).
    """
    if group == 2:
        a, b = x.chunk(2, -1)
        return torch.cat((torch.maximum(a, b), torch.minimum(a, b)), -1)
    return x.unflatten(-1, (group, -1)).sort(-2).values.flatten(-2)


@final
class OrthonormalLinear(ComputedWeight):
    """A linear layer x -> x Q^T + b with Q ``(n, m)`` of orthonormal columns or rows, a function of the free weight.

    Args:
        m, n: inputs and outputs.
        method: ``cayley`` or ``bjorck``.
        iterations: of `bjorck`.
    """

    def __init__(self, m: int, n: int, method: Orthonormal, iterations: int) -> None:
        super().__init__()
        self.method, self.iterations = method, iterations
        self.weight = nn.Parameter(torch.empty(n, m))
        self.bias = nn.Parameter(torch.zeros(n))
        if method == "cayley":
            nn.init.normal_(self.weight, 0.0, 1 / math.sqrt(max(n, m)))
        else:
            nn.init.orthogonal_(self.weight)

    def effective_weight(self) -> Tensor:
        """The orthonormal weight Q ``(n, m)``."""
        return cayley(self.weight) if self.method == "cayley" else bjorck(self.weight, self.iterations)

    def lipschitz_bound(self, frequencies: int = 0) -> float:
        """1, to rounding: in float32 at most 1e-5 more was seen, of square weights that grew a hundredfold."""
        return 1.0

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.effective_weight(), self.bias)


@final
class OrthogonalMLP(nn.Module):
    """`constant` times orthonormal layers with GroupSort between them: ``(batch, *inputs) -> (batch, *outputs)``."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], spec: OrthogonalSpec) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.group, self.constant = spec.group, spec.constant
        sizes = [math.prod(self.inputs), *spec.hidden, math.prod(self.outputs)]
        self.layers = nn.ModuleList(OrthonormalLinear(m, n, spec.method, spec.iterations) for m, n in pairwise(sizes))

    def lipschitz_bound(self, frequencies: int = 0) -> float:
        """`constant`, to rounding, in the Euclidean norms of inputs and outputs."""
        return self.constant

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(-len(self.inputs))
        for layer in self.layers[:-1]:
            x = group_sort(layer(x), self.group)
        y: Tensor = self.layers[-1](x) * self.constant
        return y.unflatten(-1, self.outputs) if self.outputs else y.squeeze(-1)


@final
@dataclass(frozen=True)
class OrthogonalSpec(NetworkSpec):
    """A perceptron that is 1-Lipschitz whatever its weights: a critic that needs ``lipschitz=none`` and no tuning.

    With `constant` 1 its dual is at most the W1 of the two samples that it is taken on. Batch and layer norm
    would break the bound.

    Args:
        hidden: widths of the hidden layers, multiples of `group`; equal widths keep the gradient's norm.
        group: features that are sorted together; 2 is MaxMin.
        method: ``cayley`` is orthonormal to rounding and quicker; ``bjorck`` reaches both determinants, is at most
            1-Lipschitz, and near orthonormal after enough iterations.
        iterations: of ``bjorck``.
        constant: the network's Lipschitz constant K. It scales the Wasserstein loss and no more; of a loss with margins
            or odds 1 / K is the distance over which the critic may change its mind, in the units of the data (the
            temperature of Bethune et al. 2022, arXiv:2104.05097).
    """

    hidden: tuple[int, ...] = (64, 64, 64)
    group: int = 2
    method: Orthonormal = "cayley"
    iterations: int = 15
    constant: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.constant < math.inf:
            raise ValueError(f"constant = {self.constant}: the Lipschitz constant is positive, for example 1.0")
        if self.group < 2:
            raise ValueError(f"group = {self.group}: sorts at least 2 features, or the network is linear")
        if self.iterations < 1:
            raise ValueError(f"iterations = {self.iterations}: must be at least 1, for example 15")
        if any(width < 1 or width % self.group for width in self.hidden):
            raise ValueError(f"hidden = {list(self.hidden)}: widths must be multiples of group = {self.group}")

    def build(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> OrthogonalMLP:
        return OrthogonalMLP(inputs, outputs, self)


def group_sorted(module: nn.Module, spec: OrthogonalSpec) -> OrthogonalMLP:
    """The perceptron `module` with orthonormal layers and GroupSort in the place of its own, of the same widths.

    Its weights, scaled to a root mean square of 1 / sqrt(max(n, m)), are the free weights of which the orthonormal ones
    are made (for ``bjorck`` the orthonormal ones next to them); biases begin at 0. Device and dtype stay.

    Args:
        module: an `MLP` without norms.
        spec: all but `hidden`, which is that of `module`.

    Raises:
        ValueError: it is another network, has norms, or widths that `spec.group` does not divide.
    """
    if isinstance(module, OrthogonalMLP):
        raise ValueError("network = orthogonal: is Lipschitz by construction already; lipschitz=none")
    if not isinstance(module, MLP):
        raise ValueError(
            f"network = {type(module).__name__}: GroupSort takes the place of a perceptron's layers; use mlp, "
            "or lipschitz=spectral_norm or gradient_penalty"
        )
    if not module.plain or any(norm is not None for norm in module.norms):
        raise ValueError("network.norm: batch and layer norm have no Lipschitz bound; use norm=none")
    hidden = tuple(layer.out_features for layer in module.linears[:-1])
    try:
        with torch.device("meta"):  # draws nothing: its parameters are made of those that are there
            made = OrthogonalMLP(module.inputs, module.outputs, replace(spec, hidden=hidden))
    except ValueError as error:
        raise ValueError(f"network.{error}") from None
    with torch.no_grad():
        for layer, own in zip(module.linears, made.layers, strict=True):
            w = layer.weight
            if spec.method == "bjorck":  # begins where its iteration has nothing to do
                u, _, v = torch.linalg.svd(w, full_matrices=False)
                w = u @ v
            size = w.square().mean().sqrt().clamp(min=torch.finfo(w.dtype).tiny)
            own.weight = nn.Parameter(w / size / math.sqrt(max(w.shape)))
            own.bias = nn.Parameter(w.new_zeros(len(w)))
    return made.train(module.training)
