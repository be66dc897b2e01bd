"""Notes: what a user has to know about a run, a sentence each; said once a start, and kept in RUN/notes.jsonl."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rlgan.runs.record.files import append_line, read_lines
from rlgan.task.errors import RunError

FILE = "notes.jsonl"


class Notes:
    """The notes of a run: lines `{"step", "note", "time"}` of RUN/notes.jsonl.

    A record that cannot be written ends nothing: it is said once.

    Args:
        run: the run's directory.

    Attributes:
        shown: what has been shown; runs side by side share it.
        silent: whether notes are only written down, as another rank says the like.
    """

    def __init__(self, run: Path) -> None:
        self._file = run / FILE
        self.shown: set[str] = set()
        self.silent = False
        self._said: set[str] = set()
        self._written: set[str] | None = None
        self._fails = False

    def __call__(self, note: str, step: int, show: Callable[[str], None], silent: bool = False) -> None:
        """Show a note and write it down; one of this start is not shown again, one in the file not written again.

        Args:
            note: one sentence.
            step: steps done when it came up.
            show: shows a line.
            silent: only write it down.
        """
        if note in self._said:
            return
        self._said.add(note)
        if not silent and not self.silent and note not in self.shown:
            show(f"note: {note}")
        self.shown.add(note)
        try:
            self.write(note, step)
        except (OSError, ValueError, RunError) as error:
            if not self._fails:
                show(f"note: {self._file} cannot be written ({error}): notes are shown and not kept")
            self._fails = True

    def move(self, run: Path) -> None:
        """Go on in the directory's new place."""
        self._file = run / FILE

    def write(self, note: str, step: int) -> None:
        """Write a note down, if it is not in the file.

        Raises:
            OSError: that is not possible.
        """
        if self._written is None:
            self._written = {str(record.get("note")) for record in read_lines(self._file)}
        if note not in self._written:
            self._written.add(note)
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            append_line(self._file, {"step": step, "note": note, "time": now}, lasting=False)

    def flush(self) -> None:
        """Make durable what was written."""
        if self._written is not None and not self._fails:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
