"""A method: a function that fills the slots of the step, and a metric of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlgan.optim import Descent, GradientEMA, Metric


@dataclass(frozen=True)
class Mine(Metric):
    """H = max(1, |g| / limit) I: a gradient that is longer than `limit` is cut to this length.

    Args:
        limit: length of a gradient, positive.
    """

    kind = "scalar"  # of H: one number; diagonal: (d,); full: a matrix, then write `solve`

    limit: float

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"limit = {self.limit}: must be positive, for example 1.0")

    def init(self, theta: Tensor) -> dict[str, Tensor]:
        """The state before the first gradient: tensors by name."""
        return {"norm": theta.new_zeros(())}

    def update(self, theta: Tensor, g: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state after the gradient g (d,): new tensors, the old ones stay."""
        return {"norm": torch.linalg.vector_norm(g)}

    def diagonal(self, state: dict[str, Tensor], s: object) -> Tensor:
        """H, by which the gradient is divided."""
        return (state["norm"] / self.limit).clamp(min=1.0)


def my_name(lr: float = 0.05, beta: float = 0.9, limit: float = 1.0) -> Descent:
    """theta - lr m / max(1, |g| / limit), m an average of the gradients."""
    return Descent(lr, momentum=GradientEMA(beta), metric=Mine(limit))
