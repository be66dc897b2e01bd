"""Newton's method and its kin, for losses that are functions of theta alone (full batch, no noise).

    theta+ = theta + alpha d,    d = -B g,    alpha from a line search

These do not fit the one equation of `method.py`: a step evaluates the loss several times, which means something only
if every evaluation is of the same function. On minibatches use the methods there.

| method | B | per step, beside the line search |
|---|---|---|
| SteepestDescent | I | one Hessian-vector product |
| ConjugateGradient | I, plus beta times the last direction | one Hessian-vector product |
| LBFGS | from the last `history` steps | nothing |
| BFGS | from all steps, dense | d^2 |
| Newton | modified Hessian's inverse | the Hessian, d^3 |

Nocedal & Wright, Numerical Optimization, 2nd edition 2006, chapters 5 - 7.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rlgan.optim.errors import LineSearchFailed, NonFinite
from rlgan.optim.second_order.line_search import Oracle, Point, armijo_step, dot, model_step, wolfe_step
from rlgan.optim.step.vector import length


@dataclass(frozen=True)
class MinimisationTrace:
    """What a minimisation did.

    Args:
        theta: the last point (d,).
        losses, gradient_norms: the loss and |g| at the start and after every step.
        evaluations: how often the loss was called: for a value and gradient, a Hessian-vector product or a Hessian.
        converged: whether the last |g| is within the tolerance. If not, the steps were used up, or the loss cannot be
            lowered any further in its precision.
    """

    theta: Tensor
    losses: list[float]
    gradient_norms: list[float]
    evaluations: int
    converged: bool


class FullBatch(ABC):
    """A method for a deterministic loss; its settings are its fields, its state lives in one minimisation."""

    def minimize(
        self, loss: Callable[[Tensor], Tensor], theta: Tensor, steps: int, tolerance: float = 1e-10
    ) -> MinimisationTrace:
        """Minimise `loss` from `theta`, which is not written to, until |g| <= `tolerance`.

        Args:
            loss: theta (d,) -> scalar, the same function at every call.
            theta: the start (d,), floating point; the trace's theta has its dtype and device.
            steps: the most steps taken, at least 1.
            tolerance: of the Euclidean norm of the gradient, at least 0.

        Raises:
            ValueError: if an argument is out of range or d too large for a dense matrix of the method.
            NonFinite: if the loss or its gradient is not finite at the start, or a Hessian is not finite later.
            LineSearchFailed: if no acceptable step is found at a point that is not stationary.
        """
        if theta.ndim != 1 or not theta.is_floating_point() or theta.numel() == 0:
            raise ValueError(
                f"theta = {theta.dtype} of shape {tuple(theta.shape)}: must be one floating-point vector (d,), "
                "for example Vector(module).theta"
            )
        if steps < 1:
            raise ValueError(f"steps = {steps}: must be at least 1, for example 100")
        if not tolerance >= 0:
            raise ValueError(f"tolerance = {tolerance}: of the gradient's norm, at least 0; for example 1e-10")
        self._admit(theta.numel())
        oracle = Oracle(loss)
        at = oracle.at(theta)
        if not at.finite:
            raise NonFinite(
                f"the loss at the start is {at.loss:.4g}, its gradient's norm {at.norm:.4g}; "
                "start where both are finite, for example from smaller parameters"
            )
        losses, norms = [at.loss], [at.norm]
        path = self._path(oracle, at)
        try:
            while norms[-1] > tolerance and len(losses) <= steps:
                new = next(path, None)
                if new is None:
                    break
                at = new
                losses.append(at.loss)
                norms.append(at.norm)
        except LineSearchFailed as error:
            raise LineSearchFailed(
                f"{type(self).__name__}, step {len(losses)}, loss {losses[-1]:.6g}, |g| = {norms[-1]:.3g}: {error}"
            ) from None
        return MinimisationTrace(at.theta.clone(), losses, norms, oracle.evaluations, norms[-1] <= tolerance)

    def _admit(self, d: int) -> None:
        """Refuse a dimension that the method is not for."""
        return

    @abstractmethod
    def _path(self, oracle: Oracle, at: Point) -> Iterator[Point]:
        """The points after `at`, one a step; ends where the precision of the loss does."""


def _descent(g: Tensor, direction: Tensor) -> bool:
    """Whether f falls along `direction`, by more than the rounding of g'd."""
    size = torch.finfo(g.dtype).eps * length(g).item() * length(direction).item()
    return dot(g, direction) < -size


