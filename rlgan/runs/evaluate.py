"""Measure a run's checkpoint again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from math import isfinite as finite
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rlgan.optim.second_order.curvature import strict_saddle as strict_alternative
from rlgan.optim.second_order.landscape import Landscape
from rlgan.runs.config.build import RunSpec
from rlgan.runs.ends import of_config
from rlgan.runs.logging.pictures import picture_name, rasterise
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.directory import short_path, stored_config
from rlgan.runs.record.files import replacing, write_atomically, write_json
from rlgan.runs.record.landscape import draw
from rlgan.runs.record.progress import NO_LEGEND, Legend
from rlgan.runs.record.video import check_installed, write
from rlgan.runs.record.video import show as moving
from rlgan.runs.training.exactness import changed_inputs, changed_settings, typed_after
from rlgan.runs.training.notes import FILE as NOTES
from rlgan.runs.training.notes import Notes
from rlgan.task.errors import ConfigError, InputError, RunError
from rlgan.task.statistics import over_seeds
from rlgan.task.task import Examination, Picture, Task, Video


@dataclass(frozen=True)
class Evaluation:
    """Measurements of one checkpoint.

    Args:
        metrics: `step` and the task's evaluation.
        curvature: of each player, if it was asked for: numbers by tag, and `kind`, the classification of its point.
        notes: what a reader of these numbers has to know, one sentence each.
        legend: what the task says of its metrics.
        remarks: what the numbers alone would hide.
        unwritten: what could not be kept, and why, a sentence each.
        checkpoint: the file that was measured.
        first: tags of what matters first: the task's best metric, then its headline.
    """

    metrics: dict[str, float]
    curvature: dict[str, dict[str, float | str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    legend: Legend = NO_LEGEND
    remarks: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    checkpoint: str = ""
    first: tuple[str, ...] = ()


def evaluate_run(
    path: Path,
    which: str = "best",
    changes: Mapping[str, Any] | None = None,
    curvature: bool = False,
    strict_saddle: Sequence[float] | None = None,
    n: int | None = None,
    video: bool = False,
    show: Callable[[Evaluation], None] = lambda found: None,
) -> Evaluation:
    """Evaluate a checkpoint in full and write the results beside it; the run itself does not change.

    Writes RUN/evaluation.json, RUN/evaluation/<tag>.png, of a task that draws samples RUN/evaluation/samples.npz, and
    films as RUN/evaluation/<name>.mp4 and in TensorBoard, where the folder is a run of its own. What cannot be written
    is told in the result.

    A run that is still being trained may be evaluated.

    Args:
        path: the run.
        which: `best`, `last` or a step.
        changes: values by dotted key that replace stored ones.
        curvature: measure the loss surface of each player as well, and draw RUN/evaluation/curvature_<player>.png.
        strict_saddle: alpha, beta, eps, delta of `rlgan.optim.second_order.curvature.strict_saddle`: which alternative
            of that definition holds where each player stands; with `curvature`.
        n: samples to draw; None is the task's own number.
        video: film it as well.
        show: called with what was measured, before anything is written.

    Raises:
        RunError: this is no run, or it has no such checkpoint.
        ConfigError: a value cannot be used, the curvature or a film of a task is asked for that has none, or what
            writes films is not installed.
    """
    if video:
        check_installed()
    with of_config(path, changes or {}):
        spec = RunSpec.of(stored_config(path, changes))
        task = spec.with_values(compile=False).task()
    try:
        checkpoint = Checkpoints(path / "checkpoints", best=task.best).choose(which)
        checkpoint.restore(task)
        step = checkpoint.manifest.step
        meta = checkpoint.manifest.meta
        typed = {*(changes or {}), *typed_after(path, step)}
        notes = [*changed_inputs(meta, task.inputs()), *changed_settings(meta, spec.config, typed)]
        landscapes = task.curvature() if curvature else {}
        if curvature and not landscapes:
            raise ConfigError(
                f"curvature = true: the task {type(task).__name__} has no players' losses to look at; leave it out, or "
                "give the task a method `curvature` (see rlgan.task.task)"
            )
        films = _films(task) if video else {}
        (found, pictures, arrays), undrawn = _examined(task, n)
        values = {tag: float(value) for tag, value in found.items()}
        notes += [f"{tag} = {x}: has no meaning here and is left out" for tag, x in values.items() if not finite(x)]
        notes += [note for surface in landscapes.values() for note in surface.notes]
        result = Evaluation(
            {"step": step, **{tag: value for tag, value in values.items() if finite(value)}},
            {name: _said_of(surface, strict_saddle) for name, surface in landscapes.items()},
            tuple(dict.fromkeys(notes)),
            Legend.of(task),
            tuple(task.remarks()),
            checkpoint=checkpoint.manifest.file,
            first=tuple(dict.fromkeys((task.best[0], *task.headline))),
        )
        show(result)
        record: dict[str, Any] = {
            "checkpoint": checkpoint.manifest.file,
            "evaluated": datetime.now().astimezone().isoformat(timespec="seconds"),
            "changes": dict(changes or {}),
            "metrics": result.metrics,
        }
        if curvature:
            record["curvature"] = result.curvature
        keep = _Keeper(path / "evaluation")
        keep(path / "evaluation.json", lambda file: write_json(file, record))
        for note in result.notes:
            keep(path / NOTES, partial(_write_note, note=note, step=step))
        if arrays:
            keep(keep.folder / "samples.npz", lambda file: _write_arrays(file, arrays))
        for tag, picture in pictures.items():
            keep(keep.folder / f"{picture_name(tag)}.png", partial(_write_picture, picture=picture))
        for name, surface in landscapes.items():
            file = keep.folder / f"{picture_name(f'curvature_{name}')}.png"
            keep(file, partial(_write_surface, surface=surface, player=name, step=step))
        for name, film in films.items():
            keep(keep.folder / f"{name}.mp4", partial(_write_film, film=film, step=step))
    finally:
        task.close()
    return replace(result, unwritten=(*undrawn, *keep.failed))


def _said_of(surface: Landscape, strict: Sequence[float] | None) -> dict[str, float | str]:
    """What a surface is like where a player stands, for the table and the record.

    Raises:
        ConfigError: an impossible number of `strict`.
    """
    found: dict[str, float | str] = {"kind": surface.kind, **surface.numbers}
    if strict is not None and surface.where is not None:
        try:
            found["strict_saddle"] = strict_alternative(*surface.where, *strict).alternative
        except ValueError as error:
            raise ConfigError(f"strict_saddle: {error}") from error
    return found


def _examined(task: Task, n: int | None) -> tuple[Examination, list[str]]:
    """Measure in full; where that fails by what is drawn, the figures alone and what went wrong."""
    found, undrawn = _examined_by_task(task, n)
    try:
        added = task.added.evaluate(task, found.metrics)
    except InputError as error:
        raise ConfigError(str(error)) from error
    pictures = {**task.added.draw(task), **found.pictures}
    return Examination({**found.metrics, **added}, pictures, found.arrays), [*undrawn, *task.added.troubles]


def _examined_by_task(task: Task, n: int | None) -> tuple[Examination, list[str]]:
    try:
        try:
            return task.examine(n), []
        except Exception as error:
            if n is not None:
                raise
            figures = task.evaluate()  # raises what was wrong with them
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return Examination(figures, {}, {}), [f"pictures: cannot be drawn ({why})"]
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _films(task: Task) -> Mapping[str, Video]:
    try:
        films = task.videos()
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not films:
        raise ConfigError(f"video = true: the task {type(task).__name__} shows no films; leave it out")
    return films


class _Keeper:
    """Writes what was measured, as far as that is possible.

    Args:
        folder: for all but evaluation.json; made when it is needed.

    Attributes:
        failed: what could not be written, and why.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed: list[str] = []

    def __call__(self, file: Path, write: Callable[[Path], object]) -> None:
        try:
            if file.parent == self.folder:
                if self.folder.is_symlink():
                    raise RunError("its folder is a link to another place; remove the link")
                self.folder.mkdir(exist_ok=True)
            write(file)
        except Exception as error:
            why = getattr(error, "strerror", None) or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            self.failed.append(f"{short_path(file)}: cannot be written ({why})")


