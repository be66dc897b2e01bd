"""The lecture on critic bias: promises and returns of episodes, and the comparison, shrunken."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlgan.lectures.agents.bias import known
from tests.lectures.shrunken import summary
from tests.small import build


def test_a_critic_that_always_says_the_same_promises_the_same() -> None:
    # Of 200 steps: after the first 121 states more than four fifths of the weight were seen (0.98^80 < 0.2).
    task: Any = build("task=ddpg", "agent.discount=0.98", "device=cpu", "compile=false")
    judge = SimpleNamespace(critic=task.critic.module, q=lambda obs, action: np.full(len(obs), -7.0))
    fixed: Any = SimpleNamespace(
        judge=judge, agent=task.agent, deployed=task.policy, env=task.env, evaluation_seed=task.evaluation_seed
    )
    promised, came = known(fixed, episodes=2)
    task.close()
    assert len(promised) == len(came) == 2 * 121 and (promised == -7.0).all()
    # Rewards are within [-16.3, 0]: so are returns, times the sum of the discounts.
    assert (came < 0).all() and (came > -16.3 * 50).all()


def test_the_returns_are_discounted_by_hand() -> None:
    task: Any = build("task=ddpg", "agent.discount=0.5", "device=cpu", "compile=false")
    came = known(task, episodes=1)[1]
    # G_t = r_t + G_{t+1} / 2, and r_t is within its bounds.
    rewards = came[:-1] - 0.5 * came[1:]
    task.close()
    assert len(came) == 198 and (rewards <= 0).all() and (rewards > -16.3).all()
    assert torch.isfinite(torch.from_numpy(came)).all()


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = (
        "steps=300",
        "seeds=1",
        "eval_every=150",
        "learning_starts=200",
        "eval_episodes=2",
        "compare.figure.since=150",
    )
    numbers = summary("29_critic_bias", tmp_path / "run", *words)["numbers"]
    # A critic begins at 0 where returns are some -300: all of them are far too hopeful at first.
    assert min(numbers[f"start_{name}"] for name in ("one_critic", "least_of_two", "td3")) > 100
    assert all(numbers[f"least_{name}"] <= numbers[f"bias_{name}"] <= numbers[f"most_{name}"] for name in ("td3",))
