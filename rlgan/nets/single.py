"""Perceptrons' answers to a few inputs: what acting asks for at every step, of one actor or of one for each seed."""

import math
from typing import Any, TypeGuard

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rlgan.nets.layers import ACTIVATIONS
from rlgan.nets.mlp import Actor

THREADED = 9_216
"""Entries from which OpenBLAS wakes its threads for a matrix times a vector, which takes longer than the product."""


def _tanh(x: np.ndarray) -> np.ndarray:
    return np.tanh(x, out=x)


def _clip(x: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, -1.0, out=x), 1.0, out=x)


BOUNDS = {"tanh": _tanh, "clip": _clip}
"""What leads a perceptron's output, an array that is overwritten, into [-1, 1]; see `Actor.bound`."""


class Single:
    """The actor's action for one observation, computed by numpy on the actor's own memory.

    What is done to the parameters is seen. To dispatch the eight operators of a small network takes torch 70 us, and
    four times as much between two updates, which leave nothing of that code in the caches; numpy takes a part of it.
    The last bits are not torch's. Hooks that are registered on the actor later are not run.

    Args:
        actor: for which `possible` holds.
    """

    def __init__(self, actor: Actor) -> None:
        mlp = actor.mlp
        self._bound = BOUNDS[actor.bound]
        self._activation = mlp.activation
        self._layers = list(zip(mlp.linears, (*mlp.norms, None), strict=True))
        self._owned: list[tuple[dict[str, Any], str]] = [
            (module._parameters, name)
            for module in actor.modules()
            for name, p in module._parameters.items()
            if p is not None
        ]
        self._take()

    @staticmethod
    def possible(actor: nn.Module) -> TypeGuard[Actor]:
        """Whether `actor` is a perceptron on the CPU that numpy has all operations of: without batch norm and hooks."""
        return (
            type(actor) is Actor
            and actor.mlp.plain
            and not (actor._forward_hooks or actor._forward_pre_hooks)
            and all(p.device.type == "cpu" and p.dtype in (torch.float32, torch.float64) for p in actor.parameters())
        )

    def _take(self) -> None:
        self._at = [own[name].data_ptr() for own, name in self._owned]
        self._arrays: list[tuple[Any, np.ndarray, np.ndarray, Any]] = []
        for layer, norm in self._layers:
            weight = _array(layer.weight)
            # Row by row, each by BLAS: without threads.
            product = np.dot if weight.size < THREADED else np.vecdot
            scale = None if norm is None else (_array(norm.weight), _array(norm.bias), norm.eps)
            self._arrays.append((product, weight, _array(layer.bias), scale))

    def __getstate__(self) -> dict[str, Any]:
        # A copy's arrays would be nobody's, and its addresses those of another's memory.
        return {**self.__dict__, "_at": [], "_arrays": []}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The action (action_dim,) in [-1, 1] for an observation x (obs_dim,)."""
        # Parameters move when seeds are stacked, and when somebody gives them other memory.
        if [own[name].data_ptr() for own, name in self._owned] != self._at:
            self._take()
        *hidden, (product, weight, bias, _) = self._arrays
        activate = ACTIVATIONS[self._activation].array
        x = x.astype(weight.dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):  # an action that is not finite is refused by its environment
            for times, w, b, scale in hidden:
                x = times(w, x)
                x += b
                if scale is not None:
                    x = _layer_norm(x, *scale)
                x = activate(x)
            x = product(weight, x)
            x += bias
            return self._bound(x)


class Many:
    """The actions of S actors of one shape, each for observations of its own.

    Args:
        actor: of their shape, for which `Single.possible` holds.
        rows: their parameters (S, d), in the order of `actor.parameters()`; they are read at every call.
    """

    def __init__(self, actor: Actor, rows: torch.Tensor) -> None:
        mlp = actor.mlp
        self._bound = BOUNDS[actor.bound]
        self._activation = ACTIVATIONS[mlp.activation]
        pieces = dict(zip(actor.parameters(), rows.split([p.numel() for p in actor.parameters()], 1), strict=True))
        own: dict[torch.Tensor, torch.Tensor] = {p: piece.view(len(rows), *p.shape) for p, piece in pieces.items()}
        # (S, i, o) and (S, 1, o)
        self._layers = [
            (own[layer.weight].mT, own[layer.bias][:, None], norm and (own[norm.weight], own[norm.bias], norm.eps))
            for layer, norm in zip(mlp.linears, (*mlp.norms, None), strict=True)
        ]
        widest = max(layer.weight.numel() for layer in mlp.linears)
        self._arrays = None
        if widest < THREADED and not any(norm for *_, norm in self._layers):
            self._arrays = [(weight.numpy(), bias.numpy()) for weight, bias, _ in self._layers]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Actions (S, n, action_dim) in [-1, 1] for observations x (S, n, obs_dim), of the parameters' dtype."""
        if self._arrays is not None and x.shape[1] == 1:
            return self._by_numpy(x)
        *hidden, (weight, bias, _) = self._layers
        with torch.no_grad():
            h = torch.from_numpy(x).to(bias.dtype)
            for w, b, norm in hidden:
                h = torch.baddbmm(b, h, w)
                if norm is not None:
                    scale, shift, eps = norm
                    h = F.layer_norm(h, h.shape[-1:], eps=eps) * scale[:, None] + shift[:, None]
                h = self._activation.in_place(h)
            h = torch.baddbmm(bias, h, weight)
            return (h.tanh_() if self._bound is _tanh else h.clamp_(-1.0, 1.0)).numpy()

    def _by_numpy(self, x: np.ndarray) -> np.ndarray:
        assert self._arrays is not None
        *hidden, (weight, bias) = self._arrays
        activate = self._activation.array
        x = x.astype(bias.dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            for w, b in hidden:
                x = np.matmul(x, w)
                x += b
                x = activate(x)
            x = np.matmul(x, weight)
            x += bias
            return self._bound(x)


def _array(p: torch.Tensor) -> np.ndarray:
    return p.detach().numpy()


def _layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    x = x - x.dtype.type(x.sum() / len(x))
    variance = np.dot(x, x) / len(x)
    if not math.isfinite(variance):
        return np.full_like(x, np.nan)  # as torch has it
    x *= x.dtype.type(1.0 / math.sqrt(variance + eps))
    x *= weight
    x += bias
    return x
