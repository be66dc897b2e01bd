"""Measure a run's checkpoint again."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlgan.runs.config.build import build_settings, build_task
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.directory import put, stored_config, write_atomically, write_json
from rlgan.runs.record.landscape import draw
from rlgan.runs.record.logger import picture_name, rasterise
from rlgan.runs.record.progress import NO_LEGEND, Legend
from rlgan.runs.record.video import check_installed, show, write
from rlgan.task.errors import ConfigError
from rlgan.task.statistics import over_seeds
from rlgan.task.task import Examination, Task


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a checkpoint.

    Args:
        metrics: `step` and the task's evaluation.
        curvature: of each player, if it was asked for: numbers by tag, and `kind`, the classification of its point.
        notes: what a reader of these numbers has to know, one sentence each.
        legend: what the task says of its metrics.
    """

    metrics: dict[str, float]
    curvature: dict[str, dict[str, float | str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    legend: Legend = NO_LEGEND


def evaluate_run(
    path: Path,
    which: str = "best",
    changes: Mapping[str, Any] | None = None,
    curvature: bool = False,
    n: int | None = None,
    video: bool = False,
) -> Evaluation:
    """Evaluate a checkpoint in full, and change nothing of the run.

    Writes RUN/evaluation.json, RUN/evaluation/<tag>.png, of a task that draws samples RUN/evaluation/samples.npz, and
    films as RUN/evaluation/<name>.mp4 and in TensorBoard, where the folder is a run of its own.

    A run that is still being trained may be evaluated.

    Args:
        path: the run.
        which: `best`, `last` or a step.
        changes: values by dotted key that replace stored ones.
        curvature: measure the loss surface of each player as well, and draw RUN/evaluation/curvature_<player>.png.
        n: samples to draw; None is the task's own number.
        video: film it as well.

    Raises:
        RunError: this is no run, or it has no such checkpoint.
        ConfigError: a value cannot be used, the curvature or a film of a task is asked for that has none, or what
            writes films is not installed.
    """
    if video:
        check_installed()
    config = stored_config(path)
    for key, value in (changes or {}).items():
        put(config, key, value)
    settings = build_settings(config)
    task = build_task(config, dataclasses.replace(settings, compile=False))
    try:
        torch.set_num_threads(settings.threads)
        checkpoint = Checkpoints(path / "checkpoints", best=task.best).choose(which)
        checkpoint.restore(task)
        landscapes = task.curvature() if curvature else {}
        if curvature and not landscapes:
            raise ConfigError(
                f"curvature = true: the task {type(task).__name__} has no players' losses to look at; leave it out, or "
                "give the task a method `curvature` (see rlgan.task.task)"
            )
        if video:
            _film(task, path / "evaluation", checkpoint.manifest.step)
        metrics, pictures, arrays = _examined(task, n)
    finally:
        task.close()
    step = checkpoint.manifest.step
    pictures = {**pictures, **{f"curvature_{name}": draw(found, name, step) for name, found in landscapes.items()}}
    result = Evaluation(
        {"step": step, **metrics},
        {name: {"kind": found.kind, **found.numbers} for name, found in landscapes.items()},
        tuple(dict.fromkeys(note for found in landscapes.values() for note in found.notes)),
        Legend.of(task),
    )
    record: dict[str, Any] = {
        "checkpoint": checkpoint.manifest.file,
        "evaluated": datetime.now().astimezone().isoformat(timespec="seconds"),
        "changes": dict(changes or {}),
        "metrics": result.metrics,
    }
    if curvature:
        record["curvature"] = result.curvature
    write_json(path / "evaluation.json", record)
    folder = path / "evaluation"
    if pictures or arrays:
        folder.mkdir(exist_ok=True)
    if arrays:
        stream = io.BytesIO()
        np.savez_compressed(stream, **dict(arrays))  # type: ignore[arg-type]
        write_atomically(folder / "samples.npz", stream.getvalue())
    for tag, picture in pictures.items():
        write_atomically(folder / f"{picture_name(tag)}.png", rasterise(picture)[0])
    return result


def _film(task: Task, folder: Path, step: int) -> None:
    try:
        films = task.videos()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not films:
        raise ConfigError(f"video = true: the task {type(task).__name__} shows no films; leave it out")
    folder.mkdir(exist_ok=True)
    for name, film in films.items():
        show(folder, f"evaluation/{name}", write(film, folder / f"{name}.mp4"), step)


def _examined(task: Task, n: int | None) -> Examination:
    try:
        found = task.examine(n)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return found._replace(metrics={tag: float(value) for tag, value in found.metrics.items()})


def evaluate_seeds(
    path: Path,
    which: str = "best",
    changes: Mapping[str, Any] | None = None,
    curvature: bool = False,
    n: int | None = None,
    video: bool = False,
) -> tuple[dict[str, dict[str, float]], Legend]:
    """`evaluate_run` of every seed of a run with `seeds=`, and RUN/evaluation.json over them.

    Returns:
        `over_seeds` of what was measured, and what the task says of it.

    Raises:
        RunError, ConfigError: as `evaluate_run`, for any of the seeds.
    """
    seeds = build_settings(stored_config(path)).every_seed
    found = [evaluate_run(path / f"seed={seed}", which, changes, curvature, n, video) for seed in seeds]
    figures = over_seeds([one.metrics for one in found])
    write_json(path / "evaluation.json", {"checkpoint": which, "seeds": seeds, "metrics": figures})
    return figures, found[0].legend
