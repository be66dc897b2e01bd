"""The field of gradients: the one place where gradients are taken, in two ways that a test holds equal.

*Eager*: the networks are modules on permanent views of their vectors, gradients by autograd, steps in place.
*Pure*: the networks are functions of the vectors, gradients by ``torch.func``, nothing is written; this is the form
that compiles and stacks.

A loss sees neither: it is ``loss(nets, batch) -> (scalar, metrics)`` with ``nets.critic(x)`` a callable, and
``nets.average.critic(x)`` its averaged copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from rlgan.optim.play.player import Player, PlayerState
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
    """Where the players stand, and whether everything so far was finite (then steps are taken, else none is)."""

    players: dict[str, PlayerState]
    finite: Tensor | None


Gradients: TypeAlias = tuple[Position, dict[str, Tensor], Report]


class Net(ABC):
    """A network bound to a vector."""

    @abstractmethod
    def __call__(self, *inputs: Tensor) -> Tensor:
        """The network's output for a batch."""

    @abstractmethod
    def input_gradient(self, x: Tensor, *rest: Tensor) -> Tensor:
        """d sum_i f(x_i) / dx, the per-sample gradients (shape of `x`); can be differentiated again."""


class GradientField(ABC):
    """Gradients at a position, and steps from it. A position is used once: `step` may write into the one it gets."""

    def __init__(self, players: Sequence[Player], losses: Losses) -> None:
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
        self, at: Position, batch: Any, names: Sequence[str], scalars: Mapping[str, Scalars] | None = None
    ) -> tuple[Position, dict[str, Tensor], Report]:
        """The gradient of each named player's loss with respect to its own vector, all taken at `at`; and metrics.

        Where the method of a named player looks ahead (Nesterov), `at` is left for the look-ahead points of all the
        named players meanwhile; `scalars` are the numbers of the steps to come.

        For all players of a zero-sum game this is one forward and one backward pass.
        """
        ahead = [n for n in names if self.players[n].spec.optimizer.looks_ahead]
        if not ahead:
            return self._gradients(at, batch, names)
        if scalars is None:
            raise ValueError(
                f"optimizer = {self.players[ahead[0]].spec.optimizer}: takes its gradient at a look-ahead point, and "
                "got none; give `gradients` the numbers of the coming step (`Player.scalars`)"
            )
        points = {n: self.players[n].point(self.state(at, n), scalars[n]) for n in ahead}
        return self._elsewhere(at, points, lambda there: self._gradients(there, batch, names))

    def _gradients(self, at: Position, batch: Any, names: Sequence[str]) -> tuple[Position, dict[str, Tensor], Report]:
        if len(names) == 1:
            return self._gradient(at, batch, (names[0],), self.losses.of[names[0]], names[0])
        if self.losses.joint is not None and len(names) == len(self.names):
            at, joint, report = self._gradient(at, batch, tuple(names), self.losses.joint, self.joint_label)
            return at, {n: g if self.losses.signs[n] == 1 else -g for n, g in joint.items()}, report
        grads: dict[str, Tensor] = {}
        metrics: Report = {}
        for name in names:
            at, g, m = self._gradient(at, batch, (name,), self.losses.of[name], name)
            grads.update(g)
            metrics.update(m)
        return at, grads, metrics

    @abstractmethod
    def state(self, at: Position, name: str) -> PlayerState:
        """A player's state at a position."""

    @abstractmethod
    def save(self, at: Position) -> Any:
        """What `restore` needs to come back to this position after tentative steps."""

    @abstractmethod
    def restore(self, at: Position, saved: Any) -> Position:
        """The saved position; networks keep the statistics that they have gathered since (buffers)."""

    @abstractmethod
    def place(self, at: Position, name: str, theta: Tensor, s: Scalars) -> Position:
        """The position with a player's theta (d,) replaced, in its averages too; `s`: the numbers of its last step."""

    @abstractmethod
    def remember(self, at: Position, name: str, **slots: Tensor) -> Position:
        """The position with copies of `slots` in the player's game state."""

    @abstractmethod
    def linearise(self, at: Position, batch: Any) -> tuple[Position, Linearised, Report]:
        """All gradients at `at`, each of the player's own loss (or its share of the joint one), and their Jacobian."""

    @abstractmethod
    def _elsewhere(self, at: Position, thetas: Mapping[str, Tensor], do: Callable[[Position], Gradients]) -> Gradients:
        """`do` at the position where some players stand at `thetas`; the position returned is `at`'s own."""

    @abstractmethod
    def _gradient(
        self, at: Position, batch: Any, names: tuple[str, ...], loss: Loss, label: str
    ) -> tuple[Position, dict[str, Tensor], Report]:
        """The gradient of one scalar loss with respect to the vectors of `names`."""

    @abstractmethod
    def step(
        self,
        at: Position,
        grads: Mapping[str, Tensor],
        scalars: Mapping[str, Scalars],
        draws: Mapping[str, Tensor | None],
    ) -> tuple[Position, Report]:
        """The position after every player of `grads` has taken its step; none steps unless all gradients are finite."""
