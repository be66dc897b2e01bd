"""Build a run's task in the state of its newest checkpoint, and report how a run went."""

import shlex
import sys
import traceback
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

import rlgan
from rlgan.runs.config.build import Command, RunSpec
from rlgan.runs.ends import Interrupted, explained, of_config, say
from rlgan.runs.logging.origin import origin
from rlgan.runs.logging.sinks import sinks_of
from rlgan.runs.ranks.agreement import here
from rlgan.runs.ranks.parts import check_size, with_parts
from rlgan.runs.record.checkpoint import Checkpoint, Checkpoints
from rlgan.runs.record.directory import RunDirectory, last_logger, short_path
from rlgan.runs.record.files import write_json
from rlgan.runs.record.kept import closing_line, kept
from rlgan.runs.record.progress import Legend, table
from rlgan.runs.share.start import begun
from rlgan.runs.terminal import full_errors
from rlgan.runs.training.exactness import (
    changed_inputs,
    changed_settings,
    inexact,
    moved_ends,
    set_global_random_state,
    typed_after,
)
from rlgan.runs.training.films import check_films
from rlgan.runs.training.start import Start
from rlgan.task.errors import CheckpointError, ConfigError, InputError, RunError
from rlgan.task.settings import loggers
from rlgan.task.task import Task


class Score(NamedTuple):
    """The figure that a run is ranked by, in its final evaluation; over `seeds` their interquartile mean."""

    tag: str
    direction: Literal["min", "max"]
    value: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        code: exit code: 0 finished, 1 failed, 2 could not start, 128 + signal interrupted.
        state: the word of status.json, or `refused`.
        path: the run's directory, if it came to one.
        message: one line on what went wrong.
        score: of a run that finished and has one.
    """

    code: int
    state: str
    path: str = ""
    message: str = ""
    score: Score | None = None


def prepare(run: RunDirectory, spec: RunSpec, task: Task | None = None, stacked: int = 1) -> Start:
    """Build a run's task where its newest checkpoint left it; the start is recorded in the run's directory.

    Args:
        run: the locked directory.
        spec: of this run.
        task: built from the specification, if it has been built.
        stacked: runs that are going to be moved as one.

    Raises:
        ConfigError, CheckpointError: nothing is recorded: the run can still go on as it was.
    """
    if "logger" not in spec.config and (former := last_logger(run.path)) is not None:
        spec = RunSpec.of({**spec.config, "logger": former}, spec.command, spec.trust)
    sinks_of(spec.settings)
    checkpoint, ranks = _chosen(run, spec.command.start), here()
    check_size(run, checkpoint, ranks)
    if ranks.joint:
        checkpoint = with_parts(run, checkpoint, ranks, back=spec.command.start is None)
    decided = None if checkpoint is None else checkpoint.manifest.meta.get("compiled")
    if decided is not None and "compile" not in spec.command.changes:
        # `auto` decided once; deciding again could change the bits.
        spec = spec.with_values(compile=bool(decided))
        if task is not None and task.compiled != spec.settings.compile:
            task.close()
            task = None
    ranks.told(None if decided is None else spec.settings.compile)
    # A seed of a group is configured by the group.
    with of_config(run.path if spec.settings.seeds is None else run.path.parent, spec.command.changes):
        callbacks = spec.callbacks()
        if task is None:
            task = begun(spec) if checkpoint is None else spec.task()
            check_films(task, spec.settings)
    try:
        with ranks.all() if ranks.joint else nullcontext():
            if checkpoint is not None:
                checkpoint.restore(task)
                _look_at(checkpoint)
    except BaseException:
        task.close()
        raise
    if checkpoint is None and spec.command.start == 0:
        run.keep_metrics()
    run.add_start(start_record(spec.command, checkpoint.manifest.step if checkpoint else 0, spec.config))
    write_json(run.path / "task.json", task_record(task), lasting=False)
    typed = frozenset(spec.command.changes)
    start = Start(task, spec.settings, run, spec.config, checkpoint, stacked, typed=typed, callbacks=callbacks)
    if checkpoint is None and task.origin:
        start.notes(f"begins at the weights of {task.origin}", 0, say)
    return start


def _chosen(run: RunDirectory, step: int | None) -> Checkpoint | None:
    """Read the checkpoint to go on from: that of a step, or the newest; None to start anew.

    Raises:
        CheckpointError: what is there says that steps were done, and none of them can be gone on from.
    """
    checkpoints = Checkpoints(run.checkpoints, say=say)
    checkpoints.clean()
    if step is not None:
        return checkpoints.go_back(step) if step else None
    newest = checkpoints.newest()
    if newest is not None:
        return newest
    saved = run.saved()
    doubt = checkpoints.doubt()
    if doubt and (saved != 0 or checkpoints.lost()[1]):
        raise CheckpointError(doubt)
    if doubt:  # killed before its first manifest
        say(f"{doubt}; no checkpoint was completed, so that it starts anew")
    elif saved != 0:
        what = f"status.json says that step {saved} was saved" if saved else "metrics.jsonl tells of steps"
        raise CheckpointError(
            f"{run.checkpoints}: holds no checkpoint, and {what}; put the checkpoints back, or start anew with "
            f"resume={short_path(run.path)} from=0"
        )
    return None


def _look_at(checkpoint: Checkpoint) -> None:
    """Look at what a checkpoint holds beside the task's state, before anything is recorded.

    Raises:
        CheckpointError: it is not what a run goes on from.
    """
    try:
        set_global_random_state(checkpoint.state["global_random"])
        latest = dict(checkpoint.state["latest"])
        if any(type(tag) is not str or type(value) not in (int, float) for tag, value in latest.items()):
            raise TypeError("its latest metrics hold something else than numbers")
        meta = checkpoint.manifest.meta
        float(meta.get("wall_seconds", 0)), int(meta.get("metrics_bytes", 0))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise CheckpointError(f"{checkpoint.manifest.file}: no run can go on from it ({why})") from error


def start_record(command: Command, step: int, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe a start of a run for overrides.jsonl: what was typed, where it logs to, the commit and the versions."""
    said = config or {}
    named = [] if command.resumes is None else [f"resume={command.resumes}"]
    back = [] if command.start is None else [f"from={command.start}"]
    logger = {"logger": loggers(said["logger"], said.get("tensorboard"))} if "logger" in said else {}
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "step": step,
        "command": shlex.join(["rlgan", *named, *back, *command.overrides]),
        **logger,
        "git": origin(),
        "overrides": list(command.overrides),
        "changes": dict(command.changes),
        "choices": dict(command.choices),
        "versions": {
            "rlgan": rlgan.__version__,
            "python": sys.version.split()[0],
            **{package: version(package) for package in ("torch", "numpy", "gymnasium")},
        },
    }


