"""What a method and the other slots of a player promise, tried on the player's own vector for two steps.

theta+ = P_K^H( theta - alpha H^-1 m + sigma xi ),    m = momentum(g),   H = metric(g),   theta_bar = average(theta)
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rlgan.optim.contract.calls import (
    calling,
    check_number,
    check_numbers,
    check_tensor,
    foreign,
    refuse,
    shown,
    twin_of,
)
from rlgan.optim.play.spec import PlayerSpec
from rlgan.optim.step.averaging import Average
from rlgan.optim.step.method import Descent, Method
from rlgan.optim.step.metric import Metric
from rlgan.optim.step.momentum import Momentum
from rlgan.optim.step.noise import Noise
from rlgan.optim.step.projection import Projection
from rlgan.optim.step.schedule import Schedule, unscheduled
from rlgan.optim.step.types import Kind, Scalars, Slots

_SCHEDULES = ("schedule", "momentum_schedule", "noise_schedule", "projection_schedule")


def check_spec(player: str, spec: PlayerSpec, network: nn.Module, horizon: int) -> None:
    """Try the slots of a player that are not ours, on a copy of its parameters.

    Neither draws from a generator of training, nor changes the network.

    Args:
        player: its name, which begins the keys.
        spec: of the player.
        network: whose parameters it moves.
        horizon: steps that it is planned to take.

    Raises:
        ValueError: as ``player.slot = Class: what is wrong; remedy``.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        _check_spec(player, spec, network, horizon)


def _check_spec(player: str, spec: PlayerSpec, network: nn.Module, horizon: int) -> None:
    for name in _SCHEDULES:
        if foreign(schedule := getattr(spec, name)):
            _check_schedule(f"{player}.{name}", schedule, horizon)
    for name, average in spec.averaging.parts.items():
        if foreign(average):
            key = f"{player}.averaging" + (f".averages.{name}" if len(spec.averaging.parts) > 1 else "")
            _check_average(key, average, horizon)
    slots: list[object] = [spec.optimizer, spec.noise, spec.projection]
    if isinstance(spec.optimizer, Descent):
        slots += [spec.optimizer.momentum, spec.optimizer.metric, spec.optimizer.noise]
    if not foreign(*slots):
        return
    theta = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
    for key, noise in ((f"{player}.noise", spec.noise), (f"{player}.optimizer.noise", spec.optimizer.noise)):
        if foreign(noise):
            _check_noise(key, twin_of(noise), theta)
    if foreign(spec.projection):
        _check_projection(f"{player}.projection", spec.projection, theta, network)
    method, key = twin_of(spec.optimizer), f"{player}.optimizer"
    if isinstance(method, Descent):
        if foreign(method.momentum):
            _check_momentum(f"{key}.momentum", method.momentum, theta)
        if foreign(method.metric):
            _check_metric(f"{key}.metric", method.metric, theta)
    elif foreign(method) and method.stackable:
        _check_method(key, method, theta)


def _gradient(theta: Tensor, step: int) -> Tensor:
    """A made-up gradient (d,), no entry 0."""
    return torch.cos(torch.arange(theta.numel(), dtype=theta.dtype, device=theta.device) + step) + 1e-3


