"""Normalised observations: the statistics, and every place at which they are used."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlgan.optim import Extragradient, Stack
from rlgan.rl import episodes
from rlgan.rl.envs.environment import Environment
from rlgan.rl.exploration.action_noise import NoExploration
from rlgan.rl.exploration.explorer import Exploration
from rlgan.rl.exploration.parameter_noise import ParameterNoise
from rlgan.rl.normalisation import Normaliser
from rlgan.rl.replay.prioritised import PrioritisedReplay
from rlgan.rl.trainer import Trainer
from tests.rl.scripted import in_mode
from tests.rl.test_trainer import trainer
from tests.small import differences

ENV = Environment("Pendulum-v1", num_envs=2, max_episode_steps=13)


def normalised(exploration: Exploration | None = None, env: Environment = ENV, **given: Any) -> Trainer:
    return trainer(env, exploration, **{"normalise_obs": True, "obs_clip": 1.5, **given})


def go(task: Trainer, steps: int) -> Trainer:
    while task.steps_done < steps:
        task.advance()
    return task


def by_hand(task: Trainer, obs: np.ndarray) -> np.ndarray:
    """(x - mean) / std, cut, by numpy from all that the replay holds."""
    seen = task.replay.split(task.replay.rows[: len(task.replay)]).obs.double().numpy()
    whole: np.ndarray = np.clip((obs - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-8), -1.5, 1.5)
    return whole


def test_statistics_are_those_of_all_observations_in_one() -> None:
    generator = np.random.default_rng(0)
    # A mean far beyond the deviation is what a sum of squares does not survive.
    parts = [generator.normal(1e4, [1e-2, 1.0, 30.0], (n, 3)).astype(np.float32) for n in (1, 1, 7, 0, 100, 1, 3)]
    normaliser = Normaliser(3, 5.0)
    assert torch.equal(normaliser(torch.tensor([-9.0, 2.0, 7.0])), torch.tensor([-5.0, 2.0, 5.0]))
    for part in parts:
        normaliser.observe(part)
    whole = np.concatenate(parts).astype(np.float64)
    assert normaliser.count == 113
    assert np.allclose(normaliser.mean, whole.mean(0), rtol=1e-14)
    assert np.allclose(normaliser.variance, whole.var(0), rtol=1e-9)


def test_a_component_that_never_changes_stays_finite() -> None:
    normaliser = Normaliser(2, 5.0)
    for _ in range(9):
        normaliser.observe(np.array([[0.3, 1.0]], np.float32))
    assert torch.equal(normaliser(torch.tensor([[0.3, 7.0]])), torch.tensor([[0.0, 5.0]]))


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_every_observation_that_was_answered_counts_once(mode: Any) -> None:
    """Those of the replay, resets' among them: not the observation of a step that only resets."""
    task = go(normalised(env=in_mode(mode)("Modest-v0", num_envs=3)), 90)
    seen = task.replay.split(task.replay.rows[: len(task.replay)]).obs.double().numpy()
    assert task.normaliser is not None and task.normaliser.count == len(seen) == task.steps_done
    assert np.allclose(task.normaliser.mean, seen.mean(0), rtol=1e-12)
    assert np.allclose(task.normaliser.variance, seen.var(0), rtol=1e-12)


