"""How an agent acts, of actors whose actions are known."""

from __future__ import annotations

import pytest
import torch

from rlgan.rl import Acting, Trainer
from tests.small import TASKS, build


@pytest.mark.parametrize(("bias", "at_bounds", "size"), [(50.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_an_actor_of_one_action(bias: float, at_bounds: float, size: float) -> None:
    task = build(*TASKS["ddpg"], "env.max_episode_steps=20", "deploy=last")
    assert isinstance(task, Trainer)
    metric = Acting()
    metric.check(task)
    with torch.no_grad():
        task.actor.vector.theta.zero_()
        task.actor.vector.parameters[-1].fill_(bias)
    before = task.envs.obs.copy()
    assert metric(task) == pytest.approx({"at_bounds": at_bounds, "size": size, "change": 0.0})
    assert (task.envs.obs == before).all()
    task.close()


def test_what_it_is_not_for() -> None:
    with pytest.raises(ValueError, match="is for agents"):
        Acting().check(build(*TASKS["wgan"]))
    with pytest.raises(ValueError, match="bound = 0"):
        Acting(bound=0.0)
