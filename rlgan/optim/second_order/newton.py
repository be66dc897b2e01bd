"""Newton's method and its kin, for losses that are functions of theta alone (full batch, no noise).

    theta+ = theta + alpha d,    d = -B g,    alpha from a line search

These do not fit the one equation of `method.py`: a step evaluates the loss several times (see `full_batch.py`).

| method | B | per step, beside the line search |
|---|---|---|
| SteepestDescent | I | one Hessian-vector product |
| ConjugateGradient | I, plus beta times the last direction | one Hessian-vector product |
| LBFGS (in lbfgs.py) | from the last `history` steps | nothing |
| BFGS | from all steps, dense | d^2 |
| Newton | modified Hessian's inverse | the Hessian, d^3; of a long vector up to 100 products with it |

Nocedal & Wright, Numerical Optimization, 2nd edition 2006, chapters 5 - 7.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rlgan.optim.errors import NonFinite
from rlgan.optim.second_order.full_batch import FullBatch, Memory
from rlgan.optim.second_order.line_search import Oracle, Point, armijo_step, dot, model_step, wolfe_step
from rlgan.optim.step.vector import length


def _descent(g: Tensor, direction: Tensor) -> bool:
    """Whether f falls along `direction`, by more than the rounding of g'd."""
    size = torch.finfo(g.dtype).eps * length(g).item() * length(direction).item()
    return dot(g, direction) < -size


def _finite(curvature: Tensor) -> None:
    if not curvature.isfinite().all():
        raise NonFinite("the Hessian is not finite where the loss is; use BFGS, which needs none")


def _largest(value: int) -> None:
    if value < 1:
        raise ValueError(f"largest = {value}: the dimension up to which dense matrices are made, for example 1000")


@dataclass(frozen=True)
class SteepestDescent(FullBatch):
    """Gradient descent with the exact step of the quadratic model:

        theta+ = theta - (g'g / g'Hg) g.

    On a quadratic one step lowers f by exactly (g'g)^2 / (2 g'Hg), at worst by the factor ((kappa - 1)/(kappa + 1))^2
    (Nocedal & Wright, Theorem 3.3; Cauchy 1847). Elsewhere the model's step is only tried first, and accepted by the
    strong Wolfe conditions.
    """

    def _next(self, oracle: Oracle, at: Point, memory: Memory) -> Point | None:
        return wolfe_step(oracle, at, -at.g, model_step(oracle, at, -at.g), 1e-4, 0.1)


@dataclass(frozen=True)
class ConjugateGradient(FullBatch):
    """Non-linear conjugate gradients, Polak-Ribiere+ (Nocedal & Wright 5.4):

        d+ = -g+ + beta d,    beta = max(0, g+'(g+ - g) / g'g).

    The line search first tries the exact step of the quadratic model, -g'd / d'Hd. So on a quadratic this is the linear
    method (Hestenes & Stiefel 1952) and ends in d steps; elsewhere the strong Wolfe conditions decide.
    A direction that does not descend is replaced by -g.
    """

    def _next(self, oracle: Oracle, at: Point, memory: Memory) -> Point | None:
        d = memory.get("direction")
        if d is None or not _descent(at.g, d):
            d = -at.g
        new = wolfe_step(oracle, at, d, model_step(oracle, at, d), 1e-4, 0.1)
        if new is not None:
            beta = dot(new.g, new.g - at.g) / dot(at.g, at.g)
            memory["direction"] = -new.g + max(beta, 0.0) * d
        return new


