"""Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rlgan.nets import twin
from rlgan.optim import Metrics, Nets
from rlgan.rl.agent import check_discount
from rlgan.rl.agents.bounds import BoundedAgent
from rlgan.rl.losses import smoothed, td_target
from rlgan.rl.replay.uniform import Transition


@dataclass(frozen=True)
class TD3(BoundedAgent):
    """Both critics learn one target, the smaller of two; the actor ascends the first.

        y = r + gamma (1 - terminated) min_i Q'_i(s', a'),    a' = clip(mu'(s') + clip(sigma xi, -c, c), -1, 1)
        critic: sum_i E (y - Q_i(s, a))^2                     actor: -E Q_1(s, mu(s))

    The twins are one player and one network (`rlgan.nets.twin`). The delay of the actor is the order of play:
    game=alternating with k = 2. The critic's target network follows every step of the critic. The paper's follows
    every second one, as `experiment=rl/fujimoto` and `rl/td3` have it (`critic.averaging.every=2`).

    Args:
        discount: gamma, in [0, 1].
        smoothing: sigma, the standard deviation of the noise on the target's action, 0 for none.
        smoothing_bound: c, beyond which that noise is cut.
        bounding, preactivation_penalty, preactivation_margin, huber, values, ceiling: see `BoundedAgent`.

    Raises:
        ValueError: a value out of range.
    """

    noisy: ClassVar[bool] = True

    discount: float = 0.99
    smoothing: float = 0.2
    smoothing_bound: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_discount(self.discount)
        if not 0 <= self.smoothing < float("inf"):
            raise ValueError(f"smoothing = {self.smoothing}: must be at least 0, for example 0.2")
        if not self.smoothing_bound > 0:
            raise ValueError(f"smoothing_bound = {self.smoothing_bound}: must be positive, for example 0.5")

    def critic(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        """(Q_1, Q_2): (batch, obs_dim), (batch, action_dim) -> (2, batch)."""
        return twin(*(network.q_critic(obs_dim, action_dim) for _ in range(2)))

    def target(self, nets: Nets, batch: Transition) -> Tensor:
        """y, (batch,), without gradient."""
        average = nets.average
        with torch.no_grad():
            action = smoothed(average.actor(batch.next_obs), batch.noise, self.smoothing, self.smoothing_bound)
            q_t = self.following(average.critic(batch.next_obs, action).amin(0), batch)
            return td_target(batch.reward, batch.terminated, q_t, self.bootstrap(batch))

    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        y = self.target(nets, batch)
        output = nets.critic(batch.obs, batch.action)
        first, second = self.q(output.detach()).unbind()
        metrics = {"critic/q": first.mean(), "critic/q_gap": (first - second).abs().mean()}
        return 2 * self.regression(output, y.expand_as(output), batch.weight), metrics

    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        return self.ascent(nets, batch.obs, lambda action: nets.critic(batch.obs, action, True)), {}

    def td_error(self, nets: Nets, batch: Transition) -> Tensor:
        """The mean of both critics' |y - Q_i(s, a)|, relative where they learn so."""
        return self.error(nets.critic(batch.obs, batch.action), self.target(nets, batch)).abs().mean(0)

    def value(self, critic: Callable[..., Tensor], obs: Tensor, action: Tensor) -> Tensor:
        return self.q(critic(obs, action, True))
