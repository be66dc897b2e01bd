"""Many updates of one shape as one: a leading seed axis under ``torch.func.vmap``, in one graph."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from rlgan.optim.compiled.finite import Failed, FiniteFlags, reported
from rlgan.optim.compiled.graph import fixed_in_memory, on_device, one_graph
from rlgan.optim.errors import NonFinite
from rlgan.optim.play.introspection import before, introspect
from rlgan.optim.play.player import PlayerState, overwrite
from rlgan.optim.step.types import Metrics, Report
from rlgan.optim.tree import tree_leaves, tree_map
from rlgan.optim.update import Draws, Update

CACHE = 9 * 2**20
"""Bytes that the seeds of one block may touch in a move: a share of a last-level cache.

The default WGAN touches 2.2 MiB a seed: 16 seeds take 1.30 ms a seed in blocks of 2, 1.34 of 4 and 1.88 in one of 16.
"""
CALL = 2**19
"""Bytes that could be touched in the time of one call."""
ACTIVATIONS = 4
"""Tensors of the size of all layers' outputs that a move has alive, roughly."""
LARGEST_BLOCK = 16
"""Seeds from which the cost of a call is spread thin enough."""


class Stack:
    """S updates, one per seed, that move together.

    Every tensor of their players moves into one of shape (S, ...), of which it stays row k: so each update still is
    what it was, to be evaluated, looked at, saved and, if one likes, moved alone; and all of them are moved by one
    call on the whole, under vmap. On a CPU the call is made in blocks of seeds, one after the other by the same graph,
    so that what a block computes stays in the cache until it is used.

    Args:
        updates: of equal networks, methods, losses and game, at least one.
        compiled: run as one compiled graph.
        check_every: moves after which it is looked which seeds were not finite (see `Update`).

    Raises:
        ValueError: if the updates are not of one shape, or a player's optimizer cannot be stacked.
    """

    def __init__(self, updates: Sequence[Update], compiled: bool = False, check_every: int | None = None) -> None:
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
        self._device = first.players[next(iter(first.players))].vector.theta.device
        self._run = self._all
        self._finite = FiniteFlags(len(self.updates), self._device, check_every)
        self._players = [tuple(u.players.values()) for u in self.updates]
        self._one_horizon = len({tuple(p.horizon for p in own) for own in self._players}) == 1
        self._noisy = any(p.spec.xi.active for own in self._players for p in own)
        self._scalars = on_device([u.numbers() for u in self.updates], self._device)
        self.compiled = self._blocked = False
        self._blocks: list[tuple[slice, int, dict[str, PlayerState]]] = []
        if compiled:
            self.compile()

    def compile(self) -> None:
        """From now on run as one compiled graph."""
        self.compiled, self._blocked = True, self._device.type == "cpu"
        for update in self.updates:
            update.choose_products(True)
        self._run = one_graph(self._all, self._device, self.updates[0].bfloat16)
        if self._device.type == "cuda":
            fixed_in_memory(self.states)
        self._blocks = []

    def _one(
        self, states: dict[str, PlayerState], active: Tensor, batches: list[Any], scalars: Tensor, draws: Draws
    ) -> tuple[dict[str, PlayerState], Metrics]:
        """One seed's move."""
        first = self.updates[0]
        every = {name: draws.get(name, [None] * n) for name, n in first.steps.items()}  # vmap takes no None
        at, metrics = first.pure_move(states, active, batches, scalars, every)
        return at.players, reported(metrics, at.finite)

    def _all(
        self, states: dict[str, PlayerState], active: Tensor, batches: list[Any], scalars: Tensor, draws: Draws
    ) -> Metrics:
        moved, metrics = self._move(states, active, batches, scalars, draws)
        with torch.no_grad():
            for name, state in states.items():
                overwrite(state, moved[name])
        return metrics

    def __call__(self, batches: Sequence[Any], watch: Sequence[bool] = ()) -> list[Report | NonFinite | None]:
        """One move of every update that is given minibatches; the others stand still.

        Args:
            batches: for each update its `Update.batches` minibatches, or None; at least one is given.
            watch: for which updates to measure what `introspect` reads off the players; if for any, it is looked
                whether all were finite, whatever `check_every` says. Empty is for none.

        Returns:
            For each update its metrics, detached and, unless all is looked at, not synchronised; or `NonFinite`, not
            raised, if a loss or a gradient of it was NaN or infinite, in which case nothing of it is written; or None
            if it stood still.
        """
        still = next(own for own in batches if own is not None)
        data = _stacked([list(still if own is None else own) for own in batches])
        return self.move(data, [own is not None for own in batches], watch)

    def move(
        self, batches: list[Any], given: Sequence[bool], watch: Sequence[bool] = ()
    ) -> list[Report | NonFinite | None]:
        """The same, on minibatches whose tensors have all updates' rows already, (S, ...).

        Args:
            batches: `Update.batches` minibatches; the rows of updates that stand still are read, and count for nothing.
            given: which updates move.
            watch: as in a call.
        """
        watched = [k for k, wanted in enumerate(watch) if wanted and given[k]]
        earlier = {k: {name: before(p) for name, p in self.updates[k].players.items()} for k in watched}
        draws = self._draws(given)
        metrics = self._moved(self._finite.active(given), batches, self._numbers(), draws)
        for update, moves in zip(self.updates, given, strict=True):
            if moves:
                update.count()
        reports, failed = self._finite.settle(metrics, given, bool(watched))
        self._take_back(failed)
        for k, players in earlier.items():
            for name, then in players.items():
                noise = draws[name][-1] if name in draws else None
                own = None if noise is None else noise[k]
                reports[k].update(introspect(self.updates[k].players[name], then, own))
        found: list[Report | NonFinite | None] = []
        for k, report in enumerate(reports):
            found.append(failed[k][0] if k in failed else report if given[k] else None)
        return found

    @property
    def pays(self) -> bool:
        """Whether a call is not slower than the updates one after the other: on a CPU vmap costs more than it saves."""
        return self.compiled or self._device.type != "cpu"

    def check(self) -> list[NonFinite | None]:
        """Look now which seeds were not finite: for each of them the error, its moves since not made nor counted."""
        failed = self._finite.look()
        self._take_back(failed)
        return [failed[k][0] if k in failed else None for k in range(len(self.updates))]

    def _take_back(self, failed: Failed) -> None:
        for k, (_, moves) in failed.items():
            self.updates[k].count(-moves)

    def _moved(self, active: Tensor, batches: list[Any], scalars: Tensor, draws: Draws) -> Metrics:
        """One move of all, block by block; every seed's metrics (S,)."""
        if not self._blocks:
            self._blocks = self._cut(batches)
        if len(self._blocks) == 1:
            with self.updates[0].library(batches, stacked=True):
                return self._run(self.states, active, batches, scalars, draws)
        parts: list[Metrics] = []
        for rows, repeated, states in self._blocks:
            on = active[rows]
            if repeated:  # these have moved in the block before
                on = on.clone()
                on[:repeated] = False
            metrics = self._run(states, on, _row(batches, rows), scalars[rows], _row(draws, rows))
            parts.append({key: value[repeated:] for key, value in metrics.items()})
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def _cut(self, batches: list[Any]) -> list[tuple[slice, int, dict[str, PlayerState]]]:
        """The rows of every block, how many of them are in the block before too, and their states.

        All blocks have one size, for one graph.
        """
        seeds = len(self.updates)
        size = seeds
        if self._blocked:
            touched = self._touched(batches)
            limit = max(1, min(seeds, LARGEST_BLOCK, CACHE // touched))
            size = min(range(1, limit + 1), key=lambda size: math.ceil(seeds / size) * (size + CALL / touched))
        count = math.ceil(seeds / size)
        blocks = []
        for i in range(count):
            start = min(i * size, seeds - size)
            rows = slice(start, start + size)
            blocks.append((rows, i * size - start, cast(dict[str, PlayerState], _row(self.states, rows))))
        return blocks

    def _touched(self, batches: list[Any]) -> int:
        """Bytes that a move of one seed reads and writes, roughly: its state, and activations by the layers' widths."""
        players = self._players[0]
        samples = max(leaf.shape[1] for leaf in tree_leaves(batches) if leaf.ndim > 1)
        width = sum(shape[0] for p in players for shape in p.vector.shapes if len(shape) > 1)
        size = players[0].vector.theta.element_size()
        state = sum(leaf[0].nbytes for leaf in tree_leaves(self.states))
        return state + sum(leaf[0].nbytes for leaf in tree_leaves(batches)) + ACTIVATIONS * samples * width * size

    def _numbers(self) -> Tensor:
        """Every update's numbers (S, .), computed once if all have made as many steps of as many planned."""
        steps = [[(p.steps, p.began) for p in own] for own in self._players]
        if self._one_horizon and steps.count(steps[0]) == len(steps):
            return self._scalars.copy_(on_device(self.updates[0].numbers(), self._device))
        return on_device([u.numbers() for u in self.updates], self._device)

    def _draws(self, given: Sequence[bool]) -> Draws:
        """The noise (S, ...) of the next move; whoever stands still draws none."""
        if not self._noisy:
            return {}
        draws = [_drawn(u) if moves else None for u, moves in zip(self.updates, given, strict=True)]
        still = next(own for own in draws if own is not None)
        return cast(Draws, _stacked([still if own is None else own for own in draws]))


def _drawn(update: Update) -> Draws:
    return {name: own for name, own in update.draws().items() if own[0] is not None}


def _stacked(trees: Sequence[Any]) -> Any:
    """A tree of tensors (S, ...) from S trees of one structure."""
    return tree_map(_stack, *trees)


def _stack(*leaves: Any) -> Tensor:
    if not isinstance(leaves[0], Tensor):
        raise TypeError(f"{type(leaves[0]).__name__}: a minibatch holds tensors in named tuples, dicts and lists")
    return torch.stack(leaves)


def _row(tree: Any, k: int | slice) -> Any:
    """Row `k`, or the rows of a slice, of every tensor of a tree."""
    return tree_map(lambda leaf: leaf[k], tree)
