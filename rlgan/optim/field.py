"""The field of gradients: the one place where gradients are taken, in two ways that a test holds equal.

*Eager*: the networks are modules on permanent views of their vectors, gradients by autograd, steps in place.
*Pure*: the networks are functions of the vectors, gradients by ``torch.func``, nothing is written; this is the form
that compiles and stacks.

A loss sees neither: it is ``loss(nets, batch) -> (scalar, metrics)`` with ``nets.critic(x)`` a callable, and
``nets.average.critic(x)`` its averaged copy.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlgan.optim.metric import Scalars, Slots
from rlgan.optim.player import Player, PlayerState
from rlgan.optim.vector import Vector

Metrics: TypeAlias = dict[str, Tensor]
"""What a loss reports beside its value: scalar tensors by tag."""
Report: TypeAlias = dict[str, Tensor | float]
"""What a move reports: scalars by tag, detached, left on the device until somebody reads them."""
Nets: TypeAlias = Any
Loss: TypeAlias = Callable[[Nets, Any], tuple[Tensor, Metrics]]


class NonFinite(FloatingPointError):
    """A loss or gradient is NaN or infinite; raised before anything of that step is written."""


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


class Position(NamedTuple):
    """Where the players stand, and whether everything so far was finite (then steps are taken, else none is)."""

    players: dict[str, PlayerState]
    finite: Tensor | None


class Net(ABC):
    """A network bound to a vector."""

    @abstractmethod
    def __call__(self, *inputs: Tensor) -> Tensor:
        """The network's output for a batch."""

    @abstractmethod
    def input_gradient(self, x: Tensor, *rest: Tensor) -> Tensor:
        """d sum_i f(x_i) / dx, the per-sample gradients (shape of `x`); can be differentiated again."""


class ModuleNet(Net):
    """A module as it stands; gradients by autograd."""

    def __init__(self, module: nn.Module) -> None:
        self._call = module.__call__

    def __call__(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self._call(*inputs)
        return output

    def input_gradient(self, x: Tensor, *rest: Tensor) -> Tensor:
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self._call(x, *rest).sum(), x, create_graph=torch.is_grad_enabled())
        return gradient


class PureNet(Net):
    """A module as a function of its parameters and buffers; gradients by ``torch.func``."""

    def __init__(self, vector: Vector, module: nn.Module, theta: Tensor, buffers: Slots) -> None:
        self._module = module
        # Split once: repeated slices of one vector cost a scatter each in the backward pass.
        self._parameters = vector.split(theta)
        self.buffers = {name: b.clone() for name, b in buffers.items()}

    def __call__(self, *inputs: Tensor) -> Tensor:
        output: Tensor = functional_call(self._module, (self._parameters, self.buffers), inputs)
        return output

    def input_gradient(self, x: Tensor, *rest: Tensor) -> Tensor:
        gradient: Tensor = torch.func.grad(lambda x_: self(x_, *rest).sum())(x.detach())
        return gradient


class Field(ABC):
    """Gradients at a position, and steps from it. A position is used once: `step` may write into the one it gets."""

    def __init__(self, players: Sequence[Player], losses: Losses) -> None:
        self.players = {p.name: p for p in players}
        self.losses = losses
        if set(self.players) != set(losses.of):
            raise ValueError(f"losses = {sorted(losses.of)}: one for each player {sorted(self.players)}")
        self.names = tuple(losses.of)
        averaged = [p.name for p in players if p.spec.averaging.active]
        self._nets_type: Any = namedtuple("Nets", [*self.players, "average"])  # type: ignore[misc]
        self._average_type: Any = namedtuple("Average", averaged)  # type: ignore[misc]

    def gradients(self, at: Position, batch: Any, names: Sequence[str]) -> tuple[Position, dict[str, Tensor], Report]:
        """The gradient of each named player's loss with respect to its own vector, all taken at `at`; and metrics.

        For all players of a zero-sum game this is one forward and one backward pass.
        """
        if len(names) == 1:
            return self._gradient(at, batch, (names[0],), self.losses.of[names[0]], names[0])
        if self.losses.joint is not None and len(names) == len(self.names):
            at, joint, report = self._gradient(at, batch, tuple(names), self.losses.joint, "game")
            return at, {n: g if self.losses.signs[n] == 1 else -g for n, g in joint.items()}, report
        grads: dict[str, Tensor] = {}
        metrics: Report = {}
        for name in names:
            at, g, m = self._gradient(at, batch, (name,), self.losses.of[name], name)
            grads.update(g)
            metrics.update(m)
        return at, grads, metrics

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