def _check_schedule(key: str, schedule: Schedule, horizon: int) -> None:
    for step in (0, horizon // 2, horizon):
        with calling(key, schedule, "__call__"):
            factor: object = schedule(step, horizon)
        check_number(key, schedule, f"__call__({step}, {horizon})", factor)


def _check_average(key: str, average: Average, horizon: int) -> None:
    for step in (1, 2, max(horizon, 1)):
        with calling(key, average, "weight"):
            given: object = average.weight(step, horizon)
        weight = check_number(key, average, f"weight({step}, {horizon})", given, 0.0)
        if weight > 1:
            what = f"weight({step}, {horizon}) returned {weight:g}"
            raise refuse(key, average, what, "return the weight of the new point, in [0, 1]")


def _state(key: str, piece: object, method: str, given: object, theta: Tensor, like: Slots | None = None) -> Slots:
    """A state as tensors by name; where `like` is given, of the same names, shapes and dtypes."""
    if not isinstance(given, dict):
        raise refuse(key, piece, f"{method} returned {shown(given)} for its state", "return a dict of tensors, or {}")
    for name, value in given.items():
        if not isinstance(value, Tensor):
            what = f"{method} returned {shown(value)} for the state {name}"
            raise refuse(key, piece, what, "return a tensor, such as torch.zeros_like(theta)")
        if value.device != theta.device:
            what = f"{method} made the state {name} on {value.device}"
            raise refuse(key, piece, what, f"make it on {theta.device}, by torch.zeros_like(theta)")
    if like is not None and given.keys() != like.keys():
        what = f"{method} returned the state {_words(given)}, and init gave {_words(like)}"
        raise refuse(key, piece, what, "return every name that init gives, and no other")
    for name, value in given.items() if like is not None else ():
        before = (like or {})[name]
        if value.shape != before.shape or value.dtype != before.dtype:
            now, then = (f"{tuple(x.shape)} of {x.dtype}" for x in (value, before))
            what = f"{method} returned {now} for the state {name}, and init gave {then}"
            raise refuse(key, piece, what, "keep shape and dtype")
    return given


def _words(state: Mapping[str, Any]) -> str:
    return "{" + ", ".join(state) + "}"


def _pair(key: str, piece: object, method: str, given: object, theta: Tensor, what: str) -> tuple[Tensor, object]:
    if not (isinstance(given, tuple) and len(given) == 2):
        raise refuse(key, piece, f"{method} returned {shown(given)}", f"return {what} (d,) and the new state, a dict")
    return check_tensor(key, piece, method, given[0], theta.shape, theta), given[1]


def _check_momentum(key: str, momentum: Momentum, theta: Tensor) -> None:
    with calling(key, momentum, "init"):
        made: object = momentum.init(theta)
    first = state = _state(key, momentum, "init", made, theta)
    for t in (1, 2):
        g = _gradient(theta, t)
        with calling(key, momentum, "scalars"):
            numbers: object = momentum.scalars(t, unscheduled)
        s = check_numbers(key, momentum, "scalars", numbers)
        with calling(key, momentum, "point"):
            point: object = momentum.point(theta, state, s)
        check_tensor(key, momentum, "point", point, theta.shape, theta)
        with calling(key, momentum, "before"):
            given: object = momentum.before(g, state, s)
        m, between = _pair(key, momentum, "before", given, theta, "the direction m")
        between = _state(key, momentum, "before", between, theta)
        with calling(key, momentum, "after"):
            given = momentum.after(m * -1e-3, between, s)
        _, after = _pair(key, momentum, "after", given, theta, "the displacement")
        state = _state(key, momentum, "after", after, theta, first)
        with calling(key, momentum, "frame"):
            momentum.frame(t, unscheduled)


def _check_metric(key: str, metric: Metric, theta: Tensor) -> None:
    with calling(key, metric, "init"):
        made: object = metric.init(theta)
    first = state = _state(key, metric, "init", made, theta)
    for t in (1, 2):
        g = _gradient(theta, t)
        with calling(key, metric, "scalars"):
            numbers: object = metric.scalars(t)
        s = check_numbers(key, metric, "scalars", numbers)
        with calling(key, metric, "update"):
            given: object = metric.update(theta, g, state)
        state = _state(key, metric, "update", given, theta, first)
        _check_diagonal(key, metric, metric.kind, state, s, theta)
        with calling(key, metric, "solve"):
            solved: object = metric.solve(g, state, s)
        check_tensor(key, metric, "solve", solved, theta.shape, theta)


def _check_diagonal(key: str, piece: Metric | Method, kind: Kind, state: Slots, s: Scalars, theta: Tensor) -> None:
    with calling(key, piece, "diagonal"):
        h: object = piece.diagonal(state, s)
    if h is None:
        return
    shape = () if kind == "scalar" or (isinstance(h, Tensor) and h.ndim == 0) else theta.shape
    found = check_tensor(key, piece, "diagonal", h, shape)
    if not (found > 0).all():
        what = f"diagonal returned {float(found.min()):g}, and the gradient is divided by it"
        raise refuse(key, piece, what, "add a small number, such as eps = 1e-8")


def _check_noise(key: str, noise: Noise, theta: Tensor) -> None:
    with calling(key, noise, "scale"):
        given: object = noise.scale(1e-3, 1.0)
    check_number(key, noise, "scale", given, 0.0)
    if not noise.active:
        return
    draws = []
    for _ in range(2):
        with calling(key, noise, "init"):
            made: object = noise.init(theta)
        state = _state(key, noise, "init", made, theta)
        generator = torch.Generator(theta.device).manual_seed(0)
        with calling(key, noise, "draw"):
            xi: object = noise.draw(theta, generator, state)
        draws.append(check_tensor(key, noise, "draw", xi, theta.shape, theta).clone())
    if not torch.equal(*draws):
        what = "draw gave two draws by equal generators that differ"
        raise refuse(key, noise, what, "draw by generator=generator alone, so that a run can be gone on with")


def _check_projection(key: str, projection: Projection, theta: Tensor, network: nn.Module) -> None:
    with calling(key, projection, "fit"):
        fitted: object = projection.fit([parameter.shape for parameter in network.parameters()])
    if not isinstance(fitted, Projection):
        raise refuse(key, projection, f"fit returned {shown(fitted)}", "return a projection, such as self")
    with calling(key, projection, "scalars"):
        numbers: object = fitted.scalars(1.0)
    s = check_numbers(key, projection, "scalars", numbers)
    metrics = [
        None,
        *([1.5 + _gradient(theta, 0).abs()] if fitted.uses_metric and "diagonal" in fitted.metrics else []),
    ]
    for h in metrics:
        with calling(key, projection, "__call__"):
            given: object = fitted(theta.clone(), s, h)
        x = check_tensor(key, projection, "__call__", given, theta.shape, theta)
        with calling(key, projection, "binding"):
            share: object = fitted.binding(x, s)
        check_tensor(key, projection, "binding", share, ())


def _check_method(key: str, method: Method, theta: Tensor) -> None:
    for name, kind in (("lr", int | float), ("noise", Noise)):
        if not isinstance(value := getattr(method, name, None), kind):
            example = "lr: float = 1e-3" if name == "lr" else "noise: Noise = NoNoise()"
            raise refuse(key, method, f"{name} is {shown(value)}", f"write {example} into the class")
    with calling(key, method, "init"):
        made: object = method.init(theta)
    first = state = _state(key, method, "init", made, theta)
    for t in (1, 2):
        with calling(key, method, "scalars"):
            numbers: object = method.scalars(t, 1.0, unscheduled)
        s = check_numbers(key, method, "scalars", numbers)
        if "lr" not in s:
            what = f"scalars returned {_words(s)} without lr"
            raise refuse(key, method, what, 'return {"lr": self.lr * lr, ...}, of which noise and reports have it')
        with calling(key, method, "point"):
            point: object = method.point(theta, state, s)
        check_tensor(key, method, "point", point, theta.shape, theta)
        asked: list[Tensor] = []

        def project(x: Tensor, slots: Slots, asked: list[Tensor] = asked) -> Tensor:
            asked.append(x)
            return x

        with calling(key, method, "step"):
            given: object = method.step(theta, _gradient(theta, t), state, s, None, project)
        theta, new = _pair(key, method, "step", given, theta, "theta")
        state = _state(key, method, "step", new, theta, first)
        if method.feasible and not asked:
            raise refuse(
                key, method, "step does not call project", "return project(theta, state), or set feasible = False"
            )
        _check_diagonal(key, method, method.metric_kind, state, s, theta)
