"""A player: one network's vector and everything that moves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from rlgan.optim.averaging import Average, NoAverage
from rlgan.optim.method import Method
from rlgan.optim.metric import RMS, Scalars, Slots
from rlgan.optim.momentum import GradientEMA
from rlgan.optim.noise import Noise, NoNoise
from rlgan.optim.projection import NoProjection, Projection
from rlgan.optim.schedule import Constant, Schedule
from rlgan.optim.vector import Vector, share_buffers


class PlayerState(TypedDict):
    """Everything of a player that changes: vectors (d,), and buffers by name. A plain tree of tensors."""

    theta: Tensor
    buffers: Slots
    slots: Slots
    average: Slots
    average_buffers: Slots


@dataclass(frozen=True)
class PlayerSpec:
    """How one player is configured: the sections under ``critic:``, ``generator:`` or ``actor:``.

    Args:
        network: what builds the module (see rlgan.nets).
        optimizer: the method.
        schedule: factor of the learning rate.
        projection: the convex set that the player stays in.
        noise: what a step adds.
        averaging: the average that is kept (target network, EMA generator).
    """

    network: Any
    optimizer: Method
    schedule: Schedule = field(default_factory=Constant)
    projection: Projection = field(default_factory=NoProjection)
    noise: Noise = field(default_factory=NoNoise)
    averaging: Average = field(default_factory=NoAverage)


class FusedAdam:
    """torch's fused Adam kernel on one vector, in place.

    Args:
        theta: the vector (d,).
        slots: `mean` and `mean_square`, like `theta`.
        momentum, metric, weight_decay: of the method.
    """

    def __init__(self, theta: Tensor, slots: Slots, momentum: GradientEMA, metric: RMS, weight_decay: float) -> None:
        self._theta, self._mean, self._square = [theta], [slots["mean"]], [slots["mean_square"]]
        self._count = torch.zeros((), dtype=torch.float32, device=theta.device)
        self._constants: dict[str, Any] = {
            "beta1": momentum.beta,
            "beta2": metric.decay,
            "eps": metric.delta,
            "weight_decay": weight_decay,
            "amsgrad": False,
            "maximize": False,
        }

    def __call__(self, g: Tensor, lr: float | Tensor, t: int) -> None:
        """Step `t` (1, 2, ...) with gradient `g` (d,)."""
        self._count.fill_(t)
        torch._fused_adam_(self._theta, [g], self._mean, self._square, [], [self._count], lr=lr, **self._constants)


class Player:
    """A network's vector, its method, schedule, noise, projection and average, and the state of all of them.

        theta+     = P_K( theta + displacement(g) + sigma xi )
        theta_bar+ = theta_bar + w (theta+ - theta_bar)

    Args:
        name: how losses and metrics call it ("critic", "generator", "actor").
        module: the network; ravelled here, its parameters become views of ``theta``.
        spec: method and the other slots.
        horizon: the steps this player is planned to take, for schedules and averages that depend on it.
        generator: where noise is drawn, saved by whoever made it; needed only with noise.

    Raises:
        ValueError: if there is noise and no generator.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        spec: PlayerSpec,
        horizon: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        if spec.noise.active and generator is None:
            raise ValueError(f"noise = {spec.noise}: player {name} has noise and needs a generator to draw it from")
        self.name = name
        self.spec = spec
        self.horizon = horizon
        self.generator = generator
        self.steps = 0
        self.vector = Vector(module)
        theta = self.vector.theta
        # From the first move on no other player sees a point outside of K.
        theta.copy_(spec.projection(theta))
        self.state: PlayerState = {
            "theta": theta,
            "buffers": self.vector.buffers(),
            "slots": spec.optimizer.init(theta),
            "average": {},
            "average_buffers": {},
        }
        self._average_module: nn.Module | None = None
        if spec.averaging.active:
            theta_bar = theta.clone()
            self._average_module = self.vector.bound_to(theta_bar).eval()
            self.state["average"] = {"theta_bar": theta_bar}
            self.state["average_buffers"] = {name: b.clone() for name, b in self.vector.buffers().items()}
            share_buffers(self._average_module, self.state["average_buffers"])
        method = spec.optimizer
        self._fused: FusedAdam | None = None
        if (
            isinstance(method.momentum, GradientEMA)
            and isinstance(method.metric, RMS)
            and method.metric.bias_correction
            and not spec.noise.active
        ):
            self._fused = FusedAdam(theta, self.state["slots"], method.momentum, method.metric, method.weight_decay)

    @property
    def module(self) -> nn.Module:
        """The network itself; its parameters are views of ``theta``."""
        return self.vector.module

    @property
    def average(self) -> nn.Module:
        """The averaged network in evaluation mode, or the network itself where no average is kept."""
        return self.module if self._average_module is None else self._average_module

    def scalars(self, t: int) -> dict[str, float]:
        """The numbers that step `t` (1, 2, ...) needs, in Python doubles."""
        s = self.spec.optimizer.scalars(t, self.spec.schedule(t - 1, self.horizon))
        if self.spec.noise.active:
            s["sigma"] = self.spec.noise.scale(s["lr"])
        if self.spec.averaging.active:
            s["average"] = self.spec.averaging.weight(t, self.horizon)
        return s

    def draw(self) -> Tensor | None:
        """The noise of the next step, or None."""
        if self.generator is None or not self.spec.noise.active:
            return None
        return self.spec.noise.draw(self.vector.theta, self.generator)

    def step(self, state: PlayerState, g: Tensor, s: Scalars, xi: Tensor | None) -> PlayerState:
        """The state after one step with gradient `g` (d,): pure, nothing is written."""
        v, slots = self.spec.optimizer.displacement(state["theta"], g, state["slots"], s)
        theta = state["theta"] + v
        if xi is not None:
            theta = theta + xi * s["sigma"]
        theta = self.spec.projection(theta)
        average = {}
        if self.spec.averaging.active:
            theta_bar = state["average"]["theta_bar"]
            average = {"theta_bar": theta_bar + (theta - theta_bar) * s["average"]}
        return {
            "theta": theta,
            "buffers": state["buffers"],
            "slots": slots,
            "average": average,
            "average_buffers": {name: state["buffers"][name] for name in state["average_buffers"]},
        }

    def step_in_place(self, g: Tensor, s: Scalars, xi: Tensor | None) -> None:
        """`step` written into the player's own tensors; torch's fused kernel where one fits the slots."""
        if self._fused is None:
            overwrite(self.state, self.step(self.state, g, s, xi))
            return
        theta = self.state["theta"]
        self._fused(g, s["lr"], self.steps + 1)
        if self.spec.projection.active:
            theta.copy_(self.spec.projection(theta))
        if self.spec.averaging.active:
            weight = s["average"]
            self.state["average"]["theta_bar"].lerp_(theta, weight)
            for name, value in self.state["average_buffers"].items():
                value.copy_(self.state["buffers"][name])

    def state_dict(self) -> dict[str, Any]:
        """Copies of all tensors, and the step count; a plain tree. The noise's generator is its owner's to save."""
        return {
            "steps": self.steps,
            "theta": self.state["theta"].clone(),
            **{part: {k: v.clone() for k, v in self.state[part].items()} for part in _PARTS},  # type: ignore[literal-required]
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Write a saved state into the player's own tensors.

        Raises:
            ValueError: if the saved vectors do not fit this player.
        """
        for part in _PARTS:
            mine = self.state[part]  # type: ignore[literal-required]
            if set(mine) != set(saved[part]):
                raise ValueError(
                    f"{self.name} = saved with {part} {sorted(saved[part])}, configured with {sorted(mine)}: "
                    "resume with the configuration of the run"
                )
            for key, value in saved[part].items():
                _fit(self.name, mine[key], value)
        _fit(self.name, self.state["theta"], saved["theta"])
        self.steps = int(saved["steps"])


_PARTS = ("buffers", "slots", "average", "average_buffers")


def _fit(name: str, mine: Tensor, saved: Tensor) -> None:
    if mine.shape != saved.shape:
        raise ValueError(
            f"{name} = vector of shape {tuple(saved.shape)}: this network needs {tuple(mine.shape)}; "
            "resume with the network of the run"
        )
    mine.copy_(saved)


def overwrite(old: PlayerState, new: PlayerState) -> None:
    """Copy every tensor of `new` into its place in `old`, skipping what already is the same tensor."""
    old["theta"].copy_(new["theta"])
    for part in _PARTS:
        mine, fresh = old[part], new[part]  # type: ignore[literal-required]
        for key, value in fresh.items():
            if mine[key] is not value:
                mine[key].copy_(value)
