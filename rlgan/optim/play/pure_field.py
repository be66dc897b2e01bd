"""The field of gradients on functions of the vectors: ``torch.func``, nothing written; what compiles and stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlgan.optim.play.field import GradientField, Gradients, Linearised, Loss, Net, Nets, Position
from rlgan.optim.play.player import PlayerState
from rlgan.optim.step.types import Metrics, Report, Scalars, Slots
from rlgan.optim.step.vector import Vector


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


class PureField(GradientField):
    """Functions of the vectors, ``torch.func``, nothing written."""

    def _bind(self, players: Mapping[str, PlayerState], thetas: Mapping[str, Tensor]) -> Nets:
        own, average = {}, {}
        for name, player in self.players.items():
            state = players[name]
            own[name] = PureNet(player.vector, player.module, thetas.get(name, state["theta"]), state["buffers"])
            theta_bar, seen = state["average"].get("theta_bar"), state["average_buffers"]
            if theta_bar is None:
                theta_bar, seen = state["theta"], state["buffers"]
            average[name] = PureNet(player.vector, player.average, theta_bar, seen)
        return self._nets_type(**own, average=self._average_type(**average))

    def state(self, at: Position, name: str) -> PlayerState:
        return at.players[name]

    def save(self, at: Position) -> dict[str, PlayerState]:
        return at.players

    def restore(self, at: Position, saved: dict[str, PlayerState]) -> Position:
        return Position({n: _with_buffers(saved[n], state["buffers"]) for n, state in at.players.items()}, at.finite)

    def place(self, at: Position, name: str, theta: Tensor, s: Scalars) -> Position:
        state = at.players[name]
        theta = self._kept(at, theta, state["theta"])
        average = self.players[name].replaced(state["average"], theta - state["theta"], s)
        return Position({**at.players, name: {**state, "theta": theta, "average": average}}, at.finite)

    def remember(self, at: Position, name: str, **slots: Tensor) -> Position:
        state = at.players[name]
        new = {key: self._kept(at, value, state["game"][key]) for key, value in slots.items()}
        return Position({**at.players, name: {**state, "game": {**state["game"], **new}}}, at.finite)

    @staticmethod
    def _kept(at: Position, new: Tensor, old: Tensor) -> Tensor:
        return new if at.finite is None else torch.where(at.finite, new, old)

    def _elsewhere(self, at: Position, thetas: Mapping[str, Tensor], do: Callable[[Position], Gradients]) -> Gradients:
        there, grads, report = do(_at(at, thetas))
        return self.restore(there, at.players), grads, report

    def linearise(self, at: Position, batch: Any) -> tuple[Position, Linearised, Report]:
        def field_of(thetas: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[Position, Report]]:
            here, grads, report = self._gradients(_at(at, thetas), batch, self.names)
            return grads, (self.restore(here, at.players), report)

        thetas = {name: at.players[name]["theta"] for name in self.names}
        vjp: Any = torch.func.vjp  # typed as two or three values at once
        v, pull, (here, report) = vjp(field_of, thetas, has_aux=True)

        def transposed(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
            pulled: dict[str, Tensor] = pull(dict(w))[0]
            return pulled

        def forward(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
            zeros = {name: torch.zeros_like(g) for name, g in v.items()}
            # The pull-back is linear, so its own pull-back is w -> J w, wherever it is taken.
            _, push = vjp(transposed, zeros)
            pushed: dict[str, Tensor] = push(dict(w))[0]
            return pushed

        return here, Linearised(v, transposed, forward), report

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


def _at(at: Position, thetas: Mapping[str, Tensor]) -> Position:
    moved: dict[str, PlayerState] = {name: {**at.players[name], "theta": theta} for name, theta in thetas.items()}
    return Position({**at.players, **moved}, at.finite)


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
        "game": new["game"],
    }
