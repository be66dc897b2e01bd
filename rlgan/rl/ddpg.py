"""Deep deterministic policy gradient (Lillicrap et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlgan.optim import Metrics, Nets
from rlgan.rl.agent import Agent
from rlgan.rl.losses import deterministic_policy_loss, td_loss, td_target
from rlgan.rl.replay import Transition


@dataclass(frozen=True)
class DDPG(Agent):
    """The critic learns y = r + gamma (1 - terminated) Q'(s', mu'(s')), the actor ascends Q(s, mu(s)).

    Q' and mu' are the players' averages (target networks): theta_bar + tau (theta - theta_bar) after every step.

    Args:
        discount: gamma, in [0, 1].

    Raises:
        ValueError: if `discount` is outside of [0, 1].
    """

    discount: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount = {self.discount}: gamma lies in [0, 1], for example 0.99")

    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        target = nets.average
        with torch.no_grad():
            q_t = target.critic(batch.next_obs, target.actor(batch.next_obs))
            y = td_target(batch.reward, batch.terminated, q_t, self.discount)
        q_tm1 = nets.critic(batch.obs, batch.action)
        return td_loss(q_tm1, y), {"critic/q": q_tm1.detach().mean()}

    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        return deterministic_policy_loss(nets.critic(batch.obs, nets.actor(batch.obs))), {}
