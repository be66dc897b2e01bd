"""The transitions of the environments: equal in all autoreset modes, with the true successor, and refused when not
finite.
"""

import functools
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import NormalizeObservation, RescaleAction, TimeAwareObservation

from rlgan.rl.border.actions import ActionMap
from rlgan.rl.envs import env_state
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.task.errors import Diverged
from tests.rl import scripted
from tests.rl.scripted import MODES, in_mode


def valid_transitions(env: VectorEnvironment, steps: int) -> list[list[tuple]]:
    rows: list[list[tuple]] = [[] for _ in range(env.num_envs)]
    for t in range(steps):
        action = np.full((env.num_envs, env.action_dim), np.sin(t), dtype=np.float32)
        before = env.obs.copy()
        step = env.step(action)
        assert np.array_equal(step.obs, before)
        for i in np.flatnonzero(step.valid):
            rows[i].append((step.obs[i, 1], step.reward[i], step.next_obs[i, 1], step.terminated[i], step.truncated[i]))
            assert step.obs[i, 0] == step.next_obs[i, 0] == i + 6
    return rows


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("mode", MODES)
def test_transitions_are_those_of_the_script(mode: str, vectorization: Any) -> None:
    env = in_mode(mode)("Scripted-v0", num_envs=3, vectorization=vectorization).make(seed=6)
    try:
        rows = valid_transitions(env, 40)
        for i, row in enumerate(rows):
            assert len(row) >= 25
            assert row == list(scripted.expected(6 + i, len(row)))
        assert env.steps == sum(map(len, rows))
        assert (mode == "next_step") == (env.steps < 3 * 40)
    finally:
        env.close()


@pytest.mark.parametrize("mode", MODES)
def test_finished_episodes_carry_return_and_length(mode: str) -> None:
    env = in_mode(mode)("Scripted-v0", num_envs=2).make(seed=0)
    seen: dict[int, list[tuple[float, int]]] = {0: [], 1: []}
    for _ in range(30):
        step = env.step(np.zeros((2, 1), np.float32))
        assert [e.env for e in step.episodes] == list(np.flatnonzero(step.ended))
        for episode in step.episodes:
            seen[episode.env].append((episode.total, episode.length))
    # Episode e of environment s: sum over t = 1..length of 10 e + t + s.
    for s, found in seen.items():
        lengths = [scripted.SCRIPT[(s + k) % 4][0] for k in range(len(found))]
        totals = [sum(10 * (s + k) + t + s for t in range(1, n + 1)) for k, n in enumerate(lengths)]
        assert found == list(zip(totals, lengths, strict=True)) and len(found) >= 6


@pytest.mark.parametrize("mode", MODES)
def test_the_observation_to_act_upon_is_that_of_the_new_episode(mode: str) -> None:
    env = in_mode(mode)("Scripted-v0").make(seed=0)
    for _ in range(3):
        step = env.step(np.zeros((1, 1), np.float32))
    assert step.terminated[0] and step.next_obs[0, 1] == 3
    if mode == "next_step":
        assert not env.valid[0] and env.obs[0, 1] == 3
        step = env.step(np.zeros((1, 1), np.float32))
        assert not step.valid[0] and not step.ended[0] and step.episodes == () and step.reward[0] == 0
    assert env.valid[0] and env.obs[0, 1] == 100


def test_actions_are_scaled_per_dimension_to_asymmetric_bounds_and_clipped() -> None:
    low, high = (-2.0, 0.1, -1.0, -3.0), (2.0, 0.7, 1.0, -0.9)
    env = Environment("Scripted-v0", {"low": low, "high": high}).make(seed=0)
    seen = []
    for value in (-1.0, 1.0, 0.0, 0.5, -7.0, 7.0):
        step = env.step(np.full((1, 4), value, np.float32))
        assert np.array_equal(step.action, np.full((1, 4), np.clip(value, -1, 1), np.float32))
        seen.append(env._map(step.action)[0])
        env.reset()
    lows, highs = np.array(low), np.array(high)
    wanted = [lows, highs, (lows + highs) / 2, lows + 0.75 * (highs - lows), lows, highs]
    assert np.allclose(seen, wanted, rtol=1e-6)
    # To the last bit within the bounds, or the environment's own check (in Scripted) would have failed.
    generator = np.random.default_rng(0)
    for _ in range(200):
        ends = np.sort(generator.normal(size=(2, 5)).astype(np.float32), axis=0)
        space = gymnasium.spaces.Box(ends[0], ends[1])
        corners = ActionMap(space)(np.array([[-1.0] * 5, [1.0] * 5], np.float32))
        assert space.contains(corners[0]) and space.contains(corners[1])


