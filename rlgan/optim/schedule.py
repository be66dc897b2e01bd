"""Schedules: a factor of the step number that multiplies a base value, as torch's ``LambdaLR`` means it.

    lr_t = lr * schedule(t, horizon),      t = 0, 1, ...

The factor is computed in Python doubles outside the update and passed in, so that a compiled update is never rebuilt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """A factor of the step number."""

    @abstractmethod
    def __call__(self, step: int, horizon: int = 0) -> float:
        """The factor at `step` (counted from 0) of a run planned to take `horizon` steps."""


@dataclass(frozen=True)
class Constant(Schedule):
    """factor = 1."""

    def __call__(self, step: int, horizon: int = 0) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear(Schedule):
    """factor = 1 + (end - 1) min(step / end_step, 1): a straight line from 1 to `end`, then constant.

    Deck 000, "learning rate": lr_k = (1 - k/tau) lr_0 + (k/tau) lr_tau with lr_tau = 1 % of lr_0, constant from tau on.

    Args:
        end: the factor reached, at least 0.
        end_step: the step at which it is reached (tau on the slide); None means the length of the run.

    Raises:
        ValueError: if `end` is negative or `end_step` is not positive.
    """

    end: float = 0.01
    end_step: int | None = None

    def __post_init__(self) -> None:
        if self.end < 0:
            raise ValueError(f"end = {self.end}: a factor of the base value, at least 0; for example 0.01")
        if self.end_step is not None and self.end_step < 1:
            raise ValueError(f"end_step = {self.end_step}: at least 1, or null for the length of the run")

    def __call__(self, step: int, horizon: int = 0) -> float:
        last = self.end_step if self.end_step is not None else max(horizon, 1)
        return 1.0 + (self.end - 1.0) * min(step / last, 1.0)
