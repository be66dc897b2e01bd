"""What an agent is: two players, their losses, and nothing of environments, replay or logging."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from rlgan.optim import Losses, Metrics, Nets
from rlgan.rl.replay.uniform import Transition


class Agent(ABC):
    """A deterministic actor and its critic. An agent of one's own is a subclass (a dataclass) and one YAML.

    The losses see the networks as callables: `nets.critic(obs, action)`, `nets.actor(obs)`, and their averages, the
    target networks, `nets.average.critic`, `nets.average.actor`.
    """

    #: gamma, in [0, 1].
    discount: float
    #: Whether the losses want `Transition.noise`: standard normal draws of the shape of the actions.
    noisy: ClassVar[bool] = False

    def actor(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """mu: (batch, obs_dim) -> (batch, action_dim) in [-1, 1], built from a specification of rlgan.nets."""
        module: nn.Module = network.actor(obs_dim, action_dim)
        return module

    def critic(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """Q: (batch, obs_dim), (batch, action_dim) -> (batch,)."""
        module: nn.Module = network.q_critic(obs_dim, action_dim)
        return module

    def critic_of(self, actor: nn.Module, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """The critic to this actor; `actor` matters only to a critic that computes its features from it."""
        return self.critic(network, obs_dim, action_dim)

    def act(self, actor: Callable[[Tensor], Tensor], obs: Tensor) -> Tensor:
        """The action (batch, action_dim) of training, before exploration, and of evaluation.

        Args:
            actor: mu, or under parameter noise a perturbed copy of it.
            obs: (batch, obs_dim).
        """
        return actor(obs)

    def policy(self, actor: nn.Module) -> nn.Module:
        """`act` as a network on the actor's own parameters; the actor itself where `act` is left as it is."""
        return actor if type(self).act is Agent.act else _Acting(self, actor)

    @abstractmethod
    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        """What the critic minimises on a batch from the replay, a scalar, and metrics."""

    @abstractmethod
    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        """What the actor minimises, a scalar, and metrics."""

    def value(self, critic: Callable[..., Tensor], obs: Tensor, action: Tensor) -> Tensor:
        """Q(s, a) as the actor's loss uses it, (batch,): for pictures and for the critic's bias."""
        return critic(obs, action)

    def bootstrap(self, batch: Transition) -> float | Tensor:
        """The factor of the next state's value: gamma, or gamma^m for windows of m steps, (batch,)."""
        return batch.discount if batch.discount.ndim else self.discount

    def losses(self) -> Losses:
        """Both, the critic first."""
        return Losses({"critic": self.critic_loss, "actor": self.actor_loss})


@runtime_checkable
class NamesErrors(Protocol):
    """An agent that prioritised replay can go by: it has a method `td_error`."""

    def td_error(self, nets: Nets, batch: Transition) -> Tensor:
        """|y - Q(s, a)| of every transition, (batch,)."""


class _Acting(nn.Module):
    def __init__(self, agent: Agent, actor: nn.Module) -> None:
        super().__init__()
        self.actor = actor
        self._agent = agent

    def forward(self, obs: Tensor) -> Tensor:
        return self._agent.act(self.actor, obs)


def check_discount(discount: float) -> None:
    """Raise ValueError unless gamma lies in [0, 1]."""
    if not 0 <= discount <= 1:
        raise ValueError(f"discount = {discount}: gamma lies in [0, 1], for example 0.99")
