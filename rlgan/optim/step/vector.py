"""A network as one flat vector theta.

A module is ravelled once. From then on its parameters are *permanent views* of ``theta``, so that whatever is done to
the vector (a step, a projection, an average, noise, a checkpoint) is done to the network, in one line and in place.
The same vector applied as a pure function is what compiles and what stacks over seeds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


class Vector:
    """A module together with the one flat tensor ``theta`` (d,) that its trainable parameters are views of.

    ``module`` takes gradients; ``frozen`` is a twin on the same memory whose parameters take none, for the places where
    another player's network is only passed through (no graph is recorded, no gradient of its weights computed).

    ``nn.Parameter(view)`` keeps autograd's version counter shared with ``theta``: writing to the vector between a
    forward and its backward pass raises instead of giving a silently wrong gradient (``p.data = view`` would not).

    Args:
        module: any module with at least one trainable parameter, all of one dtype on one device.

    Raises:
        ValueError: if the module has no trainable parameter, mixes dtypes or devices, is complex or lazy, or has two
            parameters that are one in memory.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._ravel()

    def _ravel(self, into: Tensor | None = None) -> None:
        trainable = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        if any(map(is_lazy, trainable.values())):
            raise ValueError(
                f"module = {type(self.module).__name__}: lazy, of no shape yet; call it once on a batch before"
            )
        if not any(map(Tensor.numel, trainable.values())):
            raise ValueError(f"module = {type(self.module).__name__}: has no trainable parameter to optimise")
        kinds = {(p.dtype, p.device) for p in trainable.values()}
        if len(kinds) > 1:
            raise ValueError(
                f"module = {type(self.module).__name__}: parameters of one dtype on one device, got {kinds}"
            )
        dtype = next(iter(trainable.values())).dtype
        if dtype.is_complex:
            raise ValueError(
                f"module = {type(self.module).__name__}: parameters of {dtype}, and a player is a vector of real "
                "numbers; use real parameters, (..., 2), or the classes of rlgan.optim.torch_optim"
            )
        starts = [p.data_ptr() for p in trainable.values() if p.numel()]
        if len(set(starts)) < len(starts) and any(starts):
            raise ValueError(
                f"module = {type(self.module).__name__}: has two parameters that are one in memory; tie them as one "
                "nn.Parameter, a.weight = b.weight"
            )
        self.names = tuple(trainable)
        self.shapes = tuple(p.shape for p in trainable.values())
        self.sizes = tuple(p.numel() for p in trainable.values())
        self.theta = torch.cat([p.detach().reshape(-1) for p in trainable.values()], out=into)
        self.grad = torch.zeros_like(self.theta)
        views = dict(zip(trainable.values(), self._views(self.theta), strict=True))
        self.gradients = self._views(self.grad)
        gradients = dict(zip(trainable.values(), self.gradients, strict=True))
        made: dict[nn.Parameter, nn.Parameter] = {}
        for owner, name, p in _slots(self.module):
            if p in views:
                # A tied parameter stands in several places and stays tied.
                if p not in made:
                    made[p] = nn.Parameter(views[p])
                    made[p].grad = gradients[p]
                owner._parameters[name] = made[p]
        self.parameters = tuple(made[p] for p in trainable.values())
        own = set(self.parameters)
        self._held = [(owner, name, p, p.data_ptr()) for owner, name, p in _slots(self.module) if p in own]
        self.frozen = self.bound_to(self.theta)

    def check(self) -> None:
        """Refuse a module that is no longer this vector.

        Raises:
            ValueError: if a parameter is another one by now, lies elsewhere or takes no gradient.
        """
        for owner, name, p, start in self._held:
            if owner._parameters.get(name) is not p or p.data_ptr() != start or not p.requires_grad:
                raise ValueError(
                    f"module = {type(self.module).__name__}: {name} of its {type(owner).__name__} is no longer what "
                    "the player moves (replaced, frozen, .data set, .to() called, or in two players); write into it in "
                    "place, p.copy_(), or make the player anew"
                )

    def _views(self, theta: Tensor) -> list[Tensor]:
        return [piece.view(shape) for piece, shape in zip(theta.split(self.sizes), self.shapes, strict=True)]

    def bound_to(self, theta: Tensor) -> nn.Module:
        """A twin of the module, its parameters gradient-free permanent views of `theta` (d,); buffers are shared."""
        twin = copy.deepcopy(self.module)
        views = dict(zip(self.names, self._views(theta), strict=True))
        made: dict[nn.Parameter, nn.Parameter] = {}
        named = {p: name for name, p in twin.named_parameters()}
        for owner, name, p in _slots(twin):
            if named[p] in views:
                if p not in made:
                    made[p] = nn.Parameter(views[named[p]], requires_grad=False)
                owner._parameters[name] = made[p]
        share_buffers(twin, self.buffers())
        return twin

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """`theta` (d,) as the named parameter tensors of the module, for ``torch.func.functional_call``."""
        return dict(zip(self.names, self._views(theta), strict=True))

    def buffers(self) -> dict[str, Tensor]:
        """The module's buffers (batch-norm statistics) by name, not copied."""
        return dict(self.module.named_buffers())

    def rehome(self, theta: Tensor) -> None:
        """Copy the parameters into `theta` (d,), memory given from outside, and make them views of it."""
        self._ravel(theta)

    def __deepcopy__(self, memo: dict[int, Any]) -> Vector:
        return Vector(copy.deepcopy(self.module, memo))

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.module = state["module"]
        self._ravel()


