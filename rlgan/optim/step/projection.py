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
from rlgan.optim.step.vector import length, wide

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
        radius, y = wide(_size(x, s)), wide(x)
        peak = y.abs().amax().clamp(min=torch.finfo(y.dtype).tiny)
        scaled = y / peak
        norm = scaled.square().sum().sqrt()
        p = radius / peak / norm
        near = scaled / norm
        if h is not None and h.ndim:
            near = near * _shrink(near, _weights(h), p.clamp(max=1.0))
            near = near / near.square().sum().sqrt()
        # Sizes in the unit of |y|; of what is below the smallest normal number only the last bits can be off.
        bits = math.sqrt(len(x)) * _least(x) / peak / norm
        inside = p * (1 + _slack(x)) + bits >= 1
        return torch.where(inside | (norm == 0), x, (near * radius).to(x.dtype))

    def binding(self, x: Tensor, s: Scalars) -> Tensor:
        """1 on the sphere, 0 inside."""
        return (length(x) >= wide(_size(x, s)) * (1 - _slack(x))).to(x.dtype)


def _shrink(unit: Tensor, s: Tensor, p: Tensor) -> Tensor:
    """x_i / (p y_i) (d,) of `Ball` in the metric `s` (d,), for `unit` = y / |y| (d,) and p = radius / |y| <= 1 ().

    It is a_i = s_i / (p s_i + (1 - p) sigma), and sigma is the root of |a * unit| = 1.
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
    return s / (ps + (1 - p) * low)


@dataclass(frozen=True)
class Simplex(Projection):
    """Probabilities or mixtures: K = {x: x >= 0, sum x = total}; x >= 0 to the last bit, the sum to rounding.

    In H = diag(s), from the multiplier nu of the sum,

        x_i = max(0, y_i - nu / s_i),    nu such that sum x = total.

    x_i > 0 for the k largest breakpoints s_i y_i, those at which the sum is below `total`: exact by one sort (Held et
    al. 1974; Duchi et al. 2008 for I).

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
        total, y = wide(_size(x, s)), wide(x)
        unit = torch.where(total > 0, total, 1.0)  # a schedule may end at 0
        if h is None or not h.ndim:
            w, b, rest = torch.ones_like(y), y, torch.zeros_like(y)
            order = torch.argsort(b, descending=True)
        else:
            w = _weights(h)
            b, rest = _exact_product(w, y)
            order = torch.argsort(rest, descending=True)
            order = order[torch.argsort(b[order], descending=True, stable=True)]
        sizes = (1 / w)[order].cumsum(0)
        gaps = (b[order].diff() + rest[order].diff()).clamp(max=0.0) / -unit
        # sum x / total where nu stands at each breakpoint: a sum of differences, which loses no digit to what is far.
        sums = torch.cat([torch.zeros_like(y[:1]), (gaps * sizes[:-1]).cumsum(0)])
        held = sums < 1
        size, left = torch.where(held, sizes, 0.0).amax(), 1 - torch.where(held, sums, 0.0).amax()
        last = torch.where(held, b[order], math.inf).amin()
        more = torch.where(held & (b[order] == last), rest[order], math.inf).amin()
        near = ((((b - last) + (rest - more)) / unit + left / size) / w).clamp(min=0.0)
        for _ in range(2):  # what rounding has left
            near = (near - torch.where(near > 0, (near.sum() - 1) / size / w, 0.0)).clamp(min=0.0)
        near = near / near.sum() * total
        off = (y.sum() - total).abs()
        inside = (x >= 0).all() & (off <= total * _slack(x) + len(x) * _least(x))
        return torch.where(inside, x, near.to(x.dtype))

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
    rounding; as near as double precision knows the singular values, to 2e-16 of the largest. One singular value
    decomposition for every matrix and step, in O(m n min(m, n)): for small networks.

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
        radius = wide(_size(x, s))
        parts: list[Tensor] = []
        for part, matrix in zip(self._split(x), self._matrices(x), strict=True):
            if matrix is None or not matrix.numel():
                parts.append(part)
                continue
            # LAPACK raises at NaN; what is not finite passes through instead, for the update to report.
            finite = matrix.isfinite().all()
            u, sigma, vh = torch.linalg.svd(wide(torch.where(finite, matrix, 0.0)), full_matrices=False)
            clipped = ((u * torch.minimum(sigma, radius)) @ vh).to(x.dtype)
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
    if not x.is_floating_point():
        raise ValueError(f"x = of {x.dtype}: a projection is of real floating-point numbers; use x.float()")
    return torch.as_tensor(s["radius"], dtype=x.dtype, device=x.device)


def _exact_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """a b as the sum of its rounded value and what rounding took off (Dekker 1971)."""
    factor = 2.0 ** math.ceil(math.log2(1 / torch.finfo(a.dtype).eps) / 2 + 0.5) + 1

    def split(x: Tensor) -> tuple[Tensor, Tensor]:
        scaled = x * factor
        high = scaled - (scaled - x)
        return high, x - high

    product = a * b
    (a_high, a_low), (b_high, b_low) = split(a), split(b)
    rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, torch.nan_to_num(rest, 0.0, 0.0, 0.0)  # what overflows here has no digit to spare


def _least(x: Tensor) -> float:
    """The smallest positive number of the dtype of `x`, the unit of what is below its smallest normal one."""
    return torch.finfo(x.dtype).tiny * torch.finfo(x.dtype).eps


def _slack(x: Tensor, rank: int = 1) -> float:
    """How far a point of K may be outside of it by rounding, relative to the size of K; matrices of `rank` multiply."""
    return max(16.0, 4.0 * math.sqrt(rank)) * torch.finfo(x.dtype).eps


def _weights(h: Tensor) -> Tensor:
    """The diagonal `h` (d,) in a unit, a power of two, near its largest entry: no digit is lost, no sum overflows."""
    h = wide(h)
    top = h.amax()
    if h.dtype == torch.float64:
        top = (top.view(torch.int64) & (0x7FF << 52)).view(torch.float64)
    return (h / top).clamp(min=torch.finfo(h.dtype).tiny ** (1 / 3))
