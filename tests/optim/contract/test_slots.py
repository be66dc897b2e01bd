"""What an outsider gets wrong in a method or in a slot of a player: said in one line, with the key and a remedy."""

# mypy: disable-error-code="no-untyped-def,override,arg-type"

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from rlgan.optim import (
    RMS,
    Average,
    Descent,
    GradientEMA,
    Method,
    Metric,
    Momentum,
    Noise,
    NoNoise,
    PlayerSpec,
    Projection,
    Schedule,
    Several,
    Velocity,
    adam,
)
from rlgan.optim.contract.slots import check_spec
from rlgan.optim.step.momentum import Frame


class Plain(Metric):
    def init(self, theta):
        return {"v": torch.zeros_like(theta)}

    def update(self, theta, g, state):
        return {"v": state["v"] + g * g}

    def diagonal(self, state, s):
        return state["v"].sqrt() + 1e-8


class InitNone(Plain):
    def init(self, theta):
        return None


class UpdateNone(Plain):
    def update(self, theta, g, state):
        state["v"] += g * g


class OtherName(Plain):
    def update(self, theta, g, state):
        return {"w": g * g}


class OneNumber(Plain):
    def update(self, theta, g, state):
        return {"v": (state["v"] + g * g).mean()}


class AFloat(Plain):
    def init(self, theta):
        return {"v": 0.0}


class ShortDiagonal(Plain):
    def diagonal(self, state, s):
        return torch.ones(3)


class ZeroDiagonal(Plain):
    def diagonal(self, state, s):
        return 0 * state["v"]


class FloatDiagonal(Plain):
    def diagonal(self, state, s):
        return 2.0


class Double(Plain):
    def init(self, theta):
        return {"v": torch.zeros(theta.shape, dtype=torch.float64)}


class NoKey(Plain):
    def update(self, theta, g, state):
        return {"v": state["mean_square"]}


class NoTheta(Plain):
    def update(self, g, state):
        return state


class OddKind(Plain):
    kind = "matrix"  # type: ignore[assignment]


METRICS: list[tuple[type[Metric], str]] = [
    (InitNone, "init returned None for its state; return a dict of tensors, or {}"),
    (UpdateNone, "update returned None for its state; return a dict of tensors, or {}"),
    (OtherName, "update returned the state {w}, and init gave {v}; return every name that init gives, and no other"),
    (OneNumber, "update returned () of torch.float32 for the state v, and init gave (10,) of torch.float32; keep"),
    (AFloat, "init returned 0.0 for the state v; return a tensor, such as torch.zeros_like(theta)"),
    (ShortDiagonal, "diagonal returned a tensor of shape (3,); return one of shape (10,)"),
    (ZeroDiagonal, "diagonal returned 0, and the gradient is divided by it; add a small number, such as eps = 1e-8"),
    (FloatDiagonal, "diagonal returned 2.0; return a tensor of shape (10,)"),
    (Double, "solve returned torch.float64; return torch.float32, by .to(x.dtype)"),
    (NoKey, "update raised KeyError: 'mean_square' (test_slots.py, line "),
    (NoTheta, "but 4 were given; define it as update(self, theta, g, state)"),
]


class Still(Momentum):
    def before(self, g, state, s):
        return g, {}

    def after(self, u, state, s):
        return u, {}

    def frame(self, t, factor):
        return Frame(1.0, 0.0, False)


class Alone(Still):
    def before(self, g, state, s):
        return g


class Mean(Still):
    def before(self, g, state, s):
        return g.mean(), {}


class Unnamed(Still):
    def after(self, u, state, s):
        return u * s["rho"], {}


class ANumber(Still):
    def scalars(self, t, factor):
        return 0.9


class Forgets(Still):
    def init(self, theta):
        return {"velocity": torch.zeros_like(theta)}


MOMENTA: list[tuple[type[Momentum], str]] = [
    (Alone, "before returned a tensor of shape (10,); return the direction m (d,) and the new state, a dict"),
    (Mean, "before returned a tensor of shape (); return one of shape (10,)"),
    (Unnamed, "after raised KeyError: 'rho' (test_slots.py, line "),
    (ANumber, 'scalars returned 0.9; return a dict of numbers, for example {"rho": 0.9}'),
    (Forgets, "after returned the state {}, and init gave {velocity}; return every name that init gives"),
]


class Own(Method):
    lr = 1e-3
    noise = NoNoise()
    kind = "scalar"

    def init(self, theta):
        return {}

    def scalars(self, t, lr, momentum):
        return {"lr": self.lr * lr}

    def step(self, theta, g, state, s, drift, project):
        return project(theta - s["lr"] * g, state), {}

    def diagonal(self, state, s):
        return None


