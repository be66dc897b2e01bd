"""Projections onto a convex set K, the last operation of a step, in the metric H of the method:

    P_K^H(x) = argmin_{y in K} (y - x)^T H (y - x).

A preconditioned step that is projected in the plain metric comes to rest where it should not: theta = P_K(theta - lr
H^-1 g) holds at a minimum over K only if P is taken in H. Weight clipping is the projection onto a box, which is the
same in every diagonal metric. A projection is part of the step: no other player ever sees a point outside of K (the
original WGAN code clips at the start of the next critic iteration and breaks this).

All are pure functions of tensors with fixed numbers of iterations: they compile and stack. A box is feasible to the
last bit. The others are feasible to rounding: a point that violates K by no more than 16 units of rounding of its
dtype (for m x n matrices 4 sqrt(min(m, n)), if that is more), relative to the size of K, counts as one of K and is
returned as it is, so that these are idempotent to the last bit, too.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from rlgan.optim.errors import positive
from rlgan.optim.step.types import Kind, Scalars

UNBOUNDED = "for example 1.0; projection=none for no bound"


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
    """No constraint: K is the whole space."""

    active = False
    metrics = frozenset({"scalar", "diagonal", "full"})
    uses_metric = False

    def scalars(self, factor: float) -> dict[str, float]:
        return {}

    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        return x

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        return x.new_zeros(())


class _Radius(Projection):
    """A set whose size is a radius, which a schedule multiplies."""

    radius: float
    remedy: ClassVar[str] = UNBOUNDED

    def __post_init__(self) -> None:
        positive("radius", self.radius, self.remedy)

    def scalars(self, factor: float) -> dict[str, float]:
        return {"radius": self.radius * factor}


@dataclass(frozen=True)
class Box(_Radius):
    """Clips every coordinate to K = [-radius, radius]^d; feasible to the last bit, idempotent.

    The same in every diagonal metric, for the coordinates separate. (Arjovsky et al. 2017, Algorithm 1, line 7.)

    Args:
        radius: half the width of the box, positive.

    Raises:
        ValueError: if `radius` is not positive.
    """

    uses_metric = False

    remedy = "for example 0.01"
    radius: float = 0.01

    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        radius = s["radius"]
        if isinstance(radius, Tensor):
            radius = radius.to(x.dtype)
            return torch.minimum(torch.maximum(x, -radius), radius)
        return x.clamp(-radius, radius)

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        radius = _size(x, s)
        return (x.abs() >= radius).to(x.dtype).mean()


@dataclass(frozen=True)
class Ball(_Radius):
    """Bounds the L2 norm over ALL parameters of the player: K = {x: |x| <= radius}; feasible to rounding.

    In the plain metric x = y radius / |y|. In H = diag(s), from the multiplier mu of the constraint,

        x_i = s_i y_i / (s_i + mu),    mu >= 0 such that |x| = radius

    (Boyd & Vandenberghe 2004, section 5.5.3). mu = sigma (|y| / radius - 1) with sigma between the smallest
    and the largest s_i, for sigma = s_i throughout is the plain projection and |x| falls with mu. 1 / |x| is concave
    and increasing in mu (a power mean of s_i + mu), so that Newton's method from below converges without overshooting
    (More & Sorensen 1983). Twelve halvings of the bracket's logarithm and four Newton steps reach rounding whatever
    the s_i, in single and double precision; |x| is computed 16 times.

    Args:
        radius: of the ball, positive.

    Raises:
        ValueError: if `radius` is not a positive number.
    """

    radius: float = 1.0

    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        radius = _size(x, s)
        tiny = torch.finfo(x.dtype).tiny
        norm = _norm(x)
        near = x
        if h is not None and h.ndim:
            near = x * _shrink(x / norm.clamp(min=tiny), _weights(h), (radius / norm).clamp(max=1.0))
        on_sphere = near * (radius / _norm(near).clamp(min=tiny))
        return torch.where(norm <= radius * (1 + _slack(x)), x, on_sphere)

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        """1 on the sphere, 0 inside."""
        return (_norm(x) >= _size(x, s) * (1 - _slack(x))).to(x.dtype)


def _shrink(unit: Tensor, s: Tensor, p: Tensor) -> Tensor:
    """x_i / y_i (d,) of `Ball` in the metric `s` (d,), for `unit` = y / |y| (d,) and p = radius / |y| (), at most 1.

    x_i / y_i = p a_i with a_i = s_i / (p s_i + (1 - p) sigma), and sigma is the root of |a * unit| = 1.
    """
    ps, v = p * s, s * unit
    low, high = s.amin(), s.amax()
    for _ in range(12):
        middle = low.sqrt() * high.sqrt()
        below = (v / (ps + (1 - p) * middle)).square().sum() > 1
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    for _ in range(4):
        b = ps + (1 - p) * low
        squares = (v / b).square()
        total = squares.sum()
        # Newton's step for 1 / |a * unit| - 1. At p = 1 nothing depends on sigma: 0/0 leaves it where it is.
        step = (total.sqrt() - 1) * total / ((1 - p) * (squares / b).sum())
        low = torch.minimum(low + torch.nan_to_num(step, 0.0, 0.0, 0.0).clamp(min=0.0), high)
    return ps / (ps + (1 - p) * low)


@dataclass(frozen=True)
class Simplex(Projection):
    """Probabilities or mixtures: K = {x: x >= 0, sum x = total}; x >= 0 to the last bit, the sum to rounding.

    In H = diag(s), from the multiplier nu of the sum,

        x_i = max(0, y_i - nu / s_i),    nu such that sum x = total.

    x_i > 0 for the k largest breakpoints s_i y_i, and nu is the largest over k of the roots that leave out all others,
    nu_k = (sum_{j<=k} y_j - total) / sum_{j<=k} 1/s_j: exact by one sort (Held et al. 1974; Duchi et al. 2008 for I).

    Args:
        total: the sum, positive.

    Raises:
        ValueError: if `total` is not a positive number.
    """

    total: float = 1.0

    def __post_init__(self) -> None:
        positive("total", self.total, UNBOUNDED)

    def scalars(self, factor: float) -> dict[str, float]:
        return {"radius": self.total * factor}

    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        total = _size(x, s)
        inverse = torch.ones_like(x) if h is None or not h.ndim else 1 / _weights(h)
        order = torch.argsort(x / inverse, descending=True)
        roots = (x[order].cumsum(0) - total) / inverse[order].cumsum(0)
        near = (x - roots.amax() * inverse).clamp(min=0.0)
        near = near * (total / near.sum().clamp(min=torch.finfo(x.dtype).tiny))
        inside = (x >= 0).all() & ((x.sum() - total).abs() <= total * _slack(x))
        return torch.where(inside, x, near)

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        """Share of zeros."""
        return (x <= 0).to(x.dtype).mean()


@dataclass(frozen=True)
class SpectralBall(_Radius):
    """Bounds the largest singular value of every weight matrix W by `radius`.

        W = U diag(sigma) V^T  ->  U diag(min(sigma, radius)) V^T

    The nearest point in the Frobenius norm, so in the plain metric (Lefkimmiatis et al. 2013, proposition 1): a network
    of 1-Lipschitz activations is then radius^depth-Lipschitz in its input. A kernel of a convolution counts as a matrix
    (first dimension, all others), whose norm bounds the convolution's up to the square root of the kernel's size
    (Yoshida & Miyato 2017). Vectors and numbers (biases, scales of a normalisation) are left free. Feasible to
    rounding. One singular value decomposition for every matrix and step, in O(m n min(m, n)): for small networks.

    In a diagonal metric it has no closed form: take a method with a scalar one, or `project_in` = euclidean.

    Args:
        radius: largest singular value, positive.

    Raises:
        ValueError: if `radius` is not a positive number.
    """

    metrics = frozenset({"scalar"})
    uses_metric = False

    radius: float = 1.0
    shapes: tuple[torch.Size, ...] = field(default=(), init=False, repr=False)

    def fit(self, shapes: Sequence[torch.Size]) -> SpectralBall:
        bound = copy.copy(self)
        object.__setattr__(bound, "shapes", tuple(shapes))
        return bound

    def __call__(self, x: Tensor, s: Scalars, h: Tensor | None = None) -> Tensor:
        if h is not None and h.ndim:
            raise ValueError("projection = SpectralBall: has no closed form in a diagonal metric; h must be None or ()")
        radius = _size(x, s)
        parts: list[Tensor] = []
        for part, matrix in zip(self._split(x), self._matrices(x), strict=True):
            if matrix is None or not matrix.numel():
                parts.append(part)
                continue
            # LAPACK raises at NaN; what is not finite passes through instead, for the update to report.
            finite = matrix.isfinite().all()
            u, sigma, vh = torch.linalg.svd(torch.where(finite, matrix, 0.0), full_matrices=False)
            clipped = (u * torch.minimum(sigma, radius)) @ vh
            outside = (sigma.amax() > radius * (1 + _slack(x, len(sigma)))) & finite
            parts.append(torch.where(outside, clipped, matrix).reshape(-1))
        return torch.cat(parts)

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        """Share of the singular values of all matrices at the radius."""
        values = [torch.linalg.svdvals(matrix) for matrix in self._matrices(x) if matrix is not None]
        if not values:
            return x.new_zeros(())
        return torch.cat([v >= _size(x, s) * (1 - _slack(x, len(v))) for v in values]).to(x.dtype).mean()

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        if not self.shapes:
            raise ValueError("projection = SpectralBall: does not know the matrices yet; use what fit(shapes) returns")
        return x.split([math.prod(shape) for shape in self.shapes])

    def _matrices(self, x: Tensor) -> list[Tensor | None]:
        """The parts of `x` (d,) as matrices (m, n); None for vectors and numbers."""
        return [
            part.view(shape[0], -1) if len(shape) > 1 else None
            for part, shape in zip(self._split(x), self.shapes, strict=True)
        ]


def _size(x: Tensor, s: Scalars) -> Tensor:
    """The size of K as a number () of the dtype of `x`."""
    return torch.as_tensor(s["radius"], dtype=x.dtype, device=x.device)


def _norm(x: Tensor) -> Tensor:
    """|x| () of the vector `x` (d,); torch's own adds up a long one in single precision with five digits only."""
    return x.square().sum().sqrt()


def _slack(x: Tensor, rank: int = 1) -> float:
    """How far a point of K may be outside of it by rounding, relative to the size of K; matrices of `rank` multiply."""
    return max(16.0, 4.0 * math.sqrt(rank)) * torch.finfo(x.dtype).eps


def _weights(h: Tensor) -> Tensor:
    """The diagonal `h` (d,) divided by its largest entry, which changes no projection and keeps sums from overflow."""
    return (h / h.amax()).clamp(min=torch.finfo(h.dtype).eps ** 3)
