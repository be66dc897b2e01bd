"""A perceptron's answer to one input, by numpy: what acting in one environment asks for at every step."""

import math
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import nn

from rlgan.nets.layers import ACTIVATIONS
from rlgan.nets.mlp import Actor

THREADED = 9_216
"""Entries from which OpenBLAS wakes its threads for a matrix times a vector, which takes longer than the product."""


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
            return np.tanh(x, out=x)


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
