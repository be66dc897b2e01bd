"""The off-policy deterministic actor-critic (Silver et al. 2014), for teaching: DDPG without target networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlgan.optim import Metrics, Nets
from rlgan.rl.agent import Agent, check_discount
from rlgan.rl.losses import deterministic_policy_loss, td_loss, td_target
from rlgan.rl.replay.uniform import Transition


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


@final
class SteeredActor(nn.Module):
    """The actor mu_theta(s), or its derivative along w (d,): grad_theta mu_theta(s)^T w; both (batch, action_dim).

    The product is the derivative of mu along w, by one forward pass; theta is held fixed in it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, w: Tensor | None = None) -> Tensor:
        if w is None:
            mu: Tensor = self.network(obs)
            return mu
        # Copies: compiled, torch has no forward derivative where a parameter or its direction is a view of a vector.
        theta = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        pieces = w.split([p.numel() for p in theta.values()])
        along = {name: piece.view(theta[name].shape).clone() for name, piece in zip(theta, pieces, strict=True)}
        slope: Tensor = torch.func.jvp(lambda at: functional_call(self.network, at, (obs,)), (theta,), (along,))[1]
        return slope


@final
class CompatibleCritic(nn.Module):
    """A baseline V(s), (batch,), or with `direction` the weights w (d,), one for each parameter of the actor.

    w is 0 at first. `DPG.q` makes Q_w(s, a) = (a - mu_theta(s))^T grad_theta mu_theta(s)^T w + V(s) of both.
    """

    def __init__(self, actor: nn.Module, baseline: nn.Module) -> None:
        super().__init__()
        first = next(iter(actor.parameters()))
        self.weight = nn.Parameter(first.new_zeros(sum(p.numel() for p in actor.parameters())))
        self.baseline = baseline

    def forward(self, obs: Tensor, direction: bool = False) -> Tensor:
        if direction:
            return self.weight
        value: Tensor = self.baseline(obs)
        return value


@dataclass(frozen=True)
class DPG(Agent):
    """Off-policy deterministic actor-critic, without target networks (Silver et al. 2014, equations 16 to 18).

    w descends (y - Q_w(s, a))^2, y = r + gamma (1 - terminated) Q_w(s', mu(s')) held fixed; the actor ascends Q_w.

    With `compatible` features (section 4.3, COPDAC-Q) Q_w is linear in w with the features phi(s, a) = grad_theta mu(s)
    (a - mu(s)) and a baseline, so that grad_a Q_w(s, a) at a = mu(s) is grad_theta mu(s)^T w and the actor's direction
    E grad_theta mu(s) grad_theta mu(s)^T w: of all critics the kind whose error at its optimum does not bend the policy
    gradient (theorem 3).

    Args:
        discount: gamma, in [0, 1].
        features: of the critic: those that its `network` finds; `quadratic` ones of state and action, in which it is
            linear (then the network plays no part); or those `compatible` with the actor, of which the critic's network
            is the baseline V(s): linear for `critic.network.hidden=[]`. The actor is without batch norm then.

    Raises:
        ValueError: `discount` is outside of [0, 1], unknown features, batch norm in an actor of compatible features.
    """

    discount: float = 0.99
    features: Literal["network", "quadratic", "compatible"] = "quadratic"

    def __post_init__(self) -> None:
        check_discount(self.discount)
        if self.features not in ("network", "quadratic", "compatible"):
            raise ValueError(f"features = {self.features}: unknown; choose network, quadratic or compatible")

    def actor(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        module = super().actor(network, obs_dim, action_dim)
        if self.features != "compatible":
            return module
        if next(module.buffers(), None) is not None:
            raise ValueError(
                "features = compatible: are the actor's derivatives sample by sample, and batch norm couples samples; "
                "set actor.network.norm to none or layer"
            )
        return SteeredActor(module)

    def critic_of(self, actor: nn.Module, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        if self.features == "compatible":
            return CompatibleCritic(actor, network.build((obs_dim,), ()))
        return self.critic(network, obs_dim, action_dim)

    def critic(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        if self.features == "quadratic":
            return QuadraticCritic(obs_dim, action_dim)
        return super().critic(network, obs_dim, action_dim)

    def q(self, nets: Nets, obs: Tensor, action: Tensor) -> Tensor:
        """Q_w(s, a), (batch,); its gradients are those by w and by a, never through the features."""
        if self.features != "compatible":
            q: Tensor = nets.critic(obs, action)
            return q
        slope = nets.actor(obs, nets.critic(obs, True))
        q = ((action - nets.actor(obs).detach()) * slope).sum(-1) + nets.critic(obs)
        return q

    def target(self, nets: Nets, batch: Transition) -> Tensor:
        """y, (batch,), without gradient."""
        with torch.no_grad():
            q_t = self.q(nets, batch.next_obs, nets.actor(batch.next_obs))
            return td_target(batch.reward, batch.terminated, q_t, self.bootstrap(batch))

    def critic_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        y = self.target(nets, batch)
        q_tm1 = self.q(nets, batch.obs, batch.action)
        return td_loss(q_tm1, y, batch.weight), {"critic/q": q_tm1.detach().mean()}

    def actor_loss(self, nets: Nets, batch: Transition) -> tuple[Tensor, Metrics]:
        return deterministic_policy_loss(self.q(nets, batch.obs, nets.actor(batch.obs))), {}

    def td_error(self, nets: Nets, batch: Transition) -> Tensor:
        return (self.target(nets, batch) - self.q(nets, batch.obs, batch.action)).abs()

    def value(self, critic: Callable[..., Tensor], obs: Tensor, action: Tensor) -> Tensor:
        """Q(s, a); for compatible features V(s), which is Q at a = mu(s), the only action that is asked for."""
        q: Tensor = critic(obs) if self.features == "compatible" else critic(obs, action)
        return q
