"""An id that nobody has registered: what was meant by it, if that is something that can be used."""

from __future__ import annotations

import gymnasium
import pytest

import rlgan.rl  # noqa: F401 - registers our environments
from rlgan.rl.border.ids import other_id

NONE = "import its package with env.id=package:Name-v0"
DISCRETE = " is there, but has Discrete actions; deterministic policies need a Box of floats (Pendulum-v1)"

if "Own-v0" not in gymnasium.registry:
    gymnasium.register("Own-v0", entry_point="own_ids.reaching:Reach")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("Pendulum", "did you mean Pendulum-v1?"),
        ("pendulum-v1", "did you mean Pendulum-v1?"),
        ("Pendulum-v2", "did you mean Pendulum-v1?"),
        ("Ant-v9", "did you mean Ant-v5?"),
        ("Half-Cheetah", "did you mean HalfCheetah-v5?"),
        ("half_cheeta-v4", "did you mean HalfCheetah-v5?"),
        ("Walker-v5", "did you mean Walker2d-v5?"),
        ("MountainCar", "did you mean MountainCarContinuous-v0?"),
        ("SparseWalk", "did you mean rlgan/SparseWalk-v0?"),
        ("rlgan/SparseWalk-v7", "did you mean rlgan/SparseWalk-v0?"),
        ("CartPole", f"CartPole-v1{DISCRETE}"),
        ("Taxi-v3", f"Taxi-v4{DISCRETE}"),
        (
            "ALE/Pong-v5",
            "nothing that is imported has the namespace ALE; import its package with env.id=package:ALE/Pong",
        ),
        ("MyEnv-v0", NONE),
        ("FetchReach-v3", NONE),
        ("CartPool-v7", NONE),
        ("", NONE),
        ("-v0", NONE),
    ],
)
def test_an_id_is_proposed_only_where_it_can_be_used(name: str, answer: str) -> None:
    assert other_id(name).startswith(answer)


def test_of_a_module_its_own_ids_are_named() -> None:
    assert other_id("Own-v3", "own_ids.reaching") == "did you mean own_ids.reaching:Own-v0?"
    assert other_id("Pendulum-v1x", "own_ids") == "own_ids registers Own-v0"
    assert other_id("Own-v0", "json") == "json registers no environment; name the module that does"