def _refuse_above(name: str, d: int, largest: int, matrix: str) -> None:
    if d > largest:
        raise ValueError(
            f"theta = a vector of {d}: {name} keeps {matrix}, {d} x {d} numbers, and takes d <= largest = {largest}; "
            "use LBFGS or ConjugateGradient, which keep only vectors"
        )


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

    def _path(self, oracle: Oracle, at: Point) -> Iterator[Point]:
        while (new := wolfe_step(oracle, at, -at.g, model_step(oracle, at, -at.g), 1e-4, 0.1)) is not None:
            yield new
            at = new


@dataclass(frozen=True)
class ConjugateGradient(FullBatch):
    """Non-linear conjugate gradients, Polak-Ribiere+ (Nocedal & Wright 5.4):

        d+ = -g+ + beta d,    beta = max(0, g+'(g+ - g) / g'g).

    The line search first tries the exact step of the quadratic model, -g'd / d'Hd. So on a quadratic this is the linear
    method (Hestenes & Stiefel 1952) and ends in d steps; elsewhere the strong Wolfe conditions decide.
    A direction that does not descend is replaced by -g.
    """

    def _path(self, oracle: Oracle, at: Point) -> Iterator[Point]:
        d = -at.g
        while (new := wolfe_step(oracle, at, d, model_step(oracle, at, d), 1e-4, 0.1)) is not None:
            yield new
            beta = dot(new.g, new.g - at.g) / dot(at.g, at.g)
            d = -new.g + max(beta, 0.0) * d
            at = new
            if not _descent(at.g, d):
                d = -at.g


@dataclass(frozen=True)
class Newton(FullBatch):
    """Newton's method, made to descend where the Hessian is not positive definite:

        theta+ = theta - alpha Q (|Lambda|_floor + damping)^-1 Q' g,    H = Q Lambda Q',

    with |lambda|_floor = max(|lambda|, floor max |lambda|): eigenvalue modification (Nocedal & Wright, section 3.4).
    With |lambda| rather than the floor in place of a negative eigenvalue, a strict saddle repels at Newton's pace
    (Dauphin et al. 2014). alpha = 1, 1/2, 1/4, ... by Armijo's condition f+ <= f + c1 alpha g'd with c1 = 1e-4. On a
    convex quadratic one step suffices; near a minimum with a positive definite Hessian convergence is quadratic.

    Args:
        damping: added to every eigenvalue (Levenberg 1944), at least 0; above 0 convergence is linear.
        floor: the smallest eigenvalue kept, as a share of the largest, in (0, 1).
        largest: the dimension above which no Hessian is made.

    Raises:
        ValueError: if a setting is out of range.
    """

    damping: float = 0.0
    floor: float = 1e-10
    largest: int = 1000

    def __post_init__(self) -> None:
        if not self.damping >= 0:
            raise ValueError(f"damping = {self.damping}: added to the eigenvalues, at least 0; for example 1e-3")
        if not 0 < self.floor < 1:
            raise ValueError(f"floor = {self.floor}: a share of the largest eigenvalue, in (0, 1), for example 1e-10")
        _largest(self.largest)

    def _admit(self, d: int) -> None:
        _refuse_above("Newton", d, self.largest, "the Hessian")

    def direction(self, g: Tensor, hessian: Tensor) -> Tensor:
        """The direction of descent (d,) for the gradient (d,) and the Hessian (d, d)."""
        values, basis = torch.linalg.eigh(hessian)
        size = values.abs()
        top = size.max()
        size = size.clamp(min=(self.floor * top).item()) + self.damping
        # A loss without any curvature: the gradient itself.
        return -(basis @ ((basis.T @ g) / size)) if top + self.damping > 0 else -g

    def _path(self, oracle: Oracle, at: Point) -> Iterator[Point]:
        while True:
            hessian = oracle.hessian(at.theta)
            if not hessian.isfinite().all():
                raise NonFinite("the Hessian is not finite where the loss is; use BFGS, which needs none")
            new = armijo_step(oracle, at, self.direction(at.g, hessian))
            if new is None:
                return
            yield new
            at = new


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
    largest: int = 5000

    def __post_init__(self) -> None:
        if not 0 < self.c1 < 0.5:
            raise ValueError(f"c1 = {self.c1}: the share of the promised decrease, in (0, 1/2), for example 1e-4")
        if not self.c1 < self.c2 < 1:
            raise ValueError(
                f"c2 = {self.c2}: the share of the slope left, in (c1, 1) = ({self.c1}, 1), for example 0.9"
            )
        _largest(self.largest)

    def _admit(self, d: int) -> None:
        _refuse_above("BFGS", d, self.largest, "the inverse Hessian")

    def _path(self, oracle: Oracle, at: Point) -> Iterator[Point]:
        inverse: Tensor | None = None
        while True:
            d = -at.g if inverse is None else -(inverse @ at.g)
            if not _descent(at.g, d):
                inverse, d = None, -at.g
            first = 1.0 if inverse is not None else min(1.0, 1.0 / at.norm)
            new = wolfe_step(oracle, at, d, first, self.c1, self.c2)
            if new is None:
                return
            yield new
            s, y = new.theta - at.theta, new.g - at.g
            sy = dot(s, y)
            if sy > torch.finfo(s.dtype).eps * length(s).item() * length(y).item():
                if inverse is None:
                    inverse = torch.eye(len(s), dtype=s.dtype, device=s.device) * (sy / dot(y, y))
                by = inverse @ y
                cross = torch.outer(by, s) / sy
                inverse = inverse - cross - cross.T + (1.0 + dot(y, by) / sy) / sy * torch.outer(s, s)
            at = new