class ThetaAlone(Own):
    def step(self, theta, g, state, s, drift, project):
        return project(theta - s["lr"] * g, state)


class Shorter(Own):
    def step(self, theta, g, state, s, drift, project):
        return project(theta - s["lr"] * g, state)[:3], {}


class NewState(Own):
    def step(self, theta, g, state, s, drift, project):
        return project(theta, state), {"a": g}


class Unprojected(Own):
    def step(self, theta, g, state, s, drift, project):
        return theta - s["lr"] * g, {}


class NoLr(Own):
    def scalars(self, t, lr, momentum):
        return {"rate": 0.1}


class NoneOfNoise(Own):
    noise = None  # type: ignore[assignment]


class Explodes(Own):
    def step(self, theta, g, state, s, drift, project):
        return project(theta - g / 0, state), {}


METHODS: list[tuple[type[Method], str]] = [
    (ThetaAlone, "step returned a tensor of shape (10,); return theta (d,) and the new state, a dict"),
    (Shorter, "step returned a tensor of shape (3,); return one of shape (10,)"),
    (NewState, "step returned the state {a}, and init gave {}; return every name that init gives, and no other"),
    (Unprojected, "step does not call project; return project(theta, state), or set feasible = False"),
    (NoLr, 'scalars returned {rate} without lr; return {"lr": self.lr * lr, ...}'),
    (NoneOfNoise, "noise is None; write noise: Noise = NoNoise() into the class"),
    (Explodes, "step returned nan or inf; look for a division or a root of 0"),
]


class Clips(Projection):
    def scalars(self, factor):
        return {"radius": 0.1 * factor}

    def __call__(self, x, s, h=None):
        return x.clamp(-s["radius"], s["radius"])

    def binding(self, x, s):
        return (x.abs() >= s["radius"]).to(x.dtype).mean()


class Cuts(Clips):
    def __call__(self, x, s, h=None):
        return x[:2]


class InPlace(Clips):
    def __call__(self, x, s, h=None):
        x.clamp_(-1, 1)


class Blind(Clips):
    def __call__(self, x):
        return x


class Divides(Clips):
    def __call__(self, x, s, h=None):
        return x / 0


class MetricShape(Clips):
    def __call__(self, x, s, h=None):
        return x if h is None else x.repeat(2) * h.repeat(2)


class NoSize(Clips):
    def scalars(self, factor):
        return 0.1


class Mask(Clips):
    def binding(self, x, s):
        return x >= 0.1


PROJECTIONS: list[tuple[type[Projection], str]] = [
    (Cuts, "__call__ returned a tensor of shape (2,); return one of shape (10,)"),
    (InPlace, "__call__ returned None; return a tensor of shape (10,)"),
    (Blind, "but 4 were given; define it as __call__(self, x, s, h)"),
    (Divides, "__call__ returned nan or inf; look for a division or a root of 0"),
    (MetricShape, "__call__ returned a tensor of shape (20,); return one of shape (10,)"),
    (NoSize, "scalars returned 0.1; return a dict of numbers"),
    (Mask, "binding returned a tensor of shape (10,); return a scalar, for example its mean"),
]


class Shakes(Noise):
    def scale(self, lr, factor):
        return 0.1 * factor


class Three(Shakes):
    def draw(self, theta, generator, state):
        return torch.randn(3, generator=generator)


class Global(Shakes):
    def draw(self, theta, generator, state):
        return torch.randn(theta.shape) * random.random()


class NoScale(Shakes):
    def scale(self, lr, factor):
        return None


class NoMemory(Shakes):
    def draw(self, theta, generator, state):
        return state["xi"]


NOISES: list[tuple[type[Noise], str]] = [
    (Three, "draw returned a tensor of shape (3,); return one of shape (10,)"),
    (Global, "draw gave two draws by equal generators that differ; draw by generator=generator alone"),
    (NoScale, "scale returned None; return a number"),
    (NoMemory, "draw raised KeyError: 'xi' (test_slots.py, line "),
]


class ReturnsNone(Schedule):
    def __call__(self, step, horizon=0):
        return None


class Divided(Schedule):
    def __call__(self, step, horizon=0):
        return 1 / step


class Short(Schedule):
    def __call__(self, step):
        return 1.0


class Endless(Schedule):
    def __call__(self, step, horizon=0):
        return float("inf") if step == horizon else 1.0


SCHEDULES: list[tuple[type[Schedule], str]] = [
    (ReturnsNone, "__call__(0, 50) returned None; return a number"),
    (Divided, "__call__ raised ZeroDivisionError: division by zero (test_slots.py, line "),
    (Short, "but 3 were given; define it as __call__(self, step, horizon)"),
    (Endless, "__call__(50, 50) returned inf; return a finite number"),
]


