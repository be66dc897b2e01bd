"""Callbacks that end a run: when it gets no better, and when its time is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

from rlgan.task.hooks.callback import Callback
from rlgan.task.suggest import nearest


class EarlyStopping(Callback):
    """Ends the run as finished when `patience` evaluations in a row have brought no better value.

    A value is better if it is beyond the best one so far by more than `min_delta`; one that is left out is not better.

    Args:
        metric: a tag of the evaluation; None is the one that the task's checkpoints are ranked by.
        patience: evaluations without a better value.
        min_delta: in the metric's unit.
        direction: of what is better; None is the task's own for its own tag, and `min` for any other.

    Raises:
        ValueError: a patience below 1 or a negative `min_delta`; at the first evaluation, a metric that is not there.
    """

    def __init__(
        self,
        metric: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        direction: Literal["min", "max"] | None = None,
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience = {patience}: must be at least 1 evaluation, for example patience=10")
        if not min_delta >= 0:
            raise ValueError(f"min_delta = {min_delta}: must be 0 or more")
        self.metric, self.patience, self.min_delta, self.direction = metric, patience, min_delta, direction
        self.best: float | None = None
        self.waited = 0

    def on_start(self, step: int) -> None:
        own, way = self.task.best
        self.metric = self.metric or own
        self.direction = self.direction or (way if self.metric == own else "min")
        self._decide()

    def on_evaluation(self, step: int, values: Mapping[str, float]) -> None:
        assert self.metric is not None, "on_start comes first"
        value = values.get(self.metric)
        if value is None and self.best is None and self.metric not in (self.task.best[0], *self.task.explained):
            hint = nearest(self.metric, values, "the evaluation has")
            raise ValueError(f"metric = {self.metric}: the evaluation has no such tag; {hint}")
        sign = -1.0 if self.direction == "min" else 1.0
        if value is not None and (self.best is None or sign * (value - self.best) > self.min_delta):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        self._decide()

    def _decide(self) -> None:
        if self.waited >= self.patience:
            best = "never seen" if self.best is None else f"{self.best:.5g}"
            self.stop(f"{self.metric} was no better than its best, {best}, in {self.waited} evaluations (patience)")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


class TimeLimit(Callback):
    """Saves the run and ends it as an interrupted one after `max_minutes` of this start.

    `resume=`, or the same command with the same `run_dir=`, goes on with it, for as many minutes again.

    Args:
        max_minutes: wall time from the start of the training on.

    Raises:
        ValueError: no time at all.
    """

    def __init__(self, max_minutes: float) -> None:
        if not max_minutes > 0:
            raise ValueError(f"max_minutes = {max_minutes}: must be above 0, for example max_minutes=55")
        self.max_minutes = max_minutes
        self._began = time.monotonic()

    def on_start(self, step: int) -> None:
        self._began = time.monotonic()

    def on_step(self, step: int) -> None:
        if time.monotonic() - self._began >= 60 * self.max_minutes:
            self.stop(f"the {self.max_minutes:g} minutes of max_minutes are over", finished=False)
