"""The field of gradients: the one place where gradients are taken, in two ways that a test holds equal.

*Eager*: the networks are modules on permanent views of their vectors, gradients by autograd, steps in place.
*Pure*: the networks are functions of the vectors, gradients by ``torch.func``, nothing is written; this is the form
that compiles and stacks.

A loss sees neither: it is ``loss(nets, batch) -> (scalar, metrics)`` with ``nets.critic(x)`` a callable, and
``nets.average.critic(x)`` its averaged copy.
"""

from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from rlgan.optim.play.player import Player, PlayerState
from rlgan.optim.ranks import mean_over_ranks, world
from rlgan.optim.step.types import Metrics, Report, Scalars

Nets: TypeAlias = Any
Loss: TypeAlias = Callable[[Nets, Any], tuple[Tensor, Metrics]]


@dataclass(frozen=True)
class Losses:
    """What the players minimise.

    Args:
        of: each player's own loss, in the order of play (the one that moves first, the critic, stands first).
        joint: for a zero-sum game, one loss L whose gradient serves all players at once.
        signs: with `joint`, the factor of each player's part: grad_p of[p] = signs[p] grad_p L.
    """

    of: Mapping[str, Loss]
    joint: Loss | None = None
    signs: Mapping[str, int] = field(default_factory=dict)


class Linearised(NamedTuple):
    """The field v(z) of all players' gradients at a position z, and its Jacobian J = dv/dz.

    Vectors over all players are dictionaries by name.
    """

    v: dict[str, Tensor]
    transposed: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """w -> J^T w."""
    forward: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """w -> J w."""


class Position(NamedTuple):
    """Where the players of a pure move stand.

    `finite` () bool says whether everything so far was finite: then steps are taken, else none is.
    """

    players: dict[str, PlayerState]
    finite: Tensor


class Net(ABC):
    """A network bound to a vector."""

    @abstractmethod
    def __call__(self, *inputs: Tensor) -> Tensor:
        """The network's output for a batch."""

    @abstractmethod
    def input_gradient(self, x: Tensor, *rest: Tensor) -> Tensor:
        """d sum_i f(x_i) / dx, the per-sample gradients (shape of `x`); can be differentiated again."""


class GradientField(ABC):
    """Gradients where the players stand, and steps from there. The field holds the position and moves on with it.

    Where several ranks train together (`rlgan.optim.ranks`) every gradient that a game sees is the mean over the ranks,
    and so are the metrics and the products with the Jacobian.
    """

    def __init__(self, players: Sequence[Player], losses: Losses) -> None:
        self.world = world()
        self.players = {p.name: p for p in players}
        self.losses = losses
        if set(self.players) != set(losses.of):
            raise ValueError(f"losses = {sorted(losses.of)}: one for each player {sorted(self.players)}")
        self.names = tuple(losses.of)
        self._nets_type: Any = namedtuple("Nets", [*self.players, "average"])  # type: ignore[misc]
        self._average_type: Any = namedtuple("Average", list(self.players))  # type: ignore[misc]

    @property
    def joint_label(self) -> str:
        """Whose loss the joint one is reported as: the player's whose own it is, or the game's."""
        return next((name for name, loss in self.losses.of.items() if loss == self.losses.joint), "game")

    def gradients(
        self, batch: Any, names: Sequence[str], scalars: Mapping[str, Scalars]
    ) -> tuple[dict[str, Tensor], Report]:
        """The gradient of each named player's loss by its own vector, all taken at one position; and metrics.

        Where the method of a named player looks ahead (Nesterov), the gradients are taken at the look-ahead points of
        all the named players; `scalars` are the numbers of the steps to come.

        For all players of a zero-sum game this is one forward and one backward pass.
        """
        ahead = [n for n in names if self.players[n].spec.optimizer.looks_ahead]
        if ahead:
            with self._elsewhere({n: self.players[n].point(self.state(n), scalars[n]) for n in ahead}):
                grads, report = self._gradients(batch, names)
        else:
            grads, report = self._gradients(batch, names)
        return (grads, report) if self.world.size == 1 else self._over_ranks(grads, report)

    def _over_ranks(self, grads: Mapping[str, Tensor], report: Report) -> tuple[dict[str, Tensor], Report]:
        """The mean over the ranks of gradients and of what is reported, by one call for all of them.

        A loss that is not finite at one rank makes the mean of it so at all.
        """
        like = next(iter(grads.values()))
        numbers = [torch.as_tensor(v, dtype=like.dtype, device=like.device).reshape(1) for v in report.values()]
        *vectors, tail = mean_over_ranks(torch.cat([*grads.values(), *numbers])).split(
            [*(g.numel() for g in grads.values()), len(numbers)]
        )
        return dict(zip(grads, vectors, strict=True)), dict(zip(report, tail.unbind(), strict=True))

    def _mean_over_ranks(self, w: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean over the ranks of a vector over all players."""
        flat = mean_over_ranks(torch.cat(list(w.values())))
        return dict(zip(w, flat.split([g.numel() for g in w.values()]), strict=True))

    def _gradients(self, batch: Any, names: Sequence[str]) -> tuple[dict[str, Tensor], Report]:
        if len(names) == 1:
            return self._gradient(batch, (names[0],), self.losses.of[names[0]], names[0])
        if self.losses.joint is not None and len(names) == len(self.names):
            joint, report = self._gradient(batch, tuple(names), self.losses.joint, self.joint_label)
            return {n: g if self.losses.signs[n] == 1 else -g for n, g in joint.items()}, report
        grads: dict[str, Tensor] = {}
        metrics: Report = {}
        for name in names:
            g, m = self._gradient(batch, (name,), self.losses.of[name], name)
            grads.update(g)
            metrics.update(m)
        return grads, metrics

    @abstractmethod
    def state(self, name: str) -> PlayerState:
        """A player's state where it stands."""

    @abstractmethod
    def save(self) -> Any:
        """What `restore` needs to come back to this position after tentative steps."""

    @abstractmethod
    def restore(self, saved: Any) -> None:
        """Go back to the saved position; networks keep the statistics that they have gathered since (buffers)."""

    @abstractmethod
    def place(self, name: str, theta: Tensor, s: Scalars) -> None:
        """Replace a player's theta (d,), in its averages too; `s`: the numbers of its last step."""

    @abstractmethod
    def remember(self, name: str, **slots: Tensor) -> None:
        """Keep copies of `slots` in the player's game state."""

    @abstractmethod
    def linearise(self, batch: Any) -> tuple[Linearised, Report]:
        """All gradients, each of the player's own loss (or its share of the joint one), and their Jacobian."""

    @abstractmethod
    def _elsewhere(self, thetas: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Have some players stand at `thetas` meanwhile."""

    @abstractmethod
    def _gradient(self, batch: Any, names: tuple[str, ...], loss: Loss, label: str) -> tuple[dict[str, Tensor], Report]:
        """The gradient of one scalar loss with respect to the vectors of `names`."""

    @abstractmethod
    def step(
        self, grads: Mapping[str, Tensor], scalars: Mapping[str, Scalars], draws: Mapping[str, Tensor | None]
    ) -> Report:
        """Every player of `grads` takes its step; none does unless all gradients are finite. Gives their norms."""
