"""The largest return that training has come by, and what targets make of it."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rlgan.optim import Nets
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.agents.td3 import TD3
from rlgan.rl.border.rows import Step
from rlgan.rl.replay.ceiling import LONGEST, SEEN, Ceiling, largest_return
from rlgan.rl.replay.finished import Finish
from rlgan.rl.replay.returns import Returns, Units
from rlgan.rl.replay.uniform import Transition
from rlgan.task.seeding import Generators
from tests.rl.replay.test_returns import trained
from tests.small import differences

GAMMA = 0.9


@pytest.mark.parametrize("steps", [1, 3, 15, 16, 60])
@pytest.mark.parametrize("terminated", [True, False])
def test_the_largest_return_is_that_of_the_definition(steps: int, terminated: bool) -> None:
    rng = np.random.default_rng(steps)
    for _ in range(20):
        rewards = rng.normal(0.2, 1.0, steps)
        found = [0.0]
        for t in range(steps):
            z = float(rewards[t:] @ GAMMA ** np.arange(steps - t))
            share = 1 - GAMMA ** (steps - t)
            if terminated:
                found.append(z)
            elif share >= SEEN or t == 0:
                found.append(z / share)
        assert largest_return(rewards.tolist(), GAMMA, terminated) == pytest.approx(max(found), rel=1e-12)


def test_a_constant_gain_that_is_cut_counts_as_if_it_went_on() -> None:
    """1 at every step is worth 1 / (1 - gamma) = 10 however long the episode was."""
    for steps in (1, 5, 200):
        assert largest_return([1.0] * steps, GAMMA, False) == pytest.approx(10.0, rel=1e-9)
    assert largest_return([1.0] * 5, GAMMA, True) == pytest.approx((1 - GAMMA**5) / (1 - GAMMA), rel=1e-12)
    assert largest_return([1.0] * 5, 1.0, False) == math.inf and largest_return([1.0] * 5, 1.0, True) == 5.0


def step(reward: list[float], terminated: list[bool], truncated: list[bool], valid: list[bool]) -> Step:
    rows = np.zeros((len(reward), 1), dtype=np.float32)
    return Step(rows, rows, np.array(reward), rows, np.array(terminated), np.array(truncated), np.array(valid), ())


def written(ceiling: Ceiling, units: Units | None = None) -> float:
    """What a minibatch has of it."""
    returns = Returns("popart", 1.0, GAMMA, 2) if units else None
    finish = Finish(DDPG(discount=GAMMA, ceiling="seen"), 2, None, returns)
    finish.ceiling = ceiling
    if returns is not None and units is not None:
        returns.count, returns.units = 1, units
    rows = torch.zeros(4, 1)
    batch = Transition(rows, rows, rows[:, 0], rows[:, 0], rows, ceiling=torch.full((), torch.inf))
    return float(finish(batch, Generators(0)).ceiling)


def test_every_environment_has_episodes_of_its_own() -> None:
    """A row that is no transition counts for nothing; costs alone make no ceiling; what is highest stays."""
    no, yes = [False, False], [True, True]
    ceiling = Ceiling(GAMMA, 2)
    ceiling.observe(step([-1.0, -3.0], yes, no, yes))
    assert written(ceiling) == math.inf
    ceiling.observe(step([50.0, -1.0], no, no, [False, True]))
    ceiling.observe(step([-1.0, 4.0], no, no, yes))
    ceiling.observe(step([-1.0, 5.0], [False, True], no, yes))
    assert ceiling.most == pytest.approx(4 + GAMMA * 5)
    ceiling.observe(step([2.0, 1.0], [True, False], no, yes))
    assert ceiling.most == pytest.approx(4 + GAMMA * 5), "a smaller one"
    ceiling.observe(step([0.0, 1.0], no, [False, True], [False, True]))
    assert ceiling.most == pytest.approx(10.0), "1 at every step, cut"
    assert written(ceiling, Units(4.0, 2.0)) == pytest.approx((10.0 - 2.0) / 4.0)


def test_steps_of_an_episode_that_was_left_are_forgotten() -> None:
    ceiling, no = Ceiling(GAMMA, 2), [False, False]
    for reward in (100.0, 1.0, 1.0):
        ceiling.observe(step([reward, reward], no, no, [True, True]))
    ceiling.settle(np.array([0, 2]))
    ceiling.observe(step([1.0, 1.0], [True, True], no, [True, True]))
    assert ceiling.most == pytest.approx(1 + GAMMA + GAMMA**2)
    ceiling.settle(np.array([5000, 0]))


def test_an_episode_without_an_end_is_looked_at_all_the_same() -> None:
    ceiling = Ceiling(GAMMA, 1)
    for _ in range(LONGEST):
        assert ceiling.most == 0.0
        ceiling.observe(step([1.0], [False], [False], [True]))
    assert ceiling.most == pytest.approx(10.0)
    assert ceiling.state_dict()["lengths"].tolist() == [0]


class Constant(torch.nn.Module):
    """Networks that say one number for every row."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, obs: Tensor, action: Tensor | None = None, first: bool = False) -> Tensor:
        if action is None:
            return torch.zeros(len(obs), 1)
        return self.values[:, None].expand(-1, len(obs)).squeeze(0)


