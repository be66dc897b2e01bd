"""Games: who moves when. The order of play is a program over a field of gradients; it knows neither task nor method.

    simultaneous    theta_p+ = step_p(theta_p, g_p(theta_1, ..., theta_n))    for all p
    alternating k   k times: theta_1+ = step_1(theta_1, g_1(theta_1, theta_2))
                    then     theta_2+ = step_2(theta_2, g_2(theta_1+, theta_2))

All gradients of a simultaneous move are taken before any write.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from rlgan.optim.field import Field, Position, Report
from rlgan.optim.metric import Scalars

Plan: TypeAlias = Mapping[str, Sequence[tuple[Scalars, Tensor | None]]]
"""For each player, for each of its steps in a move: the numbers of the step and its noise."""


class Game(ABC):
    """An order of play. Players stand in the order of `Field.names`: the critic, which moves first, stands first."""

    @abstractmethod
    def steps(self, names: Sequence[str]) -> dict[str, int]:
        """How many steps each player takes in one move."""

    @abstractmethod
    def batches(self, shares_batch: bool) -> int:
        """How many minibatches one move takes.

        `shares_batch`: the last player uses the batch of the step before (actor and critic); otherwise it gets its own
        (a generator does not meet the noise again that the critic has just been trained on).
        """

    @abstractmethod
    def move(self, field: Field, at: Position, batches: Sequence[Any], plan: Plan) -> tuple[Position, Report]:
        """One move of all players from `at`, and the metrics of each player's last step."""


@dataclass(frozen=True)
class Simultaneous(Game):
    """All gradients at the same point and the same batch, then all steps (deck 000, "GDA").

    A zero-sum loss costs one backward pass, not two.
    """

    def steps(self, names: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(names, 1)

    def batches(self, shares_batch: bool) -> int:
        return 1

    def move(self, field: Field, at: Position, batches: Sequence[Any], plan: Plan) -> tuple[Position, Report]:
        at, grads, metrics = field.gradients(at, batches[0], field.names)
        at, norms = _step(field, at, grads, plan, 0)
        return at, {**metrics, **norms}


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

    def move(self, field: Field, at: Position, batches: Sequence[Any], plan: Plan) -> tuple[Position, Report]:
        first, *others = field.names
        metrics: Report = {}
        for i in range(self.k):
            at, grads, own = field.gradients(at, batches[i], (first,))
            at, norms = _step(field, at, grads, plan, i)
            metrics.update(own, **norms)
        for name in others:
            at, grads, own = field.gradients(at, batches[-1], (name,))
            at, norms = _step(field, at, grads, plan, 0)
            metrics.update(own, **norms)
        return at, metrics


def _step(field: Field, at: Position, grads: Mapping[str, Tensor], plan: Plan, i: int) -> tuple[Position, Report]:
    scalars = {name: plan[name][i][0] for name in grads}
    draws = {name: plan[name][i][1] for name in grads}
    return field.step(at, grads, scalars, draws)
