"""The update: one move of a game, run eagerly on modules or as one compiled pure function of the vectors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from rlgan.optim.eager_field import EagerField
from rlgan.optim.field import Losses, NonFinite, Position, Report
from rlgan.optim.game import Game, Plan
from rlgan.optim.introspection import before, introspect
from rlgan.optim.method import Method
from rlgan.optim.player import Player, PlayerState, overwrite
from rlgan.optim.pure_field import PureField

T = TypeVar("T")
Draws: TypeAlias = dict[str, list[Tensor | None]]
"""Every player's noise, for each of its steps in a move."""

COMPILE_PAYS_FROM = 30_000
"""Player steps in a run from which a cold compilation (a minute) is earned back."""


def resolve_compile(
    requested: bool | Literal["auto"], planned_steps: int, device: torch.device, methods: Sequence[Method] = ()
) -> tuple[bool, str]:
    """Whether to compile, and why in one line.

    Args:
        requested: what the user asked for.
        planned_steps: steps that all players together will take in the run.
        methods: the players'; one that cannot be compiled has the update run eagerly.

    Raises:
        ValueError: if compilation is demanded on a CPU without a C++ compiler.
    """
    compiler = device.type != "cpu" or any(shutil.which(c) for c in (os.environ.get("CXX", "c++"), "g++", "clang++"))
    if requested is True and not compiler:
        raise ValueError("compile = true: no C++ compiler found; install g++, or use compile=auto to run eagerly")
    if requested != "auto":
        return requested, "as configured"
    eager = [method for method in methods if not method.stackable]
    if eager:
        return False, f"{eager[0]} cannot be compiled"
    if not compiler:
        return False, "no C++ compiler found, so the update runs eagerly"
    if planned_steps < COMPILE_PAYS_FROM:
        return False, f"{planned_steps} planned steps do not pay for a compilation"
    return True, f"{planned_steps} planned steps pay for a compilation"


def one_graph(function: Callable[..., T], device: torch.device) -> Callable[..., T]:
    """One graph for one update; calls check the shapes of its tensors and nothing else.

    The players, losses and game of an update never change, so guards on them (100 us and more a call, a seventh of a
    small update) are dropped. Dynamo keeps graphs by code object: each update gets a code object of its own, so that
    one never runs the graph of another.
    """

    def run(*args: Any) -> T:
        return function(*args)

    run.__code__ = run.__code__.replace()
    options: dict[str, Any] = {"guard_filter_fn": lambda guards: [g.guard_type == "TENSOR_MATCH" for g in guards]}
    if device.type == "cpu":
        options["cpp_wrapper"] = True  # calls the kernels from C++, a fifth faster at 2x64
    compiled: Callable[..., T] = torch.compile(run, fullgraph=True, dynamic=False, options=options)
    return compiled


class Update:
    """One move of `game` by `players` on `losses`, and the state that it changes.

    Args:
        players: in any order; the losses fix the order of play.
        losses: what they minimise.
        game: the order of play.
        compiled: run as one compiled pure function (``fullgraph=True, dynamic=False``) instead of eagerly.
        shares_batch: the last player uses the critic's last batch (see `Game.batches`).
    """

    def __init__(
        self, players: Sequence[Player], losses: Losses, game: Game, compiled: bool = False, shares_batch: bool = False
    ) -> None:
        self.players = {p.name: p for p in players}
        self.game = game
        self.compiled = compiled
        self.eager = EagerField(players, losses)
        self.pure = PureField(players, losses)
        self.steps = game.steps(self.pure.names)
        self.batches = game.batches(shares_batch)
        game.check(self.players)
        for player in players:
            if compiled and not player.spec.optimizer.stackable:
                raise ValueError(
                    f"compile = true: {player.name}.optimizer is {player.spec.optimizer}, which cannot be compiled; "
                    "use compile=auto or false, or one of rlgan's own methods"
                )
            player.state["game"] = game.init(player.vector.theta)
        device = players[0].vector.theta.device
        self._start = Position({}, None)
        self._finite = torch.ones((), dtype=torch.bool, device=device)
        self._run = one_graph(self._pure_move, device) if compiled else self._pure_move

    def __call__(self, batches: Sequence[Any], watch: bool = False) -> Report:
        """One move on `batches` (a list of `self.batches` minibatches); metrics are detached and not synchronised.

        `watch` adds what rlgan.optim.introspection reads off the players.

        Raises:
            NonFinite: before a step, if a loss or gradient is NaN or infinite; nothing of that step is written.
        """
        earlier = {name: before(p) for name, p in self.players.items()} if watch else {}
        try:
            metrics, noise = self._move(batches)
        except NonFinite as error:
            largest = ", ".join(f"{n} {p.vector.theta.abs().max().item():.3g}" for n, p in self.players.items())
            raise NonFinite(f"{error}; largest parameter: {largest}") from None
        for name, then in earlier.items():
            metrics.update(introspect(self.players[name], then, noise[name]))
        return metrics

    @property
    def moves(self) -> int:
        """Moves made so far."""
        name, n = next(iter(self.steps.items()))
        return self.players[name].steps // n

    def _move(self, batches: Sequence[Any]) -> tuple[Report, dict[str, Tensor | None]]:
        """Metrics, and every player's last noise."""
        if self.compiled:
            draws = self.draws()
            scalars = torch.tensor(self.numbers(), dtype=torch.float64).to(self._finite.device)
            states = {name: p.state for name, p in self.players.items()}
            metrics = self._run(states, self._finite, list(batches), scalars, draws)
            if not metrics.pop("finite"):
                bad = ", ".join(f"{k} = {float(v):.4g}" for k, v in metrics.items())
                raise NonFinite(f"a loss or gradient is not finite ({bad})")
        else:
            plan: Plan = {
                name: [(p.scalars(p.steps + 1 + i), p.draw()) for i in range(self.steps[name])]
                for name, p in self.players.items()
            }
            draws = {name: [xi for _, xi in steps] for name, steps in plan.items()}
            _, metrics = self.game.move(self.eager, self._start, batches, plan, self.game.scalars(self.moves))
        self.count()
        return metrics, {name: own[-1] for name, own in draws.items()}

    def count(self) -> None:
        """Note that a move has been made."""
        for name, n in self.steps.items():
            self.players[name].steps += n

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
        return self.game.move(self.pure, Position(states, finite), batches, plan, s)

    def rehome(self, states: dict[str, PlayerState]) -> None:
        """Move all players into memory given from outside (see `Player.rehome`)."""
        for name, state in states.items():
            self.players[name].rehome(state)
        self.eager.forget()

    def _pure_move(
        self,
        states: dict[str, PlayerState],
        finite: Tensor,
        batches: list[Any],
        scalars: Tensor,
        draws: Draws,
    ) -> Report:
        at, metrics = self.pure_move(states, finite, batches, scalars, draws)
        assert at.finite is not None
        with torch.no_grad():
            for name, state in states.items():
                overwrite(state, at.players[name])
        return {**{k: v.detach() if isinstance(v, Tensor) else v for k, v in metrics.items()}, "finite": at.finite}

    def _keys(self, name: str) -> tuple[str, ...]:
        return tuple(self.players[name].scalars(1))

    def state_dict(self) -> dict[str, Any]:
        """All players' states."""
        return {name: p.state_dict() for name, p in self.players.items()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore all players' states."""
        for name, player in self.players.items():
            player.load_state_dict(saved[name])