@dataclass(frozen=True)
class LBFGS(FullBatch):
    """Limited-memory BFGS (Liu & Nocedal 1989): ``torch.optim.LBFGS`` with its strong Wolfe line search.

    B is applied from the last `history` pairs (s, y), in O(history d). Two tolerances in torch are absolute: its search
    gives up in brackets below 1e-9, and pairs with s'y <= 1e-10 are dropped. Where that happens short of the minimum
    it starts afresh, in units of theta and of the loss in which the gradient and the curvature along it are 1.
    Its search compares losses to the last bit, so that |g| ends at about sqrt(eps L |f|) where f at the minimum is
    not 0; BFGS and the others go on from there.

    Args:
        history: pairs kept, at least 1.

    Raises:
        ValueError: if `history` is below 1.
    """

    DROPPED: ClassVar[float] = 1e-10

    history: int = 10

    def __post_init__(self) -> None:
        if self.history < 1:
            raise ValueError(f"history = {self.history}: steps remembered, at least 1; for example 10")

    def _path(self, oracle: Oracle, at: Point) -> Iterator[Point]:
        end = yield from self._in_units(oracle, at, 1.0, 1.0)
        while True:
            at, size = end, end.norm
            if size == 0.0:
                return
            alpha = model_step(oracle, at, -at.g)
            end = yield from self._in_units(oracle, at, alpha * size, 1.0 / (alpha * size**2))
            if end is at:
                if alpha * size**2 <= 10.0 * at.rounding:
                    return
                raise LineSearchFailed("no step along -g lowers the loss; is the gradient that of the loss?")

    def _in_units(self, oracle: Oracle, start: Point, unit: float, per_loss: float) -> Generator[Point, None, Point]:
        """Torch's points on u -> per_loss f(start + unit u), from u = 0 on until it gets stuck or drops a pair."""
        u = torch.zeros_like(start.theta).requires_grad_()

        def here() -> Point:
            return oracle.at(start.theta + unit * u.detach())

        def closure() -> float:
            point = here()
            u.grad = point.g * (per_loss * unit)
            return per_loss * (point.loss - start.loss)

        # One iteration a call; the trace, not torch's tolerances, says when it is over.
        optimizer = torch.optim.LBFGS(
            [u], 1.0, 1, max_eval=60, tolerance_grad=0.0, tolerance_change=0.0, history_size=self.history,
            line_search_fn="strong_wolfe",
        )  # fmt: skip
        at = start
        while True:
            optimizer.step(closure)
            new = here()
            if not new.finite:
                raise LineSearchFailed("torch's search left the domain of the loss; is it unbounded below? or use BFGS")
            if torch.equal(new.theta, at.theta):
                return at
            yield new
            bend = dot(new.g - at.g, new.theta - at.theta) * per_loss
            at = new
            if bend <= self.DROPPED:
                return at