def task_record(task: Task) -> dict[str, Any]:
    """Describe a task's metrics for task.json, so that who compares runs need not build the task."""
    return {
        "class": type(task).__name__,
        "best": list(task.best),
        "better": dict(task.better),
        "headline": list(task.headline),
        "explained": dict(task.explained),
    }


def report_resumed(start: Start) -> None:
    """Print where a resumed run goes on, and whether it will compute the same bits."""
    if start.checkpoint is None:
        return
    manifest = start.checkpoint.manifest
    if not start.notes.silent:
        say(f"resuming at step {manifest.step}")
    changed = changed_inputs(manifest.meta, start.inputs)
    typed = {*start.typed, *typed_after(start.run.path, manifest.step)}
    changed += changed_settings(manifest.meta, start.config, typed)
    moved = moved_ends(manifest.meta, start.settings, start.task)
    for sentence in (*inexact(manifest.meta, start.settings, start.task, start.stacked), *changed, *moved):
        start.notes(sentence, manifest.step, say)


def report_figures(start: Start) -> None:
    """Print the final metrics, if they are known."""
    if start.figures is None:
        return
    # What the methods are doing is for TensorBoard's curves and summary.json.
    shown = {tag: value for tag, value in start.figures.items() if not tag.startswith("optim/")}
    print("\n".join((table(shown, Legend.of(start.task)), *start.task.remarks())))
    if start.meaningless:
        lacking = ", ".join(f"{tag} = {value}" for tag, value in start.meaningless.items())
        print(f"left out, as it has no meaning here: {lacking}")
    best = start.task.best
    if found := kept(start.run.checkpoints, best):
        print(closing_line([found], best[0]))
    sys.stdout.flush()


def report_failure(start: Start, error: Exception | SystemExit) -> Outcome:
    """Print why a run did not finish: a line, where its last checkpoint is, and for a bug of ours the traceback.

    What was measured at the very end is printed before.

    Raises:
        ConfigError: `error` itself, for the caller's one line.
    """
    path = start.run.path
    if isinstance(error, Interrupted):
        say(f"{error}{short_path(path)}")
        return Outcome(error.code, "interrupted", str(path), str(error))
    if isinstance(error, ConfigError):
        raise error
    report_figures(start)
    known = isinstance(error, FloatingPointError | InputError | RunError)
    reason = " ".join(str(error).split()) if known else explained(error)
    message = f"stopped at step {start.task.steps_done}: {reason or f'{type(error).__name__}: {error}'}"
    say(f"rlgan: {message}")
    saved: list[str] = []
    with suppress(RunError):  # one cannot be read: what ended the run is what has to be said
        saved = [f"{short_path(path)}/checkpoints/{m.file}" for m in Checkpoints(start.run.checkpoints).manifests()]
    if start.saved:
        say(f"saved; go on with resume={short_path(path)}")
    else:
        say(f"last good checkpoint: {saved[-1]}" if saved else "no checkpoint was made yet")
    if reason is None or full_errors():
        traceback.print_exception(error)
    return Outcome(1, "failed", str(path), message)
