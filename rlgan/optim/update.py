"""The update: one move of a game, run eagerly on modules or as one compiled pure function of the vectors."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from rlgan.optim.compiled.finite import Failed, FiniteFlags, reported
from rlgan.optim.compiled.graph import fixed_in_memory, on_device, one_graph
from rlgan.optim.compiled.quickest import by_onednn, quickest_of_graph, quickest_of_library, size
from rlgan.optim.errors import NonFinite
from rlgan.optim.play.eager_field import EagerField
from rlgan.optim.play.field import Losses, Position
from rlgan.optim.play.game import Game, Plan
from rlgan.optim.play.introspection import before, introspect
from rlgan.optim.play.player import Player, PlayerState, overwrite
from rlgan.optim.play.precision import bfloat16 as under_autocast
from rlgan.optim.play.pure_field import PureField
from rlgan.optim.play.whole_loss import check_whole_loss
from rlgan.optim.step.types import Metrics, Report
from rlgan.optim.tree import tree_leaves

Draws: TypeAlias = dict[str, list[Tensor | None]]
"""Every player's noise, for each of its steps in a move."""


class Update:
    """One move of `game` by `players` on `losses`, and the state that it changes.

    Args:
        players: in any order; the losses fix the order of play.
        losses: what they minimise.
        game: the order of play.
        compiled: run as one compiled pure function (``fullgraph=True, dynamic=False``) instead of eagerly.
        shares_batch: the last player uses the critic's last batch (see `Game.batches`).
        check_every: moves after which it is looked whether all of them were finite, in compiled play; None is 1 on the
            CPU and 64 on CUDA, where a look waits for the device. Nothing is written by the move that was not finite,
            and by none after it; but `NonFinite` comes only with the look.
        full_batch: every move is made on the same batch, all there is; a method that evaluates the loss several times a
            step (Newton and its kin) is refused without.
        bfloat16: multiply matrices in bfloat16: on a CPU where that is quicker (see `rlgan.optim.play.precision`).

    Attributes:
        products: what decides which library, in which precision, computes a float32 product on this machine; another
            one gives other last bits.
        rounds_from: with `bfloat16` on a CPU, from which size of square matrices on products are rounded; 0 is never.
    """

    def __init__(
        self,
        players: Sequence[Player],
        losses: Losses,
        game: Game,
        compiled: bool = False,
        shares_batch: bool = False,
        check_every: int | None = None,
        bfloat16: bool = False,
        full_batch: bool = False,
    ) -> None:
        self._device = players[0].vector.theta.device
        if bfloat16 and self._device.type != "cpu":
            losses = under_autocast(losses)
        self.players = {p.name: p for p in players}
        if len(self.players) < len(players):
            raise ValueError(f"players = {', '.join(p.name for p in players)}: one name for two; give each its own")
        self.game = game
        self.compiled = False
        self.eager = EagerField(players, losses)
        self.pure = PureField(players, losses)
        self.steps = game.steps(self.pure.names)
        self.batches = game.batches(shares_batch)
        game.check(self.players)
        check_whole_loss(self.players, game, full_batch, bfloat16)
        self._seat = object()
        for player in players:
            player.join(self._seat, game.init(player.vector.theta))
            player.vector.check()
        self._finite = FiniteFlags(1, self._device, check_every)
        self.bfloat16 = bfloat16
        self.choose_products(compiled)
        self._run = self._pure_move
        if compiled:
            self.compile()

    def __call__(self, batches: Sequence[Any], watch: bool = False) -> Report:
        """One move on `batches` (a list of `self.batches` minibatches); metrics are detached and not synchronised.

        `watch` adds what rlgan.optim.play.introspection reads off the players, and looks whether all was finite.

        Raises:
            NonFinite: before a step, if a loss or gradient is NaN or infinite; nothing of that step is written. In
                compiled play it may be a step of an earlier move (see `check_every`).
            ValueError: if a player has been given to another update since, or its module is no longer its vector.
        """
        for player in self.players.values():
            if player.seat is not self._seat:
                raise ValueError(
                    f"players = {player.name}: plays another game by now, which keeps its own past of it; make a new "
                    "Update to go on with this one"
                )
            if watch or not self.compiled:  # a compiled move is of the vectors alone
                player.vector.check()
        earlier = {name: before(p) for name, p in self.players.items()} if watch else {}
        try:
            metrics, noise = self._move(batches, watch)
        except NonFinite as error:
            raise self._described(error) from None
        for name, then in earlier.items():
            metrics.update(introspect(self.players[name], then, noise[name]))
        return metrics

    def compile(self) -> None:
        """From now on run as one compiled graph.

        Raises:
            ValueError: a player's method cannot be compiled.
        """
        for player in self.players.values():
            if not player.spec.optimizer.stackable:
                raise ValueError(
                    f"compile = true: {player.name}.optimizer is {player.spec.optimizer}, which cannot be compiled; "
                    "use compile=auto or false, or one of rlgan's own methods"
                )
        self.compiled = True
        self.choose_products(True)
        self._run = one_graph(self._pure_move, self._device, self.bfloat16)
        self._fix()

    @property
    def moves(self) -> int:
        """Moves that this game has made so far; what its players have done before it is theirs."""
        name, n = next(iter(self.steps.items()))
        player = self.players[name]
        return (player.steps - player.began) // n

    def check(self) -> None:
        """Look now whether all moves were finite.

        Raises:
            NonFinite: if one was not; that move, and those after it, have not been made and are not counted.
        """
        try:
            self._refuse(self._finite.look())
        except NonFinite as error:
            raise self._described(error) from None

    def _move(self, batches: Sequence[Any], watch: bool) -> tuple[Report, dict[str, Tensor | None]]:
        """Metrics, and every player's last noise."""
        if self.compiled:
            draws = self.draws()
            scalars = on_device(self.numbers(), self._device)
            states = {name: p.state for name, p in self.players.items()}
            moved = self._run(states, self._finite.active((True,))[0], list(batches), scalars, draws)
            self.count()
            (metrics,), failed = self._finite.settle(moved, (True,), watch)
            self._refuse(failed)
        else:
            plan: Plan = {
                name: [(p.scalars(p.steps + 1 + i), p.draw()) for i in range(self.steps[name])]
                for name, p in self.players.items()
            }
            draws = {name: [xi for _, xi in steps] for name, steps in plan.items()}
            with self.library(batches):
                metrics = self.game.move(self.eager, batches, plan, self.game.scalars(self.moves))
            self.count()
        return metrics, {name: own[-1] for name, own in draws.items()}

    def choose_products(self, compiled: bool) -> None:
        """Set `products` and `rounds_from` for a compiled or an eager update, by what was once measured here."""
        self.products, self.rounds_from, self._onednn = "library", 0, 0
        if self._device.type == "cpu" and any(p.vector.theta.dtype == torch.float32 for p in self.players.values()):
            quickest = quickest_of_graph() if compiled else quickest_of_library()
            self.products = quickest.words(compiled, self.bfloat16)
            self.rounds_from = quickest.rounds_from(compiled) if self.bfloat16 else 0
            self._onednn = 0 if compiled else quickest.library_from(self.bfloat16)
        layers = [shape for p in self.players.values() for shape in p.vector.shapes if len(shape) == 2]
        self._widest = max((shape[0] * shape[1] for shape in layers), default=0)
        self._large: bool | None = None if self._onednn else False

    def library(self, batches: Sequence[Any], stacked: bool = False) -> AbstractContextManager[None]:
        """For eager products: the library that is the quickest for the largest of them.

        Args:
            batches: of a move, (samples, ...) each, or (seeds, samples, ...) of many that are made at once.
            stacked: whether of many.
        """
        if self._large is None:  # all batches of a run are of one size
            rows = max((math.prod(leaf.shape[: 1 + stacked]) for leaf in tree_leaves(batches)), default=1)
            self._large = size(rows, self._widest) >= self._onednn
        return by_onednn() if self._large else nullcontext()

    def _refuse(self, failed: Failed) -> None:
        for error, moves in failed.values():
            self.count(-moves)
            raise error

    def _described(self, error: NonFinite) -> NonFinite:
        largest = ", ".join(f"{n} {p.vector.theta.abs().max().item():.3g}" for n, p in self.players.items())
        return type(error)(f"{error}; largest parameter: {largest}")

    def count(self, moves: int = 1) -> None:
        """Note that moves have been made."""
        for name, n in self.steps.items():
            self.players[name].steps += n * moves

    def numbers(self) -> list[float]:
        """All numbers that the next move needs, in the order in which `pure_move` takes them."""
        steps = [p.scalars(p.steps + 1 + i) for n, p in self.players.items() for i in range(self.steps[n])]
        return [v for s in (*steps, self.game.scalars(self.moves)) for v in s.values()]

    def draws(self) -> Draws:
        """The noise of the next move."""
        return {name: [p.draw() for _ in range(self.steps[name])] for name, p in self.players.items()}

    def pure_move(
        self, states: dict[str, PlayerState], finite: Tensor, batches: list[Any], scalars: Tensor, draws: Draws
    ) -> tuple[Position, Report]:
        """One move as a function of everything that it depends on; nothing is written.

        Args:
            states: of every player.
            finite: () bool; where it is False no step is taken.
            batches: `self.batches` minibatches.
            scalars: `numbers()`, float64.
            draws: `draws()`.
        """
        values = iter(scalars.unbind())
        plan: Plan = {
            name: [({key: next(values) for key in self._keys(name)}, draws[name][i]) for i in range(self.steps[name])]
            for name in self.players
        }
        s = {key: next(values) for key in self.game.scalars(0)}
        field = self.pure.at(Position(states, finite))
        report = self.game.move(field, batches, plan, s)
        at = field.position
        moved = {}
        for name, state in at.players.items():
            old = states[name]["buffers"]
            # Whoever makes no move gathers no statistics of the batch either.
            buffers = {key: torch.where(at.finite, value, old[key]) for key, value in state["buffers"].items()}
            moved[name] = cast(PlayerState, {**state, "buffers": buffers})
        return Position(moved, at.finite), report

    def rehome(self, states: dict[str, PlayerState]) -> None:
        """Move all players into memory given from outside (see `Player.rehome`)."""
        for name, state in states.items():
            self.players[name].rehome(state)
        self.eager.forget()
        self._fix()

    def _fix(self) -> None:
        if self.compiled and self._device.type == "cuda":
            fixed_in_memory({name: p.state for name, p in self.players.items()})

    def _pure_move(
        self, states: dict[str, PlayerState], finite: Tensor, batches: list[Any], scalars: Tensor, draws: Draws
    ) -> Metrics:
        at, metrics = self.pure_move(states, finite, batches, scalars, draws)
        with torch.no_grad():
            for name, state in states.items():
                overwrite(state, at.players[name])
        return reported(metrics, at.finite)

    def _keys(self, name: str) -> tuple[str, ...]:
        return tuple(self.players[name].scalars(1))

    def state_dict(self) -> dict[str, Any]:
        """All players' states.

        Raises:
            NonFinite: see `check`.
            ValueError: if a module is no longer its player's vector.
        """
        self.check()
        for player in self.players.values():
            player.vector.check()
        return {name: p.state_dict() for name, p in self.players.items()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore all players' states.

        Raises:
            ValueError: if the state is not of these players; nothing is loaded then.
        """
        if not isinstance(saved, dict) or saved.keys() != self.players.keys():
            theirs = ", ".join(map(str, saved)) if isinstance(saved, dict) else type(saved).__name__
            raise ValueError(
                f"state = of {theirs}: this update has the players {', '.join(self.players)}; load what its "
                "state_dict() gave"
            )
        for name, player in self.players.items():
            player.check_state(saved[name])
        self._finite.reset()
        for name, player in self.players.items():
            player.load_state_dict(saved[name])