class EagerField(Field):
    """Modules, autograd, steps in place."""

    def __init__(self, players: Sequence[Player], losses: Losses) -> None:
        super().__init__(players, losses)
        self._nets: dict[tuple[str, ...], Nets] = {}
        self._one: Tensor | None = None  # what a backward pass starts from, kept: a new one costs 1 % of an update

    def nets(self, training: tuple[str, ...]) -> Nets:
        """The networks as a loss sees them when the players `training` take gradients."""
        if training not in self._nets:
            own = {n: ModuleNet(p.module if n in training else p.vector.frozen) for n, p in self.players.items()}
            average = {n: ModuleNet(p.average) for n, p in self.players.items() if p.spec.averaging.active}
            self._nets[training] = self._nets_type(**own, average=self._average_type(**average))
        return self._nets[training]

    def _gradient(
        self, at: Position, batch: Any, names: tuple[str, ...], loss: Loss, label: str
    ) -> tuple[Position, dict[str, Tensor], Report]:
        value, metrics = loss(self.nets(names), batch)
        number = value.item()
        if not math.isfinite(number):
            raise NonFinite(f"the loss of {label} is {number}")
        vectors = [self.players[n].vector for n in names]
        if len(vectors) == 1:
            parameters = vectors[0].parameters
        else:
            parameters = tuple(p for v in vectors for p in v.parameters)
        if self._one is None or self._one.dtype != value.dtype:
            self._one = torch.ones_like(value, requires_grad=False)
        # What torch.autograd.grad calls when it has looked at its arguments, which takes longer than a small layer.
        pieces = torch.autograd.Variable._execution_engine.run_backward(
            (value,), (self._one,), False, False, parameters, allow_unreachable=True, accumulate_grad=False
        )
        if any(piece is None for piece in pieces):  # a parameter that this loss does not use
            used = zip(pieces, parameters, strict=True)
            pieces = tuple(torch.zeros_like(p) if piece is None else piece for piece, p in used)
        grads, start = {}, 0
        for name, vector in zip(names, vectors, strict=True):
            mine = pieces[start : start + len(vector.parameters)]
            start += len(mine)
            torch._foreach_copy_(vector.gradients, mine)
            grads[name] = vector.grad
        return at, grads, {f"{label}/loss": number, **{k: v.detach() for k, v in metrics.items()}}

    def step(
        self,
        at: Position,
        grads: Mapping[str, Tensor],
        scalars: Mapping[str, Scalars],
        draws: Mapping[str, Tensor | None],
    ) -> tuple[Position, Report]:
        norms: Report = {}
        for name, g in grads.items():
            square = torch.dot(g, g).item()
            if not math.isfinite(square):
                raise NonFinite(f"the gradient of {name} has norm {math.sqrt(square)}")
            norms[f"{name}/grad_norm"] = math.sqrt(square)
        for name, g in grads.items():
            self.players[name].step_in_place(g, scalars[name], draws[name])
        return at, norms


class PureField(Field):
    """Functions of the vectors, ``torch.func``, nothing written."""

    def _bind(self, players: Mapping[str, PlayerState], thetas: Mapping[str, Tensor]) -> Nets:
        own, average = {}, {}
        for name, player in self.players.items():
            state = players[name]
            own[name] = PureNet(player.vector, player.module, thetas.get(name, state["theta"]), state["buffers"])
            if state["average"]:
                theta_bar = state["average"]["theta_bar"]
                average[name] = PureNet(player.vector, player.average, theta_bar, state["average_buffers"])
        return self._nets_type(**own, average=self._average_type(**average))

    def _gradient(
        self, at: Position, batch: Any, names: tuple[str, ...], loss: Loss, label: str
    ) -> tuple[Position, dict[str, Tensor], Report]:
        def of(thetas: dict[str, Tensor]) -> tuple[Tensor, tuple[Metrics, dict[str, Slots]]]:
            nets = self._bind(at.players, thetas)
            value, metrics = loss(nets, batch)
            return value, (metrics, {name: getattr(nets, name).buffers for name in self.players})

        thetas = {name: at.players[name]["theta"] for name in names}
        grads, (value, (metrics, buffers)) = torch.func.grad_and_value(of, has_aux=True)(thetas)
        players = {name: _with_buffers(state, buffers[name]) for name, state in at.players.items()}
        finite = torch.isfinite(value) if at.finite is None else at.finite & torch.isfinite(value)
        return Position(players, finite), grads, {f"{label}/loss": value, **metrics}

    def step(
        self,
        at: Position,
        grads: Mapping[str, Tensor],
        scalars: Mapping[str, Scalars],
        draws: Mapping[str, Tensor | None],
    ) -> tuple[Position, Report]:
        norms = {name: torch.dot(g, g).sqrt() for name, g in grads.items()}
        finite = at.finite
        for norm in norms.values():
            finite = torch.isfinite(norm) if finite is None else finite & torch.isfinite(norm)
        assert finite is not None
        players = dict(at.players)
        for name, g in grads.items():
            old = players[name]
            new = self.players[name].step(old, g, scalars[name], draws[name])
            players[name] = _where(finite, new, old)
        return Position(players, finite), {f"{name}/grad_norm": norm for name, norm in norms.items()}


def _with_buffers(state: PlayerState, buffers: Slots) -> PlayerState:
    return {**state, "buffers": buffers}


def _where(finite: Tensor, new: PlayerState, old: PlayerState) -> PlayerState:
    def pick(a: Slots, b: Slots) -> Slots:
        return {k: torch.where(finite, a[k], b[k]) for k in b}

    return {
        "theta": torch.where(finite, new["theta"], old["theta"]),
        "buffers": new["buffers"],
        "slots": pick(new["slots"], old["slots"]),
        "average": pick(new["average"], old["average"]),
        "average_buffers": pick(new["average_buffers"], old["average_buffers"]),
    }
