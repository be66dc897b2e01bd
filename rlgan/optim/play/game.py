"""Games: who moves when. The order of play is a program over a field of gradients; it knows neither task nor method.

With v the field of all players' gradients at z = (theta_1, ..., theta_n), J its Jacobian and `step` every player's own
method (metric, momentum, projection):

    simultaneous        z+ = step(z, v(z))
    alternating k       k times: theta_1+ = step_1(theta_1, v_1(theta_1, theta_2))
                        then     theta_2+ = step_2(theta_2, v_2(theta_1+, theta_2))
    extragradient       z+ = step(z, v(z')),  z' = step(z, v(z))
    past extrapolation  z+ = step(z, v(z')),  z' = step(z, v'),  v' the last move's v(z')
    optimistic          z+ = step(z, 2 v(z) - v(z-)),  z- the last move's z
    lookahead k, alpha  k moves of another game, then z+ = z_0 + alpha (z_k - z_0)
    consensus           z+ = step(z, v + gamma J^T v)
    symplectic          z+ = step(z, v + lambda A^T v),  A = (J - J^T) / 2

All gradients of a simultaneous move are taken before any write. A step to z' is tentative: it is taken by the method
with all its slots, which are then dropped, so that moments change once a move.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from rlgan.optim.play.field import GradientField
from rlgan.optim.play.player import Player
from rlgan.optim.step.types import Report, Scalars, Slots
from rlgan.optim.step.vector import wide

Plan: TypeAlias = Mapping[str, Sequence[tuple[Scalars, Tensor | None]]]
"""For each player, for each of its steps in a move: the numbers of the step and its noise."""


class Game(ABC):
    """An order of play. Players stand in the order of `GradientField.names`: the critic, who moves first, first."""

    @abstractmethod
    def steps(self, names: Sequence[str]) -> dict[str, int]:
        """How many steps each player takes in one move."""

    @abstractmethod
    def batches(self, shares_batch: bool) -> int:
        """How many minibatches one move takes.

        `shares_batch`: the last player uses the batch of the step before (actor and critic); otherwise it gets its own
        (a generator does not meet the noise again that the critic has just been trained on).
        """

    def check(self, players: Mapping[str, Player]) -> None:
        """Refuse players that this game cannot move.

        Raises:
            ValueError: with the reason and a remedy.
        """
        return None

    def init(self, theta: Tensor) -> Slots:
        """What is kept of a player from move to move, by name, for its vector `theta` (d,)."""
        return {}

    def scalars(self, move: int) -> dict[str, float]:
        """The numbers that the `move`-th move (0, 1, ...) needs."""
        return {}

    @abstractmethod
    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        """One move of all players with the numbers `s`; gives the metrics of each player's last step."""


