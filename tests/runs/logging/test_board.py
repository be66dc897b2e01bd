"""TensorBoard's groups come in the order of what matters, one task's apart from another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from rlgan.erm import ERM
from rlgan.gan import WGAN
from rlgan.rl import Trainer
from rlgan.runs.logging.board import Board
from rlgan.runs.logging.events import TensorBoard, show_figure
from rlgan.runs.logging.logger import Logger
from rlgan.runs.logging.pictures import rasterise
from rlgan.task.sink import Opening
from rlgan.task.task import Task

TASKS = (WGAN, Trainer, ERM)


@pytest.mark.parametrize("task", TASKS)
def test_what_checkpoints_are_ranked_by_stands_in_the_first_group(task: type[Task]) -> None:
    board = Board(task)
    headings = sorted({board.scalar(tag).partition("/")[0] for tag in (*task.explained, *task.headline)})
    assert headings[0].startswith("1 headline - ") and board.scalar(task.best[0]) == f"{headings[0]}/1 {task.best[0]}"
    assert [heading.split(" ", 1)[1].rpartition(" - ")[0] for heading in headings[1:]] == list(task.groups)


def test_no_group_is_of_two_tasks_and_names_are_their_own() -> None:
    def named(task: type[Task]) -> Iterator[str]:
        board = Board(task)
        for tag in (*task.explained, "critic/loss", "optim/critic/lr", "time/seconds", "own/measure", "plain"):
            yield board.scalar(tag)
        yield board.picture("samples/grid")
        yield board.histogram("critic/weights")

    assert not any(sign in name for task in TASKS for name in named(task) for sign in "()")
    groups = [{name.partition("/")[0] for name in named(task)} for task in TASKS]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    for task in TASKS:
        assert len(set(named(task))) == len(dict.fromkeys((*task.explained, "critic/loss"))) + 6


def test_words_that_stand_in_the_heading_are_not_said_twice() -> None:
    board = Board(Trainer)
    assert board.scalar("return/eval_iqm") == "3 return - rl/eval_iqm"
    assert board.scalar("critic/q") == "4 value - rl/critic/q"
    assert board.scalar("optim/critic/update_norm") == "optimizer - rl/critic/update_norm"
    assert board.scalar("time/seconds") == "time - rl/seconds"
    assert board.scalar("calibration/ece") == "8 calibration - rl/ece"
    assert Board(None).scalar("return/eval") == "return/eval"


@pytest.mark.parametrize("task", TASKS)
def test_every_chart_of_the_layout_shows_its_metric_alone(task: type[Task]) -> None:
    board = Board(task)
    tags = dict.fromkeys((*task.headline, *task.explained, "own/measure", "time/seconds"))
    known = {board.scalar(tag): tag for tag in tags}
    layout = board.layout(tags)
    charts = {title: chart for category in layout.values() for title, chart in category.items()}
    for tag in tags:
        if tag.endswith(("_low", "_high")):
            assert not any(title.partition(": ")[0] == tag for title in charts)
            continue
        ((kind, series),) = [chart for title, chart in charts.items() if title.partition(": ")[0] == tag]
        if kind == "Margin":
            assert [known[name] for name in series] == [tag, f"{tag}_low", f"{tag}_high"]
        else:
            assert [known[name] for name in known if re.match(series[0], name)] == [tag]
    assert list(layout) == sorted(layout)


def test_a_layout_has_the_headline_and_what_the_run_has() -> None:
    board = Board(Trainer)
    charts = {title.partition(":")[0] for category in board.layout().values() for title in category}
    assert charts == {"return/eval", "return/train"}
    layout = board.layout(["optim/critic/update_norm", "optim/actor/update_norm", "critic/q"])
    assert list(layout) == ["1 headline - rl", "4 value - rl", "optimizer - rl"]
    ((title, (_, patterns)),) = layout["optimizer - rl"].items()
    (pattern,) = list(patterns)
    assert title == "update_norm: length of the whole step"
    assert all(re.match(pattern, board.scalar(f"optim/{player}/update_norm")) for player in ("critic", "actor"))
    assert not re.match(pattern, board.scalar("optim/critic/effective_lr"))


def accumulated(path: Path) -> EventAccumulator:
    return EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_events_have_these_names_and_the_layout(tmp_path: Path) -> None:
    logger = Logger(Opening(tmp_path, WGAN), [TensorBoard()])
    logger.scalars(1, {"wasserstein/primal": 0.5, "critic/loss": 1.0})
    logger.points(1, {"episode/return": 1.0}, 10.0)
    logger.pictures(1, {"samples/grid": np.zeros((2, 2, 3), np.uint8)})
    logger.histograms(1, {"critic/weights": np.arange(5.0)})
    logger.close()
    found = accumulated(tmp_path)
    assert logger.notes == []
    assert sorted(found.Tags()["scalars"]) == [
        "1 headline - gan/1 wasserstein/primal", "7 loss - gan/critic/loss", "8 episode - gan/return"
    ]  # fmt: skip
    assert found.Tags()["images"] == ["2 pictures - gan/samples/grid"]
    assert found.Tags()["distributions"] == ["histograms - gan/critic/weights"]
    layout = layout_pb2.Layout.FromString(found.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == ["1 headline - gan", "7 loss - gan"]


def test_a_run_of_an_earlier_version_goes_on_under_its_plain_tags(tmp_path: Path) -> None:
    earlier = Logger(Opening(tmp_path), [TensorBoard()])
    earlier.scalars(1, {"critic/loss": 1.0})
    kept = earlier.flush()
    earlier.scalars(2, {"critic/loss": -1.0})
    earlier.text("config", "a: 1")
    earlier.close()
    for step in (2, 3):
        logger = Logger(Opening(tmp_path, WGAN, step=step - 1), [TensorBoard()], kept["metrics_bytes"])
        logger.scalars(step, {"critic/loss": float(step)})
        kept = logger.flush()
        logger.close()
    found = accumulated(tmp_path)
    assert found.Tags()["scalars"] == ["critic/loss"]
    assert [(event.step, event.value) for event in found.Scalars("critic/loss")] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_comparisons_figure_is_shown_with_its_verdict_in_place_of_the_former(tmp_path: Path) -> None:
    for shade in (10, 200):
        png = rasterise(np.full((3, 5, 3), shade, np.uint8))[0]
        show_figure(tmp_path, png, f"shade {shade}")
    found = accumulated(tmp_path)
    (image,) = found.Images("figure")
    assert (image.width, image.height) == (5, 3) and image.encoded_image_string == png
    (text,) = found.Tensors("verdict/text_summary")
    assert text.tensor_proto.string_val[0] == b"shade 200"
