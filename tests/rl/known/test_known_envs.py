"""The bandit and the linear-quadratic regulator: one state as many, noise, optima against plain sums, mistakes."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from scipy.optimize import lsq_linear

from rlgan.rl.envs.environment import Environment
from rlgan.rl.known.bandit import Bandit
from rlgan.rl.known.bounded import best_bounded, cost_of
from rlgan.rl.known.lqr import LQR
from rlgan.rl.known.riccati import System

BANDIT: dict[str, Any] = {
    "best": [0.95, -0.97],
    "low": [-1.0, -2.0],
    "high": 1.5,
    "curvature": [1.0, 3.0],
    "scale": 10.0,
    "offset": 2.0,
    "context": [0.5, 0.0, 0.0],
    "spread": [1.0, 0.5, 0.0],
    "slope": [[0.5, 0.0, 1.0], [0.0, -0.7, 0.0]],
}
PLANT: dict[str, Any] = {
    "A": [[1.05, 0.2], [0.0, 0.9]],
    "B": [[0.0, 0.1], [0.3, 0.0]],
    "Q": [[1.0, 0.2], [0.0, 0.5]],
    "R": [[0.1, 0.0], [0.0, 0.2]],
    "low": -0.6,
    "high": [0.5, 0.7],
    "start": [1.0, 0.5],
    "scale": 3.0,
}


@pytest.mark.parametrize(
    ("id", "kwargs"),
    [("rlgan/Bandit-v0", {**BANDIT, "noise": 0.3}), ("rlgan/LQR-v0", {**PLANT, "noise": 0.1}), ("rlgan/LQR-v0", PLANT)],
)
@pytest.mark.parametrize("n", [3, 12])
def test_batched_environments_give_the_numbers_of_single_ones(id: str, kwargs: dict[str, Any], n: int) -> None:
    wanted = SyncVectorEnv([lambda: gymnasium.make(id, disable_env_checker=True, **kwargs)] * n)
    found = Environment(id, kwargs).batched(n)
    assert found is not None
    assert (found.single_action_space, found.single_observation_space) == (
        wanted.single_action_space,
        wanted.single_observation_space,
    )
    found.action_space.seed(0)
    assert np.array_equal(found.reset(seed=5)[0], wanted.reset(seed=5)[0])
    for _ in range(110):
        action = found.action_space.sample()
        for one, other in zip(found.step(action)[:4], wanted.step(action)[:4], strict=True):
            assert np.array_equal(one, other)


def test_noise_is_normal_and_of_its_size() -> None:
    """4,000 draws: their mean, spread, fourth moment and the correlation with the next within 4.5 standard errors."""
    env = LQR(4, 10**6, A=[[0.0]], B=[[0.0]], Q=[[1.0]], R=[[1.0]], noise=0.5)
    env.reset(seed=0)
    x = np.stack([env.step(np.zeros((4, 1)))[0] for _ in range(1000)])[:, :, 0] / 0.5
    for moment, expected, spread in ((x, 0, 1), (x**2, 1, 2), (x**4, 3, 96), (x[1:] * x[:-1], 0, 1)):
        assert abs(moment.mean() - expected) < 4.5 * np.sqrt(spread / moment.size)
    assert len(np.unique(x)) == x.size
    bandit = Bandit(2000, best=[0.0], noise=0.5)
    bandit.reset(seed=0)
    reward = bandit.step(np.zeros((2000, 1)))[1]
    assert abs(reward.std() - 0.5) < 4.5 * 0.5 / np.sqrt(2 * len(reward))


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_best_action_of_a_bandit_brings_its_optimum_and_no_other_brings_more(noise: float) -> None:
    seeds = list(range(30))
    env = Bandit(len(seeds), **{**BANDIT, "noise": noise})
    obs, _ = env.reset(seed=seeds)
    best = env.known.action(obs)
    assert (best == 1.5).any() and (best < 1.5).any(), "some are clipped"
    reward = env.step(best)[1]
    assert env.known.optimum(seeds, 1) == pytest.approx(reward, abs=1e-6)
    generator = np.random.default_rng(0)
    for _ in range(50):
        env.reset(seed=seeds)
        other = np.clip(best + generator.normal(0.0, 0.1, best.shape), env.one_action.low, env.one_action.high)
        assert (env.step(other)[1] <= reward + 1e-6).all()


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_the_algebraic_equation_is_the_fixed_point_of_the_bellman_operator(discount: float) -> None:
    system = LQR(1, **PLANT).system
    P, K = system.forever(discount)
    iterated = np.zeros_like(P)
    for _ in range(2000):
        iterated = system.before(iterated, discount)
    assert pytest.approx(iterated, rel=1e-9, abs=1e-12) == P
    # No other gain costs less, for any start.
    for shift in np.random.default_rng(0).normal(0.0, 0.05, (20, *K.shape)):
        closed = np.sqrt(discount) * (system.A - system.B @ (K + shift))
        other, term = np.zeros_like(P), system.Q + (K + shift).T @ system.R @ (K + shift)
        for _ in range(2000):
            other, term = other + term, closed.T @ term @ closed
            if np.abs(term).max() < 1e-14:
                break
        assert np.linalg.eigvalsh(other - P)[0] > -1e-8


def test_a_state_that_costs_nothing_and_does_not_fade_has_a_gain_too() -> None:
    env = LQR(1, A=[[1.0, 0.0], [0.0, 0.5]], B=[[1.0], [1.0]], Q=[[0.0, 0.0], [0.0, 1.0]], R=[[1.0]])
    P, K = env.system.forever(1.0)
    assert pytest.approx(env.system.before(P), abs=1e-6) == P and np.isfinite(K).all()


def test_values_are_a_fixed_point_and_greedy_is_the_gain() -> None:
    env, discount = LQR(1, **{**PLANT, "noise": 0.1, "low": -50.0, "high": 50.0}), 0.95
    known, K, generator = env.known, env.known.gain(0.95), np.random.default_rng(0)
    A, B, (n, m) = env.system.A, env.system.B, (2, 2)
    x, u = generator.normal(size=(6, n)), generator.normal(size=(6, m))
    reward = -env.scale * (np.einsum("bi,ij,bj->b", x, env.system.Q, x) + np.einsum("bi,ij,bj->b", u, env.system.R, u))
    # The expectation over the noise of a quadratic, by points at +-sqrt(n) of its spread along each axis.
    after = x @ A.T + u @ B.T
    points = np.concatenate((np.eye(n), -np.eye(n))) * np.sqrt(n) * env.noise
    following = np.mean([known.q(after + w, -(after + w) @ K.T, discount) for w in points], axis=0)
    assert known.q(x, u, discount) == pytest.approx(reward + discount * following, rel=1e-10)
    best = known.q(x, -x @ K.T, discount)
    assert all((known.q(x, -x @ K.T + shift, discount) < best).all() for shift in generator.normal(size=(20, m)))


def test_values_are_not_said_where_the_best_policy_meets_a_bound() -> None:
    known = LQR(1, **PLANT).known
    near, far = np.array([[1e-3, 1e-3]]), np.array([[5.0, 5.0]])
    assert np.isfinite(known.q(near, np.zeros((1, 2)), 0.95)) and np.isnan(known.q(far, np.zeros((1, 2)), 0.95))


def rolled(env: LQR, seeds: list[int], policy: Any, steps: int) -> np.ndarray:
    obs, total = env.reset(seed=seeds)[0], np.zeros(len(seeds))
    for t in range(steps):
        obs, reward = env.step(policy(obs, t))[:2]
        total += reward
    return total


def test_the_optimum_is_what_the_best_policy_brings() -> None:
    seeds, steps = list(range(20)), 40
    free = LQR(20, steps, **{**PLANT, "low": -50.0, "high": 50.0})
    gains = [free.system.gain(P) for P in free.system.ahead(steps)[1:]]
    brought = rolled(free, seeds, lambda x, t: -x @ gains[t].T, steps)
    assert free.known.optimum(seeds, steps) == pytest.approx(brought, rel=1e-5)
    bounded = LQR(20, steps, **PLANT)
    optimum = bounded.known.optimum(seeds, steps)
    starts = bounded.reset(seed=seeds)[0]
    low, high = bounded.one_action.low.astype(float), bounded.one_action.high.astype(float)
    _, u = best_bounded(bounded.system, starts, steps, low, high)
    assert rolled(bounded, seeds, lambda _, t: u[:, t], steps) == pytest.approx(optimum, rel=1e-5)
    clipped = rolled(bounded, seeds, lambda x, t: np.clip(-x @ gains[t].T, low, high), steps)
    assert (optimum <= brought + 1e-3).all() and (optimum < brought - 0.1).any() and (clipped <= optimum + 1e-3).all()


def test_the_optimum_under_noise_is_of_the_noise_that_the_episodes_have() -> None:
    many, steps = list(range(400)), 40
    noisy = LQR(400, steps, **{**PLANT, "low": -50.0, "high": 50.0, "noise": 0.1})
    P = noisy.system.ahead(steps)
    gains = [noisy.system.gain(after) for after in P[1:]]
    brought = rolled(noisy, many, lambda x, t: -x @ gains[t].T, steps)
    assert noisy.known.optimum(many, steps) == pytest.approx(brought, rel=1e-5)
    # In the mean it is the expectation: within 4.5 standard errors of it.
    quiet = LQR(400, steps, **{**PLANT, "low": -50.0, "high": 50.0}).known.optimum(many, steps)
    luck = brought - (quiet - noisy.scale * 0.1**2 * sum(np.trace(after) for after in P[1:]))
    assert abs(luck.mean()) < 4.5 * luck.std() / 20 and luck.std() > 0
    # Where bounds are met no policy brings more in the mean, and the luck is that of the same noise.
    bounded = LQR(400, steps, **{**PLANT, "noise": 0.1})
    low, high = bounded.one_action.low.astype(float), bounded.one_action.high.astype(float)
    clipped = rolled(bounded, many, lambda x, t: np.clip(-x @ gains[t].T, low, high), steps)
    lost = bounded.known.optimum(many, steps) - clipped
    assert lost.mean() > 0 and lost.std() < clipped.std()


@pytest.mark.parametrize("seed", range(4))
def test_bounded_actions_are_those_of_bounded_least_squares(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, m, T = int(generator.integers(1, 4)), int(generator.integers(1, 3)), 12
    A, B = generator.normal(size=(n, n)), generator.normal(size=(n, m))
    A *= generator.uniform(0.8, 1.1) / np.abs(np.linalg.eigvals(A)).max()
    root = generator.normal(size=(n, n))
    system, low, high = System(A, B, root.T @ root, 0.3 * np.eye(m)), np.full(m, -0.4), np.full(m, 0.5)
    starts = 2.0 * generator.normal(size=(5, n))
    cost, u = best_bounded(system, starts, T, low, high)
    assert ((low <= u) & (u <= high)).all() and ((u == low) | (u == high)).any()
    # All states by the start and all actions: x = F x_0 + G u.
    F, G = np.zeros((T, n, n)), np.zeros((T, n, T, m))
    F[0] = np.eye(n)
    for t in range(1, T):
        F[t], G[t] = A @ F[t - 1], np.einsum("ij,jtm->itm", A, G[t - 1])
        G[t, :, t - 1] += B
    rows = np.concatenate((np.einsum("ij,sjtm->sitm", root, G).reshape(T * n, T * m), np.sqrt(0.3) * np.eye(T * m)))
    for start, least in zip(starts, cost, strict=True):
        target = np.concatenate((-np.einsum("ij,sjk,k->si", root, F, start).ravel(), np.zeros(T * m)))
        solved = lsq_linear(rows, target, (np.tile(low, T), np.tile(high, T)), method="bvls", max_iter=1000)
        assert least == pytest.approx(2.0 * solved.cost, rel=1e-9)
    x = np.stack([starts, *[np.zeros_like(starts)] * T], 1)
    for t in range(T):
        x[:, t + 1] = x[:, t] @ A.T + u[:, t] @ B.T
    assert cost == pytest.approx(cost_of(system, x, u))


def test_an_unstable_plant_over_a_long_horizon_is_solved_too() -> None:
    """1.15^400 is 2e24: the costs of the actions as one quadratic could not be written down."""
    system = System(np.array([[1.15]]), np.array([[1.0]]), np.eye(1), np.eye(1))
    low, high = np.array([-0.5]), np.array([0.5])
    (cost,), u = best_bounded(system, np.array([[2.5]]), 400, low, high)
    # After 40 steps it rests, so that these alone, which can be written down, cost as much.
    powers = 1.15 ** np.arange(40)
    G = np.tril(np.subtract.outer(np.arange(40), np.arange(40)), -1)
    rows = np.concatenate((np.where(G > 0, 1.15 ** (G - 1.0), 0.0), np.eye(40)))
    solved = lsq_linear(rows, np.concatenate((-2.5 * powers, np.zeros(40))), (-0.5, 0.5), method="bvls")
    assert cost == pytest.approx(2.0 * solved.cost, rel=1e-6) and (u == -0.5).any()


@pytest.mark.parametrize(
    ("id", "kwargs", "message"),
    [
        ("Bandit", {"best": []}, r"best = \[\]: is empty; give a number for each component"),
        ("Bandit", {"best": ["x"]}, r"best = \['x'\]: no rectangle of numbers; give"),
        ("Bandit", {"best": [float("nan")]}, r"best = \[nan\]: must be finite; give"),
        ("Bandit", {"curvature": 0.0}, r"curvature = 0.0: must be positive, else no action is best"),
        ("Bandit", {"scale": 0.0}, r"scale = 0.0: must be positive"),
        ("Bandit", {"noise": -1.0}, r"noise = -1.0: must be at least 0; give a standard deviation"),
        ("Bandit", {"spread": -1.0}, r"spread = -1.0: must not be negative"),
        ("Bandit", {"slope": [[1.0, 2.0]]}, r"slope = \[\[1.0, 2.0\]\]: is 1 x 2, must be 1 x 1; one row for each"),
        ("Bandit", {"low": 1.0}, r"low = 1.0: must be below high, which is 1.0; for example"),
        ("Bandit", {"high": [1.0, 1.0]}, r"high = \[1.0, 1.0\]: is 2, must be 1; give a number, or one for each of"),
        ("LQR", {"A": [[1.0, 0.1]]}, r"A = \[\[1.0, 0.1\]\]: is 1 x 2, must be 1 x 1; must be square"),
        ("LQR", {"A": [[1.0], [0.1, 1.0]]}, r"A = .*: no rectangle of numbers; a list of rows"),
        ("LQR", {"A": 1.0}, r"A = 1.0: is a number, must be any x any; a list of rows"),
        ("LQR", {"B": [[1.0]]}, r"B = \[\[1.0\]\]: is 1 x 1, must be 2 x any; one row for each of the 2"),
        ("LQR", {"Q": [[1.0]]}, r"Q = \[\[1.0\]\]: is 1 x 1, must be 2 x 2; a row and a column"),
        ("LQR", {"Q": [[1.0, 0.0], [0.0, -1.0]]}, r"Q = .*: x'Q x is negative for some x"),
        ("LQR", {"R": [[0.0]]}, r"R = \[\[0.0\]\]: u'R u must be positive for all u but 0"),
        ("LQR", {"B": [[0.1], [0.0]]}, r"A = .*: is not stabilisable, its eigenvalue 1\+0j is at least 1 in size"),
        ("LQR", {"start": [1.0] * 3}, r"start = .*: is 3, must be 2; give a number"),
        ("LQR", {"noise": -0.1}, r"noise = -0.1: must be at least 0"),
        ("LQR", {"scale": 0.0}, r"scale = 0.0: must be positive"),
    ],
)
def test_what_will_not_do_is_said_in_a_line(id: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^kwargs\.{message}") as caught:
        Environment(f"rlgan/{id}-v0", kwargs)
    assert "\n" not in str(caught.value)
