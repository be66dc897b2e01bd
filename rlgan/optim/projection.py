"""Projections onto a convex set K, the last operation of a step: P_K(x) = argmin_{y in K} |x - y|.

Weight clipping is the projection onto a box. A projection is part of the step: no other player ever sees a point
outside of K (the original WGAN code clips at the start of the next critic iteration and breaks this).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


class Projection(ABC):
    """A projection of the vector of a player."""

    active: bool = True

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The point of K nearest to `x` (d,)."""


@dataclass(frozen=True)
class NoProjection(Projection):
    """K is the whole space."""

    active = False

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Box(Projection):
    """K = [-radius, radius]^d: clips every coordinate; feasible to the last bit, idempotent.

    The same in every diagonal metric, for the coordinates separate. (Arjovsky et al. 2017, Algorithm 1, line 7.)

    Args:
        radius: half the width of the box, positive.

    Raises:
        ValueError: if `radius` is not positive.
    """

    radius: float = 0.01

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius = {self.radius}: must be positive, for example 0.01")

    def __call__(self, x: Tensor) -> Tensor:
        return x.clamp(-self.radius, self.radius)
