"""From a configuration to a finished run: directory, checkpoint, task, loop, and what a person is told."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import rlgan
from rlgan.runs.checkpoint import Checkpoint, Checkpoints
from rlgan.runs.config import build_settings, build_task
from rlgan.runs.directory import RunDirectory, read_config, read_starts, run_name
from rlgan.runs.errors import ConfigError, RunError
from rlgan.runs.loop import Interrupted, inexact, train
from rlgan.runs.progress import table
from rlgan.runs.settings import Settings
from rlgan.runs.task import Task

# Neither changes what is learnt, so a run may go on with other values of these.
_OF_THE_START = ("run_dir", "resume", "progress", "tensorboard")


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


def start(config: Mapping[str, Any], overrides: Sequence[str], choices: Mapping[str, str]) -> Outcome:
    """Start a run, or go on with it where `run_dir` already holds one of the same configuration.

    Args:
        config: the composed configuration, plain and resolved.
        overrides: what was typed, for the directory's name and the record.
        choices: option of every group.

    Raises:
        ConfigError, RunError: it cannot start.
    """
    settings = build_settings(config)
    chosen = None if settings.run_dir is None else Path(settings.run_dir)
    if chosen is not None and (chosen / "config.yaml").exists():
        return _continue(chosen, config, overrides, choices)
    # Built before its directory is made: a configuration that cannot be built must not leave one behind.
    torch.set_num_threads(settings.threads)
    task = build_task(config, settings)
    try:
        if chosen is None:
            parent = Path("outputs") / (choices.get("task") or type(task).__name__.lower())
            run = RunDirectory.create(parent, run_name(overrides, settings.seed, settings.name))
        else:
            run = RunDirectory.open(chosen)
            if (run.path / "config.yaml").exists():
                run.release()
                raise RunError(f"run_dir = {chosen}: another run was started there at this moment; choose another")
    except BaseException:
        task.close()
        raise
    run.write_config(_stored(config))
    return _run(run, config, overrides, choices, None, settings, task)


def _continue(path: Path, config: Mapping[str, Any], overrides: Sequence[str], choices: Mapping[str, str]) -> Outcome:
    """The same command in the same directory goes on with the run, as a requeued job has to."""
    run = RunDirectory.open(path)
    try:
        changed = _differences(stored_config(run.path), _stored(config))
        if changed:
            raise RunError(
                f"run_dir = {path}: holds a run with other settings ({'; '.join(changed)}); "
                "choose another run_dir, or go on with resume="
            )
        return _run(run, config, overrides, choices, _newest(run))
    finally:
        run.release()


def resume(path: Path, changes: Mapping[str, Any], overrides: Sequence[str]) -> Outcome:
    """Go on with a run in its own directory.

    Args:
        path: the run.
        changes: values by dotted key that replace stored ones.
        overrides: what was typed, for the record.

    Raises:
        ConfigError, RunError: it cannot go on.
    """
    config = stored_config(path)
    for key, value in changes.items():
        put(config, key, value)
    build_settings(config)
    run = RunDirectory.open(path)
    try:
        starts = read_starts(path)
        choices = starts[0]["choices"] if starts else {}
        return _run(run, config, overrides, choices, _newest(run), changes=changes)
    finally:
        run.release()


def put(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested plain containers."""
    node: Any = config
    *parents, last = key.split(".")
    for depth, part in enumerate(parents):
        if not isinstance(node.get(part), dict):
            if part in node:
                raise ConfigError(f"{key} = {value}: {'.'.join(parents[: depth + 1])} is a value and no section")
            node[part] = {}
        node = node[part]
    node[last] = value


def _run(
    run: RunDirectory,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    choices: Mapping[str, str],
    checkpoint: Checkpoint | None,
    settings: Settings | None = None,
    task: Task | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Outcome:
    settings = settings or build_settings(config)
    if checkpoint is not None and "compile" not in (changes or {}):
        # `auto` decided once; deciding again could change the bits.
        settings = dataclasses.replace(settings, compile=bool(checkpoint.manifest.meta["compiled"]))
    torch.set_num_threads(settings.threads)
    task = task or build_task(config, settings)
    if checkpoint is not None:
        try:
            checkpoint.restore(task)
        except BaseException:
            # Nothing is recorded of a start that could not be: the run can still go on as it was.
            task.close()
            raise
    run.add_start(
        {
            "time": datetime.now().astimezone().isoformat(timespec="seconds"),
            "step": checkpoint.manifest.step if checkpoint else 0,
            "overrides": list(overrides),
            "changes": dict(changes or {}),
            "choices": dict(choices),
            "versions": {
                "rlgan": rlgan.__version__,
                "python": sys.version.split()[0],
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "gymnasium": gymnasium.__version__,
            },
        }
    )
    shown = _shown(run.path)
    print(f"run: {shown}", file=sys.stderr)
    if checkpoint is not None:
        print(f"resuming at step {checkpoint.manifest.step}", file=sys.stderr)
        for sentence in inexact(checkpoint.manifest.meta, settings, task):
            print(f"note: {sentence}", file=sys.stderr)
    try:
        summary = train(task, settings, run, config, checkpoint)
    except Interrupted as stop:
        message = str(stop)
        print(f"{message}{shown}", file=sys.stderr)
        return Outcome(128 + stop.number, "interrupted", str(run.path), message)
    except FloatingPointError as error:
        last = Checkpoints(run.checkpoints).manifests()
        good = f"last good checkpoint: {shown}/checkpoints/{last[-1].file}" if last else "no checkpoint was made yet"
        message = f"stopped at step {task.steps_done}: {error}"
        print(f"rlgan: {message}\n{good}", file=sys.stderr)
        return Outcome(1, "failed", str(run.path), message)
    except (ConfigError, RunError):
        raise
    except Exception as error:
        traceback.print_exc()
        return Outcome(1, "failed", str(run.path), f"{type(error).__name__}: {error}")
    finally:
        run.release()
    # What the methods are doing is for TensorBoard's curves and summary.json.
    print(table({tag: value for tag, value in summary.items() if not tag.startswith("optim/")}))
    print(f"tensorboard --logdir {shown}", flush=True)
    return Outcome(0, "finished", str(run.path))


def _newest(run: RunDirectory) -> Checkpoint | None:
    checkpoints = Checkpoints(run.checkpoints, say=lambda message: print(message, file=sys.stderr))
    checkpoints.clean()
    return checkpoints.newest()


def _stored(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _OF_THE_START}


def stored_config(path: Path) -> dict[str, Any]:
    """A run's configuration with what later starts changed.

    Raises:
        RunError: the directory is no run.
    """
    config = _stored(read_config(path))
    for record in read_starts(path):
        for key, value in record.get("changes", {}).items():
            if key not in _OF_THE_START:
                put(config, key, value)
    return config


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key in {**old, **new}:
        path = f"{prefix}{key}"
        if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
            lines += _differences(old[key], new[key], f"{path}.")
        elif old.get(key) != new.get(key):
            lines.append(f"{path} is {old.get(key)} there and {new.get(key)} here")
    return lines


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
