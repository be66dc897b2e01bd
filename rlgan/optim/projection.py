"""Projections onto a convex set K, the last operation of a step, in the metric H of the method:

    P_K^H(x) = argmin_{y in K} (y - x)^T H (y - x).

A preconditioned step that is projected in the plain metric comes to rest where it should not: theta = P_K(theta - lr
H^-1 g) holds at a minimum over K only if P is taken in H. Weight clipping is the projection onto a box, which is the
same in every diagonal metric. A projection is part of the step: no other player ever sees a point outside of K (the
original WGAN code clips at the start of the next critic iteration and breaks this).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rlgan.optim.metric import Kind, Scalars


class Projection(ABC):
    """A projection of the vector of a player."""

    active: ClassVar[bool] = True
    metrics: ClassVar[frozenset[Kind]] = frozenset({"scalar", "diagonal"})
    """In which metrics the projection is known; a scalar one is always the plain projection."""
    uses_metric: ClassVar[bool] = True
    """Whether the diagonal of a metric changes the result."""

    def fit(self, shapes: Sequence[torch.Size]) -> Projection:
        """The projection for a vector that holds tensors of these shapes, one after the other."""
        return self

    @abstractmethod
    def scalars(self, factor: float) -> dict[str, float]:
        """The size of K when its schedule stands at `factor`."""

    @abstractmethod
    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        """The point of K nearest to `x` (d,) in the metric diag(`h`); `h` is (d,), a scalar () or None for I."""

    @abstractmethod
    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        """Share () of what K constrains that lies on its boundary at `x` (d,) in K."""


@dataclass(frozen=True)
class NoProjection(Projection):
    """K is the whole space."""

    active = False
    metrics = frozenset({"scalar", "diagonal", "full"})
    uses_metric = False

    def scalars(self, factor: float) -> dict[str, float]:
        return {}

    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        return x

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        return x.new_zeros(())


@dataclass(frozen=True)
class Box(Projection):
    """K = [-radius, radius]^d: clips every coordinate; feasible to the last bit, idempotent.

    The same in every diagonal metric, for the coordinates separate. (Arjovsky et al. 2017, Algorithm 1, line 7.)

    Args:
        radius: half the width of the box, positive.

    Raises:
        ValueError: if `radius` is not positive.
    """

    uses_metric = False

    radius: float = 0.01

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius = {self.radius}: must be positive, for example 0.01")

    def scalars(self, factor: float) -> dict[str, float]:
        return {"radius": self.radius * factor}

    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        radius = s["radius"]
        if isinstance(radius, Tensor):
            radius = radius.to(x.dtype)
            return torch.minimum(torch.maximum(x, -radius), radius)
        return x.clamp(-radius, radius)

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        radius = torch.as_tensor(s["radius"]).to(x)
        return (x.abs() >= radius).to(x.dtype).mean()
