"""The base class of callbacks: what is called as a run goes on, and may end it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from rlgan.task.task import Task

How = Literal["finished", "interrupted", "failed"]


class Ending(NamedTuple):
    """A callback's wish that the run ends: why, and whether the run is then finished or only pauses."""

    reason: str
    finished: bool


class Callback:
    """Called as a run goes on; none of its methods has to be written.

    A subclass is the target of an entry of `callbacks`. The constructor keeps settings and does nothing else, for it is
    called before there is a run. With `seeds=` every seed has an instance of its own. What a method draws from a random
    generator moves none of the run's.

    Attributes:
        task: what is trained; there from `on_start` on.
        path: the run's directory; there from `on_start` on.
        ending: what `stop` asked for.
    """

    task: Task
    path: Path
    ending: Ending | None = None

    def on_start(self, step: int) -> None:
        """The run begins, or goes on, with `step` steps done; a state that was saved has been restored."""

    def on_step(self, step: int) -> None:
        """The task has moved on, to `step` steps. Called very often: be quick, and draw no random numbers."""

    def on_log(self, step: int, values: Mapping[str, float]) -> None:
        """Training scalars were logged."""

    def on_evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """The task was measured: the numbers by tag, without those that are not finite."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """A checkpoint stands, the file `path`."""

    def on_end(self, step: int, how: How, values: Mapping[str, float]) -> None:
        """The run ends after `step` steps; `values` are the latest of every tag. The task can still be asked."""

    def stop(self, reason: str, finished: bool = True) -> None:
        """Ask the run to end after this step, saved, with exit code 0.

        Args:
            reason: a sentence for the user and for status.json.
            finished: True measures the task and closes the run as a finished one. False saves it as an interrupted one,
                which `resume=` takes up exactly where it was.
        """
        self.ending = self.ending or Ending(reason, finished)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the callback: dict, list, tuple, tensor, int, float, str, bool and None."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; called before `on_start`."""
