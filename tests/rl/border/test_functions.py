"""Policy and critic in the environment's own units are those that evaluation plays and judges by."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlgan.rl.border.actions import ActionMap
from rlgan.rl.trainer import Trainer
from tests.small import TASKS, build

SEEN = spaces.Dict({"place": spaces.Box(-1.0, 1.0, (2,), np.float32), "light": spaces.Discrete(3)})


class Lit(gymnasium.Env):
    """Observations in a Dict, actions of two rows within bounds that are not symmetric."""

    observation_space = SEEN
    action_space = spaces.Box(
        np.array([[-3.0, 0.0], [1.0, 0.5]], np.float32), np.array([[1.0, 7.0], [2.0, 0.5]], np.float32)
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.time += 1
        return self._seen(), float(action.sum()), False, self.time == 5, {}

    def _seen(self) -> dict[str, Any]:
        return {"place": self.np_random.uniform(-1, 1, 2).astype(np.float32), "light": np.int64(self.time % 3)}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    gymnasium.register("LitForFunctions-v0", lambda **_: Lit())


def trained(*words: str) -> Trainer:
    task = build(*TASKS["ddpg"], "steps=100", *words)
    assert isinstance(task, Trainer)
    while task.steps_done < 80:
        task.advance()
    return task


@pytest.mark.parametrize("words", [(), ("normalise_obs=true",), ("precision=float64",), ("env.id=LitForFunctions-v0",)])
def test_they_are_what_the_evaluation_uses(words: tuple[str, ...]) -> None:
    task = trained("env.num_envs=7", *words)
    found = task.functions()
    stream = torch.Generator().manual_seed(0)
    drawn = found["critic"].draw(7, stream)
    obs, action = drawn["obs"], drawn["action"]
    flat = obs.flatten(1).to(task.settings.dtype)
    with torch.no_grad():
        actions = ActionMap(task.envs.vector.single_action_space)
        unit = task.envs.unit(task.deployed.eval()(flat))
        mine = found["policy"].module(obs)
        assert np.array_equal(mine.numpy(), actions(unit)) and mine.dtype == torch.float32
        assert task.envs.vector.single_action_space.contains(mine[0].numpy())
        half, centre = (np.asarray(x, np.float64) for x in (actions.half, actions.centre))
        back = (action.flatten(1).double().numpy() - centre) / np.where(half == 0, 1, half)
        q = task.judge.q(flat, torch.from_numpy(back).to(flat))
        assert np.allclose(found["critic"].module(obs, action).numpy(), q, rtol=1e-5, atol=1e-5)
    assert found["critic"].module(obs, action).shape == (7,)
    task.close()


def test_they_are_copies_that_training_does_not_move() -> None:
    task = trained("normalise_obs=true")
    policy, obs = task.functions()["policy"].module, torch.randn(5, 3)
    before = policy(obs)
    for _ in range(10):
        task.advance()
    assert torch.equal(policy(obs), before) and not before.requires_grad
    assert not torch.equal(task.functions()["policy"].module(obs), before)
    task.close()


def test_an_observation_in_a_dict_is_read_as_training_reads_it() -> None:
    task = trained("env.id=LitForFunctions-v0")
    read = task.functions()["policy"].read
    assert read is not None
    given = SEEN.sample()
    flat = np.asarray(spaces.flatten(SEEN, given))
    assert np.array_equal(read(given), flat) and np.array_equal(read(flat), flat)
    task.close()
