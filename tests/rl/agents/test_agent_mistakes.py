"""What an outsider gets wrong in an agent: said in one line at the start, with the class, the method and a remedy."""

# mypy: disable-error-code="no-untyped-def,override"

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlgan.rl import DDPG, Agent
from rlgan.rl.trainer import Trainer
from rlgan.runs.config.build import build_settings, build_task
from rlgan.task.errors import ConfigError
from rlgan.task.seeding import GlobalRandom
from tests.small import TASKS, composed, differences

HERE = __name__
BATCH_NORM = {"_target_": "rlgan.nets.MLPSpec", "hidden": [16], "norm": "batch"}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return composed(*TASKS["ddpg"], "env.vectorization=sync")


def start(config: dict[str, Any], agent: type, **more: Any) -> Trainer:
    task = build_task({**config, "agent": {"_target_": f"{HERE}.{agent.__name__}"}, **more}, build_settings(config))
    assert isinstance(task, Trainer)
    task.close()
    return task


def good(nets: Any, batch: Any) -> Tensor:
    return (nets.critic(batch.obs, batch.action) - batch.reward).square().mean()


class NoDiscount(Agent):
    def critic_loss(self, nets, batch):
        return good(nets, batch), {}

    def actor_loss(self, nets, batch):
        return -nets.critic(batch.obs, nets.actor(batch.obs)).mean(), {}


class LargeDiscount(NoDiscount):
    discount = 99


class Vector(DDPG):
    def critic_loss(self, nets, batch):
        return (nets.critic(batch.obs, batch.action) - batch.reward).square(), {}


class Alone(DDPG):
    def critic_loss(self, nets, batch):
        return good(nets, batch)


class Items(DDPG):
    def critic_loss(self, nets, batch):
        return good(nets, batch), {"critic/q": good(nets, batch).item()}


class VectorMetric(DDPG):
    def critic_loss(self, nets, batch):
        return good(nets, batch), {"critic/q": nets.critic(batch.obs, batch.action)}


class NoMetrics(DDPG):
    def critic_loss(self, nets, batch):
        return good(nets, batch), None


class NoGradient(DDPG):
    @torch.no_grad()
    def actor_loss(self, nets, batch):
        return -nets.critic(batch.obs, nets.actor(batch.obs)).mean(), {}


class OtherPlayer(DDPG):
    def actor_loss(self, nets, batch):
        return nets.critic(batch.obs.requires_grad_(), nets.actor(batch.obs).detach()).mean(), {}


class Number(DDPG):
    def critic_loss(self, nets, batch):
        return float(good(nets, batch)), {}


class WrongName(DDPG):
    def critic_loss(self, nets, batch):
        return nets.q(batch.obs, batch.action).mean(), {}


class WrongField(DDPG):
    def critic_loss(self, nets, batch):
        return (nets.critic(batch.obs, batch.action) - batch.rewards).mean(), {}


class Nan(DDPG):
    def critic_loss(self, nets, batch):
        return good(nets, batch) * torch.nan, {}


class InfiniteSlope(DDPG):
    def actor_loss(self, nets, batch):
        return (0 * nets.actor(batch.obs)).norm(dim=1).sqrt().mean(), {}


class Signature(DDPG):
    def critic_loss(self, batch):
        return batch, {}


class ActsOnce(DDPG):
    def act(self, actor, obs):
        return actor(obs).squeeze(-1)


class ActsInNumpy(DDPG):
    def act(self, actor, obs):
        return actor(obs).numpy()


class ActsWithout(DDPG):
    def act(self, obs):
        return obs


class NoModule(DDPG):
    def actor(self, network, obs_dim, action_dim):
        return lambda obs: obs


class WideActor(DDPG):
    def actor(self, network, obs_dim, action_dim):
        return nn.Linear(obs_dim, action_dim + 1)


class Column(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size, 1)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        value: Tensor = self.layer(torch.cat((obs, action), -1))
        return value


class ColumnCritic(DDPG):
    def critic(self, network, obs_dim, action_dim):
        return Column(obs_dim + action_dim)


class OneInput(DDPG):
    def critic(self, network, obs_dim, action_dim):
        return nn.Linear(obs_dim + action_dim, 1)


