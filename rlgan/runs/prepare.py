"""Making a start: a task in the state where its run stands, and what a person is told of how it ended."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import gymnasium
import numpy as np
import torch

import rlgan
from rlgan.runs.config.build import build_settings, build_task
from rlgan.runs.exactness import inexact
from rlgan.runs.loop import Interrupted, Start
from rlgan.runs.record.checkpoint import Checkpoint, Checkpoints
from rlgan.runs.record.directory import RunDirectory, shown
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.settings import Settings
from rlgan.task.task import Task


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        code: exit code: 0 finished, 1 failed, 2 could not start, 128 + signal interrupted.
        state: the word of status.json, or `refused`.
        path: the run's directory, if it came to one.
        message: one line on what went wrong.
    """

    code: int
    state: str
    path: str = ""
    message: str = ""


@dataclass(frozen=True)
class Command:
    """What was typed to start a run.

    Args:
        overrides: the words.
        choices: option of every group.
        changes: values by dotted key that replace a resumed run's.
    """

    overrides: Sequence[str]
    choices: Mapping[str, str]
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


Built = tuple[Settings, Task]


def construct(config: Mapping[str, Any]) -> Built:
    """Settings and task of a configuration; torch is set up for them."""
    settings = build_settings(config)
    torch.set_num_threads(settings.threads)
    return settings, build_task(config, settings)


def prepare(
    run: RunDirectory,
    config: Mapping[str, Any],
    command: Command,
    checkpoint: Checkpoint | None = None,
    built: Built | None = None,
    stacked: int = 1,
) -> Start:
    """A task, restored from the checkpoint if there is one; the start is recorded in the run's directory.

    Args:
        run: the locked directory.
        config: of this run.
        command: what was typed.
        checkpoint: what to go on from.
        built: settings and task, if they have been built.
        stacked: runs that are going to be moved as one.

    Raises:
        ConfigError, CheckpointError: nothing is recorded: the run can still go on as it was.
    """
    if checkpoint is not None and "compile" not in command.changes:
        # `auto` decided once; deciding again could change the bits.
        config = {**config, "compile": bool(checkpoint.manifest.meta["compiled"])}
        if built is not None and built[1].compiled != config["compile"]:
            built[1].close()
            built = None
    settings, task = built or construct(config)
    if checkpoint is not None:
        try:
            checkpoint.restore(task)
        except BaseException:
            task.close()
            raise
    run.add_start(start_record(command, checkpoint.manifest.step if checkpoint else 0))
    return Start(task, settings, run, config, checkpoint, stacked)


def start_record(command: Command, step: int) -> dict[str, Any]:
    """A line of overrides.jsonl."""
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "step": step,
        "overrides": list(command.overrides),
        "changes": dict(command.changes),
        "choices": dict(command.choices),
        "versions": {
            "rlgan": rlgan.__version__,
            "python": sys.version.split()[0],
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "gymnasium": gymnasium.__version__,
        },
    }


def tell_resumed(start: Start) -> None:
    """Where a resumed run goes on, and what that costs it."""
    if start.checkpoint is None:
        return
    print(f"resuming at step {start.checkpoint.manifest.step}", file=sys.stderr)
    for sentence in inexact(start.checkpoint.manifest.meta, start.settings, start.task, start.stacked):
        print(f"note: {sentence}", file=sys.stderr)


def ended_badly(start: Start, error: Exception) -> Outcome:
    """Say how a run ended that did not finish.

    Raises:
        ConfigError, RunError: `error` itself, for the caller's one line.
    """
    path = start.run.path
    if isinstance(error, Interrupted):
        print(f"{error}{shown(path)}", file=sys.stderr)
        return Outcome(128 + error.number, "interrupted", str(path), str(error))
    if isinstance(error, FloatingPointError):
        last = Checkpoints(start.run.checkpoints).manifests()
        good = "no checkpoint was made yet"
        if last:
            good = f"last good checkpoint: {shown(path)}/checkpoints/{last[-1].file}"
        message = f"stopped at step {start.task.steps_done}: {error}"
        print(f"rlgan: {message}\n{good}", file=sys.stderr)
        return Outcome(1, "failed", str(path), message)
    if isinstance(error, ConfigError | RunError):
        raise error
    traceback.print_exception(error)
    return Outcome(1, "failed", str(path), f"{type(error).__name__}: {error}")


def newest(run: RunDirectory) -> Checkpoint | None:
    """The newest sound checkpoint of a run, leftovers of a kill removed."""
    checkpoints = Checkpoints(run.checkpoints, say=lambda message: print(message, file=sys.stderr))
    checkpoints.clean()
    return checkpoints.newest()
