"""Line searches, and a deterministic loss as they see it: phi(alpha) = f(theta + alpha d).

Where comparing two losses means comparing their rounding (the last steps before a minimum), the searches allow a loss
higher by that rounding and decide by the slopes, which still have digits (Hager & Zhang 2005, section 2).

Nocedal & Wright, Numerical Optimization, 2nd edition 2006, chapter 3.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rlgan.optim.errors import LineSearchFailed
from rlgan.optim.step.vector import length, wide


class NoLower(LineSearchFailed):
    """No step, however short, lowers the loss."""

    def __init__(self) -> None:
        super().__init__("no step, however short, lowers the loss; is the gradient that of the loss?")


class Kink(LineSearchFailed):
    """The loss is lowered up to a step length at which its slope jumps; `beyond` is the one on the other side."""

    def __init__(self, alpha: float, beyond: float) -> None:
        super().__init__(f"the slope jumps at step length {alpha:.3g}; is the loss smooth?")
        self.beyond = beyond


class Point(NamedTuple):
    """A point theta (d,), the loss and its gradient (d,) there, and what measures the loss's noise, if known."""

    theta: Tensor
    loss: float
    g: Tensor
    noise: Callable[[], float] | None = None

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and bool(self.g.isfinite().all())

    @property
    def norm(self) -> float:
        """|g|, whatever its size."""
        return length(self.g).item()

    @property
    def least_rounding(self) -> float:
        """The rounding of the loss's value and of theta: 16 eps (|f| + sum_i |g_i theta_i|).

        A bound where the loss is a sum of positive terms. Where large terms cancel, as in theta'A theta - b'theta near
        its minimum, f and g do not know of them, and what is lost is more.
        """
        moved = dot(self.g.abs(), self.theta.abs())
        return 16.0 * torch.finfo(self.theta.dtype).eps * (abs(self.loss) + moved)

    @property
    def rounding(self) -> float:
        """A bound on the rounding in the loss, of its value, of theta and of all between, which is measured."""
        return max(self.least_rounding, 0.0 if self.noise is None else self.noise())


def dot(a: Tensor, b: Tensor) -> float:
    """a'b, of single precision in double."""
    return torch.dot(wide(a), wide(b)).item()