class Two(Average):
    def weight(self, t, horizon):
        return 2.0


class Negative(Average):
    def weight(self, t, horizon):
        return -0.1


class OneArgument(Average):
    def weight(self, t):
        return 1.0


AVERAGES: list[tuple[type[Average], str]] = [
    (Two, "weight(1, 50) returned 2; return the weight of the new point, in [0, 1]"),
    (Negative, "weight(1, 50) returned -0.1; return a finite number, at least 0"),
    (OneArgument, "but 3 were given; define it as weight(self, t, horizon)"),
]


def spec(**slots: Any) -> PlayerSpec:
    return PlayerSpec(None, slots.pop("optimizer", adam()), **slots)


PLACES: list[tuple[str, Any, Callable[[Any], PlayerSpec]]] = [
    ("critic.optimizer.metric", METRICS, lambda cls: spec(optimizer=Descent(1e-3, metric=cls()))),
    ("critic.optimizer.momentum", MOMENTA, lambda cls: spec(optimizer=Descent(1e-3, momentum=cls()))),
    ("critic.optimizer", METHODS, lambda cls: PlayerSpec(None, cls()) if cls is not NoneOfNoise else _unnoised()),
    ("critic.projection", PROJECTIONS, lambda cls: spec(projection=cls())),
    ("critic.noise", NOISES, lambda cls: spec(noise=cls())),
    ("critic.noise_schedule", SCHEDULES, lambda cls: spec(noise_schedule=cls())),
    ("critic.averaging", AVERAGES, lambda cls: spec(averaging=cls())),
]
CASES = [pytest.param(key, cls, make, words, id=cls.__name__) for key, table, make in PLACES for cls, words in table]


def _unnoised() -> PlayerSpec:
    made = PlayerSpec(None, Own())
    object.__setattr__(made, "optimizer", NoneOfNoise())
    return made


@pytest.mark.parametrize(("key", "cls", "make", "words"), CASES)
def test_a_mistake_names_the_slot_and_the_method(
    key: str, cls: type, make: Callable[[Any], PlayerSpec], words: str
) -> None:
    with pytest.raises(ValueError) as error:
        check_spec("critic", make(cls), nn.Linear(4, 2), 50)
    said = str(error.value)
    assert said.startswith(f"{key} = {cls.__name__}: ") and words in said and "\n" not in said


def test_one_of_several_averages_is_named() -> None:
    averaging = Several({"plain": Two(), "other": Negative()})
    with pytest.raises(ValueError, match=r"^critic\.averaging\.averages\.plain = Two: "):
        check_spec("critic", spec(averaging=averaging), nn.Linear(4, 2), 50)


GOOD = [
    spec(optimizer=Descent(1e-3, momentum=Still(), metric=Plain())),
    PlayerSpec(None, Own(), projection=Clips(), noise=Shakes()),
]


@pytest.mark.parametrize("good", GOOD, ids=["slots", "method"])
def test_what_is_right_passes_and_nothing_moves(good: PlayerSpec) -> None:
    network = nn.Linear(4, 2)
    before, state = [p.clone() for p in network.parameters()], torch.get_rng_state()
    check_spec("critic", good, network, 50)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


SLOTS: list[tuple[Callable[[], object], str]] = [
    (lambda: RMS(1.5, 1e-8, False), "decay = 1.5: the weight of the old mean lies in [0, 1)"),
    (lambda: RMS(0.9, 0.0, False), "eps = 0.0: must be positive, it keeps 0/0 away; for example 1e-8"),
    (lambda: GradientEMA(1.0), "beta = 1.0: the weight of the old mean lies in [0, 1)"),
    (lambda: Velocity(2.0), "rho = 2.0: the share of the velocity kept lies in [-1, 1)"),
    (lambda: Descent(1e-3, Velocity), "momentum = Velocity: must be a Momentum, and is a class; for example Grad"),
    (lambda: Descent(1e-3, RMS(0.9, 1e-8, False)), "must be a Momentum, and is none; for example GradientEMA(0.9)"),
    (lambda: Descent(1e-3, metric=None), "metric = None: must be a Metric, and is none; for example RMS(0.999, 1e-8"),
    (lambda: Descent(1e-3, metric=OddKind()), "metric = OddKind: is of the kind matrix; must be scalar"),
    (lambda: Descent("1e-3"), "lr = 1e-3: must be a number, not a str; for example 1e-3"),
]


@pytest.mark.parametrize(("make", "words"), SLOTS)
def test_a_slot_refuses_a_wrong_number_and_a_method_a_wrong_slot(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert words in str(error.value)
