"""An agent whose critic can be right finds the optimum of a regulator, and is told so."""

from __future__ import annotations

from rlgan.rl.trainer import Trainer
from rlgan.task.task import drive
from tests.small import QUIET, build


def test_dpg_with_quadratic_features_finds_values_and_gain() -> None:
    task = build(
        "task=ddpg", "agent=dpg", "agent.discount=0.8", "env=lqr", "env.num_envs=16", "env.max_episode_steps=5",
        "env.kwargs.A=[[0.9,0.2],[0.0,0.9]]", "env.kwargs.B=[[0.0],[0.3]]", "env.kwargs.start=2.0",
        "env.kwargs.low=-8", "env.kwargs.high=8", "actor.network.hidden=[]", "exploration.sigma=0.15",
        "critic.optimizer.lr=0.3", "actor.optimizer.lr=1e-2", "schedule@critic.schedule=cosine",
        "schedule@actor.schedule=cosine", *QUIET, "steps=8000", "updates_per_step=0.2", "compile=false",
        "eval_episodes=4",
    )  # fmt: skip
    assert isinstance(task, Trainer)
    first = task.evaluate()
    assert first["actor/gain_distance"] > 0.5 and first["critic/q_distance"] > 0.5
    while task.steps_done < 8000:
        drive(task.play(), task.answer)
    found = task.evaluate()
    # The actor's tanh bends: of the linear gain it is a fit.
    assert found["critic/q_distance"] < 0.02 and found["actor/gain_distance"] < 0.15
    assert 0 < found["return/regret"] < 0.1 * first["return/regret"]
    assert found["return/optimum"] == first["return/optimum"]
