"""An agent: two networks, what each minimises, and how it acts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlgan.rl import Agent, Transition, deterministic_policy_loss, td_loss, td_target


@dataclass(frozen=True)
class Mine(Agent):
    """Deterministic policy gradient with target networks; change what is to be yours.

    Args:
        discount: gamma, in [0, 1].
        limit: the largest action, in (0, 1].
    """

    discount: float = 0.98
    limit: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.limit <= 1:
            raise ValueError(f"limit = {self.limit}: actions lie in [-1, 1]; use a number in (0, 1]")

    def actor(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """(batch, obs_dim) -> (batch, action_dim) in [-1, 1]; any nn.Module will do."""
        module: nn.Module = network.actor(obs_dim, action_dim)
        return module

    def critic(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """(batch, obs_dim), (batch, action_dim) -> (batch,)."""
        module: nn.Module = network.q_critic(obs_dim, action_dim)
        return module

    def critic_loss(self, nets: Any, batch: Transition) -> tuple[Tensor, dict[str, Tensor]]:
        """E (r + gamma (1 - terminated) Q'(s', mu'(s')) - Q(s, a))^2, Q' and mu' the target networks."""
        target = nets.average
        with torch.no_grad():
            q_t = target.critic(batch.next_obs, target.actor(batch.next_obs))
            y = td_target(batch.reward, batch.terminated, q_t, self.bootstrap(batch))
        q_tm1 = nets.critic(batch.obs, batch.action)
        return td_loss(q_tm1, y, batch.weight), {"critic/q": q_tm1.detach().mean()}

    def actor_loss(self, nets: Any, batch: Transition) -> tuple[Tensor, dict[str, Tensor]]:
        """-E Q(s, mu(s))."""
        return deterministic_policy_loss(nets.critic(batch.obs, nets.actor(batch.obs))), {}

    def act(self, actor: Callable[[Tensor], Tensor], obs: Tensor) -> Tensor:
        """The action of training (exploration is added to it) and of evaluation."""
        return actor(obs).clamp(-self.limit, self.limit)
