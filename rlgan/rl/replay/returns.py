"""Rewards in units of the critic's own, so that what it learns is of size 1 whatever the environment pays.

The critic's output is q = (Q - mu) c / sigma, Q in the environment's units. Since a target r + g Q', g = gamma (1 -
terminated), is linear, a minibatch whose rewards are replaced by

    r <- (r + (g - 1) mu) c / sigma

makes every agent learn q: no loss has to know of it. It is done when a minibatch is drawn; the replay keeps the rewards
as they were paid.

    none     mu = 0, sigma = 1
    scale    mu = 0, sigma the standard deviation of the discounted returns of training (as gymnasium's NormalizeReward)
    first    mu = 0, sigma the size of small rewards when learning begins: the tenth of their |r| that is smallest (the
             quantile 0.1 of those that are not 0, of the first minibatch that has such), but no less than 1/1000 of
             their median, nor than the largest gain (r > 0) so far. Later a gain above 2 sigma is the new sigma, and
             the critic's last layer is rewritten so that Q stays nearly what it was. For critics whose values are
             symlog, which are linear up to about sigma: of costs the best are the small ones, of gains the large ones,
             and in units of a gain that is the aim no value near it is worse resolved
    popart   mu and sigma the mean and the standard deviation of the targets; whenever they change, the critic's last
             layer is rewritten so that Q stays what it was (van Hasselt et al. 2016, arXiv:1602.07714)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rlgan.nets.layers import in_evaluation_mode
from rlgan.nets.twin import PairedCritic, TwinLinear
from rlgan.optim import Game, Lookahead, Player, ranks
from rlgan.rl.border.rows import Step
from rlgan.rl.normalisation import Normaliser
from rlgan.rl.replay.uniform import Transition

if TYPE_CHECKING:
    from rlgan.rl.agent import Agent

Kind = Literal["none", "scale", "first", "popart"]

RATE = 1e-3
"""Of the moving averages of `popart` (the paper's beta), corrected for their start as there."""
SMALLEST = 1e-8
"""A spread below this is none: then sigma is 1."""
AFFINE, LINEAR = ("critic/q",), ("critic/q_gap",)
"""Metrics that are values, and differences of values: they are logged in the environment's units."""
MORE = 2.0
"""A gain above so many units becomes the unit of `first`; units that followed every gain would change without end."""
MEAN, SQUARE = "critic/target", "critic/target_square"
"""What a loss reports of its targets, in the critic's units, for `popart`."""


class Units(NamedTuple):
    """Q = size q + shift: the critic's units in those of the environment."""

    size: float = 1.0
    shift: float = 0.0


class Returns:
    """The units that a critic learns in.

    Args:
        kind: how they are found.
        factor: c, the reward's constant factor.
        discount: gamma.
        num_envs: environments that are stepped together.
        symlog: whether the critic puts out symlog Q.
        follows: whether `first` follows gains once learning has begun; a game that goes back to the critic of an
            earlier move does not go with it.

    Raises:
        ValueError: an unknown kind, a factor that is not positive.
    """

    def __init__(
        self, kind: Kind, factor: float, discount: float, num_envs: int, symlog: bool = False, follows: bool = True
    ) -> None:
        self.kind, self.factor, self.discount, self.symlog, self.follows = kind, factor, discount, symlog, follows
        #: The largest reward so far, where it is above 0.
        self.gain = 0.0
        self.running = np.zeros(num_envs)
        self._spread = Normaliser(1, math.inf)
        self.count, self._mean, self._square = 0, 0.0, 0.0
        self.units = Units(1.0 / factor)

    @staticmethod
    def of(kind: Kind, factor: float, agent: Agent, num_envs: int, game: Game) -> Returns | None:
        """None where the critic's units are the environment's."""
        if kind not in ("none", "scale", "first", "popart"):
            raise ValueError(f"normalise_returns = {kind}: unknown; choose none, scale, first or popart")
        if not 0 < factor < math.inf:
            raise ValueError(f"reward_scale = {factor}: must be positive, for example 0.1")
        if kind == "none" and factor == 1:
            return None
        symlog = getattr(agent, "values", "linear") == "symlog"
        return Returns(kind, factor, agent.discount, num_envs, symlog, follows=not isinstance(game, Lookahead))

    @property
    def collects(self) -> bool:
        """Whether every step of the environments is looked at."""
        return self.kind == "scale"

    def observe(self, step: Step) -> None:
        """Count the discounted returns so far, R <- gamma R + r, or the gains, after a step of the environments."""
        self.hear(step.reward)
        if not self.collects:
            return
        valid = np.asarray(step.valid)
        self.running = np.where(valid, self.discount * self.running + step.reward, self.running)
        for rows in ranks.rows_of_ranks(torch.from_numpy(self.running[valid][:, None])):
            self._spread.observe(rows.numpy())
        self.running[np.asarray(step.ended)] = 0.0
        self.count = self._spread.count
        self._set(0.0, float(self._spread.variance[0]))

    def hear(self, reward: np.ndarray) -> None:
        """Take note of the largest reward of a step (n,), for `first` alone; of several ranks the largest of theirs."""
        if self.kind != "first":
            return
        most = max(reward.tolist())  # of few numbers a tenth of the time of numpy's
        if ranks.world().size > 1:
            most = max(float(own) for own in ranks.rows_of_ranks(torch.tensor([[most]], dtype=torch.float64)))
        if self.gain < most < math.inf:
            self.gain = most

    def _set(self, shift: float, variance: float) -> Units:
        """Take mu and sigma^2; the units of before."""
        former = self.units
        spread = math.sqrt(max(variance, 0.0))
        self.units = Units((spread if spread > SMALLEST * (1 + abs(shift)) else 1.0) / self.factor, shift)
        return former

    def apply_(self, batch: Transition) -> None:
        """Write r <- (r + (g - 1) mu) c / sigma over the rewards of a minibatch that was drawn."""
        if self.kind == "popart" and not self.count:
            self._begin(batch.reward)
        if self.kind == "first" and not self.count:
            self._begin_small(batch.reward)
        size, shift = self.units
        if shift:
            discount = batch.discount if batch.discount.ndim else self.discount
            batch.reward.add_((1 - batch.terminated) * (discount * shift) - shift)
        batch.reward.mul_(1.0 / size)

    def _begin(self, reward: Tensor) -> None:
        """Before there is any target: the units of the rewards. Adam would remember the size of a first large error."""
        r = reward.double()
        both = torch.stack((r.mean(), r.square().mean()))
        mean, square = (both if ranks.world().size == 1 else ranks.mean_over_ranks(both)).tolist()
        self.count, self._mean, self._square = 1, mean, square
        self._set(mean, square - mean * mean)

    def _begin_small(self, reward: Tensor) -> None:
        """The units of small rewards, once there are rewards; of several ranks the geometric mean of theirs."""
        sizes = reward.double().abs()
        sizes = sizes[sizes > 0]
        small = max(float(sizes.quantile(0.1)), 1e-3 * float(sizes.median())) if len(sizes) else 0.0
        both = torch.tensor([math.log(small) if small else 0.0, float(small > 0)], dtype=torch.float64)
        total, found = (both if ranks.world().size == 1 else ranks.mean_over_ranks(both)).tolist()
        if found:
            self.count = 1
            self._set(0.0, max(math.exp(2 * total / found), self.gain**2))

    def follow(self, metrics: Mapping[str, Any], critic: Player) -> dict[str, Any]:
        """After a move: take note of its targets, rewrite the critic's last layer; the metrics in environment's units.

        Args:
            metrics: of the move; those of `targets_reported` are taken out.
            critic: whose outputs, and those of its averages, stay what they are in the environment's units.
        """
        size, shift = self.units
        found = dict(metrics)
        if MEAN in found:
            mean, square = float(found.pop(MEAN)), float(found.pop(SQUARE))
            if math.isfinite(square):
                self.count += 1
                rate = RATE / (1 - (1 - RATE) ** self.count)
                self._mean += rate * (size * mean + shift - self._mean)
                self._square += rate * (size * size * square + 2 * size * shift * mean + shift * shift - self._square)
                former = self._set(self._mean, self._square - self._mean**2)
                rewrite(critic, former, self.units)
        more = self.count and self.gain > MORE * size * self.factor
        if self.follows and self.kind == "first" and more and last_layers(critic.module):
            former = self._set(0.0, self.gain**2)
            rewrite(critic, former, self.units, float(found.get("critic/q", 0.0)) if self.symlog else None)
        for name in AFFINE:
            if name in found:
                found[name] = size * found[name] + shift
        for name in LINEAR:
            if name in found:
                found[name] = size * found[name]
        return found

    def __call__(self, q: Tensor) -> Tensor:
        """Q in the environment's units of a critic's output."""
        return q * self.units.size + self.units.shift

    def state_dict(self) -> dict[str, Any]:
        """The statistics; a flat dict."""
        spread = self._spread.state_dict()
        return {
            "count": self.count,
            "mean": spread["mean"] if self.collects else torch.tensor([self._mean], dtype=torch.float64),
            "squares": spread["squares"] if self.collects else torch.tensor([self._square], dtype=torch.float64),
            "units": torch.tensor(self.units, dtype=torch.float64),
            "gain": self.gain,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        self.count = int(state["count"])
        if self.collects:
            self._spread.load_state_dict({key: state[key] for key in ("count", "mean", "squares")})
        else:
            self._mean, self._square = float(state["mean"][0]), float(state["squares"][0])
        size, shift = state["units"].tolist()
        self.units, self.gain = Units(size, shift), float(state.get("gain", 0.0))


def rewrite(critic: Player, former: Units, units: Units, q: float | None = None) -> None:
    """Rewrite the last layer of a critic, and of its averages, so that Q = size q + shift is the same in new units.

    W <- W size / size+,    b <- (size b + shift - shift+) / size+        (van Hasselt et al. 2016, proposition 1)

    Args:
        critic: whose last layers are rewritten.
        former: units that they are in.
        units: those that they come to be in.
        q: None, or of a critic that puts out symlog q a q in whose neighbourhood it stays the same: no line is
            symlog(symexp(z) size / size+) everywhere, and this one is tangent to it there.
    """
    if former == units:
        return
    ratio, offset = former.size / units.size, (former.shift - units.shift) / units.size
    if q is not None:
        at, then = math.copysign(math.log1p(abs(q)), q), math.copysign(math.log1p(abs(ratio * q)), q)
        ratio *= (1 + abs(q)) / (1 + abs(ratio * q))
        offset = then - ratio * at
    with torch.no_grad():
        for module in (critic.module, *(critic.averages[name] for name in critic.kept)):
            for layer in last_layers(module):
                layer.weight.mul_(ratio)
                layer.bias.mul_(ratio).add_(offset)


def last_layers(critic: nn.Module) -> list[Any]:
    """The layers that a critic's outputs come from; none where they are not known."""
    if isinstance(critic, PairedCritic):
        return [layer for one in critic.critics for layer in last_layers(one)]
    linear = [layer for layer in critic.modules() if isinstance(layer, nn.Linear | TwinLinear)]
    if not linear or linear[-1].bias is None or linear[-1].weight.shape[-2] != 1:
        return []
    return [linear[-1]]


def check_rewritten(critic: Player, value: Callable[..., Tensor], batch: Transition, game: Game) -> None:
    """Refuse a critic whose values do not follow when its last layer is rewritten, and a game that would undo it.

    Args:
        critic: tried, and left as it was.
        value: `value(critic, obs, action)` is Q, (batch,).
        batch: some minibatch.
        game: the order of play.

    Raises:
        ValueError: they do not.
    """
    if isinstance(game, Lookahead):
        raise ValueError(
            "normalise_returns = popart: rewrites the critic's last layer at every move, and game=lookahead goes back "
            "to one of before; use normalise_returns=scale, or another game"
        )
    theta, kept = critic.vector.theta.clone(), {key: old.clone() for key, old in critic.state["average"].items()}
    with torch.no_grad(), in_evaluation_mode(critic.module):
        before = value(critic.module, batch.obs, batch.action)
        rewrite(critic, Units(1.0, 0.0), Units(4.0, -1.0))
        after = 4.0 * value(critic.module, batch.obs, batch.action) - 1.0
        critic.vector.theta.copy_(theta)
        for key, old in kept.items():
            critic.state["average"][key].copy_(old)
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-3 * (1 + float(before.abs().max()))):
        raise ValueError(
            "normalise_returns = popart: rewrites the critic's last layer, a linear one with a bias, and "
            f"{type(critic.module).__name__} has none that its values follow; use normalise_returns=scale, or with an "
            "agent whose values are symlog agent.values=linear"
        )