@pytest.mark.parametrize("replay", [None, PrioritisedReplay()], ids=["uniform", "prioritised"])
def test_a_minibatch_is_normalised_by_the_statistics_of_now_and_the_replay_left_raw(
    replay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = go(normalised(replay=replay), 60)
    raw = task.replay.rows.clone()
    sampler = task.replay.sampler(32)
    generators = copy.deepcopy(task.generators.state_dict())
    batch = task.finish(sampler(task.generators.torch("replay", torch.device("cpu"))), task.generators)
    task.generators.load_state_dict(generators)
    plain = task.replay.sampler(32)(task.generators.torch("replay", torch.device("cpu")))
    for name in ("obs", "next_obs"):
        seen = getattr(batch, name).numpy()
        assert np.allclose(seen, by_hand(task, getattr(plain, name).double().numpy()), atol=1e-5)
        assert (np.abs(seen) == 1.5).any() and (np.abs(seen) < 1.4).any()
    assert torch.equal(batch.action, plain.action) and torch.equal(batch.reward, plain.reward)
    assert torch.equal(task.replay.rows, raw)
    # The loss surfaces are measured on the same: here on all rows that there are.
    monkeypatch.setattr("rlgan.optim.two_players.survey", lambda field, name, batch, held, notes: batch)
    surveyed: Any = task.curvature()["critic"]
    assert np.allclose(surveyed.obs.numpy(), by_hand(task, task.replay.split(raw[:60]).obs.double().numpy()), atol=1e-5)
    assert torch.equal(task.replay.rows, raw)


def test_the_priorities_are_the_errors_on_normalised_observations() -> None:
    task = normalised(replay=PrioritisedReplay(alpha=1.0, epsilon=1e-6), updates_per_step=1.0)
    go(task, 60)
    sampler: Any = task._samplers[0]
    index = torch.from_numpy(sampler.index)
    batch = task.replay.split(task.replay.rows[index])
    seen = {
        name: torch.from_numpy(by_hand(task, getattr(batch, name).double().numpy())).float()
        for name in ("obs", "next_obs")
    }
    wanted = task._td_error(batch._replace(**seen)).numpy() + 1e-6
    found = task.replay.tree.get(sampler.index)  # type: ignore[attr-defined]
    last = {int(i): error for i, error in zip(sampler.index, wanted, strict=True)}
    assert np.allclose(found, [last[int(i)] for i in sampler.index], rtol=1e-3)


@pytest.mark.parametrize("exploration", [NoExploration(), ParameterNoise(adapt_every=1)], ids=["none", "parameter"])
def test_the_actor_and_its_copies_act_on_normalised_observations(exploration: Exploration) -> None:
    task = go(normalised(exploration), 40)
    asked: list[np.ndarray] = []
    adapted: list[torch.Tensor] = []
    act, adapt = task.explorer.act, task.explorer.adapt

    def noting(obs: Any) -> np.ndarray:
        asked.append(np.asarray(obs))
        return act(obs)

    def noting_too(obs: torch.Tensor) -> None:
        adapted.append(obs.clone())
        adapt(obs)

    task.explorer.act, task.explorer.adapt = noting, noting_too  # type: ignore[method-assign]
    wanted = by_hand(task, task.envs.obs)
    task.advance()
    assert np.allclose(asked[0], wanted, atol=1e-5)
    if exploration != NoExploration():
        batch = task._samplers[-1].batch.obs
        assert torch.equal(adapted[-1], batch) and float(batch.abs().max()) <= 1.5


class Slope(nn.Module):
    """a = tanh of the first component."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.weight * obs[:, 1:2])


def test_evaluation_record_and_judge_see_what_training_sees() -> None:
    task = go(normalised(), 60)
    assert task.normaliser is not None
    metrics = task.evaluate()
    seed = task.generators.seed("evaluation") % 2**31
    task.normaliser.observe(np.full((10_000, 3), 50.0, np.float32))
    assert task.evaluate() != metrics
    # The loop of an evaluation written out, for one actor.
    task.policy = Slope()
    env = ENV.make_one()
    total, promised = 0.0, []
    raw, ended = env.reset(seed=seed)[0], False
    with torch.no_grad():
        while not ended:
            seen = (raw - task.normaliser.mean) / np.sqrt(task.normaliser.variance + 1e-8)
            obs = torch.tensor(np.clip(seen, -1.5, 1.5), dtype=torch.float32)[None]
            action = task.policy(obs)
            promised.append(float(task.critic.module(obs, action)[0]))
            raw, reward, terminated, truncated, _ = env.step(2 * action[0].numpy())
            total += float(reward)
            ended = terminated or truncated
    assert episodes.evaluate(task.deployed, ENV, 1, seed).returns.mean() == pytest.approx(total, rel=1e-5)
    trace = episodes.record(task.deployed, task.judge, ENV, seed)
    assert trace.reward.sum() == pytest.approx(total, rel=1e-5) and np.allclose(trace.q, promised, rtol=1e-4, atol=1e-5)
    blind = episodes.evaluate(task.policy, ENV, 1, seed).returns.mean()
    assert abs(blind - total) > 1e-3


@pytest.mark.parametrize(
    "given", [{}, {"n_step": 3, "replay": PrioritisedReplay(), "game": Extragradient()}], ids=["", "all"]
)
def test_a_restored_trainer_goes_on_bit_for_bit(given: dict[str, Any]) -> None:
    first, second = (normalised(ParameterNoise(adapt_every=3), **given) for _ in range(2))
    go(first, 43)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert differences(first.state_dict(), second.state_dict()) == []
    for task in (first, second):
        go(task, 70)
    assert differences(first.state_dict(), second.state_dict()) == []
    assert first.normaliser is not None and first.normaliser.count == first.steps_done


def test_stacked_seeds_keep_statistics_of_their_own() -> None:
    alone, stacked = ([go(normalised(seed=seed), 30) for seed in (1, 2)] for _ in range(2))
    stack = Stack([task.update for task in stacked])
    for _ in range(5):
        for group in (alone, stacked):
            for task in group:
                task.collect()
        batches = [task.draw() for task in stacked]
        stack(batches)
        for task in alone:
            task.update(task.draw())
    for one, other in zip(alone, stacked, strict=True):
        assert differences(one.normaliser.state_dict(), other.normaliser.state_dict()) == []  # type: ignore[union-attr]
        assert torch.allclose(one.critic.vector.theta, other.critic.vector.theta, rtol=1e-4, atol=1e-6)
    first, second = (task.normaliser.mean for task in stacked if task.normaliser is not None)
    assert not np.allclose(first, second)


def test_a_run_without_statistics_loads_where_they_are_off_and_is_refused_where_they_are_on() -> None:
    plain = go(trainer(ENV), 30)
    state = plain.state_dict()
    again = trainer(ENV)
    again.load_state_dict(copy.deepcopy(state))
    assert again.steps_done == plain.steps_done
    with pytest.raises(ValueError, match=r"^normalise_obs = true: the saved run has false; resume with that"):
        normalised().load_state_dict(state)
    with pytest.raises(ValueError, match=r"^normalise_obs = false: the saved run has true; resume with that"):
        trainer(ENV).load_state_dict(go(normalised(), 30).state_dict())
    with pytest.raises(ValueError, match=r"^obs_clip = 0.0: must be positive, for example 5.0"):
        normalised(obs_clip=0.0)
