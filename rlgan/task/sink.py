"""The interface of a sink: where a run's numbers, pictures and words go besides its own files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rlgan.task.hooks.callback import How

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rlgan.task.task import Task

Plain = bool | int | float | str


@dataclass(frozen=True)
class Opening:
    """What a sink is told when a start of a run opens it.

    Args:
        path: the run's directory.
        task: the class of the task, whose `groups`, `explained`, `best` and `headline` say what matters; None where
            nothing is known of it.
        config: the resolved configuration.
        varied: what was chosen or typed for this run, under short names.
        about: lines on the run by name: the command, the versions, the commit.
        step: that the run goes on from; None of a new run, -1 of one that starts anew.
        rows: reads what was logged up to that step: rows of values by tag, with their `step`.
    """

    path: Path
    task: type[Task] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    varied: Mapping[str, Plain] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    step: int | None = None
    rows: Callable[[], Sequence[Mapping[str, Any]]] = tuple


class Sink(ABC):
    """Where a run's numbers, pictures and words go besides its own files: an entry of `logger=[...]`.

    A subclass has `scalars`; everything else does nothing unless it is overridden. Its constructor takes the keys of
    the configuration and touches nothing: every start of a run opens a copy of the object, and so does each of its
    seeds. Whatever a method raises ends no run: the sink is left out from then on, with a note.

    Attributes:
        what: what it writes, for that note.
    """

    what: ClassVar[str] = ""

    def check(self) -> None:  # noqa: B027 - optional
        """Tell, before a run starts, whether this sink can work here.

        Raises:
            ValueError, ImportError: it cannot; the message names the remedy.
        """

    def open(self, run: Opening) -> None:  # noqa: B027 - optional
        """Begin, or go on after `run.step`: what was written of later steps is not true any more."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of one log, by tag; several logs may be of one step."""

    def points(self, step: int, values: Mapping[str, float], seconds: float) -> None:  # noqa: B027 - optional
        """Take values that stand in no row of metrics.jsonl, such as one episode's return.

        Args:
            step: of the run.
            values: by tag.
            seconds: the time at which they were measured, since the epoch.
        """

    def pictures(self, step: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:  # noqa: B027 - optional
        """Take pictures of shape (height, width, channels), by tag."""

    def histograms(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027 - optional
        """Take the values of arrays of any shape, by tag, of which a histogram is wanted."""

    def film(self, step: int, tag: str, gif: bytes) -> None:  # noqa: B027 - optional
        """Take a film as an animated GIF."""

    def text(self, tag: str, text: str, step: int = 0) -> None:  # noqa: B027 - optional
        """Take a block of Markdown."""

    def end(self, state: How, latest: Mapping[str, float]) -> None:  # noqa: B027 - optional
        """Learn how this start of the run ended, with the latest value under every tag."""

    def flush(self) -> None:  # noqa: B027 - optional
        """Make durable what was taken: a checkpoint is being made."""

    def move(self, path: Path) -> None:  # noqa: B027 - optional
        """Go on where the run's directory is now."""

    def close(self) -> None:  # noqa: B027 - optional
        """Let go of everything; `flush` was called before."""