class Both:
    """Two players as `Nets`, which are their own averages."""

    def __init__(self, critic: Constant) -> None:
        self.critic, self.actor = critic, Constant(0.0)

    @property
    def average(self) -> Both:
        return self


@pytest.mark.parametrize(("critic", "q"), [((700.0,), 700.0), ((30.0,), 30.0), ((900.0, 650.0), 650.0)])
def test_targets_bootstrap_from_no_more_than_the_ceiling(critic: tuple[float, ...], q: float) -> None:
    """y = r + gamma (1 - terminated) min(Q', ceiling); without the option, or with no ceiling yet, min is Q'."""
    rows = torch.zeros(3, 2)
    reward, terminated = torch.tensor([1.0, -2.0, 5.0]), torch.tensor([0.0, 1.0, 0.0])
    batch = Transition(rows, rows[:, :1], reward, terminated, rows, ceiling=torch.tensor(100.0))
    nets: Nets = Both(Constant(*critic))
    agent = DDPG if len(critic) == 1 else TD3
    cut = agent(discount=GAMMA, ceiling="seen").target(nets, batch)
    assert torch.allclose(cut, reward + GAMMA * (1 - terminated) * min(q, 100.0))
    none = agent(discount=GAMMA).target(nets, batch)
    none_yet = agent(discount=GAMMA, ceiling="seen").target(nets, batch._replace(ceiling=torch.tensor(torch.inf)))
    assert torch.equal(none, none_yet) and torch.allclose(none, reward + GAMMA * (1 - terminated) * q)


def test_an_unknown_ceiling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ceiling = 100: unknown; choose none or seen"):
        DDPG(ceiling=100)  # type: ignore[arg-type]


PENDULUM = ("agent=ddpg", "env=inverted_pendulum", "env.max_episode_steps=30", "learning_starts=40")
"""Every step is a gain."""


@pytest.mark.parametrize("words", [(), ("agent=td3", "env.num_envs=3", "n_step=3")], ids=["one", "several, windows"])
def test_a_run_goes_on_bit_for_bit(words: tuple[str, ...]) -> None:
    """Resumed within an episode; the minibatches have the ceiling, in the critic's units."""
    whole = trained(119, *PENDULUM, *words)
    saved = copy.deepcopy(trained(100, *PENDULUM, *words).state_dict())
    assert saved["ceiling"]["lengths"].sum() > 0
    second = trained(0, *PENDULUM, *words)
    second.load_state_dict(saved)
    while second.steps_done < 119:
        second.advance()
    assert differences(whole.state_dict(), second.state_dict()) == []
    ceiling, units = whole.finish.ceiling, whole.returns
    assert ceiling is not None and units is not None and ceiling.most > 0
    assert float(whole.draw()[-1].ceiling) == pytest.approx(ceiling.most / units.units.size)
    assert whole.metrics()["critic/ceiling"] == pytest.approx(ceiling.most)


def test_a_run_from_before_there_was_a_ceiling_begins_without() -> None:
    saved = copy.deepcopy(trained(100, *PENDULUM, "agent.ceiling=none").state_dict())
    assert "ceiling" not in saved
    task = trained(0, *PENDULUM)
    task.load_state_dict(saved)
    assert task.finish.ceiling is not None and task.finish.ceiling.most == 0.0
