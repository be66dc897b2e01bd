"""The game of one player: what a model minimises on a minibatch."""

from typing import NamedTuple

from torch import Tensor

from rlgan.erm.losses import Loss
from rlgan.optim import Losses, Metrics, Nets


class Batch(NamedTuple):
    """One minibatch.

    Attributes:
        x: inputs ``(batch, *inputs)``; of a surface the noise of each sample's gradient ``(batch, d)``.
        y: classes ``(batch,)`` int64, or values ``(batch, *targets)``.
    """

    x: Tensor
    y: Tensor


class Risk:
    """R(theta) = mean of L(f(x_i; theta), y_i) over a batch.

    Args:
        loss: of a score and a label; None for a surface, whose network gives losses itself.
    """

    def __init__(self, loss: Loss | None) -> None:
        self.loss = loss

    def __call__(self, nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        """The mean loss of the batch, a scalar; nothing else is logged."""
        return self.of(nets.model(batch.x), batch.y).mean(), {}

    def of(self, scores: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, ``(batch,)``."""
        return scores if self.loss is None else self.loss(scores, y)

    def losses(self) -> Losses:
        """As a game of one player."""
        return Losses({"model": self})
