"""The actor that is evaluated and handed on: the last one, or the average of the latest."""

from __future__ import annotations

import pytest
import torch

from rlgan.rl import episodes
from rlgan.rl.normalisation import NormalisedActor
from rlgan.rl.trainer import Trainer
from rlgan.task import ConfigError
from tests.small import TASKS, builder

WORDS = (*TASKS["ddpg"], "compile=false", "steps=90", "learning_starts=64", "eval_episodes=3")


def trained(*words: str) -> Trainer:
    task = builder(*WORDS, *words)()
    assert isinstance(task, Trainer)
    while task.steps_done < 90:
        task.advance()
    return task


@pytest.mark.parametrize("deploy", ["last", "average"])
@pytest.mark.parametrize("normalise", ["false", "true"])
def test_the_actor_that_is_named_is_evaluated_and_handed_on(deploy: str, normalise: str) -> None:
    task = trained(f"deploy={deploy}", f"normalise_obs={normalise}")
    last, average = task.actor.module, task.actor.average
    obs = torch.randn(5, 3)
    assert not torch.equal(last(obs), average(obs))
    chosen = {"last": last, "average": average}[deploy]
    seen = NormalisedActor(chosen, task.normaliser) if task.normaliser else chosen
    torch.testing.assert_close(task.deployed(obs), seen(obs), rtol=0, atol=0)
    # Pendulum's bounds are 2.
    torch.testing.assert_close(task.functions()["policy"].module(obs), 2 * seen(obs))
    played = episodes.evaluate(seen, task.env, 3, task.evaluation_seed)
    assert task.evaluate()["return/eval"] == pytest.approx(float(played.returns.mean()), rel=1e-6)


def test_training_does_not_know_which_one_it_is() -> None:
    last, average = trained("deploy=last"), trained("deploy=average")
    assert torch.equal(last.actor.vector.theta, average.actor.vector.theta)
    assert torch.equal(last.replay.rows, average.replay.rows)


def test_an_average_that_is_not_kept_is_the_actor() -> None:
    words = ("agent=dpg", "deploy=average", "averaging@actor.averaging=none", "averaging@critic.averaging=none")
    task = trained(*words)
    obs = torch.randn(5, 3)
    assert torch.equal(task.deployed(obs), task.actor.module(obs))


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(ConfigError, match="deploy = both: must be last or average"):
        builder(*WORDS, "deploy=both")()
