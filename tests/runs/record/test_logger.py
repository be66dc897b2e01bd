"""What is written is what was logged, in one event file, without forks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlgan.runs.record.logger import Logger, flatten, rasterise
from rlgan.runs.record.progress import table


def events(path: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def test_scalars_in_both_places(tmp_path: Path) -> None:
    logger = Logger(tmp_path, tensorboard=True)
    for step in (1, 2):
        logger.scalars(step, {"critic/loss": step / 3})
    logger.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "critic/loss": 1 / 3}, {"step": 2, "critic/loss": 2 / 3}]
    assert len(list(tmp_path.glob("events.out.*"))) == 1
    assert [event.value for event in events(tmp_path).Scalars("critic/loss")] == pytest.approx([1 / 3, 2 / 3])


def test_a_resumed_run_continues_the_curve(tmp_path: Path) -> None:
    logger = Logger(tmp_path, tensorboard=True)
    logger.scalars(1, {"x": 1.0})
    kept = logger.flush()
    logger.scalars(2, {"x": -1.0})
    logger.scalars(3, {"x": -1.0})
    logger.close()
    logger = Logger(tmp_path, tensorboard=True, resume_step=1, resume_bytes=kept["metrics_bytes"])
    logger.scalars(2, {"x": 2.0})
    logger.close()
    assert [json.loads(line)["x"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1.0, 2.0]
    assert [(event.step, event.value) for event in events(tmp_path).Scalars("x")] == [(1, 1.0), (2, 2.0)]


def test_hparams_go_into_the_same_run(tmp_path: Path) -> None:
    logger = Logger(tmp_path, tensorboard=True)
    config = {"critic": {"optimizer": {"_target_": "a.b.Adam", "lr": 0.1, "betas": [0.5, 0.9], "clip": None}}}
    logger.hparams(config, {"return/eval": 1.0})
    logger.close()
    assert [item.name for item in tmp_path.iterdir() if item.is_dir()] == []
    assert len(list(tmp_path.glob("events.out.*"))) == 1
    assert len(events(tmp_path).PluginTagToContent("hparams")) == 3
    assert flatten(config) == {
        "critic.optimizer": "Adam",
        "critic.optimizer.lr": 0.1,
        "critic.optimizer.betas": "[0.5, 0.9]",
        "critic.optimizer.clip": "None",
    }


def test_pictures_of_both_kinds_and_only_the_latest_of_a_tag(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    logger = Logger(tmp_path, tensorboard=True)
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


def test_without_tensorboard_there_is_no_event_file(tmp_path: Path) -> None:
    logger = Logger(tmp_path, tensorboard=False)
    logger.scalars(1, {"x": 1.0})
    logger.text("config", "a: 1")
    logger.hparams({"a": 1}, {"x": 1.0})
    logger.close()
    assert [item.name for item in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_final_table_is_aligned_with_timing_last() -> None:
    assert table({"time/seconds": 1.5, "step": 60, "critic/loss": 0.123456789}).splitlines() == [
        "  step                  60",
        "  critic/loss      0.12346",
        "  time/seconds         1.5",
    ]
