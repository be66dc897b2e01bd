"""From a configuration to a finished run: directory, checkpoint, task, loop, and what a person is told."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlgan.runs.config.build import build_settings
from rlgan.runs.loop import train
from rlgan.runs.prepare import Built, Command, Outcome, construct, ended_badly, newest, prepare, tell_resumed
from rlgan.runs.record.directory import RunDirectory, put, read_starts, run_name, shown, stored, stored_config
from rlgan.runs.record.progress import table
from rlgan.runs.seeds import run_seeds, seed_config
from rlgan.task.errors import ConfigError, RunError


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
        return _continue(chosen, config, Command(overrides, choices))
    # Built before its directory is made: a configuration that cannot be built must not leave one behind.
    built = construct(config if settings.seeds is None else seed_config(config, settings.every_seed[0]))
    task = built[1]
    command = Command(overrides, choices)
    try:
        if chosen is None:
            parent = Path("outputs") / (choices.get("task") or type(task).__name__.lower())
            run = RunDirectory.create(parent, run_name(overrides, settings.seeds_word, settings.name))
        else:
            run = RunDirectory.open(chosen)
            if (run.path / "config.yaml").exists():
                run.release()
                raise RunError(f"run_dir = {chosen}: another run was started there at this moment; choose another")
    except BaseException:
        task.close()
        raise
    run.write_config(stored(config))
    return _run(run, config, command, built)


def _continue(path: Path, config: Mapping[str, Any], command: Command) -> Outcome:
    """The same command in the same directory goes on with the run, as a requeued job has to."""
    run = RunDirectory.open(path)
    try:
        changed = _differences(stored_config(run.path), stored(config))
        if changed:
            raise RunError(
                f"run_dir = {path}: holds a run with other settings ({'; '.join(changed)}); "
                "choose another run_dir, or go on with resume="
            )
        return _run(run, config, command)
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
    several = config.get("seeds") is not None
    for key, value in changes.items():
        put(config, key, value)
    if several != (build_settings(config).seeds is not None) or (several and "seed" in changes):
        what = f"seeds = {config['seeds']}" if "seeds" in changes else f"seed = {config['seed']}"
        kind = "a run of several seeds" if several else "the run of a single seed"
        raise ConfigError(f"{what}: {path} is {kind} and goes on as one; start a new run")
    run = RunDirectory.open(path)
    try:
        starts = read_starts(path)
        choices = starts[0]["choices"] if starts else {}
        return _run(run, config, Command(overrides, choices, changes))
    finally:
        run.release()


def _run(run: RunDirectory, config: Mapping[str, Any], command: Command, built: Built | None = None) -> Outcome:
    if build_settings(config).seeds is not None:
        return run_seeds(run, config, command, built)
    start = prepare(run, config, command, newest(run), built)
    print(f"run: {shown(run.path)}", file=sys.stderr)
    tell_resumed(start)
    try:
        summary = train(start)
    except Exception as error:
        return ended_badly(start, error)
    finally:
        run.release()
    # What the methods are doing is for TensorBoard's curves and summary.json.
    print(table({tag: value for tag, value in summary.items() if not tag.startswith("optim/")}))
    print(f"tensorboard --logdir {shown(run.path)}", flush=True)
    return Outcome(0, "finished", str(run.path))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key in {**old, **new}:
        path = f"{prefix}{key}"
        if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
            lines += _differences(old[key], new[key], f"{path}.")
        elif old.get(key) != new.get(key):
            lines.append(f"{path} is {old.get(key)} there and {new.get(key)} here")
    return lines
