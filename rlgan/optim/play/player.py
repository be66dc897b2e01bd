"""A player: one network's vector and everything that moves it."""

import functools
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from rlgan.optim.play.saved import check_count, check_part, check_tensor
from rlgan.optim.play.spec import PlayerSpec
from rlgan.optim.step.averaging import Kept
from rlgan.optim.step.method import Whole
from rlgan.optim.step.schedule import Constant, Factor, unscheduled
from rlgan.optim.step.types import Scalars, Slots
from rlgan.optim.step.vector import Vector, share_buffers
from rlgan.optim.tree import tree_map


class PlayerState(TypedDict):
    """Everything of a player that changes: vectors (d,), and buffers by name. A plain tree of tensors."""

    theta: Tensor
    buffers: Slots
    slots: Slots
    average: Slots
    average_buffers: Slots
    game: Slots
    """What the order of play keeps of this player: a past gradient, slow weights."""


class Snapshot(NamedTuple):
    """What a step writes to."""

    theta: Tensor
    parts: dict[str, Slots]
    engine: dict[str, Any]


class Player:
    """A network's vector, its method, schedule, noise, projection and average, and the state of all of them.

        theta+     = P_K^H( theta + displacement(g) + sigma xi )
        theta_bar+ = theta_bar + w (theta+ - theta_bar)

    Args:
        name: how losses and metrics call it ("critic", "generator", "actor").
        module: the network; ravelled here, its parameters become views of ``theta``.
        spec: method and the other slots.
        horizon: the steps this player is planned to take, for schedules and averages that depend on it.
        generator: where noise is drawn, saved by whoever made it; needed only with noise.

    Raises:
        ValueError: if there is noise and no generator, a schedule of what the player does not have, or one that leads
            out of a number's range.

    Attributes:
        average: the averaged network in evaluation mode, its parameters without gradient; the player's own parameters
            where no average is kept.
        averages: all averaged networks by name, `average` first (more than one with `Several`).
        began: how many of its `steps` were taken before the game that it plays, whose past is ``state["game"]``.
    """

    average: nn.Module
    averages: dict[str, nn.Module]

    def __init__(
        self, name: str, module: nn.Module, spec: PlayerSpec, horizon: int = 0, generator: torch.Generator | None = None
    ) -> None:
        if spec.xi.active and generator is None:
            raise ValueError(f"noise = {spec.xi}: player {name} has noise and needs a generator to draw it from")
        self.name = name
        self.spec = spec
        self.horizon = horizon
        self.generator = generator
        self.steps = self.began = 0
        self.seat: object = None
        self.vector = Vector(module)
        self.projection = spec.projection.fit(self.vector.shapes)
        # By itself where nothing is scheduled: what is constant need not be computed anew.
        constant = isinstance(spec.momentum_schedule, Constant)
        self.momentum: Factor = unscheduled if constant else functools.partial(spec.momentum_schedule, horizon=horizon)
        theta = self.vector.theta
        # From the first move on no other player sees a point outside of K.
        theta.copy_(self.projection(theta, self.projection.scalars(spec.projection_schedule(0, horizon))))
        self._check_schedules()
        try:
            slots = spec.optimizer.init(theta)
        except ValueError as error:
            raise ValueError(f"{name}.optimizer.{error}") from None
        self.state: PlayerState = {
            "theta": theta,
            "buffers": self.vector.buffers(),
            "slots": slots,
            "average": {},
            "average_buffers": {},
            "game": {},
        }
        self.noise_state = spec.xi.init(theta)
        self.kept = Kept.of(spec.averaging)
        for kept in self.kept.values():
            self.state["average"][kept.slot] = theta.clone()
            for name, b in self.vector.buffers().items():
                self.state["average_buffers"][kept.prefix + name] = b.clone()
        self._bind()

    def _check_schedules(self) -> None:
        """Refuse a schedule of nothing, and one that leads a momentum to 1 or K to a point (at a thousand steps)."""
        spec = self.spec
        for what, there in (
            ("momentum", spec.optimizer.has_momentum),
            ("noise", spec.xi.active),
            ("projection", self.projection.active),
        ):
            schedule = getattr(spec, f"{what}_schedule")
            if not there and not isinstance(schedule, Constant):
                raise ValueError(
                    f"{self.name}.{what}_schedule = {schedule}: this player has no {what} to schedule; use "
                    f"schedule@{self.name}.{what}_schedule=constant"
                )
        for i in range(0, self.horizon + 1, max(self.horizon // 1000, 1)):
            numbers = spec.optimizer.scalars(i + 1, 1.0, self.momentum)
            for key in ("rho", "beta"):
                if key in numbers and not -1 <= numbers[key] < 1:
                    raise ValueError(
                        f"{self.name}.momentum_schedule = {spec.momentum_schedule}: leads {key} to {numbers[key]:.3g} "
                        f"at step {i}, and it lies below 1; use a schedule of factors that keeps it there"
                    )
            if self.projection.active and not spec.projection_schedule(i, self.horizon) > 0:
                raise ValueError(
                    f"{self.name}.projection_schedule = {spec.projection_schedule}: shrinks the set to a point by step "
                    f"{i}; end it above 0, for example {self.name}.projection_schedule.end=0.1"
                )

    def _bind(self) -> None:
        """Make what works on the state's own tensors."""
        self.averages = {}
        for name in self.spec.averaging.parts:
            kept = self.kept.get(name)
            theta_bar = self.vector.theta if kept is None else self.state["average"][kept.slot]
            self.averages[name] = self.vector.bound_to(theta_bar).eval()
            if kept is not None:
                seen = self.state["average_buffers"]
                share_buffers(self.averages[name], {b: seen[kept.prefix + b] for b in self.vector.buffers()})
        self.average = next(iter(self.averages.values()))
        self._engine = self.spec.optimizer.engine(self.vector, self.state["slots"], self.momentum)

    def join(self, seat: object, past: Slots) -> None:
        """Begin a game, which keeps `past` of this player; `seat` says whose game it is."""
        self.seat, self.began, self.state["game"] = seat, self.steps, past

    def rehome(self, state: PlayerState) -> None:
        """Move into memory given from outside: `state` has the shapes of the player's own, and takes its values.

        The module stays the same object; its parameters and buffers, and the averaged module, are made anew.
        """
        overwrite(state, self.state)
        share_buffers(self.vector.module, state["buffers"])
        self.vector.rehome(state["theta"])
        self.state = {**state, "theta": self.vector.theta}
        self._bind()

    @property
    def module(self) -> nn.Module:
        """The network itself; its parameters are views of ``theta``."""
        return self.vector.module

    def scalars(self, t: int) -> dict[str, float]:
        """The numbers that step `t` (1, 2, ...) needs, in Python doubles."""
        spec, i, horizon = self.spec, t - 1, self.horizon
        s = spec.optimizer.scalars(t, spec.schedule(i, horizon), self.momentum)
        if self.projection.active:
            s.update(self.projection.scalars(spec.projection_schedule(i, horizon)))
        if spec.xi.active:
            s["sigma"] = spec.xi.scale(s["lr"], spec.noise_schedule(i, horizon))
        for kept in self.kept.values():
            s[kept.number] = kept.average.weight(t, horizon)
        return s

    def draw(self) -> Tensor | None:
        """The noise of the next step, or None."""
        if self.generator is None or not self.spec.xi.active:
            return None
        return self.spec.xi.draw(self.vector.theta, self.generator, self.noise_state)

    def point(self, state: PlayerState, s: Scalars) -> Tensor:
        """Where the gradient for the next step is taken (d,)."""
        return self.spec.optimizer.point(state["theta"], state["slots"], s)

    def step(self, state: PlayerState, g: Tensor, s: Scalars, xi: Tensor | None) -> PlayerState:
        """The state after one step with gradient `g` (d,): pure, nothing is written."""
        drift = None if xi is None else xi * s["sigma"]

        def project(x: Tensor, slots: Slots) -> Tensor:
            h = self.spec.optimizer.projection_metric(slots, s) if self.projection.uses_metric else None
            return self.projection(x, s, h)

        theta, slots = self.spec.optimizer.step(state["theta"], g, state["slots"], s, drift, project)
        average: Slots = {}
        buffers: Slots = {}
        for kept in self.kept.values():
            weight, seen = s[kept.number], state["average_buffers"]
            average[kept.slot] = _toward(state["average"][kept.slot], theta, weight)
            for name, value in state["buffers"].items():
                buffers[kept.prefix + name] = _copied(seen[kept.prefix + name], value, weight)
        return {
            "theta": theta,
            "buffers": state["buffers"],
            "slots": slots,
            "average": average,
            "average_buffers": buffers,
            "game": state["game"],
        }

    def step_in_place(self, g: Tensor, s: Scalars, xi: Tensor | None, whole: Whole | None = None) -> None:
        """`step` written into the player's own tensors; by the method's engine where it has one.

        `whole`: the loss, for a method that needs it.
        """
        if self._engine is None:
            overwrite(self.state, self.step(self.state, g, s, xi))
            return
        theta = self.state["theta"]
        if whole is None:
            self._engine(g, s)
        else:
            self._engine(g, s, whole)
        if xi is not None:
            theta.add_(xi * s["sigma"])
        if self.projection.active:
            h = self.metric_diagonal(s) if self.projection.uses_metric else None
            theta.copy_(self.projection(theta, s, h))
        for kept in self.kept.values():
            weight, seen = s[kept.number], self.state["average_buffers"]
            self.state["average"][kept.slot].lerp_(theta, weight)
            for name, value in self.state["buffers"].items():
                old = seen[kept.prefix + name]
                old.copy_(_copied(old, value, weight))

    def report(self) -> dict[str, float]:
        """What the method's engine has to say of its steps, by name."""
        return {} if self._engine is None else self._engine.report()

    def replaced(self, average: Slots, change: Tensor, s: Scalars) -> Slots:
        """The averages as they were, had the last point been `change` (d,) from where it was; `s`: of the last step."""
        return {kept.slot: average[kept.slot] + change * s[kept.number] for kept in self.kept.values()}

    def metric_diagonal(self, s: Scalars | None = None) -> Tensor | None:
        """H of the last step that a projection sees: a scalar () or the diagonal (d,); None for I.

        `s`: the numbers of that step, if the caller has them.
        """
        numbers = self.scalars(max(self.steps, 1)) if s is None else s
        return self.spec.optimizer.projection_metric(self.state["slots"], numbers)

    def snapshot(self) -> Snapshot:
        """Copies of all that a step writes to, for `put_back`."""
        return Snapshot(self.state["theta"].clone(), self._copies(_STEPPED), self._engine_state())

    def _copies(self, parts: tuple[str, ...]) -> dict[str, Slots]:
        return {part: tree_map(Tensor.clone, self.state[part]) for part in parts}  # type: ignore[literal-required]

    def _engine_state(self) -> dict[str, Any]:
        return {} if self._engine is None else self._engine.state_dict()

    def put_back(self, taken: Snapshot) -> None:
        """Undo the steps taken since `snapshot`; buffers (batch-norm statistics) keep what they have seen."""
        self.state["theta"].copy_(taken.theta)
        for part, values in taken.parts.items():
            for key, value in values.items():
                self.state[part][key].copy_(value)  # type: ignore[literal-required]
        if self._engine is not None:
            self._engine.load_state_dict(taken.engine)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all tensors, and the step count; a plain tree. The noise's generator is its owner's to save."""
        return {
            "steps": self.steps,
            "began": self.began,
            "theta": self.state["theta"].clone(),
            "noise": tree_map(Tensor.clone, self.noise_state),
            "engine": self._engine_state(),
            **self._copies(_PARTS),
        }

    def _saved_parts(self) -> dict[str, Slots]:
        return {"noise": self.noise_state, **{part: self.state[part] for part in _PARTS}}  # type: ignore[literal-required]

    def check_state(self, saved: dict[str, Any]) -> None:
        """Raise a ValueError if a saved state is of another network, another method, or no player's."""
        lacking = {"steps", "theta", "noise", "engine", *_PARTS} - (saved.keys() if isinstance(saved, dict) else set())
        if lacking:
            raise ValueError(f"{self.name} = a state without {', '.join(sorted(lacking))}: no player's; load its own")
        for what in ("steps", "began"):
            check_count(self.name, what, saved.get(what, 0))
        for part, mine in self._saved_parts().items():
            check_part(self.name, part, mine, saved[part])
        check_tensor(self.name, self.state["theta"], saved["theta"])
        if self._engine is not None:
            self._engine.check(saved["engine"])
        elif saved["engine"]:
            raise ValueError(
                f"{self.name}.optimizer = saved with the state of {saved['engine'].get('optimizer')}, configured with "
                f"{self.spec.optimizer}: resume with the configuration of the run"
            )

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Write a saved state into the player's own tensors.

        Raises:
            ValueError: if it is not this player's (see `check_state`); nothing is written then.
        """
        self.check_state(saved)
        for part, mine in self._saved_parts().items():
            for key, value in mine.items():
                value.copy_(saved[part][key])
        self.state["theta"].copy_(saved["theta"])
        if self._engine is not None:
            self._engine.load_state_dict(saved["engine"])
        self.steps, self.began = int(saved["steps"]), int(saved.get("began", 0))


_PARTS = ("buffers", "slots", "average", "average_buffers", "game")
_STEPPED = ("slots", "average", "average_buffers")


def _toward(theta_bar: Tensor, theta: Tensor, weight: float | Tensor) -> Tensor:
    """theta_bar + weight (theta - theta_bar), exactly theta at weight 1."""
    return torch.lerp(theta_bar, theta, weight.to(theta.dtype) if isinstance(weight, Tensor) else weight)


def _copied(old: Tensor, new: Tensor, weight: float | Tensor) -> Tensor:
    """Buffers are not averaged (a count of batches has no mean): copied whenever the average moves."""
    if isinstance(weight, Tensor):
        return torch.where(weight > 0, new, old)
    return new if weight > 0 else old


def overwrite(old: PlayerState, new: PlayerState) -> None:
    """Copy every tensor of `new` into its place in `old`, skipping what already is the same tensor."""
    old["theta"].copy_(new["theta"])
    for part in _PARTS:
        mine, fresh = old[part], new[part]  # type: ignore[literal-required]
        for key, value in fresh.items():
            if mine[key] is not value:
                # A number () is written as a vector (1,): torch 2.13 compiles a write to a 0-d float64 into nothing.
                if value.ndim:
                    mine[key].copy_(value)
                else:
                    mine[key].view(1).copy_(value.view(1))
