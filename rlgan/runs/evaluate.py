"""Measure a run's checkpoint again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from rlgan.runs.config.build import RunSpec
from rlgan.runs.exactness import changed_inputs
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.directory import replacing, stored_config, write_atomically, write_json
from rlgan.runs.record.landscape import draw
from rlgan.runs.record.logger import picture_name, rasterise
from rlgan.runs.record.progress import NO_LEGEND, Legend
from rlgan.runs.record.video import check_installed, show, write
from rlgan.task.errors import ConfigError
from rlgan.task.statistics import over_seeds
from rlgan.task.task import Task


@dataclass(frozen=True)
class Evaluation:
    """Measurements of one checkpoint.

    Args:
        metrics: `step` and the task's evaluation.
        curvature: of each player, if it was asked for: numbers by tag, and `kind`, the classification of its point.
        notes: what a reader of these numbers has to know, one sentence each.
        legend: what the task says of its metrics.
        remarks: what the numbers alone would hide.
    """

    metrics: dict[str, float]
    curvature: dict[str, dict[str, float | str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    legend: Legend = NO_LEGEND
    remarks: tuple[str, ...] = ()


def evaluate_run(
    path: Path,
    which: str = "best",
    changes: Mapping[str, Any] | None = None,
    curvature: bool = False,
    n: int | None = None,
    video: bool = False,
) -> Evaluation:
    """Evaluate a checkpoint in full and write the results beside it; the run itself does not change.

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
    task = RunSpec.of(stored_config(path, changes)).with_values(compile=False).task()
    try:
        checkpoint = Checkpoints(path / "checkpoints", best=task.best).choose(which)
        checkpoint.restore(task)
        changed = changed_inputs(checkpoint.manifest.meta, task.inputs())
        landscapes = task.curvature() if curvature else {}
        if curvature and not landscapes:
            raise ConfigError(
                f"curvature = true: the task {type(task).__name__} has no players' losses to look at; leave it out, or "
                "give the task a method `curvature` (see rlgan.task.task)"
            )
        step = checkpoint.manifest.step
        if video:
            _film(task, path / "evaluation", step)
        try:
            found, pictures, arrays = task.examine(n)
            remarks = tuple(task.remarks())
        except ValueError as error:
            raise ConfigError(str(error)) from error
    finally:
        task.close()
    pictures = {**pictures, **{f"curvature_{name}": draw(surface, name, step) for name, surface in landscapes.items()}}
    result = Evaluation(
        {"step": step, **{tag: float(value) for tag, value in found.items()}},
        {name: {"kind": surface.kind, **surface.numbers} for name, surface in landscapes.items()},
        tuple(dict.fromkeys([*changed, *(note for surface in landscapes.values() for note in surface.notes)])),
        Legend.of(task),
        remarks,
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
        with replacing(folder / "samples.npz") as stream:
            np.savez_compressed(stream, **dict(arrays))  # type: ignore[arg-type]
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


def evaluate_seeds(path: Path, which: str = "best", **options: Any) -> tuple[dict[str, dict[str, float]], Legend]:
    """Evaluate every seed of a run with `seeds=`, and write RUN/evaluation.json over them.

    Args:
        path, which, options: as of `evaluate_run`.

    Returns:
        `over_seeds` of what was measured, and what the task says of it.

    Raises:
        RunError, ConfigError: as `evaluate_run`, for any of the seeds.
    """
    seeds = RunSpec.of(stored_config(path)).settings.every_seed
    found = [evaluate_run(path / f"seed={seed}", which, **options) for seed in seeds]
    figures = over_seeds([one.metrics for one in found])
    write_json(path / "evaluation.json", {"checkpoint": which, "seeds": seeds, "metrics": figures})
    return figures, found[0].legend
