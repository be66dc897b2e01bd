"""The players' weights by name: for files, and for networks that begin where others have ended.

critic/net.0.weight              a parameter or buffer of the player `critic`
critic/average/net.0.weight      the same of its average; of `Several` that of each, critic/average/<name>/...
parts/normaliser/mean            of a part beside the players that the networks are of no use without
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from rlgan.optim.play.player import Player

Weights: TypeAlias = Mapping[str, Tensor]

_AVERAGE, _PARTS = "average", "parts"


class Unlike(Exception):
    """Weights are not those of these networks; the message names the tensor or the player."""


def weights_of(players: Mapping[str, Player], parts: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """All tensors by name; the players' are live, no copies.

    Args:
        players: by name.
        parts: what has `state_dict` and `load_state_dict`, a flat dict of tensors and integers, by name.
    """
    found = dict(_live(players))
    for name, part in (parts or {}).items():
        found |= {f"{_PARTS}/{name}/{key}": torch.as_tensor(value) for key, value in part.state_dict().items()}
    return found


def load_weights(weights: Weights, players: Mapping[str, Player], parts: Mapping[str, Any] | None = None) -> None:
    """Write what `weights_of` gave into equal players and parts; the optimizers' state stays as it is.

    Raises:
        Unlike: a tensor is missing or of another shape; nothing is written then.
    """
    parts = parts or {}
    live = dict(_live(players))
    for key, tensor in live.items():
        _check(key, tensor, weights)
    states = {name: _state_of(name, part, weights) for name, part in parts.items()}
    with torch.no_grad():
        for key, tensor in live.items():
            tensor.copy_(weights[key])
    for name, state in states.items():
        parts[name].load_state_dict(state)


def _live(players: Mapping[str, Player]) -> Iterator[tuple[str, Tensor]]:
    for name, player in players.items():
        yield from ((f"{name}/{key}", tensor) for key, tensor in _named(player.module))
        for average in player.kept:
            head = "/".join([name, _AVERAGE, *([average] if average else [])])
            yield from ((f"{head}/{key}", tensor) for key, tensor in _named(player.averages[average]))


def _named(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _check(key: str, mine: Tensor, weights: Weights) -> None:
    found = weights.get(key)
    if found is None:
        raise Unlike(f"{key}: is missing there, and {tuple(mine.shape)} here")
    if found.shape != mine.shape or found.is_complex() != mine.is_complex():
        raise Unlike(f"{key}: is of shape {tuple(found.shape)} there and {tuple(mine.shape)} here")


def _state_of(name: str, part: Any, weights: Weights) -> dict[str, Any]:
    state = {}
    for key, mine in part.state_dict().items():
        there = f"{_PARTS}/{name}/{key}"
        _check(there, torch.as_tensor(mine), weights)
        value = weights[there]
        state[key] = value if isinstance(mine, Tensor) else type(mine)(value.item())
    return state


class Beginning:
    """Where networks that are made inside of `beginning` begin.

    Args:
        weights: of `weights_of`; averages are not looked at, since a new one begins where its network does.

    Attributes:
        players, parts: that there are weights of.
        taken: of these, what has begun there.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        heads = [key.split("/") for key in weights]
        self.players = {head[0] for head in heads if head[0] != _PARTS}
        self.parts = {head[1] for head in heads if head[0] == _PARTS and len(head) > 1}
        self.taken: set[str] = set()

    def network(self, name: str, module: nn.Module) -> None:
        """Let a player's network begin.

        Raises:
            Unlike: there is no such player, or it has other tensors.
        """
        self.seek("player", name, self.players)
        named = dict(_named(module))
        here, there = {f"{name}/{key}" for key in named}, self._own(name)
        for key in named:
            if f"{name}/{key}" in there:
                _check(f"{name}/{key}", named[key], self._weights)
        if here != there:
            lacking, more = sorted(here - there), sorted(there - here)
            what = f"{lacking[0]} is not there" if lacking else f"{more[0]} is there and not here"
            raise Unlike(f"{name}: is another network: {what}")
        with torch.no_grad():
            for key, tensor in named.items():
                tensor.copy_(self._weights[f"{name}/{key}"])

    def part(self, name: str, part: Any) -> None:
        """Let a part begin.

        Raises:
            Unlike: there is no such part, or it has other tensors.
        """
        self.seek("part", name, self.parts)
        part.load_state_dict(_state_of(name, part, self._weights))

    def seek(self, kind: str, name: str, names: set[str]) -> None:
        """Take note that a player or part of this name begins here.

        Raises:
            Unlike: there are no weights of it.
        """
        if name not in names:
            raise Unlike(f"has no {kind} {name}; it has {', '.join(sorted(names)) or 'none'}")
        self.taken.add(name)

    def _own(self, name: str) -> set[str]:
        return {
            key for key in self._weights if key.startswith(f"{name}/") and not key.startswith(f"{name}/{_AVERAGE}/")
        }


_beginning: ContextVar[Beginning | None] = ContextVar("rlgan_beginning", default=None)


@contextmanager
def beginning(weights: Weights) -> Iterator[Beginning]:
    """Let the networks of every `TwoPlayers` that is made inside the block begin at `weights`, in this thread.

    They begin there before anything is made of them: their averages, what a method or a game keeps of the first point,
    the projection onto K.
    """
    found = Beginning(weights)
    token = _beginning.set(found)
    try:
        yield found
    finally:
        _beginning.reset(token)


def begin(networks: Mapping[str, nn.Module]) -> None:
    """Let the players' networks, by name, begin where `beginning` says, if it says anything.

    Raises:
        Unlike: see `Beginning.network`.
    """
    if (found := _beginning.get()) is not None:
        for name in networks:
            found.seek("player", name, found.players)
        for name, module in networks.items():
            found.network(name, module)


def begin_parts(**parts: Any) -> dict[str, Any]:
    """The same of the parts beside the players, by name; returns those that are not None.

    Raises:
        Unlike: see `Beginning.part`.
    """
    there = {name: part for name, part in parts.items() if part is not None}
    if (found := _beginning.get()) is not None:
        for name, part in there.items():
            found.part(name, part)
    return there


def stilled(module: nn.Module) -> nn.Module:
    """A copy of a network as it stands: in evaluation mode, without gradients, moved by nobody.

    A layer that computes its weight at every call, by a method `effective_weight`, has computed it once and for all.
    """
    twin = copy.deepcopy(module).eval().requires_grad_(False)
    for parameter in twin.parameters():
        parameter.grad = None
    for layer in twin.modules():
        if callable(compute := getattr(layer, "effective_weight", None)):
            layer.register_buffer("weight_as_applied", compute().clone())
            setattr(layer, "effective_weight", functools.partial(getattr, layer, "weight_as_applied"))  # noqa: B010
    return twin