def test_observations_are_flat_float32_and_tensors_are_accepted() -> None:
    env = Environment(num_envs=2).make(seed=3)
    step = env.step(torch.zeros(2, 1, dtype=torch.float64))
    for array in (step.obs, step.next_obs, step.action, env.obs):
        assert array.dtype == np.float32 and array.flags.c_contiguous
    assert step.obs.shape == (2, 3)
    with pytest.raises(ValueError, match=r"action = shape \(1, 1\): must be \(2, 1\)"):
        env.step(np.zeros((1, 1), np.float32))


def test_random_actions_fill_the_bounds_and_repeat_with_their_generator() -> None:
    env = Environment("Scripted-v0", {"low": (-1.0, 0.0), "high": (1.0, 4.0)}, num_envs=500).make(0)
    first = env.random_actions(torch.Generator().manual_seed(1))
    assert np.array_equal(first, env.random_actions(torch.Generator().manual_seed(1)))
    assert first.dtype == np.float32 and abs(first).max() <= 1 and first.min() < -0.98 and first.max() > 0.98


def test_equal_seeds_give_equal_starts_and_a_seeded_action_space() -> None:
    one, two, other = (Environment(num_envs=2).make(seed) for seed in (5, 5, 8))
    assert np.array_equal(one.obs, two.obs) and not np.array_equal(one.obs, other.obs)
    assert np.array_equal(one.vector.action_space.sample(), two.vector.action_space.sample())
    moved = one.step(np.ones((2, 1), np.float32)).next_obs
    assert np.array_equal(one.reset(), two.obs) and not np.array_equal(one.obs, moved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": "Pendulm-v1"}, r"^id = Pendulm-v1: unknown environment; did you mean Pendulum-v1\?$"),
        ({"id": "Zzz"}, r"^id = Zzz: unknown environment; import its package with env.id=package:Name-v0$"),
        ({"id": "no_such_module:A-v0"}, r"^id = no_such_module:A-v0: cannot import no_such_module"),
        ({"id": "CartPole-v1"}, r"^id = CartPole-v1: has Discrete actions; .*Box of floats"),
        ({"id": "Unsuited-v0", "kwargs": {"fault": "unbounded"}}, r"infinite action bounds .*TransformAction"),
        ({"id": "Unsuited-v0", "kwargs": {"fault": "integers"}}, r"has actions of dtype int64; they must be floats"),
        (
            {"id": "Parts-v0", "kwargs": {"whole": False}},
            r"^id = Parts-v0: has observations without a fixed length \(Dict\('ragged': Seq.*TransformObservation",
        ),
        ({"max_episode_steps": 0}, r"^max_episode_steps = 0: must be at least 1, for example 500, or null"),
        (
            {
                "wrappers": (
                    TimeAwareObservation,
                    functools.partial(RescaleAction, min_action=np.float32(1.0), max_action=np.float32(-1.0)),
                )
            },
            r"^wrappers\[1\] = RescaleAction\(min_action=.*1.0\)?, max_action=.*-1.0\)?\): cannot be put around ",
        ),
        ({"wrappers": (repr,)}, r"^wrappers\[0\] = repr: gives a str; a wrapper takes an environment and gives an env"),
        ({"wrappers": (NormalizeObservation,)}, r"^wrappers\[0\] = NormalizeObservation\(?\)?: .*normalise_obs=true"),
        ({"kwargs": {"gg": 1}}, r"^kwargs = \{'gg': 1\}: Pendulum-v1 refuses them"),
        ({"num_envs": 0}, r"^num_envs = 0: must be at least 1"),
        ({"vectorization": "gpu"}, r"^vectorization = gpu: unknown; choose auto, sync, async or batched"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Environment(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("id", "package", "extra"), [("Hopper-v5", "mujoco", "mujoco"), ("BipedalWalker-v3", "Box2D", "box2d")]
)
def test_a_missing_package_is_named_with_its_extra(
    id: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("gymnasium.envs.mujoco", "gymnasium.envs.box2d"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf'^id = {id}: needs a package .*; pip install "rlgan\[{extra}\]"$'):
        Environment(id)


def test_an_environment_of_a_module_that_is_still_to_be_imported() -> None:
    env = Environment("gymnasium.envs.classic_control:Pendulum-v1").make(seed=0)
    assert (env.obs_dim, env.action_dim) == (3, 1)
    env.close()


@pytest.mark.parametrize(("bad", "value"), [("observation", "nan"), ("reward", "inf")])
def test_what_is_not_finite_is_named_with_environment_step_and_value(bad: str, value: str) -> None:
    env = Environment("Scripted-v0", {"bad": bad}).make(seed=0)
    with pytest.raises(
        Diverged, match=rf"^{bad} of environment 0 \(Scripted-v0\) is {value} .* after 3 environment steps"
    ):
        for _ in range(6):
            env.step(np.zeros((1, 1), np.float32))


def test_an_action_that_is_not_finite_never_reaches_the_environment() -> None:
    env = Environment("Scripted-v0", num_envs=2).make(seed=0)
    with pytest.raises(Diverged, match=r"^action of environment 1 \(Scripted-v0\) is nan in component 0"):
        env.step(np.array([[0.0], [np.nan]], np.float32))
    assert env.steps == 0


def test_observations_in_parts_are_flattened_as_gymnasium_does() -> None:
    env = Environment("Parts-v0", num_envs=2).make(seed=3)
    parts = [gymnasium.make("Parts-v0", disable_env_checker=True) for _ in range(2)]
    space = parts[0].observation_space
    # `a` is one-hot of 3 and 2 bits, `b` 2 x 2 numbers, `c` one: in the order of the keys.
    assert env.obs_dim == gymnasium.spaces.flatdim(space) == 5 + 4 + 1 and env.notes() == []
    raw = [part.reset(seed=3 + i)[0] for i, part in enumerate(parts)]
    for _ in range(5):
        wanted = np.stack([np.asarray(gymnasium.spaces.flatten(space, each)) for each in raw])
        assert env.obs.dtype == np.float32 and np.array_equal(env.obs, wanted.astype(np.float32))
        assert [row[5] for row in wanted] == [each["b"][0, 0] for each in raw]
        env.step(np.zeros((2, 1), np.float32))
        raw = [part.step(np.zeros(1, np.float32))[0] for part in parts]
    env.close()


def test_wrappers_are_applied_in_order_and_the_observations_flattened_last() -> None:
    rescale = functools.partial(RescaleAction, min_action=np.float32(-3.0), max_action=np.float32(5.0))
    wrappers = (functools.partial(TimeAwareObservation, flatten=False), rescale)
    env = Environment("Parts-v0", wrappers=wrappers, max_episode_steps=50).make_one()
    assert (env.action_space.low, env.action_space.high) == (-3.0, 5.0)  # type: ignore[attr-defined]
    assert [type(layer).__name__ for layer in env_state.layers(env)][:3] == [
        "FlattenObservation",
        "RescaleAction",
        "TimeAwareObservation",
    ]
    env.reset(seed=0)
    # The parts of gymnasium's own Dict are in the order of their keys: `time` comes last.
    assert [env.step(np.zeros(1, np.float32))[0][-1] for _ in range(3)] == [1, 2, 3]


def test_a_wrapped_environment_is_resumed_exactly_and_a_change_of_wrappers_seen() -> None:
    spec = Environment(wrappers=(TimeAwareObservation,), max_episode_steps=9, num_envs=2)
    env, fresh = spec.make(seed=1), spec.make(seed=2)
    for _ in range(6):
        env.step(np.ones((2, 1), np.float32))
    fresh.load_state_dict(env.state_dict())
    for _ in range(9):
        one, two = (each.step(np.ones((2, 1), np.float32)) for each in (env, fresh))
        assert all(np.array_equal(a, b) for a, b in zip(one[:-1], two[:-1], strict=True))
    assert env.notes() == fresh.notes() == [] and env.steps == 2 * 14
    other = Environment(wrappers=(TimeAwareObservation,), num_envs=2).make(seed=2)
    other.load_state_dict(env.state_dict())
    assert other.notes() == [
        "resume will not be bit-exact: the environment was Pendulum-v1 with {}, at most 9 steps, in "
        "TimeAwareObservation and is Pendulum-v1 with {}, in TimeAwareObservation; its episodes restart"
    ]


def test_an_episode_is_truncated_at_the_steps_allowed() -> None:
    env = Environment(max_episode_steps=3).make(seed=0)
    steps = [env.step(np.zeros((1, 1), np.float32)) for _ in range(3)]
    assert [bool(step.truncated[0]) for step in steps] == [False, False, True]
    assert not any(step.terminated[0] for step in steps)


def test_mujoco_leaves_no_log_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        Environment("HalfCheetah-v5").make_one().close()
    assert list(tmp_path.iterdir()) == []