class OneStepEach(Game):
    """A game in which every player takes one step a move."""

    def steps(self, names: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(names, 1)

    def batches(self, shares_batch: bool) -> int:
        return 1


@dataclass(frozen=True)
class Simultaneous(OneStepEach):
    """All gradients at the same point and the same batch, then all steps (gradient descent-ascent).

    A zero-sum loss costs one backward pass, not two.
    """

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        grads, metrics = field.gradients(batches[0], field.names, _numbers(plan, field.names, 0))
        norms = _step(field, grads, plan, 0)
        return {**metrics, **norms}


@dataclass(frozen=True)
class Alternating(Game):
    """The first player takes `k` steps, then each other player one, each seeing what the ones before have written.

    k is n_critic of a WGAN (Arjovsky et al. 2017) and the policy delay of TD3 (Fujimoto et al. 2018): the same number.

    Args:
        k: the critic's updates per update of the other player, at least 1.

    Raises:
        ValueError: if `k` is below 1.
    """

    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k = {self.k}: the critic's updates per update of the other player, at least 1")

    def steps(self, names: Sequence[str]) -> dict[str, int]:
        return {name: self.k if i == 0 else 1 for i, name in enumerate(names)}

    def batches(self, shares_batch: bool) -> int:
        return self.k if shares_batch else self.k + 1

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        first, *others = field.names
        metrics: Report = {}
        for i in range(self.k):
            grads, own = field.gradients(batches[i], (first,), _numbers(plan, (first,), i))
            norms = _step(field, grads, plan, i)
            metrics.update(own, **norms)
        for name in others:
            grads, own = field.gradients(batches[-1], (name,), _numbers(plan, (name,), 0))
            norms = _step(field, grads, plan, 0)
            metrics.update(own, **norms)
        return metrics


@dataclass(frozen=True)
class Extragradient(OneStepEach):
    """A step with the gradient from a step ahead (Korpelevich 1976; Gidel et al. 2019).

        z+ = step(z, v(z')),    z' = step(z, v(z))

    Over Adam this is ExtraAdam with the moments changed once a move, by v(z'); the step to z' uses v(z) in moments that
    are then dropped. Both steps are projected; only the second has noise.

    Args:
        resample: whether v(z') is taken on a minibatch of its own (Gidel et al., Algorithm 1) or on that of v(z).
    """

    resample: bool = True

    def batches(self, shares_batch: bool) -> int:
        return 2 if self.resample else 1

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        grads, _ = field.gradients(batches[0], field.names, _numbers(plan, field.names, 0))
        grads, metrics = _ahead(field, grads, batches[-1], plan)
        norms = _step(field, grads, plan, 0)
        return {**metrics, **norms}


@dataclass(frozen=True)
class PastExtrapolation(OneStepEach):
    """Extragradient with one gradient a move: the step ahead is taken with the last move's (Popov 1980).

        z+ = step(z, v(z')),    z' = step(z, v'),    v' the gradient v(z') of the last move

    Gidel et al. 2019, "extrapolation from the past"; v' = 0 before the first move.
    """

    def init(self, theta: Tensor) -> Slots:
        return {"past": torch.zeros_like(theta)}

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        past = {name: field.state(name)["game"]["past"] for name in field.names}
        grads, metrics = _ahead(field, past, batches[0], plan)
        norms = _step(field, grads, plan, 0)
        for name, g in grads.items():
            field.remember(name, past=g)
        return {**metrics, **norms}


@dataclass(frozen=True)
class Optimistic(OneStepEach):
    """A step with the gradient and its change since the last move (Daskalakis et al. 2018).

        z+ = step(z, 2 v(z) - v(z-)),    z- the point of the last move; v(z-) = v(z) at the first

    For gradient descent without projection this is extrapolation from the past seen at the points z'.
    """

    def init(self, theta: Tensor) -> Slots:
        return {"past": torch.zeros_like(theta)}

    def scalars(self, move: int) -> dict[str, float]:
        return {"remembered": 1.0 if move else 0.0}

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        grads, metrics = field.gradients(batches[0], field.names, _numbers(plan, field.names, 0))
        past = {name: field.state(name)["game"]["past"] for name in field.names}
        ahead = {name: g + (g - past[name]) * s["remembered"] for name, g in grads.items()}
        # A step may write to the vector that `g` is, and one that is refused leaves no past.
        grads = {name: g.clone() for name, g in grads.items()}
        norms = _step(field, ahead, plan, 0)
        for name, g in grads.items():
            field.remember(name, past=g)
        return {**metrics, **norms}


@dataclass(frozen=True)
class Lookahead(Game):
    """Every k moves of another game all players go back to z_0 + alpha (z - z_0), z_0 where they were k moves before.

    On the joint parameters (Chavdarova et al. 2021, Algorithm 1); the players' slots stay as they are.

    Args:
        inner: the order of play between.
        k: moves between two returns, at least 1.
        alpha: share of the way that is kept, in (0, 1].

    Raises:
        ValueError: if `k` or `alpha` is out of range.
    """

    inner: Game = field(default_factory=Alternating)
    k: int = 5
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k = {self.k}: moves between two returns to the slow weights, at least 1; for example 5")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha = {self.alpha}: the share of the way that is kept lies in (0, 1], for example 0.5")

    def steps(self, names: Sequence[str]) -> dict[str, int]:
        return self.inner.steps(names)

    def batches(self, shares_batch: bool) -> int:
        return self.inner.batches(shares_batch)

    def check(self, players: Mapping[str, Player]) -> None:
        self.inner.check(players)

    def init(self, theta: Tensor) -> Slots:
        return {**self.inner.init(theta), "slow": theta.clone()}

    def scalars(self, move: int) -> dict[str, float]:
        return {**self.inner.scalars(move), "return": 1.0 if (move + 1) % self.k == 0 else 0.0}

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        metrics = self.inner.move(field, batches, plan, s)
        now = s["return"]
        if isinstance(now, float) and not now:
            return metrics
        for name in field.names:
            state = field.state(name)
            fast, slow = state["theta"], state["game"]["slow"]
            back = slow + (fast - slow) * self.alpha
            if isinstance(now, Tensor):
                due = now > 0
                fast, slow = torch.where(due, back, fast), torch.where(due, back, slow)
            else:
                fast, slow = back, back
            # The average has taken in the point that is given up: with the weight of the move's last step.
            field.place(name, fast, plan[name][-1][0])
            field.remember(name, slow=slow)
        return metrics


