"""Many updates of one shape as one: a leading seed axis under ``torch.func.vmap``, in one graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from rlgan.optim.field import NonFinite, Report
from rlgan.optim.player import PlayerState, overwrite
from rlgan.optim.update import Draws, Update, one_graph


class Stack:
    """S updates, one per seed, that move together.

    Every tensor of their players moves into one of shape (S, ...), of which it stays row k: so each update still is
    what it was, to be evaluated, looked at, saved and, if one likes, moved alone; and all of them are moved by one
    call on the whole, under vmap.

    Args:
        updates: of equal networks, methods, losses and game, at least one.
        compiled: run as one compiled graph.

    Raises:
        ValueError: if the updates are not of one shape, or a player's optimizer cannot be stacked.
    """

    def __init__(self, updates: Sequence[Update], compiled: bool = False) -> None:
        self.updates = list(updates)
        first = self.updates[0]
        for name, player in first.players.items():
            if not player.spec.optimizer.stackable:
                raise ValueError(f"{name}.optimizer = {player.spec.optimizer}: cannot be stacked over seeds")
            for other in self.updates[1:]:
                if other.players[name].spec != player.spec or other.game != first.game:
                    raise ValueError(f"{name} = {other.players[name].spec}: stacked updates must not differ")
        self.states: dict[str, PlayerState] = {}
        for name in first.players:
            self.states[name] = cast(PlayerState, _stacked([u.players[name].state for u in self.updates]))
        for k, update in enumerate(self.updates):
            update.rehome({name: cast(PlayerState, _row(state, k)) for name, state in self.states.items()})
        self._move = torch.func.vmap(self._one, in_dims=(0, 0, 0, 0, 0))
        device = first.players[next(iter(first.players))].vector.theta.device
        self._device = device
        self._run = one_graph(self._all, device) if compiled else self._all

    def _one(
        self, states: dict[str, PlayerState], active: Tensor, batches: list[Any], scalars: Tensor, draws: Draws
    ) -> tuple[dict[str, PlayerState], Report]:
        """One seed's move."""
        first = self.updates[0]
        every = {name: draws.get(name, [None] * n) for name, n in first.steps.items()}  # vmap takes no None
        at, metrics = first.pure_move(states, active, batches, scalars, every)
        assert at.finite is not None
        moved = {}
        for name, state in at.players.items():
            old = states[name]["buffers"]
            # Whoever does not move gathers no statistics of the batch that stands in for its own.
            buffers = {key: torch.where(at.finite, value, old[key]) for key, value in state["buffers"].items()}
            moved[name] = cast(PlayerState, {**state, "buffers": buffers})
        return moved, {**metrics, "finite": at.finite}

    def _all(
        self, states: dict[str, PlayerState], active: Tensor, batches: list[Any], scalars: Tensor, draws: Draws
    ) -> Report:
        moved, metrics = self._move(states, active, batches, scalars, draws)
        with torch.no_grad():
            for name, state in states.items():
                overwrite(state, moved[name])
        return {k: v.detach() if isinstance(v, Tensor) else v for k, v in metrics.items()}

    def __call__(self, batches: Sequence[Sequence[Any] | None]) -> list[Report | NonFinite | None]:
        """One move of every update that is given minibatches; the others stand still.

        Args:
            batches: for each update its `Update.batches` minibatches, or None; at least one is given.

        Returns:
            For each update its metrics, detached and not synchronised; or `NonFinite`, not raised, if its loss or a
            gradient was NaN or infinite, in which case nothing of it is written; or None if it stood still.
        """
        given = next(own for own in batches if own is not None)
        active = torch.tensor([own is not None for own in batches], device=self._device)
        numbers = [u.numbers() for u in self.updates]
        scalars = torch.tensor(numbers, dtype=torch.float64).to(self._device)
        draws = [_drawn(u) if own is not None else None for u, own in zip(self.updates, batches, strict=True)]
        still = next(own for own in draws if own is not None)
        metrics = self._run(
            self.states,
            active,
            _stacked([list(given if own is None else own) for own in batches]),
            scalars,
            _stacked([still if own is None else own for own in draws]),
        )
        finite = cast(Tensor, metrics.pop("finite")).tolist()
        rows = {key: value.unbind() if isinstance(value, Tensor) else None for key, value in metrics.items()}
        found: list[Report | NonFinite | None] = []
        for k, update in enumerate(self.updates):
            own: Report = {key: metrics[key] if row is None else row[k] for key, row in rows.items()}
            if batches[k] is None:
                found.append(None)
            elif not finite[k]:
                bad = ", ".join(f"{key} = {float(value):.4g}" for key, value in own.items())
                found.append(NonFinite(f"a loss or gradient is not finite ({bad})"))
            else:
                update.count()
                found.append(own)
        return found


def _drawn(update: Update) -> Draws:
    return {name: own for name, own in update.draws().items() if own[0] is not None}


def _stacked(trees: Sequence[Any]) -> Any:
    """A tree of tensors (S, ...) from S trees of one structure."""
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.stack(list(trees))
    if isinstance(first, dict):
        return {key: _stacked([tree[key] for tree in trees]) for key in first}
    if isinstance(first, list | tuple):
        parts = [_stacked([tree[i] for tree in trees]) for i in range(len(first))]
        return parts if isinstance(first, list) else type(first)(*parts)
    raise TypeError(f"{type(first).__name__}: a minibatch holds tensors in named tuples, dicts and lists")


def _row(tree: Any, k: int) -> Any:
    """Row `k` of every tensor of a tree."""
    if isinstance(tree, Tensor):
        return tree[k]
    return {key: _row(value, k) for key, value in tree.items()}
