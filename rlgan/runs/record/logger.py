"""Write a run's metrics.jsonl, TensorBoard events (one file a start) and pictures; nothing else writes them."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlgan.runs.record.files import Lines, write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from rlgan.task.task import Picture


class Logger:
    """Writer of a run's metrics, pictures and TensorBoard events.

    Args:
        path: the run's directory.
        tensorboard: write an event file as well.
        resume_step: the step that the run goes on from; TensorBoard hides later events of earlier starts, so that
            curves do not fork.
        resume_bytes, resume_sha256: of metrics.jsonl at that step; see `rlgan.runs.record.files.Lines`.

    Attributes:
        notes: that metrics.jsonl was not what it was; that TensorBoard's events could not be written: no more of them
            are, and all else goes on.
    """

    def __init__(
        self,
        path: Path,
        tensorboard: bool,
        resume_step: int | None = None,
        resume_bytes: int = 0,
        resume_sha256: str | None = None,
    ) -> None:
        self._path = path
        self._lines = Lines(path / "metrics.jsonl", resume_step, resume_bytes, resume_sha256)
        self._writer: SummaryWriter | None = None
        self.notes: list[str] = [self._lines.note] * bool(self._lines.note)
        if tensorboard:
            self._open_events(None if resume_step is None else resume_step + 1)

    def _open_events(self, purge: int | None) -> None:
        with self._events():
            from torch.utils.tensorboard import SummaryWriter

            _silence_writers()
            self._writer = SummaryWriter(str(self._path), purge_step=purge, max_queue=1000)

    @contextmanager
    def _events(self) -> Iterator[None]:
        """Give up TensorBoard's events where writing them fails: metrics.jsonl and pictures/ have the same."""
        try:
            yield
        except Exception as error:
            self._writer = None
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            self.notes.append(f"TensorBoard's events cannot be written ({why}); the run goes on without them")

    def move(self, path: Path) -> None:
        """Go on in the directory's new place; files that are open have moved with it."""
        self._path = path
        self._lines.move(path / "metrics.jsonl")
        if self._writer is not None:  # TensorBoard opens its file by name for every record
            with suppress(Exception):
                self._writer.close()
            self._open_events(None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line of metrics.jsonl, and each value under its tag in TensorBoard."""
        self._lines.write({"step": step, **values})
        if self._writer is not None:
            with self._events():
                for tag, value in values.items():
                    self._writer.add_scalar(tag, value, step)

    def pictures(self, step: int, pictures: Mapping[str, Picture]) -> None:
        """Write pictures to TensorBoard and to `pictures/<tag>_<step>.png`, in place of the former one of the tag."""
        folder = self._path / "pictures"
        for tag, picture in pictures.items():
            png, array = rasterise(picture)
            folder.mkdir(exist_ok=True)
            stem = picture_name(tag)
            write_atomically(folder / f"{stem}_{step:09d}.png", png)
            for former in folder.glob(f"{stem}_*.png"):
                if re.fullmatch(rf"{re.escape(stem)}_\d{{9,}}", former.stem) and int(former.stem[-9:]) != step:
                    former.unlink()
            if self._writer is not None:
                with self._events():
                    self._writer.add_image(tag, array, step, dataformats="HWC")

    def text(self, tag: str, text: str) -> None:
        """Write a block of text to TensorBoard, set in a fixed-width face."""
        if self._writer is not None:
            lines = "\n".join(f"    {line}" for line in text.splitlines())
            with self._events():
                self._writer.add_text(tag, lines, 0)

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Write configuration and final metrics to TensorBoard's HPARAMS page, in this run's own event file.

        `SummaryWriter.add_hparams` would open a second run below this one, and a None hides the run from the page.
        """
        if self._writer is None:
            return
        with self._events():
            from torch.utils.tensorboard.summary import hparams

            events = self._writer._get_file_writer()
            for summary in hparams(hyperparameters(config), {tag: float(value) for tag, value in metrics.items()}):
                events.add_summary(summary)

    def flush(self) -> dict[str, Any]:
        """Make everything durable; returns what a checkpoint has to know of metrics.jsonl."""
        kept = self._lines.flush()
        if self._writer is not None:
            with self._events():
                self._writer.flush()
        return kept

    def settle(self) -> None:
        """A checkpoint stands: what a resume kept of metrics.jsonl until now is not needed any more."""
        self._lines.settle()

    def close(self) -> None:
        """Flush and close both files."""
        try:
            self.flush()
        finally:
            if self._writer is not None:
                with self._events():
                    self._writer.close()
            self._lines.close()


@cache
def _silence_writers() -> None:
    """Keep the threads that write TensorBoard's events from printing tracebacks: their next call raises the error."""
    former = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if type(failed.thread).__name__ != "_AsyncWriterThread":
            former(failed)

    threading.excepthook = hook


def picture_name(tag: str) -> str:
    """Make a file name of a tag."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", tag)


def rasterise(picture: Picture) -> tuple[bytes, np.ndarray]:
    """Convert a picture to PNG bytes and to a uint8 array (height, width, channels).

    Args:
        picture: a matplotlib figure, or a uint8 array (height, width) or (height, width, 1 or 3 or 4).

    Raises:
        ValueError: an array of another dtype or shape.
    """
    from PIL import Image

    stream = io.BytesIO()
    if isinstance(picture, np.ndarray):
        array = picture if picture.ndim == 3 else picture[..., None]
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3, 4):
            raise ValueError(f"picture = {picture.dtype} {picture.shape}: must be uint8 (height, width, 1 or 3 or 4)")
        Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(stream, format="png")
        return stream.getvalue(), array
    picture.savefig(stream, format="png", dpi=100)
    stream.seek(0)
    return stream.getvalue(), np.asarray(Image.open(stream).convert("RGB"))


# How a run is watched and kept, not what it computes.
_HOUSEKEEPING = (
    "run_dir", "seeds", "resume", "progress", "tensorboard", "name", "log_every", "eval_every", "checkpoint_every",
    "keep_last", "threads", "device", "compile", "task",
)  # fmt: skip


def hyperparameters(config: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Flatten a configuration and keep what decides what is learnt, without values of None."""
    flat = flatten({key: value for key, value in config.items() if key not in _HOUSEKEEPING})
    return {key: value for key, value in flat.items() if value != "None"}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Flatten a configuration to `a.b.c: value`; a section is called by its `_target_`; lists become words."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in config.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            flat |= flatten(value, path)
        elif key == "_target_":
            flat[prefix or "target"] = str(value).rsplit(".", 1)[-1]
        else:
            flat[path] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
