"""TensorBoard's events.

RUN/events.out.tfevents.0000000000.session   what was varied, for the page HPARAMS; written anew by every start
RUN/events.out.tfevents.<time>.*             one a start: scalars, pictures, text
RUN/events.out.tfevents.<time>.end           how the last start ended, for the page HPARAMS

TensorBoard keeps the first that a run says of its hyperparameters and of its end, so that both have files that a start
replaces. It reads files in the order of their names.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlgan.runs.logging.board import Board
from rlgan.runs.record.files import write_atomically
from rlgan.task.hooks.callback import How
from rlgan.task.sink import Opening, Plain, Sink

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_PREFIX, _SESSION, _END = "events.out.tfevents.", ".session", ".end"


class TensorBoard(Sink):
    """Write RUN/events.out.tfevents.*; events of earlier starts after the step gone on from are hidden."""

    what = "TensorBoard's events"

    def open(self, run: Opening) -> None:
        self._board = Board(None if _has_plain_tags(run.path) else run.task)
        self._tags = set[str]() if run.step is None else {tag for row in run.rows() for tag in row if tag != "step"}
        self._begin(run.path, None if run.step is None else run.step + 1)
        for former in run.path.glob(f"{_PREFIX}*{_END}"):
            former.unlink()
        _write_session(run.path / f"{_PREFIX}{0:010d}{_SESSION}", "start", hparams=run.varied)

    def _begin(self, path: Path, purge: int | None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from torch.utils.tensorboard import SummaryWriter

        _silence_writers()
        self._path = path
        self._writer: SummaryWriter = SummaryWriter(str(path), purge_step=purge, max_queue=1000)
        if purge is not None:
            # The writer says so once. TensorBoard without its data server takes the first such word of a run for the
            # run's beginning, and hides nothing.
            again = Event(step=purge, session_log=SessionLog(status=SessionLog.START))
            self._writer._get_file_writer().add_event(again)
        self._lay_out()
        self._writer.flush()

    def _lay_out(self) -> None:
        if layout := self._board.layout(self._tags):
            self._writer.add_custom_scalars(layout)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if not self._tags.issuperset(values):
            self._tags.update(values)
            self._lay_out()
        for tag, value in values.items():
            self._writer.add_scalar(self._board.scalar(tag), value, step)

    def points(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        for tag, value in values.items():
            self._writer.add_scalar(self._board.scalar(tag), value, step, walltime=seconds)

    def pictures(self, step: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        for tag, picture in pictures.items():
            self._writer.add_image(self._board.picture(tag), picture, step, dataformats="HWC")

    def histograms(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        for tag, array in arrays.items():
            self._writer.add_histogram(self._board.histogram(tag), array, step)

    def film(self, step: int, tag: str, gif: bytes) -> None:
        # `SummaryWriter.add_video` writes the same record, but makes the GIF by moviepy.
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = Image.open(io.BytesIO(gif)).size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        self._writer._get_file_writer().add_summary(
            Summary(value=[Summary.Value(tag=self._board.picture(tag), image=image)]), step
        )

    def text(self, tag: str, text: str, step: int = 0) -> None:
        self._writer.add_text(tag, text, step)

    def end(self, state: How, latest: Mapping[str, float]) -> None:
        if state == "interrupted":  # it may go on: until it ends its status is unknown
            return
        from tensorboard.plugins.hparams import api_pb2

        status = api_pb2.STATUS_SUCCESS if state == "finished" else api_pb2.STATUS_FAILURE
        _write_session(self._path / f"{_PREFIX}{int(time.time()) + 1:010d}{_END}", "end", status=status)

    def flush(self) -> None:
        self._writer.flush()

    def move(self, path: Path) -> None:
        with suppress(Exception):  # it opens its file by name for every record
            self._writer.close()
        self._begin(path, None)

    def close(self) -> None:
        self._writer.close()


def _has_plain_tags(run: Path) -> bool:
    """Tell whether a run was begun by a version that wrote metrics under their own tags: its curves go on there."""
    first = next((file for file in sorted(run.glob(f"{_PREFIX}*")) if not file.name.endswith((_SESSION, _END))), None)
    if first is None:
        return False
    with open(first, "rb") as file:
        head = file.read(1 << 16)
    return b"config/text_summary" in head and b"custom_scalars" not in head


def show_figure(run: Path, png: bytes, text: str) -> None:
    """Show a comparison's figure in TensorBoard, and in words what was found, in the place of a former one."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import summary

    width, height = Image.open(io.BytesIO(png)).size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    _write(run / f"{_PREFIX}{0:010d}.figure", Summary(value=[Summary.Value(tag="figure", image=image)]),
           summary.text("verdict", text))  # fmt: skip


def _write(file: Path, *summaries: Any) -> None:
    """Write an event file of a few summaries."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    stream = io.BytesIO()
    writer = RecordWriter(stream)
    for event in (Event(file_version="brain.Event:2"), *(Event(summary=found) for found in summaries)):
        event.wall_time = time.time()
        writer.write(event.SerializeToString())
    write_atomically(file, stream.getvalue())


def _write_session(
    file: Path, what: Literal["start", "end"], hparams: Mapping[str, Plain] | None = None, **values: Any
) -> None:
    """Write an event file that tells the page HPARAMS of the start or the end of a run."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData()
    info = data.session_start_info if what == "start" else data.session_end_info
    for key, value in {f"{what}_time_secs": time.time(), **values}.items():
        setattr(info, key, value)
    for name, plain in (hparams or {}).items():
        kind = "bool_value" if isinstance(plain, bool) else "string_value" if isinstance(plain, str) else "number_value"
        setattr(info.hparams[name], kind, plain)
    tag = metadata.SESSION_START_INFO_TAG if what == "start" else metadata.SESSION_END_INFO_TAG
    entry = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
    _write(file, Summary(value=[entry]))


@cache
def _silence_writers() -> None:
    """Keep the threads that write TensorBoard's events from printing tracebacks: their next call raises the error."""
    former = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if type(failed.thread).__name__ != "_AsyncWriterThread":
            former(failed)

    threading.excepthook = hook