def share_buffers(module: nn.Module, buffers: dict[str, Tensor]) -> None:
    """Make the named `buffers` themselves (no copies) the buffers of `module`."""
    for name, value in buffers.items():
        owner, _, leaf = name.rpartition(".")
        module.get_submodule(owner)._buffers[leaf] = value


def _slots(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for owner in module.modules():
        for name, p in list(owner._parameters.items()):
            if p is not None:
                yield owner, name, p


def wide(x: Tensor) -> Tensor:
    """`x` in double precision, where the device has it: no square or product of single ones is lost in it."""
    return x if x.device.type == "mps" else x.double()


def _scaled(g: Tensor) -> tuple[Tensor, Tensor]:
    """The largest |g_i| () of a vector (d,), and the sum () of (g_i / it)^2; both doubles."""
    if not g.numel():
        return wide(g.sum()), wide(g.sum())
    low, high = g.aminmax()
    peak = torch.maximum(-low, high)
    g = g / torch.where(peak == 0, 1.0, peak)
    if g.numel() < 2**20:
        return wide(peak), wide(torch.dot(g, g))
    parts = g.tensor_split(8)
    shortest = min(part.numel() for part in parts)
    total = sum((part[:shortest] * part[:shortest] for part in parts[1:]), parts[0][:shortest] * parts[0][:shortest])
    return wide(peak), wide(total.sum() + sum(part[shortest:].square().sum() for part in parts))


def sum_of_squares(g: Tensor) -> Tensor:
    """|g|^2 () of a vector (d,), in double precision: no square of a single one is lost.

    A large vector is scaled by its largest entry and added up in eight parts at once: a single stream of reads leaves
    half of a core's memory bandwidth unused, and BLAS's dot of ten million float32 is off by 3e-4.
    """
    if g.dtype == torch.float64 and g.numel() < 2**20:
        return torch.dot(g, g)  # no other sum reaches any further
    if g.numel() < 2**15 and g.device.type != "mps":
        return torch.linalg.vector_norm(g, dtype=torch.float64).square()
    peak, total = _scaled(g)
    return peak * peak * total


def length(g: Tensor) -> Tensor:
    """|g| () of a vector (d,), in double precision; infinite only beyond the largest double."""
    peak, total = _scaled(g)
    return peak * total.sqrt()