class NoParameters(DDPG):
    def critic(self, network, obs_dim, action_dim):
        return nn.Flatten()


MISTAKES = [
    (NoDiscount, "has no discount; write discount: float = 0.99 into the class"),
    (LargeDiscount, "discount = 99: gamma lies in [0, 1], for example 0.99"),
    (Vector, "critic_loss returned a tensor of shape (32,); return a scalar, for example its mean"),
    (Alone, "critic_loss returned a tensor of shape (); a loss and its metrics are due"),
    (Items, "for the metric critic/q; return a scalar tensor, for example by .detach().mean()"),
    (VectorMetric, "critic_loss returned a tensor of shape (32,) for the metric critic/q; return a scalar tensor"),
    (NoMetrics, "critic_loss returned None for its metrics; a dict of tensors is due, and may be empty"),
    (NoGradient, "actor_loss returned a loss without a gradient; it has to depend on the actor's parameters"),
    (OtherPlayer, "actor_loss does not depend on the actor's parameters, which it is to move; no detach()"),
    (Number, "critic_loss returned 0.5"),
    (WrongName, "critic_loss raised AttributeError: 'Nets' object has no attribute 'q' (test_agent_mistakes.py, line "),
    (WrongField, "critic_loss raised AttributeError: 'Transition' object has no attribute 'rewards' (test_agent"),
    (Nan, "critic_loss returned nan or inf; look for a division or a root of 0"),
    (InfiniteSlope, "actor_loss has a gradient with nan or inf; look for a root or a norm of 0"),
    (Signature, "but 3 were given; define it as critic_loss(self, nets, batch)"),
    (ActsOnce, "act returned a tensor of shape (1,); return one of shape (1, 1)"),
    (ActsInNumpy, "act returned a ndarray; return a tensor of shape (1, 1)"),
    (ActsWithout, "but 3 were given; define it as act(self, actor, obs)"),
    (NoModule, "actor returned a function; return a torch.nn.Module"),
    (WideActor, "actor's network returned a tensor of shape (1, 2); return one of shape (1, 1)"),
    (ColumnCritic, "critic's network returned a tensor of shape (32, 1); return one of shape (32,)"),
    (OneInput, "critic's network raised TypeError: Linear.forward() takes 2 positional arguments but 3"),
    (NoParameters, "critic returned a Flatten without a parameter to train; make its layers in its __init__"),
]


@pytest.mark.parametrize(("agent", "words"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_mistake_is_said_in_one_line_at_the_start(config: dict[str, Any], agent: type, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        start(config, agent)
    said = str(error.value)
    assert words in said and "\n" not in said
    assert said.startswith(f"agent = {agent.__name__}: ") or agent is LargeDiscount


class NamesVectors(DDPG):
    def td_error(self, nets, batch):
        return batch.reward[:, None]


def test_an_error_of_prioritised_replay_is_looked_at_where_it_is_used(config: dict[str, Any]) -> None:
    start(config, NamesVectors)
    with pytest.raises(ConfigError, match=r"NamesVectors: td_error returned a tensor of shape \(32, 1\); return one"):
        start(config, NamesVectors, replay={"_target_": "rlgan.rl.PrioritisedReplay"})


class Drawing(DDPG):
    """DDPG, told in other words: it draws from every global generator there is, and nothing comes of it."""

    def critic_loss(self, nets, batch):
        nothing = 0.0 * (random.random() + float(np.random.rand()) + torch.rand(()))
        loss, metrics = super().critic_loss(nets, batch)
        return loss + nothing, metrics


def test_a_trial_moves_no_generator_and_no_player(config: dict[str, Any]) -> None:
    before = GlobalRandom.now()
    drawing, ours = (
        build_task({**config, "critic": {**config["critic"], "network": BATCH_NORM}, "agent": agent}, settings)
        for settings in [build_settings(config)]
        for agent in ({**config["agent"], "_target_": f"{HERE}.Drawing"}, config["agent"])
    )
    assert not before.differs(GlobalRandom.now())
    for task in (drawing, ours):
        while task.steps_done < 80:
            task.advance()
        task.close()
    assert differences(drawing.state_dict(), ours.state_dict()) == []