@dataclass(frozen=True)
class Newton(FullBatch):
    """Newton's method, made to descend where the Hessian is not positive definite:

        theta+ = theta - alpha Q (|Lambda|_floor + damping)^-1 Q' g,    H = Q Lambda Q',

    with |lambda|_floor = max(|lambda|, floor max |lambda|): eigenvalue modification (Nocedal & Wright, section 3.4).
    With |lambda| rather than the floor in place of a negative eigenvalue, a strict saddle repels at Newton's pace
    (Dauphin et al. 2014). alpha = 1, 1/2, 1/4, ... by Armijo's condition f+ <= f + c1 alpha g'd with c1 = 1e-4. On a
    convex quadratic one step suffices; near a minimum with a positive definite Hessian convergence is quadratic.

    Above `largest` parameters no Hessian is made: (H + damping) d = -g is solved by conjugate gradients until the
    residual is min(1/2, sqrt |g|) |g|, and no further than to a direction p of negative curvature, along which it goes
    by |p'Hp| in place of p'Hp (Nocedal & Wright, Algorithm 7.1).

    Args:
        damping: added to every eigenvalue (Levenberg 1944), at least 0; above 0 convergence is linear.
        floor: the smallest eigenvalue kept, as a share of the largest, in (0, 1).
        largest: the dimension above which no Hessian is made.

    Raises:
        ValueError: if a setting is out of range.
    """

    PRODUCTS: ClassVar[int] = 100
    """Products with the Hessian for one direction, at most."""

    damping: float = 0.0
    floor: float = 1e-10
    largest: int = 1000

    def __post_init__(self) -> None:
        if not self.damping >= 0:
            raise ValueError(f"damping = {self.damping}: added to the eigenvalues, at least 0; for example 1e-3")
        if not 0 < self.floor < 1:
            raise ValueError(f"floor = {self.floor}: a share of the largest eigenvalue, in (0, 1), for example 1e-10")
        _largest(self.largest)

    def direction(self, g: Tensor, hessian: Tensor) -> Tensor:
        """The direction of descent (d,) for the gradient (d,) and the Hessian (d, d)."""
        values, basis = torch.linalg.eigh(hessian)
        size = values.abs()
        top = size.max()
        size = size.clamp(min=(self.floor * top).item()) + self.damping
        # A loss without any curvature: the gradient itself.
        return -(basis @ ((basis.T @ g) / size)) if top + self.damping > 0 else -g

    def solved(self, at: Point, product: Callable[[Tensor], Tensor]) -> Tensor:
        """The direction of descent (d,) at a point, from products v -> H v."""
        d, r, p = torch.zeros_like(at.g), at.g, -at.g
        square, norm = dot(r, r), at.norm
        for _ in range(self.PRODUCTS):
            hp = product(p) + self.damping * p
            _finite(hp)
            curvature = dot(p, hp)
            if curvature == 0.0 or not 0.0 < square < math.inf:
                break
            d = d + (square / abs(curvature)) * p
            if curvature < 0.0:
                break
            r = r + (square / curvature) * hp
            before, square = square, dot(r, r)
            if math.sqrt(square) <= min(0.5, math.sqrt(norm)) * norm:
                break
            p = -r + (square / before) * p
        return d if _descent(at.g, d) else -at.g

    def _next(self, oracle: Oracle, at: Point, memory: Memory) -> Point | None:
        if len(at.g) > self.largest:
            return armijo_step(oracle, at, self.solved(at, oracle.products(at.theta)))
        hessian = oracle.hessian(at.theta)
        _finite(hessian)
        return armijo_step(oracle, at, self.direction(at.g, hessian))


@dataclass(frozen=True)
class BFGS(FullBatch):
    """The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno (Nocedal & Wright 6.1):

        B+ = (I - rho s y') B (I - rho y s') + rho s s',    rho = 1 / s'y,    s = theta+ - theta,    y = g+ - g,

    from B = (s'y / y'y) I of the first step, with strong Wolfe line search. The search makes s'y > 0, which keeps B
    positive definite; a step on which rounding spoils it leaves B as it is.

    Args:
        c1, c2: of the strong Wolfe conditions, 0 < c1 < c2 < 1 and c1 < 1/2; with c2 near 0 the search is exact.
        largest: the dimension above which no dense B is made.

    Raises:
        ValueError: if a setting is out of range.
    """

    c1: float = 1e-4
    c2: float = 0.9
    largest: int = 10_000

    def __post_init__(self) -> None:
        if not 0 < self.c1 < 0.5:
            raise ValueError(f"c1 = {self.c1}: the share of the promised decrease, in (0, 1/2), for example 1e-4")
        if not self.c1 < self.c2 < 1:
            raise ValueError(
                f"c2 = {self.c2}: the share of the slope left, in (c1, 1) = ({self.c1}, 1), for example 0.9"
            )
        _largest(self.largest)

    def _admit(self, d: int) -> None:
        if d > self.largest:
            raise ValueError(
                f"largest = {self.largest}: BFGS keeps the inverse Hessian, {d:,} x {d:,} numbers for so many "
                "parameters; use lbfgs or conjugate_gradient, which keep only vectors, or a larger one if there is "
                "memory for it"
            )

    def _next(self, oracle: Oracle, at: Point, memory: Memory) -> Point | None:
        inverse: Tensor | None = memory.get("inverse")
        d = -at.g if inverse is None else -(inverse @ at.g)
        if not _descent(at.g, d):
            inverse, d = None, -at.g
        first = 1.0 if inverse is not None else min(1.0, 1.0 / at.norm)
        new = wolfe_step(oracle, at, d, first, self.c1, self.c2)
        if new is None:
            return None
        s, y = new.theta - at.theta, new.g - at.g
        sy = dot(s, y)
        if sy > torch.finfo(s.dtype).eps * length(s).item() * length(y).item():
            if inverse is None:
                inverse = torch.eye(len(s), dtype=s.dtype, device=s.device) * (sy / dot(y, y))
            by = inverse @ y
            # In place: a matrix of 10,000 x 10,000 has 800 MB in double precision.
            cross = torch.outer(by, s).div_(sy)
            inverse.sub_(cross).sub_(cross.T)
            torch.outer(s, s, out=cross).mul_((1.0 + dot(y, by) / sy) / sy)
            inverse.add_(cross)
        if inverse is None:
            memory.clear()
        else:
            memory["inverse"] = inverse
        return new
