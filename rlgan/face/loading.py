"""Load a run, or what was exported of one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from rlgan.face.calls import Call
from rlgan.face.guests import guest, looking
from rlgan.face.trained import Source, Trained
from rlgan.runs.commands.words import step_of_file
from rlgan.runs.config.build import RunSpec
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.directory import find_run, is_run, read_config, short_path, stored_config
from rlgan.runs.share.exported import is_exported, read_about, restored_from
from rlgan.runs.share.start import restored
from rlgan.task.errors import ConfigError


def load(
    run: str | Path,
    checkpoint: str | int = "best",
    *,
    seed: int | None = None,
    trust: Iterable[str] = (),
    device: str | None = None,
) -> Trained:
    """Load a trained run: what it has learnt, to be called; its configuration, metrics and pictures.

    Args:
        run: the run's folder, one that `rlgan.export` wrote, or `latest` for the newest run below outputs/.
        checkpoint: `best` by the task's own measure, `last`, or a step.
        seed: of a run with `seeds=`, which one; without it, what is loaded has only what holds for all of them.
        trust: packages whose classes the run's configuration may name, besides those of rlgan, torch and gymnasium.
        device: where its networks are to be, for example `cpu`; None is where it was trained.

    Raises:
        RunError: there is no such run, or it has no such checkpoint.
        ConfigError: its configuration cannot be used here, or names what is not trusted.
    """
    path = find_run(str(run)).expanduser()
    which = step_of_file(str(checkpoint))
    changes = {} if device is None else {"device": device}
    source = Source(path, which, tuple([trust] if isinstance(trust, str) else trust), device)
    with guest(), looking(trust):
        if not is_run(path) and not is_exported(path):
            read_config(path)  # says what is wrong with it
        if not is_run(path) or (is_exported(path) and not (path / "overrides.jsonl").exists()):
            return _exported(source, changes, seed)
        config = stored_config(path)
        if isinstance(config.get("compare"), dict):
            return _group(source, config, "variant", {file.parent.name: file.parent for file in _variants(path)}, seed)
        if config.get("seeds") is None:
            if seed not in (None, config.get("seed")):
                raise ConfigError(f"seed = {seed}: {short_path(path)} is the run of seed {config.get('seed')} alone")
            return _single(source, config, changes)
        there = RunSpec.of(config).settings.every_seed
        group = _group(source, config, "seed", {str(k): path / f"seed={k}" for k in there}, None)
    return group if seed is None else group.seed(seed)


def _variants(path: Path) -> list[Path]:
    return sorted(path.glob("*/config.yaml"))


def _group(source: Source, config: dict[str, Any], kind: str, members: dict[str, Path], seed: int | None) -> Trained:
    if seed is not None:
        raise ConfigError(f"seed = {seed}: {short_path(source.path)} is a comparison; choose a variant first")
    return Trained(source, config, kind=kind, members=members)


def _single(source: Source, config: dict[str, Any], changes: dict[str, Any]) -> Trained:
    found = restored(source.path, source.checkpoint, changes)
    with closing(found.task):
        calls = {name: Call(name, function) for name, function in found.task.functions().items()}
        best, manifest = found.task.best, found.checkpoint.manifest
    measured = Checkpoints(source.path / "checkpoints", best=best).best()
    kind = "best" if measured is not None and measured.step == manifest.step else "last"
    return Trained(source, config, calls=calls, step=manifest.step, chosen=kind, metrics=manifest.metrics, best=best[0])


def _exported(source: Source, changes: dict[str, Any], seed: int | None) -> Trained:
    about = read_about(source.path)
    if seed not in (None, about.get("seed")):
        raise ConfigError(f"seed = {seed}: {short_path(source.path)} was exported of seed {about.get('seed')}")
    task, config = restored_from(source.path, changes)
    with closing(task):
        calls = {name: Call(name, function) for name, function in task.functions().items()}
    metrics = about.get("metrics")
    return Trained(
        source,
        config,
        calls=calls,
        step=int(about.get("step", 0)),
        chosen="exported",
        metrics=metrics if isinstance(metrics, dict) else {},
        best=task.best[0],
    )