class WithJacobian(OneStepEach):
    """A game that uses the Jacobian of the gradients, which is taken at theta; so must be the gradients themselves."""

    def check(self, players: Mapping[str, Player]) -> None:
        for name, player in players.items():
            if player.spec.optimizer.looks_ahead:
                raise ValueError(
                    f"{name}.optimizer = {type(player.spec.optimizer).__name__}: takes its gradient at another point "
                    f"than theta, where {type(self).__name__} has its Jacobian; use a method that takes it at theta "
                    "(sgd, heavy_ball, adam), or game=extragradient"
                )


@dataclass(frozen=True)
class Consensus(WithJacobian):
    """A step that also lowers |v|^2 / 2: z+ = step(z, v + gamma J^T v) (Mescheder et al. 2017).

    Args:
        gamma: weight of J^T v, at least 0; too large a one is drawn to any critical point, minimum or not.

    Raises:
        ValueError: if `gamma` is negative.
    """

    gamma: float = 0.1

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ValueError(f"gamma = {self.gamma}: the weight of J^T v is at least 0, for example 0.1")

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        lin, metrics = field.linearise(batches[0])
        pulled = lin.transposed(lin.v)
        norms = _step(field, {n: g + pulled[n] * self.gamma for n, g in lin.v.items()}, plan, 0)
        return {**metrics, **norms}


@dataclass(frozen=True)
class Symplectic(WithJacobian):
    """Symplectic gradient adjustment: z+ = step(z, v + lambda A^T v), A = (J - J^T) / 2 (Balduzzi et al. 2018).

    With `align` lambda takes the sign of <v, J^T v> <A^T v, J^T v> (their Algorithm 1, with epsilon = 0.1).

    Args:
        strength: |lambda|, at least 0.
        align: whether lambda's sign follows the alignment, or is +.

    Raises:
        ValueError: if `strength` is negative.
    """

    strength: float = 1.0
    align: bool = True

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ValueError(f"strength = {self.strength}: |lambda| is at least 0, for example 1.0")

    def move(self, field: GradientField, batches: Sequence[Any], plan: Plan, s: Scalars) -> Report:
        lin, metrics = field.linearise(batches[0])
        transposed, forward = lin.transposed(lin.v), lin.forward(lin.v)
        turned = {n: (transposed[n] - forward[n]) / 2 for n in lin.v}  # A^T v
        sign: Tensor | float = 1.0
        if self.align:
            size = sum(g.numel() for g in lin.v.values())
            product = _dot(lin.v, transposed) * _dot(turned, transposed) / size + 0.1
            sign = torch.where(product >= 0, 1.0, -1.0).to(next(iter(turned.values())).dtype)
        norms = _step(field, {n: g + turned[n] * (sign * self.strength) for n, g in lin.v.items()}, plan, 0)
        return {**metrics, **norms}


def _dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([torch.dot(wide(a[name]), wide(b[name])) for name in a]).sum()


def _numbers(plan: Plan, names: Sequence[str], i: int) -> dict[str, Scalars]:
    return {name: plan[name][i][0] for name in names}


def _ahead(
    field: GradientField, grads: Mapping[str, Tensor], batch: Any, plan: Plan
) -> tuple[dict[str, Tensor], Report]:
    """The gradients at z' = step(z, `grads`), all of that step undone again, whatever happens there."""
    saved = field.save()
    numbers = _numbers(plan, field.names, 0)
    try:
        field.step(grads, numbers, dict.fromkeys(field.names))
        ahead, metrics = field.gradients(batch, field.names, numbers)
    finally:
        field.restore(saved)
    return ahead, metrics


def _step(field: GradientField, grads: Mapping[str, Tensor], plan: Plan, i: int) -> Report:
    return field.step(grads, _numbers(plan, list(grads), i), {name: plan[name][i][1] for name in grads})
