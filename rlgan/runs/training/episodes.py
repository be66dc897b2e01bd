"""RUN/episodes.jsonl: every episode of training, a line each, as it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlgan.runs.record.files import Lines
from rlgan.task.task import Ended

FILE = "episodes.jsonl"
_PREFIX = "episodes"


class EpisodeRecord:
    """Writes lines `{"step", "env", "return", "length", "seconds"}`; a task without episodes has no such file.

    Args:
        run: the run's directory.
        step: that the run goes on from; None of a new run, -1 of one that starts anew.
        meta: of the checkpoint gone on from.

    Attributes:
        note: what is wrong with the file that was found, or empty.
    """

    def __init__(self, run: Path, step: int | None = None, meta: Mapping[str, Any] | None = None) -> None:
        self._file, self._step = run / FILE, step
        self._lines: Lines | None = None
        self.note = ""
        kept = meta or {}
        length, digest = int(kept.get(f"{_PREFIX}_bytes", 0)), kept.get(f"{_PREFIX}_sha256")
        if length or self._file.exists() or self._file.with_name(f"{FILE}.before").exists():
            self._open(length, digest)

    def _open(self, length: int = 0, digest: str | None = None) -> Lines:
        self._lines = Lines(self._file, self._step, length, digest)
        self.note = self._lines.note
        return self._lines

    def write(self, episodes: Sequence[Ended], seconds: float) -> None:
        """Append episodes.

        Args:
            episodes: in the order in which they ended.
            seconds: the run's wall time now, by which theirs are told.
        """
        if not episodes:
            return
        lines, now = self._lines or self._open(), time.time()
        lines.write_all(
            {
                "step": own.step,
                "env": own.env,
                "return": own.total,
                "length": own.length,
                "seconds": round(max(seconds - (now - own.time), 0.0), 3),
            }
            for own in episodes
        )

    def flush(self) -> dict[str, Any]:
        """Make durable what was written; returns what a checkpoint has to know of it."""
        kept = {} if self._lines is None else self._lines.flush()
        return {key.replace("metrics", _PREFIX): value for key, value in kept.items()}

    def settle(self) -> None:
        """A checkpoint stands: what a resume kept until now is not needed any more."""
        if self._lines is not None:
            self._lines.settle()

    def move(self, run: Path) -> None:
        """Go on in the directory's new place."""
        self._file = run / FILE
        if self._lines is not None:
            self._lines.move(self._file)

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()