def _write_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    with replacing(file) as stream:
        np.savez_compressed(stream, **dict(arrays))


def _write_picture(file: Path, picture: Picture) -> None:
    write_atomically(file, rasterise(picture)[0])


def _write_note(file: Path, note: str, step: int) -> None:
    Notes(file.parent).write(note, step)


def _write_surface(file: Path, surface: Landscape, player: str, step: int) -> None:
    _write_picture(file, draw(surface, player, step))


def _write_film(file: Path, film: Video, step: int) -> None:
    moving(file.parent, f"evaluation/{file.stem}", write(film, file), step)


class OverSeeds(NamedTuple):
    """Measurements of every seed of a run.

    Args:
        figures: `over_seeds` of them.
        legend: what the task says of its metrics.
        notes: what a reader of these numbers has to know, one sentence each.
        unwritten: what could not be kept, and why, a sentence each.
        every: each seed's own.
    """

    figures: dict[str, dict[str, float]]
    legend: Legend
    notes: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    every: Mapping[int, Evaluation] = MappingProxyType({})


def evaluate_seeds(
    path: Path, which: str = "best", show: Callable[[OverSeeds], None] = lambda found: None, **options: Any
) -> OverSeeds:
    """Evaluate every seed of a run with `seeds=`, and write RUN/evaluation.json over them.

    A seed without a checkpoint to measure is left out, with a note.

    Args:
        path, which, options: as of `evaluate_run`.
        show: called with what was measured, before RUN/evaluation.json is written.

    Raises:
        RunError, ConfigError: as `evaluate_run`; of a checkpoint, where no seed has one.
    """
    seeds = RunSpec.of(stored_config(path)).settings.every_seed
    found: dict[int, Evaluation] = {}
    lacking: dict[int, RunError] = {}
    for seed in seeds:
        try:
            found[seed] = evaluate_run(path / f"seed={seed}", which, **options)
        except RunError as error:
            lacking[seed] = error
    if not found:
        raise lacking[seeds[0]]
    every = list(found.values())
    notes = [f"seed={seed} is left out ({error})" for seed, error in lacking.items()]
    notes += [note for one in every for note in one.notes]
    figures = over_seeds([one.metrics for one in every])
    result = OverSeeds(figures, every[0].legend, tuple(dict.fromkeys(notes)), every=found)
    show(result)
    keep = _Keeper(path / "evaluation")
    record = {"checkpoint": which, "seeds": list(found), "metrics": figures}
    keep(path / "evaluation.json", lambda file: write_json(file, record))
    return result._replace(unwritten=(*(line for one in every for line in one.unwritten), *keep.failed))
