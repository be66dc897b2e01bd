"""What one start of a run needs, and the clock of its training time."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rlgan.runs.record.checkpoint import Checkpoint
from rlgan.runs.record.directory import RunDirectory
from rlgan.runs.training.notes import Notes
from rlgan.task.hooks.callback import Callback
from rlgan.task.settings import Settings
from rlgan.task.task import Task


class Clock:
    """Seconds of training: evaluations, pictures and saves stop it, of any run that shares it."""

    def __init__(self) -> None:
        self._idle, self._pauses, self._since = 0.0, 0, 0.0

    def __call__(self) -> float:
        """Seconds, from anywhere."""
        return (self._since if self._pauses else time.monotonic()) - self._idle

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop inside the block; several blocks may overlap."""
        self._pauses += 1
        if self._pauses == 1:
            self._since = time.monotonic()
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._idle += time.monotonic() - self._since


@dataclass
class Start:
    """Everything that one start of a run needs: a new run has one, and every resume is one more.

    Args:
        task: built from `config`, and restored where there is a checkpoint.
        settings: the settings it was built with.
        run: the locked directory.
        config: the resolved configuration, for TensorBoard.
        checkpoint: what to go on from.
        stacked: the number of runs that are moved as one.
        draws: draw pictures at every evaluation, and not at the end alone (a picture costs up to a second).
        clock: of the training time; runs that take turns share one.
        typed: keys of the configuration that the command itself changes.
        callbacks: by name.

    Attributes:
        notes: of the run.
        inputs: what the task read from outside, by name.
        saved: an input broke its contract, and what was done before has been saved.
        figures: the final metrics, once they are known: whatever fails after that, they can be shown.
        meaningless: metrics of the last evaluation that are no finite numbers, and stand in no record.
    """

    task: Task
    settings: Settings
    run: RunDirectory
    config: Mapping[str, Any]
    checkpoint: Checkpoint | None = None
    stacked: int = 1
    draws: bool = True
    clock: Clock = field(default_factory=Clock)
    typed: Iterable[str] = ()
    callbacks: Mapping[str, Callback] = field(default_factory=dict)
    notes: Notes = field(init=False)
    inputs: dict[str, str] = field(init=False)
    saved: bool = field(init=False, default=False)
    figures: dict[str, float] | None = field(init=False, default=None)
    meaningless: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.notes, self.inputs = Notes(self.run.path), dict(self.task.inputs())
