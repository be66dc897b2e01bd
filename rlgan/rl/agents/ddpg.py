"""Deep deterministic policy gradient (Lillicrap et al. 2016)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlgan.optim import Metrics, Nets
from rlgan.rl.agent import check_discount
from rlgan.rl.agents.bounds import BoundedAgent
from rlgan.rl.losses import td_target
from rlgan.rl.replay.uniform import Transition


@dataclass(frozen=True)
class DDPG(BoundedAgent):
    """The critic learns y = r + gamma (1 - terminated) Q'(s', mu'(s')), the actor ascends Q(s, mu(s)).

    Q' and mu' are the players' averages (target networks): theta_bar + tau (theta - theta_bar) after every step. Weight
    decay (L2) is the optimizer's, batch norm the networks': conf/experiment/rl/lillicrap.yaml has the paper's.

    Args:
        discount: gamma, in [0, 1].
        bounding, preactivation_penalty, preactivation_margin, huber, values, ceiling: see `BoundedAgent`.

    Raises:
        ValueError: a value out of range.
    """

    discount: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        check_discount(self.discount)

    def target(self, nets: Nets, batch: Transition) -> Tensor:
        """y, (batch,), without gradient."""
        average = nets.average
        with torch.no_grad():
            q_t = self.following(average.critic(batch.next_obs, average.actor(batch.next_obs)), batch)
            return td_target(batch.reward, batch.terminated, q_t, self.bootstrap(batch))

    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        y = self.target(nets, batch)
        output = nets.critic(batch.obs, batch.action)
        return self.regression(output, y, batch.weight), {"critic/q": self.q(output.detach()).mean()}

    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        return self.ascent(nets, batch.obs, lambda action: nets.critic(batch.obs, action)), {}

    def td_error(self, nets: Nets, batch: Transition) -> Tensor:
        """|y - Q(s, a)|, relative where the critic learns so."""
        return self.error(nets.critic(batch.obs, batch.action), self.target(nets, batch)).abs()

    def value(self, critic: Callable[..., Tensor], obs: Tensor, action: Tensor) -> Tensor:
        return self.q(critic(obs, action))
