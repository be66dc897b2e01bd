"""What an agent is: two players, their losses, and nothing of environments, replay or logging."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from rlgan.optim import Losses, Metrics, Nets
from rlgan.rl.replay import Transition


class Agent(ABC):
    """A deterministic actor and its critic. An agent of one's own is a subclass (a dataclass) and one YAML.

    The losses see the networks as callables: `nets.critic(obs, action)`, `nets.actor(obs)`, and their averages, the
    target networks, `nets.average.critic`, `nets.average.actor`.
    """

    #: gamma, in [0, 1].
    discount: float

    def actor(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """mu: (batch, obs_dim) -> (batch, action_dim) in [-1, 1], built from a specification of rlgan.nets."""
        module: nn.Module = network.actor(obs_dim, action_dim)
        return module

    def critic(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """Q: (batch, obs_dim), (batch, action_dim) -> (batch,)."""
        module: nn.Module = network.q_critic(obs_dim, action_dim)
        return module

    @abstractmethod
    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        """What the critic minimises on a batch from the replay, a scalar, and metrics."""

    @abstractmethod
    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        """What the actor minimises, a scalar, and metrics."""

    def losses(self) -> Losses:
        """Both, the critic first."""
        return Losses({"critic": self.critic_loss, "actor": self.actor_loss})
