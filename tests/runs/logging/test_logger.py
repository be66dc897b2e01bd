"""What is written is what was logged, in one event file, without forks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from rlgan.runs.logging.events import TensorBoard
from rlgan.runs.logging.logger import Logger
from rlgan.runs.logging.pictures import rasterise
from rlgan.runs.logging.table import CSV
from rlgan.runs.record.progress import table
from rlgan.task.sink import Opening, Sink


def events(path: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def test_scalars_in_both_places(tmp_path: Path) -> None:
    logger = Logger(Opening(tmp_path), [TensorBoard()])
    for step in (1, 2):
        logger.scalars(step, {"critic/loss": step / 3})
    logger.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "critic/loss": 1 / 3}, {"step": 2, "critic/loss": 2 / 3}]
    assert logger.notes == []
    assert len(list(tmp_path.glob("events.out.*"))) == 2
    assert [event.value for event in events(tmp_path).Scalars("critic/loss")] == pytest.approx([1 / 3, 2 / 3])


def test_a_resumed_run_continues_the_curve(tmp_path: Path) -> None:
    logger = Logger(Opening(tmp_path), [TensorBoard()])
    logger.scalars(1, {"x": 1.0})
    kept = logger.flush()
    logger.scalars(2, {"x": -1.0})
    logger.scalars(3, {"x": -1.0})
    logger.close()
    logger = Logger(Opening(tmp_path, step=1), [TensorBoard()], kept["metrics_bytes"])
    logger.scalars(2, {"x": 2.0})
    logger.close()
    assert [json.loads(line)["x"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1.0, 2.0]
    assert [(event.step, event.value) for event in events(tmp_path).Scalars("x")] == [(1, 1.0), (2, 2.0)]
    # The one of TensorBoard's pages, where there is no data server.
    shown = plugin_event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in shown.Tensors("x")] == [1, 2]


def session(path: Path) -> tuple[dict[str, object], int | None]:
    """What TensorBoard reads of a run's hyperparameters, and the status of its end."""
    found = events(path).PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG])
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    end = found.get(metadata.SESSION_END_INFO_TAG)
    return values, None if end is None else metadata.parse_session_end_info_plugin_data(end).status


def test_hparams_are_known_from_the_start_and_a_later_start_says_how_it_ended(tmp_path: Path) -> None:
    logger = Logger(Opening(tmp_path, varied={"lipschitz": "clip", "critic.optimizer.lr": 0.1}), [TensorBoard()])
    logger.scalars(1, {"x": 1.0})
    logger.flush()
    assert session(tmp_path) == ({"lipschitz": "clip", "critic.optimizer.lr": 0.1}, None)
    logger.end("interrupted", {"x": 1.0})
    logger.close()
    assert session(tmp_path)[1] is None
    for lr, state, status in ((0.2, "failed", api_pb2.STATUS_FAILURE), (0.3, "finished", api_pb2.STATUS_SUCCESS)):
        logger = Logger(Opening(tmp_path, varied={"critic.optimizer.lr": lr}, step=1), [TensorBoard()])
        assert session(tmp_path) == ({"critic.optimizer.lr": lr}, None)
        logger.end(state, {"x": 1.0})  # type: ignore[arg-type]
        logger.close()
        assert session(tmp_path) == ({"critic.optimizer.lr": lr}, status)
    assert [item.name for item in tmp_path.iterdir() if item.is_dir()] == []


class Failing(Sink):
    """Fails at its second log."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def open(self, run: Opening) -> None:
        self.seen = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self.seen:
            raise OSError("no such\nserver")
        self.seen.append(step)


def test_a_sink_that_fails_is_left_out_with_a_note_and_the_rest_goes_on(tmp_path: Path) -> None:
    logger = Logger(Opening(tmp_path), [Failing(), CSV()])
    for step in (1, 2, 3):
        logger.scalars(step, {"x": float(step)})
    logger.close()
    assert logger.notes == ["Failing cannot be written (OSError: no such server); the run goes on without"]
    assert (tmp_path / "metrics.csv").read_text() == "step,x\n1,1.0\n2,2.0\n3,3.0\n"


def test_a_table_gets_a_column_at_the_right_and_goes_on_like_the_record(tmp_path: Path) -> None:
    logger = Logger(Opening(tmp_path), [CSV()])
    logger.scalars(1, {"b": 0.1})
    logger.scalars(1, {"a": 1 / 3})
    kept = logger.flush()
    assert (tmp_path / "metrics.csv").read_text() == f"step,b,a\n1,0.1,\n1,,{1 / 3}\n"
    logger.scalars(2, {"c": -1.0})
    logger.close()
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "step,b,a,c"
    logger = Logger(Opening(tmp_path, step=1), [CSV()], kept["metrics_bytes"])
    logger.scalars(2, {"b": 0.2, "a": 2.0})
    logger.close()
    assert (tmp_path / "metrics.csv").read_text() == f"step,b,a\n1,0.1,\n1,,{1 / 3}\n2,0.2,2.0\n"


def test_pictures_of_both_kinds_and_only_the_latest_of_a_tag(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    logger = Logger(Opening(tmp_path), [TensorBoard()])
    grid = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for step in (1, 20):
        logger.pictures(step, {"samples/grid": grid, "samples/scatter": figure})
    logger.close()
    names = ["samples_grid_000000020.png", "samples_scatter_000000020.png"]
    assert sorted(item.name for item in (tmp_path / "pictures").iterdir()) == names
    assert np.array_equal(np.asarray(Image.open(tmp_path / "pictures" / names[0])), grid)
    assert [image.step for image in events(tmp_path).Images("samples/scatter")] == [1, 20]
    assert rasterise(figure)[1].shape == (100, 200, 3)
    with pytest.raises(ValueError, match=r"must be uint8"):
        rasterise(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="picture = list: must be a matplotlib figure or a uint8 array"):
        rasterise([1])  # type: ignore[arg-type]


def test_without_tensorboard_there_is_no_event_file(tmp_path: Path) -> None:
    logger = Logger(Opening(tmp_path))
    logger.scalars(1, {"x": 1.0})
    logger.text("config", "a: 1")
    logger.end("finished", {"x": 1.0})
    logger.close()
    assert [item.name for item in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_final_table_is_aligned_with_timing_last() -> None:
    assert table({"time/seconds": 1.5, "step": 60, "critic/loss": 0.123456789}).splitlines() == [
        "  step                  60",
        "  critic/loss      0.12346",
        "  time/seconds         1.5",
    ]