class Oracle:
    """A loss as a method sees it: values, gradients and curvature at a point, and how often it was asked.

    Args:
        loss: theta (d,) -> scalar.
        known: a point at which it has been evaluated already, which counts as one evaluation.
    """

    def __init__(self, loss: Callable[[Tensor], Tensor], known: Point | None = None) -> None:
        self.loss = loss
        self.evaluations = 0 if known is None else 1
        self._last = known
        self._noise: tuple[Tensor, float] | None = None

    def at(self, theta: Tensor) -> Point:
        """The point at a copy of `theta` (d,). Asked twice in a row for one theta, the loss is called once."""
        if self._last is None or not torch.equal(theta, self._last.theta):
            x, value = self._call(theta)
            (g,) = torch.autograd.grad(value, x, materialize_grads=True)
            at = Point(x.detach(), value.item(), g)
            self._last = at._replace(noise=lambda: self.noise(at))
        return self._last

    def noise(self, at: Point) -> float:
        """32 standard deviations of the loss's noise about `at`, from its high differences (More & Wild 2011).

        They leave nothing of what is smooth. The points, eight on a line through theta, are as near as they can be for
        the losses to differ at all: closer by, what a large intermediate sum has rounded is the same everywhere.
        """
        if self._noise is None or self._noise[0] is not at.theta:
            self._noise = at.theta, 32.0 * self._deviation(at)
        return self._noise[1]

    def _deviation(self, at: Point) -> float:
        signs = torch.randint(0, 2, at.theta.shape, generator=torch.Generator().manual_seed(0)).to(at.theta) * 2 - 1
        step = 4.0 * torch.finfo(at.theta.dtype).eps
        for _ in range(6):
            values = [
                at.loss if i == 0 else self._call(at.theta * (1.0 + signs * (i * step)))[1].item() for i in range(-4, 5)
            ]
            if not all(map(math.isfinite, values)):
                return 0.0
            if len(set(values)) > 4:
                differences, found = values, []
                for k in range(1, 7):
                    differences = [b - a for a, b in itertools.pairwise(differences)]
                    if k >= 4:  # of noise alone, their variance is (2k)! / (k!)^2 of its own
                        mean = sum(d * d for d in differences) / len(differences)
                        found.append(math.sqrt(mean / math.comb(2 * k, k)))
                return max(found)
            step *= 64.0
        return 0.0

    def times_hessian(self, theta: Tensor, v: Tensor) -> Tensor:
        """H v (d,) at `theta` as grad(g'v): two reverse passes, no forward-mode derivative (Pearlmutter 1994)."""
        x, value = self._call(theta)
        with torch.enable_grad():
            (g,) = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
            if not g.requires_grad:  # a linear loss
                return torch.zeros_like(v)
            (product,) = torch.autograd.grad(torch.dot(g, v), x, materialize_grads=True)
        return product

    def products(self, theta: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> H v (d,) at one `theta` (d,), as `times_hessian`; what all of them share is computed once."""
        x, value = self._call(theta)
        with torch.enable_grad():
            (g,) = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)

        def product(v: Tensor) -> Tensor:
            self.evaluations += 1
            if not g.requires_grad:  # a linear loss
                return torch.zeros_like(v)
            (hv,) = torch.autograd.grad(g, x, v, retain_graph=True, materialize_grads=True)
            return hv

        return product

    def hessian(self, theta: Tensor) -> Tensor:
        """H (d, d) at `theta`, symmetric: the Jacobian of the gradient, reverse over reverse.

        Equal to ``torch.func.hessian``, whose forward-mode pass not every operation has.
        """
        self.evaluations += 1
        h: Tensor = torch.func.jacrev(torch.func.grad(self.loss))(theta)
        return (h + h.T) / 2

    def _call(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += 1
        with torch.enable_grad():
            x = theta.detach().clone().requires_grad_()
            value = self.loss(x)
            scalar = value.sum()
        if value.numel() != 1:
            raise ValueError(f"loss = tensor of shape {tuple(value.shape)}: must be a scalar, for example its mean")
        if not value.requires_grad:
            raise ValueError("loss = a constant: does not depend on theta by autograd; is something detached in it?")
        return x, scalar


class Ray:
    """phi(alpha) = f(theta + alpha d), as (phi, phi') for a line search; keeps the point it was last asked for."""

    def __init__(self, oracle: Oracle, at: Point, direction: Tensor) -> None:
        self.oracle = oracle
        self.start = at
        self.direction = direction
        self.slope = dot(at.g, direction)
        self.point = at

    def __call__(self, alpha: float) -> tuple[float, float]:
        """(phi, phi') at `alpha`; (inf, nan) outside of the loss's domain, so that the search turns back."""
        self.point = self.oracle.at(self.start.theta + alpha * self.direction)
        if not self.point.finite:
            return math.inf, math.nan
        return self.point.loss, dot(self.point.g, self.direction)

    def check(self) -> None:
        """Refuse a slope that is no number.

        Raises:
            LineSearchFailed: if it is beyond the largest number, while the gradient is not.
        """
        if not math.isfinite(self.slope):
            raise LineSearchFailed(
                f"the slope along the step is {self.slope}, beyond the largest number; scale the loss"
            )


class _Sample(NamedTuple):
    """A step length, phi and phi' there."""

    alpha: float
    value: float
    slope: float


def strong_wolfe(
    along: Callable[[float], tuple[float, float]],
    value: float,
    slope: float,
    first: float = 1.0,
    c1: float = 1e-4,
    c2: float = 0.9,
    rounding: float = 0.0,
    trials: int = 60,
) -> float:
    """A step length alpha > 0 that satisfies the strong Wolfe conditions

        phi(alpha) <= phi(0) + c1 alpha phi'(0),    |phi'(alpha)| <= c2 |phi'(0)|.

    Doubles the step until a minimum is bracketed, then shrinks the bracket by cubic interpolation kept off its ends
    (Nocedal & Wright, Algorithms 3.5 and 3.6). The step returned is the last one that `along` was asked for.

    Args:
        along: alpha -> (phi(alpha), phi'(alpha)); phi = inf where it is undefined.
        value, slope: phi(0) and phi'(0) < 0.
        first: the step tried first.
        c1, c2: 0 < c1 < c2 < 1; a small c2 makes the search exact.
        rounding: how much higher a loss may be and still count as equal.
        trials: the most steps tried in each of the two phases.

    Raises:
        ValueError: if `slope` is not negative.
        LineSearchFailed: if phi keeps falling over all trials, or no step of the bracket satisfies both conditions
            (`Kink`, or `NoLower` where none is lower).
    """
    if not slope < 0:
        raise ValueError(f"slope = {slope}: a line search needs a direction of descent, for example -g")

    def too_high(at: _Sample, best: _Sample) -> bool:
        return not at.value <= value + c1 * at.alpha * slope + rounding or at.value >= best.value + max(
            rounding, 5e-324
        )

    def flat(at: _Sample) -> bool:
        return abs(at.slope) <= c2 * abs(slope)

    low = _Sample(0.0, value, slope)
    alpha = first
    for _ in range(trials):
        at = _Sample(alpha, *along(alpha))
        if too_high(at, low):
            high = at
            break
        if flat(at):
            return alpha
        if at.slope >= 0:
            low, high = at, low
            break
        low, alpha = at, 2.0 * alpha
    else:
        raise LineSearchFailed(f"the loss still falls at step length {low.alpha:.3g}; is it unbounded below?")

    # `low` is the best step so far, phi falls from it towards `high`: between them lies a minimum.
    for _ in range(trials):
        if low.alpha == high.alpha:  # nothing lies between any more
            break
        alpha = _between(low, high)
        at = _Sample(alpha, *along(alpha))
        if too_high(at, low):
            high = at
            continue
        if flat(at):
            return alpha
        if at.slope * (high.alpha - low.alpha) >= 0:
            high = low
        low = at
    if low.value >= value - rounding:
        raise NoLower
    raise Kink(low.alpha, high.alpha)


def _between(low: _Sample, high: _Sample) -> float:
    """The minimiser of the cubic through both samples (Nocedal & Wright 3.59), at least 5 % off the bracket's ends."""
    width = high.alpha - low.alpha
    fraction = 0.5
    if math.isfinite(high.value) and math.isfinite(high.slope):
        d1 = low.slope + high.slope - 3.0 * (high.value - low.value) / width
        under = d1 * d1 - low.slope * high.slope
        d2 = math.copysign(math.sqrt(under), width) if under >= 0 else math.nan
        below = high.slope - low.slope + 2.0 * d2
        if math.isfinite(below) and below != 0.0:
            fraction = min(max(1.0 - (high.slope + d2 - d1) / below, 0.05), 0.95)
    return low.alpha + fraction * width


def wolfe_step(oracle: Oracle, at: Point, direction: Tensor, first: float, c1: float, c2: float) -> Point | None:
    """The point a strong Wolfe step away; None if the direction promises less than the loss's rounding.

    Where the slope jumps no step satisfies the second condition. Then it is the point just beyond the jump if that is
    lower: the weak conditions hold there, and the difference of the gradients tells of the jump (Lewis & Overton 2013,
    Nonsmooth optimization via quasi-Newton methods).
    """
    ray = Ray(oracle, at, direction)
    if ray.slope == 0.0:  # squares of the gradient vanish
        return None
    ray.check()
    for rounding in _roundings(at):
        try:
            strong_wolfe(ray, at.loss, ray.slope, first, c1, c2, rounding)
            return ray.point
        except LineSearchFailed as error:
            failed = error
    if -ray.slope * first <= 10.0 * at.rounding:
        return None
    if isinstance(failed, Kink) and ray(failed.beyond)[0] < at.loss:
        return ray.point
    raise failed


def _roundings(at: Point) -> Iterator[float]:
    """What is known without asking, and, where that was not enough, what is measured."""
    yield at.least_rounding
    if at.rounding > at.least_rounding:
        yield at.rounding


def model_step(oracle: Oracle, at: Point, direction: Tensor) -> float:
    """The minimiser of the quadratic model along `direction`, -g'd / d'Hd; a step of length 1 where it has none."""
    bend = dot(direction, oracle.times_hessian(at.theta, direction))
    step = -dot(at.g, direction) / bend if bend > 0 else math.inf
    return step if 0.0 < step < math.inf else 1.0 / length(direction).item()


def armijo_step(oracle: Oracle, at: Point, direction: Tensor, c1: float = 1e-4, trials: int = 60) -> Point | None:
    """The point by the first of the steps 1, 1/2, 1/4, ... that satisfies Armijo's condition.

    Within the loss's rounding the slope must have changed as well, or a step of no length would do. None if the
    direction promises less than that rounding.
    """
    ray = Ray(oracle, at, direction)
    ray.check()
    for rounding in _roundings(at):
        for k in range(trials):
            alpha = 0.5**k
            value, slope = ray(alpha)
            excess = value - (at.loss + c1 * alpha * ray.slope)
            if (excess <= 0 and value < at.loss) or (excess <= rounding and abs(slope) <= 0.9 * abs(ray.slope)):
                return ray.point
    if -ray.slope <= 10.0 * at.rounding:
        return None
    raise NoLower
