"""A callback: what is called as a run goes on, and may end it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlgan.task import Callback


class Mine(Callback):
    """Ends the run once a metric has been at or below a limit so many times in a row; none of its methods is due.

    Args:
        metric: a tag of the evaluation, such as error/test.
        limit: in the metric's unit.
        times: evaluations in a row, at least 1.
    """

    def __init__(self, metric: str, limit: float, times: int = 2) -> None:
        if times < 1:
            raise ValueError(f"times = {times}: must be at least 1, for example 2")
        self.metric, self.limit, self.times, self.seen = metric, limit, times, 0

    def on_evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """After every evaluation; `values` are its numbers by tag."""
        self.seen = self.seen + 1 if values.get(self.metric, float("inf")) <= self.limit else 0
        if self.seen >= self.times:
            self.stop(f"{self.metric} was at most {self.limit} in {self.times} evaluations in a row")

    def on_checkpoint(self, step: int, path: Path) -> None:
        """After every checkpoint; see rlgan.task.Callback for on_start, on_step, on_log and on_end."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a run that is resumed counts on."""
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.seen = state["seen"]
