"""How an actor keeps within its bounds, and what becomes of its gradient there.

Through a = tanh(z) a gradient comes times 1 - a^2, which in float32 is 0 from |z| = 9 on: an actor that the first
gradients of a wild critic have pushed there learns no more. Either the gradient is shaped otherwise (`inverting`), or z
is kept small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from rlgan.nets.mlp import Actor
from rlgan.optim import Nets
from rlgan.rl.agent import Agent
from rlgan.rl.losses import deterministic_policy_loss, symexp, td_loss
from rlgan.rl.replay.uniform import Transition


class _Inverting(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor) -> Tensor:
        return p.clamp(-1.0, 1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (p,) = ctx.saved_tensors
        # g is the loss's: where it is negative, a larger action is better.
        return g * torch.where(g < 0, 1.0 - p, 1.0 + p) / 2


def inverting(p: Tensor) -> Tensor:
    """clip(p, -1, 1), whose gradient is inverted at the bounds (Hausknecht and Stone 2016, equation 11).

    The gradient g of a value to be increased becomes g (1 - p) / 2 where g > 0 and g (p + 1) / 2 where g < 0: smaller
    the nearer p is to the bound that g leads to, and turned round beyond it, so that p comes back.

    Args:
        p: the actor's own output, any shape, in (-inf, inf).
    """
    bounded: Tensor = _Inverting.apply(p)
    return bounded


@dataclass(frozen=True, kw_only=True)
class BoundedAgent(Agent):
    """What DDPG and TD3 have in common: the actor's bounds, and what large errors weigh.

    Args:
        bounding: `tanh`, or `inverting`: the actor's last layer is its action, clipped to [-1, 1], and gradients are
            inverted at the bounds (`inverting`).
        preactivation_penalty: w of the term w E max(0, |z| - m)^2 in the actor's loss, a mean over samples and
            components, z what comes into the tanh (the last layer's output); 0 leaves it out. With m = 0 it is that of
            Andrychowicz et al. 2017 (Hindsight Experience Replay, appendix A). Networks whose last layer is not known,
            all but perceptrons, go without it.
        preactivation_margin: m, up to which |z| costs nothing; tanh(2.5) = 0.987.
        huber: d, beyond which a TD error e counts as d (2 |e| - d) instead of e^2 (Huber 1964; Mnih et al. 2015 clip
            gradients so, at 1), in the units of the critic, which `normalise_returns` and `reward_scale` change; None
            squares all errors.
        values: what the critic's output z is: `linear`, Q itself; or `symlog`, Q = sign(z) (exp|z| - 1), so that values
            of any size are few units of z away (symlog: Hafner et al. 2023, arXiv:2301.04104, equation 9). It learns
            by relative TD errors (Q(s, a) - y) / (1 + |Q(s, a)|), which `huber` then is about. The denominator is the
            critic's own, and not the target's: where the mean error is 0, Q is the mean of y, as without it (targets
            that are transformed themselves, as in Pohlen et al. 2018, lose that). The actor ascends z, whose gradient
            is dQ/da / (1 + |Q|): of one sign with dQ/da, and no state's outweighs those of all others.

        ceiling: `none`, or `seen`: targets bootstrap from no value above the largest discounted return that training
            has seen, y = r + gamma (1 - terminated) min(Q', ceiling), once one above 0 was
            (`rlgan.rl.replay.ceiling`; Andrychowicz et al. 2017 cut at a bound that is known).

    Raises:
        ValueError: a value out of range, or a network whose output is not known.
    """

    #: Whether the last actor that was built has a last layer that is known.
    _known: ClassVar[bool] = True

    bounding: Literal["tanh", "inverting"] = "tanh"
    preactivation_penalty: float = 0.0
    preactivation_margin: float = 0.0
    huber: float | None = None
    values: Literal["linear", "symlog"] = "linear"
    ceiling: Literal["none", "seen"] = "none"

    def __post_init__(self) -> None:
        if self.bounding not in ("tanh", "inverting"):
            raise ValueError(f"bounding = {self.bounding}: unknown; choose tanh or inverting")
        if self.values not in ("linear", "symlog"):
            raise ValueError(f"values = {self.values}: unknown; choose linear or symlog")
        if self.ceiling not in ("none", "seen"):
            raise ValueError(f"ceiling = {self.ceiling}: unknown; choose none or seen")
        for name, example in (("preactivation_penalty", "0.01"), ("preactivation_margin", "2.5")):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} = {value}: must be at least 0, for example {example}")
        if self.huber is not None and not 0 < self.huber < math.inf:
            raise ValueError(f"huber = {self.huber}: must be positive, for example 1.0, or null for squared errors")

    def actor(self, network: Any, obs_dim: int, action_dim: int) -> nn.Module:
        module = super().actor(network, obs_dim, action_dim)
        known = isinstance(module, Actor)
        if self.bounding == "inverting":
            if not isinstance(module, Actor):
                raise ValueError(
                    f"bounding = {self.bounding}: is for perceptrons, whose last layer is known, and the actor is a "
                    f"{type(module).__name__}; use network@actor.network=mlp_layer, or bounding=tanh"
                )
            module.bound = "clip"
        object.__setattr__(self, "_known", known)
        return module

    @property
    def _plain(self) -> bool:
        return self.bounding == "tanh" and not (self.preactivation_penalty and self._known)

    def ascent(self, nets: Nets, obs: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """-E Q(s, mu(s)), a scalar, with what the options add to it or to its gradient.

        Args:
            nets: the networks.
            obs: (batch, obs_dim).
            value: Q(s, a) of the actions a (batch, action_dim), (batch,).
        """
        if self._plain:
            return deterministic_policy_loss(value(nets.actor(obs)))
        z = nets.actor(obs, True)
        loss = deterministic_policy_loss(value(inverting(z) if self.bounding == "inverting" else torch.tanh(z)))
        if not self.preactivation_penalty:
            return loss
        return loss + self.preactivation_penalty * (z.abs() - self.preactivation_margin).clamp(min=0).square().mean()

    def q(self, output: Tensor) -> Tensor:
        """Q of what the critic puts out, any shape."""
        return output if self.values == "linear" else symexp(output)

    def following(self, output: Tensor, batch: Transition) -> Tensor:
        """The Q' that targets bootstrap from, (batch,), of what the target critic puts out at the next states."""
        q_t = self.q(output)
        return torch.minimum(q_t, batch.ceiling) if self.ceiling == "seen" else q_t

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """What the critic's loss is about, of the shape of both: y - Q, or relative, (y - Q) / (1 + |Q|)."""
        if self.values == "linear":
            return target - output
        q = symexp(output)
        return (target - q) / (1 + q.abs())

    def regression(self, output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """E w (y - Q(s, a))^2 or what `huber` and `values` make of it, a scalar; see `rlgan.rl.losses.td_loss`."""
        if self.values == "linear":
            return td_loss(output, target, weight, self.huber)
        with torch.no_grad():
            aim = output + self.error(output, target)
        return td_loss(output, aim, weight, self.huber)
