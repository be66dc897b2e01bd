"""Schedules: a factor of the step number that multiplies a base value, as torch's ``LambdaLR`` means it.

    lr_t = lr * schedule(t, horizon),      t = 0, 1, ...

The factor is computed in Python doubles outside the update and passed in, so that a compiled update is never rebuilt.
Every schedule is a ``LambdaLR`` function as it stands, ``LambdaLR(optimizer, Power(0.5))``; one that depends on the
run's length is told it first, ``LambdaLR(optimizer, Linear().over(10_000))``.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from rlgan.optim.errors import positive


class Schedule(ABC):
    """A factor of the step number."""

    @abstractmethod
    def __call__(self, step: int, horizon: int = 0) -> float:
        """The factor at `step` (counted from 0) of a run planned to take `horizon` steps.

        Raises:
            ValueError: if the factor depends on the run's length and `horizon` is 0, unknown.
        """

    def over(self, horizon: int) -> Callable[[int], float]:
        """The factor as a function of the step alone, for a run of `horizon` steps; it can be pickled.

        Raises:
            ValueError: if `horizon` is not positive.
        """
        if horizon < 1:
            raise ValueError(f"horizon = {horizon}: the run's length, at least 1 step, for example 10000")
        return functools.partial(self, horizon=horizon)


def _length(name: str, given: int | None, horizon: int) -> int:
    """`given` steps, or the run's length where the field `name` is None."""
    if given is not None:
        return given
    if horizon < 1:
        raise ValueError(
            f"horizon = {horizon}: this schedule depends on the run's length; give {name}, for example {name}=10000, "
            "or the length by schedule.over(10000)"
        )
    return horizon


def _check_length(name: str, steps: int | None) -> None:
    if steps is not None and not steps >= 1:
        raise ValueError(f"{name} = {steps}: at least 1, or null for the length of the run")


@dataclass(frozen=True)
class Constant(Schedule):
    """No schedule: factor = 1."""

    def __call__(self, step: int, horizon: int = 0) -> float:
        return 1.0


class _Decay(Schedule):
    """A way from 1 to `end` that takes `end_step` steps, or the length of the run."""

    end: float
    end_step: int | None

    def __post_init__(self) -> None:
        if not 0 <= self.end < math.inf:
            raise ValueError(f"end = {self.end}: a factor of the base value, at least 0; for example 0.01")
        _check_length("end_step", self.end_step)

    def _done(self, step: int, horizon: int) -> float:
        """The share of the way that is behind at `step`."""
        return min(step / _length("end_step", self.end_step, horizon), 1.0)


@dataclass(frozen=True)
class Linear(_Decay):
    """A straight line from 1 to `end`, then constant: factor = 1 + (end - 1) min(step / end_step, 1).

    lr_k = (1 - k/tau) lr_0 + (k/tau) lr_tau, constant from k = tau on (Goodfellow et al. 2016, equation 8.14, who take
    lr_tau of about 1 % of lr_0).

    Args:
        end: the factor reached, at least 0.
        end_step: the step at which it is reached (tau); None means the length of the run.

    Raises:
        ValueError: if `end` is negative or `end_step` is not positive.
    """

    end: float = 0.01
    end_step: int | None = None

    def __call__(self, step: int, horizon: int = 0) -> float:
        return 1.0 + (self.end - 1.0) * self._done(step, horizon)


@dataclass(frozen=True)
class Cosine(_Decay):
    """Half a cosine from 1 to `end`, then constant: factor = end + (1 - end) (1 + cos(pi min(step / end_step, 1))) / 2.

    Loshchilov & Hutter 2017 (SGDR), equation 5, without restarts.

    Args:
        end: the factor reached, at least 0.
        end_step: the step at which it is reached; None means the length of the run.

    Raises:
        ValueError: if `end` is negative or `end_step` is not positive.
    """

    end: float = 0.0
    end_step: int | None = None

    def __call__(self, step: int, horizon: int = 0) -> float:
        return self.end + (1.0 - self.end) * (1.0 + math.cos(math.pi * self._done(step, horizon))) / 2.0


@dataclass(frozen=True)
class Power(Schedule):
    """A power of 1/k: factor = (offset / (offset + step))^kappa.

    lr_k = c / k^kappa with k = offset + step and c = lr_0 offset^kappa.

    sum lr_k is infinite for kappa <= 1 and sum lr_k^2 finite for kappa > 1/2; both, the conditions of Robbins & Monro
    1951, for 1/2 < kappa <= 1. With kappa = 1 the objective falls as O(1/k) near a minimum with a positive definite
    Hessian, and for kappa in (0, 1] strict saddles are avoided with probability 1 (Mertikopoulos et al. 2020).

    Args:
        kappa: the power, positive; 1/2 is the 1/sqrt(k) of convex problems, 1 that of strongly convex ones.
        offset: the count k at step 0, positive. The base value is halved, with kappa = 1, in the first `offset` steps.

    Raises:
        ValueError: if `kappa` or `offset` is not positive.
    """

    kappa: float = 0.5
    offset: float = 1.0

    def __post_init__(self) -> None:
        positive("kappa", self.kappa, "the power of 1/k; for example 0.5 or 1.0")
        positive("offset", self.offset, "the count at the first step; for example 1.0")

    def __call__(self, step: int, horizon: int = 0) -> float:
        return float((self.offset / (self.offset + step)) ** self.kappa)


