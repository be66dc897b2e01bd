"""The field of gradients on functions of the vectors: ``torch.func``, nothing written; what compiles and stacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlgan.optim.play.field import GradientField, Linearised, Loss, Net, Nets, Position
from rlgan.optim.play.player import PlayerState
from rlgan.optim.step.types import Metrics, Report, Scalars, Slots
from rlgan.optim.step.vector import Vector

SCALE = {torch.float32: 2.0**-80, torch.float64: 2.0**-540}
"""What keeps the sum of squares of the largest numbers finite."""


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
    """Functions of the vectors, ``torch.func``, nothing written: `at` gives the field at a position."""

    position: Position

    def at(self, position: Position) -> PureField:
        """This field with its players at `position`."""
        field = PureField.__new__(PureField)
        field.players, field.losses, field.names, field.world = self.players, self.losses, self.names, self.world
        field._nets_type, field._average_type = self._nets_type, self._average_type
        field.position = position
        return field

    def bind(self, players: Mapping[str, PlayerState], thetas: Mapping[str, Tensor]) -> Nets:
        """The networks as a loss sees them, in the states `players` but for the vectors `thetas` of some."""
        own, average = {}, {}
        for name, player in self.players.items():
            state = players[name]
            own[name] = PureNet(player.vector, player.module, thetas.get(name, state["theta"]), state["buffers"])
            theta_bar, seen = state["average"].get("theta_bar"), state["average_buffers"]
            if theta_bar is None:
                theta_bar, seen = state["theta"], state["buffers"]
            average[name] = PureNet(player.vector, player.average, theta_bar, seen)
        return self._nets_type(**own, average=self._average_type(**average))

    def state(self, name: str) -> PlayerState:
        return self.position.players[name]

    def save(self) -> dict[str, PlayerState]:
        return self.position.players

    def restore(self, saved: dict[str, PlayerState]) -> None:
        players, finite = self.position
        self.position = Position({n: _with_buffers(saved[n], s["buffers"]) for n, s in players.items()}, finite)

    def place(self, name: str, theta: Tensor, s: Scalars) -> None:
        state = self.state(name)
        theta = torch.where(self.position.finite, theta, state["theta"])
        average = self.players[name].replaced(state["average"], theta - state["theta"], s)
        self._replace(name, {**state, "theta": theta, "average": average})

    def remember(self, name: str, **slots: Tensor) -> None:
        state, finite = self.state(name), self.position.finite
        new = {key: torch.where(finite, value, state["game"][key]) for key, value in slots.items()}
        self._replace(name, {**state, "game": {**state["game"], **new}})

    def _replace(self, name: str, state: PlayerState) -> None:
        players, finite = self.position
        self.position = Position({**players, name: state}, finite)

    @contextlib.contextmanager
    def _elsewhere(self, thetas: Mapping[str, Tensor]) -> Iterator[None]:
        here = self.position
        self.position = _moved(here, thetas)
        yield
        self.restore(here.players)

    def linearise(self, batch: Any) -> tuple[Linearised, Report]:
        here = self.position

        def field_of(thetas: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[Position, Report]]:
            there = self.at(_moved(here, thetas))
            grads, report = there._gradients(batch, self.names)
            there.restore(here.players)
            return grads, (there.position, report)

        vjp: Any = torch.func.vjp  # typed as two or three values at once
        thetas = {name: here.players[name]["theta"] for name in self.names}
        v, pull, (self.position, report) = vjp(field_of, thetas, has_aux=True)

        def transposed(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
            pulled: dict[str, Tensor] = pull(dict(w))[0]
            return pulled

        def forward(w: Mapping[str, Tensor]) -> dict[str, Tensor]:
            zeros = {name: torch.zeros_like(g) for name, g in v.items()}
            # The pull-back is linear, so its own pull-back is w -> J w, wherever it is taken.
            _, push = vjp(transposed, zeros)
            pushed: dict[str, Tensor] = push(dict(w))[0]
            return pushed

        if self.world.size == 1:
            return Linearised(v, transposed, forward), report
        v, report = self._over_ranks(v, report)
        mean = self._mean_over_ranks
        return Linearised(v, lambda w: mean(transposed(w)), lambda w: mean(forward(w))), report

    def _over_ranks(self, grads: Mapping[str, Tensor], report: Report) -> tuple[dict[str, Tensor], Report]:
        means, found = super()._over_ranks(grads, report)
        players, finite = self.position
        for label in sorted({*self.names, self.joint_label}):
            if f"{label}/loss" in found:
                finite = finite & torch.isfinite(torch.as_tensor(found[f"{label}/loss"]))
        self.position = Position(players, finite)
        return means, found

    def _gradient(self, batch: Any, names: tuple[str, ...], loss: Loss, label: str) -> tuple[dict[str, Tensor], Report]:
        players, finite = self.position

        def of(thetas: dict[str, Tensor]) -> tuple[Tensor, tuple[Metrics, dict[str, Slots]]]:
            nets = self.bind(players, thetas)
            value, metrics = loss(nets, batch)
            return value, (metrics, {name: getattr(nets, name).buffers for name in self.players})

        thetas = {name: players[name]["theta"] for name in names}
        grads, (value, (metrics, buffers)) = torch.func.grad_and_value(of, has_aux=True)(thetas)
        moved = {name: _with_buffers(state, buffers[name]) for name, state in players.items()}
        self.position = Position(moved, finite & torch.isfinite(value))
        return grads, {f"{label}/loss": value, **metrics}

    def step(
        self, grads: Mapping[str, Tensor], scalars: Mapping[str, Scalars], draws: Mapping[str, Tensor | None]
    ) -> Report:
        players, finite = self.position
        norms: dict[str, Tensor] = {}
        for name, g in grads.items():
            square, small = torch.dot(g, g), g * SCALE[g.dtype]
            # Of a gradient whose squares are too large; both sums are one pass when compiled.
            scaled = torch.dot(small, small)
            fits, needed = torch.isfinite(square), self.players[name].spec.optimizer.squares_in(g.dtype)
            norms[name] = torch.where(fits, square.sqrt().double(), scaled.sqrt().double() / SCALE[g.dtype])
            finite = finite & (fits if needed else torch.isfinite(scaled))
        grads = {name: self._shortened(name, g, norms[name]) for name, g in grads.items()}
        stepped = {
            name: _where(finite, self.players[name].step(players[name], g, scalars[name], draws[name]), players[name])
            for name, g in grads.items()
        }
        self.position = Position({**players, **stepped}, finite)
        return {f"{name}/grad_norm": norm for name, norm in norms.items()}

    def _shortened(self, name: str, g: Tensor, norm: Tensor) -> Tensor:
        """g min(1, c / |g|), where the player has such a bound."""
        most = self.players[name].spec.max_grad_norm
        return g if most is None else g * (most / torch.clamp(norm, min=most)).to(g.dtype)


def _moved(at: Position, thetas: Mapping[str, Tensor]) -> Position:
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
