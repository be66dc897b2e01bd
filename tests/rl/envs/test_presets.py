"""Every preset of conf/env is the environment that it names, and wrappers come from a configuration."""

from __future__ import annotations

import importlib.util

import pytest

from rlgan.rl.envs.environment import Environment
from rlgan.runs.config.build import build
from rlgan.runs.options import options
from rlgan.task.errors import ConfigError
from tests.runs.config.test_conf import composed

#: Preset: id, length of an observation and of an action, steps of an episode, package that is needed.
PRESETS = {
    "pendulum": ("Pendulum-v1", 3, 1, 200, None),
    "mountain_car": ("MountainCarContinuous-v0", 2, 1, 999, None),
    "bandit": ("rlgan/Bandit-v0", 1, 1, None, None),
    "lqr": ("rlgan/LQR-v0", 2, 1, 50, None),
    "sparse_walk": ("rlgan/SparseWalk-v0", 1, 1, 30, None),
    "sparse_mountain_car": ("rlgan/SparseMountainCar-v0", 2, 1, 500, None),
    "sparse_cart_pole": ("rlgan/SparseCartPoleSwingUp-v0", 5, 1, 500, None),
    "sparse_double_pendulum": ("rlgan/SparseDoublePendulum-v0", 6, 1, 500, None),
    "sparse_half_cheetah": ("rlgan/SparseHalfCheetah-v0", 17, 6, 500, "mujoco"),
    "inverted_pendulum": ("InvertedPendulum-v5", 4, 1, 1000, "mujoco"),
    "inverted_double_pendulum": ("InvertedDoublePendulum-v5", 9, 1, 1000, "mujoco"),
    "reacher": ("Reacher-v5", 10, 2, 50, "mujoco"),
    "swimmer": ("Swimmer-v5", 8, 2, 1000, "mujoco"),
    "hopper": ("Hopper-v5", 11, 3, 1000, "mujoco"),
    "half_cheetah": ("HalfCheetah-v5", 17, 6, 1000, "mujoco"),
    "walker2d": ("Walker2d-v5", 17, 6, 1000, "mujoco"),
    "ant": ("Ant-v5", 105, 8, 1000, "mujoco"),
    "lunar_lander": ("LunarLander-v3", 8, 2, 1000, "Box2D"),
    "bipedal_walker": ("BipedalWalker-v3", 24, 4, 1600, "Box2D"),
}


def test_the_table_is_complete() -> None:
    assert sorted(PRESETS) == sorted(options()["env"])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_made_or_names_its_extra(preset: str) -> None:
    id, obs_dim, action_dim, steps, package = PRESETS[preset]
    node = composed("task=ddpg", f"env={preset}")[0]["env"]
    assert node["id"] == id
    if package is not None and importlib.util.find_spec(package) is None:
        with pytest.raises(
            ConfigError, match=rf'^env.id = {id}: needs a package .*; pip install "rlgan\[{package.lower()}'
        ):
            build(node, "env")
        return
    env = build(node, "env")
    assert isinstance(env, Environment)
    one = env.make_one()
    assert one.spec is not None and one.spec.max_episode_steps == steps
    one.close()
    made = env.make(seed=0)
    assert (made.obs_dim, made.action_dim) == (obs_dim, action_dim)
    made.close()


def test_wrappers_and_a_time_limit_come_from_the_configuration() -> None:
    rescale = "{_target_: gymnasium.wrappers.RescaleAction, _partial_: true, min_action: -1.0, max_action: [0.5]}"
    aware = "{_target_: gymnasium.wrappers.TimeAwareObservation, _partial_: true}"
    env = build(composed("task=ddpg", f"env.wrappers=[{rescale},{aware}]", "env.max_episode_steps=7")[0]["env"], "env")
    made = env.make(seed=0)
    assert made.obs_dim == 4 and env.made == (
        "Pendulum-v1 with {}, at most 7 steps, in RescaleAction(min_action=-1.0, max_action=array([0.5])), "
        "in TimeAwareObservation()"
    )
    assert (made._map.low, made._map.high) == (-1.0, 0.5)


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        (
            "{_target_: gymnasium.wrappers.RescaleAction, _partial_: true, min_action: 2.0, max_action: 1.0}",
            r"^env.wrappers\[0\] = RescaleAction\(min_action=2.0, max_action=1.0\): cannot be put around <",
        ),
        (
            "{_target_: gymnasium.wrappers.RescaleAction, _partial_: true, minaction: 2.0}",
            r"^env.wrappers\[0\].minaction = 2.0: RescaleAction has no such key; did you mean min_action\?",
        ),
        (
            "{_target_: gymnasium.wrappers.RescaleActions, _partial_: true}",
            r"^env.wrappers\[0\]._target_ = .*has no RescaleActions; did you mean RescaleAction\?",
        ),
    ],
)
def test_a_wrapper_that_fails_is_named(wrapper: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(composed("task=ddpg", f"env.wrappers=[{wrapper}]")[0]["env"], "env")