@dataclass(frozen=True)
class InverseSqrtHorizon(Schedule):
    """A constant that is smaller in longer runs: factor = 1 / sqrt(N) at every step of a run of N.

    lr = 1 / (L sqrt(N)) gives a smallest squared gradient norm of order 1 / sqrt(N) (Ghadimi & Lan 2013).

    Args:
        steps: N; None means the length of the run.

    Raises:
        ValueError: if `steps` is not positive.
    """

    steps: int | None = None

    def __post_init__(self) -> None:
        _check_length("steps", self.steps)

    def __call__(self, step: int, horizon: int = 0) -> float:
        return 1.0 / math.sqrt(_length("steps", self.steps, horizon))


@dataclass(frozen=True)
class CoolDown(Schedule):
    """Constant up to a cut-off, then 1/k, continuous there: factor = min(1, cut / step).

    Far from a minimiser a constant rate travels fastest, near it only a vanishing one
    converges. After the cut-off sum lr_k is infinite and sum lr_k^2 finite, as for `Power` with kappa = 1.

    Args:
        start_step: the cut-off; None means `start_fraction` of the run.
        start_fraction: the cut-off as a share of the run, in (0, 1]; counts where `start_step` is None.

    Raises:
        ValueError: if `start_step` is not positive or `start_fraction` is outside of (0, 1].
    """

    start_step: int | None = None
    start_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.start_step is not None and not self.start_step >= 1:
            raise ValueError(f"start_step = {self.start_step}: at least 1, or null for a fraction of the run")
        if not 0 < self.start_fraction <= 1:
            raise ValueError(
                f"start_fraction = {self.start_fraction}: a share of the run's length, in (0, 1], for example 0.5"
            )

    def __call__(self, step: int, horizon: int = 0) -> float:
        if self.start_step is not None:
            cut = float(self.start_step)
        else:
            cut = self.start_fraction * _length("start_step", None, horizon)
        return 1.0 if step <= cut else cut / step


@dataclass(frozen=True)
class Piecewise(Schedule):
    """Constant pieces: factor = factors[i] for boundaries[i-1] <= step < boundaries[i].

    Args:
        boundaries: the steps at which the next factor begins, positive and increasing.
        factors: one more than there are boundaries, each at least 0; the first holds from step 0.

    Raises:
        ValueError: if the boundaries do not increase, a factor is negative, or the two do not fit.
    """

    boundaries: tuple[int, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in zip((0, *self.boundaries), self.boundaries, strict=False)):
            raise ValueError(f"boundaries = {list(self.boundaries)}: positive and increasing, for example [1000, 2000]")
        if len(self.factors) != len(self.boundaries) + 1 or not all(0 <= x < math.inf for x in self.factors):
            raise ValueError(
                f"factors = {list(self.factors)}: one more than there are boundaries ({len(self.boundaries)}), each at "
                "least 0; for example boundaries [1000, 2000] and factors [1.0, 0.1, 0.01]"
            )

    def __call__(self, step: int, horizon: int = 0) -> float:
        return float(self.factors[sum(step >= boundary for boundary in self.boundaries)])


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight rise, then another schedule.

    factor = after(0) (step + 1) / (steps + 1) for step < steps, from then on after(step - steps).

    A straight line that would be 0 one step before the first and meets `after`, which begins when it ends and has what
    is left of the run (Goyal et al. 2017, section 2.2; for Adam see Ma & Yarats 2021).

    Args:
        steps: length of the warm-up, at least 1.
        after: any schedule; its steps are counted from the end of the warm-up.

    Raises:
        ValueError: if `steps` is not positive.
    """

    steps: int
    after: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        if not self.steps >= 1:
            raise ValueError(f"steps = {self.steps}: length of the warm-up, at least 1; for example 500")

    def __call__(self, step: int, horizon: int = 0) -> float:
        # A run that ends within its warm-up never comes to `after`; 0 would tell it that the length is unknown.
        left = max(horizon - self.steps, 1) if horizon > 0 else 0
        if step < self.steps:
            return self.after(0, left) * (step + 1) / (self.steps + 1)
        return self.after(step - self.steps, left)


@dataclass(frozen=True)
class Product(Schedule):
    """Several schedules at once: factor = the product of all their factors at the same step.

    Args:
        schedules: at least one.

    Raises:
        ValueError: if there is no schedule.
    """

    schedules: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        if not self.schedules:
            raise ValueError("schedules = []: at least one; for none choose schedule constant")

    def __call__(self, step: int, horizon: int = 0) -> float:
        return math.prod(schedule(step, horizon) for schedule in self.schedules)


Factor: TypeAlias = Callable[[int], float]
"""A schedule over a run: step (0, 1, ...) -> factor of a base value."""


def unscheduled(step: int) -> float:
    """The factor of a value that stays as it is."""
    return 1.0
