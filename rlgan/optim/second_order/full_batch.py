"""What methods for full-batch losses have in common: minimising by themselves, and standing in a player's place.

A step evaluates the loss several times, which means something only if every evaluation is of the same function. So
these methods are for a loss of theta alone; on minibatches use those of `rlgan.optim.step`.
"""

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from rlgan.optim.errors import LineSearchFailed, NonFinite
from rlgan.optim.second_order.line_search import NoLower, Oracle, Point
from rlgan.optim.step.method import Engine, InPlace, Whole, single_or_double
from rlgan.optim.step.noise import NoNoise
from rlgan.optim.step.schedule import Factor
from rlgan.optim.step.types import Scalars, Slots, Squares
from rlgan.optim.step.vector import Vector
from rlgan.optim.tree import tree_map

Memory: TypeAlias = dict[str, Any]
"""What a method remembers from step to step: a plain tree of tensors and numbers, empty at the start."""

TOLERANCE = 1e-10
"""|g| at and below which a point counts as stationary."""


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


class FullBatch(InPlace):
    """A method for a deterministic loss; its settings are its fields.

    `minimize` runs it on any function. As a player's method it makes one step a move, by the same numbers: on the loss
    of the player's own batch, which has to be the same batch at every move.
    """

    needs_loss = True
    lr = 1.0
    noise = NoNoise()
    squares: Squares = "double"

    def minimize(
        self, loss: Callable[[Tensor], Tensor], theta: Tensor, steps: int, tolerance: float = TOLERANCE
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
        memory: Memory = {}
        try:
            while norms[-1] > tolerance and len(losses) <= steps:
                new = self._next(oracle, at, memory)
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
    def _next(self, oracle: Oracle, at: Point, memory: Memory) -> Point | None:
        """The point one step after `at`; None where the precision of the loss ends.

        What the step after it needs is put into `memory`, by key. Before the new point is certain nothing that stands
        there is written into.
        """

    def init(self, theta: Tensor) -> Slots:
        single_or_double(theta)
        self._admit(theta.numel())
        return {}

    def engine(self, vector: Vector, state: Slots, momentum: Factor) -> Engine:
        return FullBatchEngine(self, vector.theta)


class FullBatchEngine(Engine):
    """Steps of a full-batch method on a player's vector.

    Where no step lowers the loss any more, or |g| is within `TOLERANCE`, theta stays what it is. In single precision
    that comes early: a loss near 0 is the difference of large numbers, and consists of their rounding. Where somebody
    else has moved theta since the last step, the method begins anew from there.

    Args:
        method: whose steps.
        theta: the player's vector (d,), written to.
    """

    def __init__(self, method: FullBatch, theta: Tensor) -> None:
        self._method, self._theta = method, theta
        self._memory: Memory = {}
        self._left: Tensor | None = None  # where the last step has left theta
        self._end: Tensor | None = None  # the gradient there, if no step led further
        self._evaluations = 0

    def __call__(self, g: Tensor, s: Scalars, whole: Whole | None = None) -> None:
        """One step from theta, where the loss has the value ``whole.value`` and the gradient `g`.

        Raises:
            ValueError: without `whole`.
            LineSearchFailed, NonFinite: see `FullBatch.minimize`; nothing is written then.
        """
        name = type(self._method).__name__
        if whole is None:
            raise ValueError(f"optimizer = {name}: a step evaluates the loss; have an Update move the player")
        at = Point(self._theta.clone(), whole.value, g)
        here = self._left is not None and torch.equal(self._left, at.theta)
        ended = here and self._end is not None and torch.equal(self._end, g)
        if ended or at.norm <= TOLERANCE:
            self._evaluations += 1
            return
        oracle = Oracle(whole.of, at)
        try:
            new, memory = self._step(oracle, at, self._memory if here else {})
        except LineSearchFailed as error:
            raise LineSearchFailed(f"{name}, loss {at.loss:.6g}, |g| = {at.norm:.3g}: {error}") from None
        self._evaluations += oracle.evaluations
        self._memory = memory
        if new is None:
            self._left, self._end = at.theta, g.clone()
        else:
            self._left, self._end = new.theta, None
            self._theta.copy_(new.theta)

    def _step(self, oracle: Oracle, at: Point, memory: Memory) -> tuple[Point | None, Memory]:
        """The next point and memory; where no step lowers the loss, once more with nothing remembered, else None."""
        for before in [memory, {}] if memory else [{}]:
            own = dict(before)
            with contextlib.suppress(NoLower):
                return self._method._next(oracle, at, own), own
        return None, {}

    def report(self) -> dict[str, float]:
        """`evaluations` of the loss so far; for a value and gradient, a Hessian-vector product or a Hessian."""
        return {"evaluations": float(self._evaluations)}

    def state_dict(self) -> dict[str, Any]:
        places = {"left": self._left, "end": self._end}
        return {
            "optimizer": type(self._method).__name__,
            "evaluations": self._evaluations,
            "memory": _copy(self._memory, self._theta),
            **{key: place.clone() for key, place in places.items() if place is not None},
        }

    def check(self, saved: dict[str, Any]) -> None:
        """Refuse what another method has saved, and a memory from which this one cannot step.

        Raises:
            ValueError: with both names, or with what is wrong.
        """
        mine = type(self._method).__name__
        theirs = saved.get("optimizer", "one that needs none") if isinstance(saved, dict) else saved
        if mine != theirs:
            raise ValueError(
                f"optimizer = {mine}: the state was saved with {theirs}; resume with the configuration of the run"
            )
        try:
            trial = FullBatchEngine(self._method, self._theta.clone())
            trial.load_state_dict(saved)
            trial._left, trial._end = trial._theta, None
            goal = self._theta + 1.0
            whole = Whole(lambda x: 0.5 * (x - goal).square().sum(), 0.5 * len(goal))
            trial(-torch.ones_like(goal), {}, whole)
        except LineSearchFailed:
            return  # of a loss that is not the player's
        except Exception as error:
            said = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"optimizer = {mine}: cannot go on from the saved state ({type(error).__name__}: {said}); resume with "
                "the configuration of the run"
            ) from error

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put back a `state_dict()` that `check` has passed."""
        self._memory = _copy(dict(saved["memory"]), self._theta)
        self._left = _copy(saved.get("left"), self._theta)
        self._end = _copy(saved.get("end"), self._theta)
        self._evaluations = int(saved["evaluations"])


def _copy(tree: Any, like: Tensor) -> Any:
    """A plain tree with its tensors copied, of the dtype and device of `like`."""
    return tree_map(lambda leaf: leaf.detach().to(like, copy=True) if isinstance(leaf, Tensor) else leaf, tree)
