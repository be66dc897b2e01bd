"""Every agent, exploration, replay and experiment of conf/ trains, and goes on from a checkpoint bit for bit."""

from __future__ import annotations

import copy

import pytest

from rlgan.rl.trainer import Trainer
from rlgan.runs.options import options
from tests.small import QUIET, TASKS, builder, differences

OWN = [(group, option) for group in ("agent", "exploration", "replay") for option in options()[group]]
EXPERIMENTS = [name for name in options()["experiment"] if name.startswith("rl/")]
#: Beyond the first updates and one adaptation of parameter noise, within an episode.
STEPS = 70


def _round_trip(*words: str) -> None:
    make = builder(*words)
    whole, first = make(), make()
    assert isinstance(whole, Trainer)
    while whole.steps_done < STEPS:
        whole.advance()
        first.advance()
    second = make()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    start = whole.actor.vector.theta.clone()
    while whole.steps_done < STEPS + 8:
        whole.advance()
        second.advance()
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert not (whole.actor.vector.theta == start).all() and whole.critic.steps > 8
    for run in (whole, first, second):
        run.close()


@pytest.mark.parametrize(("group", "option"), OWN)
def test_every_option_trains_and_survives_a_checkpoint(group: str, option: str) -> None:
    more = () if group == "replay" else ("replay=prioritised", "n_step=2")
    _round_trip(*TASKS["ddpg"], f"{group}={option}", *more)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_and_survives_a_checkpoint(name: str) -> None:
    _round_trip(f"experiment={name}", *QUIET, "compile=false", "batch_size=16", "learning_starts=60", "eval_episodes=2")


@pytest.mark.parametrize("env", [name for name in options()["env"] if name.startswith("sparse_")])
def test_every_sparse_environment_trains(env: str) -> None:
    task = builder(*TASKS["ddpg"], f"env={env}", "exploration=parameter")()
    while task.steps_done < STEPS:
        task.advance()
    assert isinstance(task, Trainer) and task.critic.steps == STEPS - 60
    task.close()


@pytest.mark.parametrize("agent", options()["agent"])
def test_every_agent_is_evaluated_and_drawn(agent: str) -> None:
    task = builder(*TASKS["ddpg"], f"agent={agent}", "eval_episodes=1")()
    assert "critic/q_bias" in task.evaluate() and task.pictures().keys() == {"evaluation/episode"}
    task.close()
