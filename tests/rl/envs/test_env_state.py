"""Environments restored in a fresh object, in a file and in a new process go on bit for bit."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from rlgan.rl.envs import env_state
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.vector_env import VectorEnvironment
from tests.rl import scripted
from tests.rl.scripted import MODES, in_mode


def through_file(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def run(env: VectorEnvironment, steps: int, generator: torch.Generator) -> list[bytes]:
    """Every value of every step, as bytes."""
    trace = []
    for _ in range(steps):
        step = env.step(env.random_actions(generator))
        trace.append(
            b"".join(np.ascontiguousarray(part).tobytes() for part in step[:-1]) + repr(step.episodes).encode()
        )
        trace.append(env.obs.tobytes() + env.valid.tobytes())
    return trace


def go_to(env: VectorEnvironment, where: str, generator: torch.Generator) -> None:
    run(env, 17, generator)
    if where == "end":
        for _ in range(1200):
            if env.step(env.random_actions(generator)).episodes:
                return
        raise AssertionError("no episode has ended")


ENVIRONMENTS = {
    "Pendulum-v1": "attributes",
    "MountainCarContinuous-v0": "attributes",
    "Hopper-v5": "mujoco",
    "Hidden-v0": "action replay",
    "Worn-v0": "action replay in new environments",
}


@pytest.mark.parametrize("where", ["middle", "end"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("id", ENVIRONMENTS)
def test_a_restored_environment_goes_on_exactly(id: str, mode: str, where: str) -> None:
    spec = in_mode(mode)(id, num_envs=2, vectorization="sync")
    env, fresh = spec.make(seed=1), spec.make(seed=9)
    assert env._adapter is not None and env._adapter.name == ENVIRONMENTS[id] and env.notes() == []
    go_to(env, where, torch.Generator().manual_seed(0))
    run(fresh, 5, torch.Generator().manual_seed(4))
    fresh.load_state_dict(through_file(env.state_dict()))
    assert np.array_equal(fresh.obs, env.obs) and fresh.steps == env.steps
    traces = [run(each, 260, torch.Generator().manual_seed(7)) for each in (env, fresh)]
    assert traces[0] == traces[1]
    assert np.array_equal(*[each.vector.action_space.sample() for each in (env, fresh)])
    for each in (env, fresh):
        each.close()


def test_a_restored_environment_can_be_saved_and_restored_again() -> None:
    spec = Environment("Hidden-v0", num_envs=2)
    env, second, third = (spec.make(seed) for seed in (1, 2, 3))
    go_to(env, "middle", torch.Generator().manual_seed(0))
    second.load_state_dict(through_file(env.state_dict()))
    for each in (env, second):
        run(each, 2, torch.Generator().manual_seed(5))
    third.load_state_dict(through_file(second.state_dict()))
    assert run(third, 60, torch.Generator().manual_seed(7)) == run(env, 60, torch.Generator().manual_seed(7))


PROGRAM = """
import sys, hashlib, torch
from rlgan.rl.envs.environment import Environment
from tests.rl.envs.test_env_state import run
state = torch.load(sys.argv[1], weights_only=True)
env = Environment(sys.argv[2], num_envs=2).make(seed=77)
env.load_state_dict(state)
print(hashlib.sha256(b"".join(run(env, 300, torch.Generator().manual_seed(7)))).hexdigest())
"""


@pytest.mark.parametrize(("id", "where"), [("Pendulum-v1", "middle"), ("Hopper-v5", "middle"), ("Hopper-v5", "end")])
def test_a_new_process_goes_on_exactly(id: str, where: str, tmp_path: Path) -> None:
    env = Environment(id, num_envs=2).make(seed=1)
    go_to(env, where, torch.Generator().manual_seed(0))
    torch.save(env.state_dict(), tmp_path / "state.pt")
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "state.pt"), id]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    trace = b"".join(run(env, 300, torch.Generator().manual_seed(7)))
    assert done.stdout.split()[-1] == hashlib.sha256(trace).hexdigest()


def make(id: str, **kwargs: Any) -> Any:
    return lambda: gymnasium.make(id, disable_env_checker=True, **kwargs)


def test_the_self_check_tells_the_adapters_apart() -> None:
    # Attributes alone miss MuJoCo's simulator and the hidden world; positions and velocities alone are off on Hopper.
    assert not env_state.reproduces(env_state.Attributes(), make("Hopper-v5"))
    assert not env_state.reproduces(env_state.Attributes(), make("Hidden-v0"))
    assert env_state.reproduces(env_state.ActionReplay(), make("Hopper-v5"))
    assert env_state.reproduces(env_state.ActionReplay(), make("Pendulum-v1"))


def test_mujoco_state_includes_what_lags_behind_the_positions() -> None:
    # Ant's forward reward starts from body positions that mj_forward would recompute.
    chosen = env_state.choose(make("Ant-v5"))
    assert chosen is not None and chosen.name == "mujoco"


def test_an_environment_that_cannot_be_saved_says_so_and_restarts() -> None:
    spec = Environment("Hidden-v0", {"noisy": True}, num_envs=2)
    env = spec.make(seed=1)
    wild, restarts = env.notes()
    assert wild.startswith("Hidden-v0 gave different observations or rewards after 1 step with one seed and the same a")
    assert restarts == (
        "resume will not be bit-exact: no way of saving reproduces Hidden-v0; its episodes restart at resume"
    )
    go_to(env, "middle", torch.Generator().manual_seed(0))
    state = through_file(env.state_dict())
    fresh = spec.make(seed=1)
    start = fresh.obs.copy()
    fresh.load_state_dict(state)
    assert fresh.steps == env.steps and not np.array_equal(fresh.obs, start)
    fresh.step(np.zeros((2, 1), np.float32))


def test_a_state_of_another_number_of_environments_is_refused() -> None:
    state = Environment(num_envs=2).make(seed=0).state_dict()
    with pytest.raises(ValueError, match=r"^num_envs = 3: the saved state holds 2 environments"):
        Environment(num_envs=3).make(seed=0).load_state_dict(state)
    state = Environment(num_envs=1, vectorization="sync").make(seed=0).state_dict()
    hopper = Environment("Hopper-v5").make(seed=0)
    assert hopper._adapter is not None
    with pytest.raises(ValueError, match=r"^environment state = attributes: .* by mujoco"):
        env_state.restore_vector(hopper.vector, hopper._adapter, state["environments"], hopper._own())


def test_a_changed_environment_says_so_and_restarts_instead_of_being_changed_back() -> None:
    env = Environment("Pendulum-v1", {"g": 10.0}).make(seed=1)
    go_to(env, "middle", torch.Generator().manual_seed(0))
    state = through_file(env.state_dict())
    moon = Environment("Pendulum-v1", {"g": 1.6}).make(seed=1)
    moon.load_state_dict(state)
    assert moon.vector.g == 1.6 and moon.steps == env.steps
    assert moon.notes() == [
        "resume will not be bit-exact: the environment was Pendulum-v1 with {'g': 10.0} and is "
        "Pendulum-v1 with {'g': 1.6}; its episodes restart"
    ]


def test_every_space_of_the_environments_is_seeded() -> None:
    """An environment may draw from its own spaces; unseeded ones take their numbers from the operating system."""

    def draws(seed: int) -> list[float]:
        env = Environment("Pendulum-v1", num_envs=2, vectorization="sync").make(seed=seed)
        spaces = [env.vector.observation_space, env.vector.action_space]
        spaces += [s for one in env._own() for s in (one.action_space, one.observation_space)]
        return [float(np.asarray(space.sample()).ravel()[0]) for space in spaces]

    assert draws(3) == draws(3)
    assert len(set(draws(3))) == 6 and not set(draws(3)) & set(draws(4))


def test_the_hidden_environment_is_what_the_replay_is_for() -> None:
    # Were its state plain, the replay adapter would not be under test above.
    saved = env_state.save_attributes(scripted.Hidden())
    assert "world" not in saved[0] and "time" in saved[0]
