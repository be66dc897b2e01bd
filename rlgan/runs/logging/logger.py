"""Write a run's metrics.jsonl and pictures, and hand them to its sinks; nothing else writes them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlgan.runs.logging.pictures import picture_name, rasterise
from rlgan.runs.record.files import Lines, read_lines, write_atomically
from rlgan.task.hooks.callback import How
from rlgan.task.sink import Opening, Sink

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rlgan.task.task import Picture


class Logger:
    """Writer of a run's metrics and pictures, for its directory and for its sinks.

    Args:
        run: the run's directory, the step that it goes on from, and what its sinks are told.
        sinks: copied, so that a seed beside this one has its own.
        resume_bytes, resume_sha256: of metrics.jsonl at that step; see `rlgan.runs.record.files.Lines`.

    Attributes:
        notes: that metrics.jsonl was not what it was; that a sink failed: it gets no more, and all else goes on.
    """

    def __init__(
        self, run: Opening, sinks: Sequence[Sink] = (), resume_bytes: int = 0, resume_sha256: str | None = None
    ) -> None:
        self._path = run.path
        self._lines = Lines(run.path / "metrics.jsonl", run.step, resume_bytes, resume_sha256)
        self.notes: list[str] = [self._lines.note] * bool(self._lines.note)
        self._sinks = [copy.copy(sink) for sink in sinks]
        rows = partial(read_lines, run.path / "metrics.jsonl")
        self._all(lambda sink: sink.open(replace(run, rows=rows)))

    def _all(self, tell: Callable[[Sink], object]) -> None:
        """Tell every sink; one that fails is given up: metrics.jsonl and pictures/ have the same."""
        for sink in list(self._sinks):
            try:
                tell(sink)
            except Exception as error:
                self._sinks.remove(sink)
                why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                what = sink.what or type(sink).__name__
                self.notes.append(f"{what} cannot be written ({why}); the run goes on without")

    def move(self, path: Path) -> None:
        """Go on in the directory's new place; files that are open have moved with it."""
        self._path = path
        self._lines.move(path / "metrics.jsonl")
        self._all(lambda sink: sink.move(path))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line of metrics.jsonl, and hand on the same."""
        self._lines.write({"step": step, **values})
        self._all(lambda sink: sink.scalars(step, values))

    def points(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        """Hand on values that stand in no line of metrics.jsonl, measured at a time in seconds since the epoch."""
        self._all(lambda sink: sink.points(step, values, seconds))

    def pictures(self, step: int, pictures: Mapping[str, Picture]) -> None:
        """Write pictures to `pictures/<tag>_<step>.png`, in place of the former one of the tag, and hand them on."""
        folder = self._path / "pictures"
        arrays: dict[str, NDArray[np.uint8]] = {}
        for tag, picture in pictures.items():
            png, arrays[tag] = rasterise(picture)
            folder.mkdir(exist_ok=True)
            stem = picture_name(tag)
            write_atomically(folder / f"{stem}_{step:09d}.png", png)
            for former in folder.glob(f"{stem}_*.png"):
                if re.fullmatch(rf"{re.escape(stem)}_\d{{9,}}", former.stem) and int(former.stem[-9:]) != step:
                    former.unlink()
        self._all(lambda sink: sink.pictures(step, arrays))

    def histograms(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Hand on arrays of which histograms are wanted."""
        self._all(lambda sink: sink.histograms(step, arrays))

    def film(self, step: int, tag: str, gif: bytes) -> None:
        """Hand on a film."""
        self._all(lambda sink: sink.film(step, tag, gif))

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """Hand on a block of Markdown."""
        self._all(lambda sink: sink.text(tag, text, step))

    def end(self, state: How, latest: Mapping[str, float]) -> None:
        """Tell the sinks how this start ended, with the latest value under every tag."""
        self._all(lambda sink: sink.end(state, latest))

    def flush(self) -> dict[str, Any]:
        """Make everything durable; returns what a checkpoint has to know of metrics.jsonl."""
        kept = self._lines.flush()
        self._all(lambda sink: sink.flush())
        return kept

    def settle(self) -> None:
        """A checkpoint stands: what a resume kept of metrics.jsonl until now is not needed any more."""
        self._lines.settle()

    def close(self) -> None:
        """Flush and close everything."""
        try:
            self.flush()
        finally:
            self._all(lambda sink: sink.close())
            self._lines.close()
