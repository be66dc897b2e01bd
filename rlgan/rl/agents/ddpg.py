"""Deep deterministic policy gradient (Lillicrap et al. 2016)."""

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
        bounding, preactivation_penalty, preactivation_margin, huber: see `BoundedAgent`.

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
            q_t = average.critic(batch.next_obs, average.actor(batch.next_obs))
            return td_target(batch.reward, batch.terminated, q_t, self.bootstrap(batch))

    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        y = self.target(nets, batch)
        q_tm1 = nets.critic(batch.obs, batch.action)
        return self.regression(q_tm1, y, batch.weight), {"critic/q": q_tm1.detach().mean()}

    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        return self.ascent(nets, batch.obs, lambda action: nets.critic(batch.obs, action)), {}

    def td_error(self, nets: Nets, batch: Transition) -> Tensor:
        error: Tensor = self.target(nets, batch) - nets.critic(batch.obs, batch.action)
        return error.abs()
