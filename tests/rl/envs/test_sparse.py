"""The sparse environments: mechanics against conserved energy and small oscillations, rewards, saved state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
import torch

from rlgan.rl.envs import env_state
from rlgan.rl.envs.batched import Floats, One
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.sparse import (
    GRAVITY,
    Mechanics,
    SparseCartPoleSwingUp,
    SparseDoublePendulum,
    SparseMountainCar,
    SparseWalk,
)
from tests.rl.envs.test_env_state import go_to, run, through_file

IDS = ("SparseMountainCar", "SparseCartPoleSwingUp", "SparseDoublePendulum")
KINDS: tuple[type[Mechanics], ...] = (SparseMountainCar, SparseCartPoleSwingUp, SparseDoublePendulum)
NONE = np.zeros(1, np.float32)


def made(name: str) -> Any:
    return gymnasium.make(f"rlgan/{name}-v0", disable_env_checker=True)


def energy(env: Mechanics, state: Sequence[float]) -> float:
    """Kinetic and potential energy, which without force stays what it is."""
    if isinstance(env, SparseMountainCar):
        x, v = state
        slope = 0.5 * math.pi * math.sin(0.5 * math.pi * x)
        height = 1.0 - math.cos(0.5 * math.pi * x)
        return env.mass * (0.5 * (1.0 + slope * slope) * v * v + GRAVITY * height)
    if isinstance(env, SparseCartPoleSwingUp):
        _, angle, v, spin = state
        moment, inertia = 0.5 * env.rod * env.length, env.rod * env.length**2 / 3.0
        moving = 0.5 * (env.cart + env.rod) * v * v + moment * v * spin * math.cos(angle) + 0.5 * inertia * spin**2
        return moving + moment * GRAVITY * math.cos(angle)
    assert isinstance(env, SparseDoublePendulum)
    one, two, spin_one, spin_two = state
    whole = env.rod * env.length**2
    moving = 0.5 * whole * (4 / 3 * spin_one**2 + spin_two**2 / 3 + spin_one * spin_two * math.cos(one - two))
    return moving - 0.5 * env.rod * env.length * GRAVITY * (3.0 * math.cos(one) + math.cos(two))


@pytest.mark.parametrize("kind", KINDS)
def test_energy_is_conserved_without_force_and_changes_by_the_work_of_it(kind: type[Mechanics]) -> None:
    one, env = One(kind), kind(1)
    for seed in range(5):
        one.reset(seed=seed)
        start = energy(env, one.state)
        for _ in range(100):
            one.step(NONE)
        # A hundredth of a thousandth of the energy from rest to upright, in 100 steps.
        assert abs(energy(env, one.state) - start) < 1e-4 * env.one_action.high[0]
    # dE/dt = force times what it moves: the path along the track, the cart, the angle between the rods.
    for x in np.random.default_rng(0).normal(size=(20, env.width)):
        slope = np.array(env.derivative(list(x), 0.7, Floats)) - np.array(env.derivative(list(x), 0.0, Floats))
        gradient = [(energy(env, list(x + h)) - energy(env, list(x - h))) / 2e-6 for h in 1e-6 * np.eye(len(x))]
        if kind is SparseMountainCar:
            speed = x[1] * math.sqrt(1 + (math.pi / 2 * math.sin(math.pi / 2 * x[0])) ** 2)
        else:
            speed = x[2] if kind is SparseCartPoleSwingUp else x[3] - x[2]
        assert np.dot(gradient, slope) == pytest.approx(0.7 * speed, rel=1e-5, abs=1e-6)
        free = np.array(env.derivative(list(x), 0.0, Floats))
        assert abs(np.dot(gradient, free)) < 1e-6 * max(1.0, float(np.abs(gradient) @ np.abs(free)))


def period(env: One, seconds: float, component: int) -> float:
    """Of small free oscillations, from the crossings of zero of a coordinate."""
    crossings, before = [], env.state[component]
    for t in range(2000):
        env.step(NONE)
        now = env.state[component]
        if before < 0 <= now:
            crossings.append(seconds * (t + before / (before - now)))
        before = now
    return float(np.diff(crossings).mean())


def test_small_oscillations_have_the_periods_of_the_textbooks() -> None:
    car = One(SparseMountainCar)
    car.reset(seed=0)
    car.state = [0.001, 0.0]
    # y'' = (pi / 2)^2 at the bottom: omega^2 = g y''.
    assert period(car, SparseMountainCar.seconds, 0) == pytest.approx(
        2 * math.pi / math.sqrt(GRAVITY * math.pi**2 / 4), rel=1e-3
    )
    pendulum = One(SparseDoublePendulum)
    pendulum.reset(seed=0)
    # Modes of two equal rods: det(K - omega^2 M) = 0, M = m L^2 [4/3, 1/2; 1/2, 1/3], K = m g L diag(3/2, 1/2).
    values, modes = np.linalg.eig(np.linalg.solve([[4 / 3, 1 / 2], [1 / 2, 1 / 3]], GRAVITY * np.diag([1.5, 0.5])))
    for omega, mode in zip(np.sqrt(values), modes.T, strict=True):
        pendulum.state = [*(1e-3 * mode), 0.0, 0.0]
        assert period(pendulum, SparseDoublePendulum.seconds, 0) == pytest.approx(2 * math.pi / omega, rel=1e-3)
    pole = One(SparseCartPoleSwingUp)
    pole.reset(seed=0)
    pole.state = [0.0, math.pi + 1e-3, 0.0, 0.0]
    found = []
    for _ in range(60):
        pole.step(NONE)
        found.append(pole.state[1] - math.pi)
    # A hanging rod on a free cart: omega^2 = (M + m) m g l / ((M + m) m L^2 / 3 - m^2 l^2).
    omega = math.sqrt(1.1 * 0.1 * GRAVITY * 0.5 / (1.1 * 0.1 / 3 - 0.05**2))
    assert np.allclose(found, 1e-3 * np.cos(omega * 0.05 * np.arange(1, 61)), atol=2e-6)


def test_rewards_and_ends() -> None:
    car, pole, double = (kind(1) for kind in KINDS)
    verdicts = {0.59: (0.0, False), 0.6: (1.0, True), -1.99: (0.0, False), -2.0: (0.0, True)}
    for x, verdict in verdicts.items():
        assert car.judge([x, 0.0], Floats) == verdict
    near, far = math.acos(0.81), math.acos(0.79)
    for state, verdict in (
        ([0.0, near], (1.0, False)),
        ([0.0, -near + 2 * math.pi], (1.0, False)),
        ([0.0, far], (0.0, False)),
        ([3.0, 0.0], (1.0, False)),
        ([-3.01, 0.0], (0.0, True)),
    ):
        assert pole.judge([*state, 0.0, 0.0], Floats) == verdict
    up = math.pi
    for one, two, reward in ((up, up, 1.0), (up, up - 1.04, 1.0), (up, up - 1.05, 0.0), (0, 0, 0.0)):
        assert double.judge([one, two, 0.0, 0.0], Floats) == (reward, False)


def test_starts_are_those_that_are_said() -> None:
    starts = {}
    for kind in KINDS:
        env = One(kind)
        states = []
        for seed in range(300):
            env.reset(seed=seed)
            states.append(env.state)
        starts[kind] = np.array(states)
    car, pole, double = starts[SparseMountainCar], starts[SparseCartPoleSwingUp], starts[SparseDoublePendulum]
    assert not car[:, 0].any() and 0.9 < np.abs(car[:, 1]).max() < 1
    spread = np.abs(pole - [0, math.pi, 0, 0]).max(0)
    assert (spread <= [1, 1, 2, 3]).all() and (spread > 0.95 * np.array([1, 1, 2, 3])).all()
    assert np.allclose(double.std(0), [0.1, 0.1, 0.01, 0.01], rtol=0.15)


def test_full_force_alone_does_not_reach_the_goal_and_swinging_does() -> None:
    env = made("SparseMountainCar")
    for policy in ("force", "swing"):
        env.reset(seed=3)
        total, ended, steps = 0.0, False, 0
        while not ended:
            velocity = env.unwrapped.state[1]
            action = np.ones(1, np.float32) * (np.sign(velocity) if policy == "swing" else 1.0)
            _, reward, terminated, truncated, _ = env.step(action)
            total, ended, steps = total + float(reward), terminated or truncated, steps + 1
        assert (total, terminated) == ((1.0, True) if policy == "swing" else (0.0, False))
        assert steps == 500 or policy == "swing"


def test_no_torque_throws_the_pendulum_beyond_its_bound() -> None:
    env = made("SparseDoublePendulum")
    env.reset(seed=0)
    for t in range(500):
        observation, _, terminated, truncated, _ = env.step(np.full(1, 50.0 if t % 50 < 25 else -50.0, np.float32))
        assert np.isfinite(observation).all() and abs(observation[[2, 5]]).max() <= 0.5 * math.pi / 0.01
    assert truncated and not terminated


@pytest.mark.parametrize("where", ["middle", "end"])
@pytest.mark.parametrize("name", [*IDS, "SparseHalfCheetah"])
def test_a_restored_environment_goes_on_exactly(name: str, where: str) -> None:
    spec = Environment(f"rlgan/{name}-v0", num_envs=2, vectorization="sync")
    env, fresh = spec.make(seed=1), spec.make(seed=9)
    assert env._adapter is not None and env.notes() == []
    assert env._adapter.name == ("mujoco" if "Cheetah" in name else "attributes")
    go_to(env, where, torch.Generator().manual_seed(0))
    run(fresh, 5, torch.Generator().manual_seed(4))
    fresh.load_state_dict(through_file(env.state_dict()))
    traces = [run(each, 120, torch.Generator().manual_seed(7)) for each in (env, fresh)]
    assert traces[0] == traces[1]
    for each in (env, fresh):
        each.close()


def test_the_half_cheetah_is_paid_beyond_its_goal_only() -> None:
    env = made("SparseHalfCheetah")
    plain = gymnasium.make("HalfCheetah-v5", disable_env_checker=True)
    assert np.array_equal(env.reset(seed=0)[0], plain.reset(seed=0)[0])
    action = np.zeros(6, np.float32)
    observation, reward, *_ = env.step(action)
    assert reward == 0.0 and np.array_equal(observation, plain.step(action)[0])
    simulator: Any = cast(Any, env.unwrapped)
    qpos = simulator.data.qpos.copy()
    for x, wanted in ((5.5, 1.0), (4.5, 0.0)):
        qpos[0] = x
        simulator.set_state(qpos, 0 * simulator.data.qvel)
        assert env.step(action)[1] == wanted
    assert env_state.choose(lambda: made("SparseHalfCheetah")) is not None


def test_the_walk_is_paid_at_one_end_of_its_line_and_stays_on_it() -> None:
    one, many = made("SparseWalk"), SparseWalk(3)
    one.reset(seed=0)
    many.reset(seed=0)
    places, rewards = [], []
    for action in [1.0] * 12 + [-1.0] * 18:
        obs, reward, terminated, truncated, _ = one.step(np.array([action], np.float32))
        seen, paid, *_ = many.step(np.full((3, 1), action, np.float32))
        assert (seen == obs).all() and (paid == reward).all() and not terminated
        places.append(float(obs[0]))
        rewards.append(reward)
    assert truncated and max(places) == 1.0 and min(places) == pytest.approx(-0.8)
    np.testing.assert_allclose(rewards[:12], [0, 0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(rewards[12:18], [0.8, 0.6, 0.4, 0.2, 0, 0], atol=1e-6)
