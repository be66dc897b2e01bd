"""The off-policy deterministic actor-critic (Silver et al. 2014), for teaching: DDPG without target networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from rlgan.optim import Metrics, Nets
from rlgan.rl.agent import Agent, check_discount
from rlgan.rl.losses import deterministic_policy_loss, td_loss, td_target
from rlgan.rl.replay import Transition


@final
class QuadraticCritic(nn.Module):
    """Q(s, a) = w . phi(s, a), phi = (1, z, z_i z_j for i <= j), z = [s; a]: linear in its parameters.

    On a linear-quadratic regulator every policy that is linear in s has such a Q. `w` (1 + m + m (m + 1) / 2,) is 0 at
    first, m = obs_dim + action_dim.
    """

    def __init__(self, obs_dim: int, action_dim: int) -> None:
        super().__init__()
        m = obs_dim + action_dim
        self._rows, self._columns = (index.tolist() for index in torch.triu_indices(m, m))
        self.weight = nn.Parameter(torch.zeros(1 + m + m * (m + 1) // 2))

    def features(self, obs: Tensor, action: Tensor) -> Tensor:
        """phi, (..., 1 + m + m (m + 1) / 2)."""
        z = torch.cat((obs, action), -1)
        return torch.cat((torch.ones_like(z[..., :1]), z, z[..., self._rows] * z[..., self._columns]), -1)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.features(obs, action) @ self.weight


@dataclass(frozen=True)
class DPG(Agent):
    """w descends (y - Q_w(s, a))^2, y = r + gamma (1 - terminated) Q_w(s', mu(s')) held fixed; the actor ascends Q_w.

    Silver et al. 2014, equations 16 to 18: the critic's target is the critic itself, so that no average is looked at.
    Their features compatible with the policy, (a - mu(s)) grad_theta mu(s), are not among the choices.

    Args:
        discount: gamma, in [0, 1].
        features: of the critic: those that its `network` finds, or `quadratic` ones of state and action, in which it is
            linear (then the network plays no part).

    Raises:
        ValueError: if `discount` is outside of [0, 1].
    """

    discount: float = 0.99
    features: Literal["network", "quadratic"] = "quadratic"

    def __post_init__(self) -> None:
        check_discount(self.discount)
        if self.features not in ("network", "quadratic"):
            raise ValueError(f"features = {self.features}: unknown; choose network or quadratic")

    def critic(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        if self.features == "quadratic":
            return QuadraticCritic(obs_dim, action_dim)
        return super().critic(network, obs_dim, action_dim)

    def target(self, nets: Nets, batch: Transition) -> Tensor:
        """y, (batch,), without gradient."""
        with torch.no_grad():
            q_t = nets.critic(batch.next_obs, nets.actor(batch.next_obs))
            return td_target(batch.reward, batch.terminated, q_t, self.bootstrap(batch))

    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        y = self.target(nets, batch)
        q_tm1 = nets.critic(batch.obs, batch.action)
        return td_loss(q_tm1, y, batch.weight), {"critic/q": q_tm1.detach().mean()}

    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        return deterministic_policy_loss(nets.critic(batch.obs, nets.actor(batch.obs))), {}

    def td_error(self, nets: Nets, batch: Transition) -> Tensor:
        error: Tensor = self.target(nets, batch) - nets.critic(batch.obs, batch.action)
        return error.abs()
