"""Two games that are one game: one player proposes, the critic scores, and both learn by the same step.

    a WGAN                          a generator proposes a sample G(z), the critic scores it by f(G(z))
    deterministic policy gradient   an actor proposes an action mu(s), the critic scores it by Q(s, mu(s))

    theta+ = P_K^H( theta - alpha H^-1 m + sigma xi ),    m = momentum(g),   H = metric(g),   theta_bar = average(theta)

A task brings its networks, their losses and the minibatches. The rest is here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlgan.optim.compiled.choice import Choice
from rlgan.optim.contract.slots import check_spec
from rlgan.optim.play.field import Losses
from rlgan.optim.play.game import Game
from rlgan.optim.play.player import Player
from rlgan.optim.play.precision import bfloat16_note
from rlgan.optim.play.spec import PlayerSpec
from rlgan.optim.play.whole_loss import check_alone, player_loss
from rlgan.optim.second_order.landscape import Landscape, survey
from rlgan.optim.stack import Stack
from rlgan.optim.step.types import Report
from rlgan.optim.update import Update
from rlgan.optim.weights import begin


class TwoPlayers:
    """The players of a task, and the update that moves them.

    There may be one player (a plain minimisation) or more than two: whatever the losses name.

    Args:
        networks: each player's module by name, the critic first; on its device, in its dtype.
        specs: how each player is configured.
        losses: what they minimise, in the order of play.
        game: the order of play.
        moves: moves that the run is planned to make, for `compile`.
        horizon: moves that schedules and averages are laid out for; None is `moves`.
        noise: gives each player the generator that its noise is drawn from.
        compile: true, false, or `auto` for what pays (`rlgan.optim.compiled.choice`).
        precision: `bf16` multiplies matrices in bfloat16 (see `rlgan.optim.play.precision`).
        seeds: how many such learners are moved as one, for `compile`.
        shares_batch: see `Game.batches`.
        full_batch: every move is made on the same batch, all there is (see `Update`).

    Raises:
        ValueError: settings of a player that do not fit each other or the game; begins with the key at fault.
        Unlike: a network is another one than `rlgan.optim.weights.beginning` has weights of.

    Attributes:
        players: by name.
        update: one move of all of them.
        choice: whether it is compiled, and why.
        alone: whether the update is made by itself, and not in a stack.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        specs: Mapping[str, PlayerSpec],
        losses: Losses,
        game: Game,
        *,
        moves: int,
        horizon: int | None = None,
        noise: Callable[[str], torch.Generator],
        compile: bool | Literal["auto"] = "auto",
        precision: str = "float32",
        seeds: int = 1,
        shares_batch: bool = False,
        full_batch: bool = False,
    ) -> None:
        check_alone({name: specs[name].optimizer for name in networks})
        steps = game.steps(tuple(networks))
        for name, network in networks.items():
            check_spec(name, specs[name], network, (horizon or moves) * steps[name])
        begin(networks)
        self.players = {
            name: Player(name, network, specs[name], (horizon or moves) * steps[name], noise(name))
            for name, network in networks.items()
        }
        vectors = [player.vector.theta for player in self.players.values()]
        device = vectors[0].device
        shapes = [tuple(map(tuple, player.vector.shapes)) for player in self.players.values()]
        self.choice = Choice(
            compile,
            moves,
            device,
            f"{dict(specs)}; {game}; {precision}; {shapes}",
            sum(len(theta) for theta in vectors),
            [spec.optimizer for spec in specs.values()],
            seeds,
        )
        self.update = Update(
            list(self.players.values()),
            losses,
            game,
            compiled=bool(self.choice.compiled),
            shares_batch=shares_batch,
            bfloat16=precision == "bf16",
            full_batch=full_batch,
        )
        self.alone = True

    @property
    def compiled(self) -> bool | None:
        """Whether the update is compiled; None while `auto` has not decided."""
        return self.choice.compiled

    def move(self, batches: Sequence[Any], watch: bool = False) -> Report:
        """One move of all players; see `Update`. After the first ones of `compile=auto` the update may be compiled."""
        # Of seeds of a stack one decides for all; the others' moves of that round are eager still, and tell nothing.
        if not self.choice.timing or (self.choice.compiled and not self.update.compiled):
            return self.update(batches, watch)
        report = self.choice.time(lambda: self.update(batches, watch), self.update.moves, batches)
        if self.choice.compiled and self.alone and not self.update.compiled:
            self.update.compile()
        return report

    @staticmethod
    def stacked(learners: Sequence[TwoPlayers]) -> Stack:
        """What moves all of `learners`, equal but for their seeds, at once; one decision on compiling serves them all.

        Raises:
            ValueError: a player's optimizer cannot be stacked.
        """
        stack = Stack([learner.update for learner in learners], bool(learners[0].compiled))
        for learner in learners:
            learner.choice, learner.alone = learners[0].choice, False
        return stack

    def laid_out(self, horizon: int, ahead: int = 0) -> dict[str, float]:
        """What is scheduled of players, `ahead` moves from here, were it laid out for `horizon` moves; by its key."""
        found: dict[str, float] = {}
        for name, player in self.players.items():
            spec, n = player.spec, self.update.steps[name]
            step, length = player.steps + ahead * n, horizon * n
            found[f"{name}.optimizer.lr"] = spec.optimizer.lr * spec.schedule(step, length)
            for what in ("momentum_schedule", "noise_schedule", "projection_schedule"):
                found[f"{name}.{what}"] = getattr(spec, what)(step, length)
            for part, average in spec.averaging.parts.items():
                if average.active:
                    tail = f".{part}" if len(spec.averaging.parts) > 1 else ""
                    found[f"{name}.averaging{tail}"] = average.weight(step + 1, length)
        return found

    def notes(self) -> list[str]:
        """How the update is run, and why."""
        note = self.choice.note
        if self.update.bfloat16:
            device = next(iter(self.players.values())).vector.theta.device
            note = f"{note}; {bfloat16_note(device, self.update.rounds_from)}"
        size, modules = self.update.pure.world.size, [m for p in self.players.values() for m in p.module.modules()]
        if size == 1:
            return [note]
        found = [note, f"{size} ranks: gradients, and what is logged of losses, are means over them"]
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules):
            found.append("batch norm takes its statistics from each rank's own part of a minibatch")
        return found

    def histograms(self, batch: Any) -> dict[str, Tensor]:
        """Every player's parameters, and the gradients of its loss where all players stand, by tag.

        The gradient is that on `batch`, which a simultaneous move would begin with; a compiled move keeps none of its
        own. Nothing is moved.

        Args:
            batch: a minibatch; None leaves the gradients out.
        """
        field = self.update.pure
        found: dict[str, Tensor] = {}
        for name, player in self.players.items():
            theta = player.vector.theta.detach()
            kinds = {"weights": theta}
            if batch is not None:
                kinds["gradients"] = torch.func.grad(player_loss(field, name, batch))(theta)
            for kind, vector in kinds.items():
                found |= {f"{kind}/{name}.{key}": piece for key, piece in player.vector.split(vector).items()}
        return found

    def curvature(self, batch: Any, samples: int, notes: tuple[str, ...] = ()) -> dict[str, Landscape]:
        """The loss of each player about its present vector, on one batch of `samples`; nothing is moved."""
        field = self.update.pure
        return {name: survey(field, name, batch, samples, notes=notes) for name in field.names}
