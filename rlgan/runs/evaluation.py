"""Measure a run's checkpoint again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from rlgan.runs.checkpoint import Checkpoints
from rlgan.runs.config import build_settings, build_task
from rlgan.runs.directory import write_atomically, write_json
from rlgan.runs.logger import picture_name, rasterise
from rlgan.runs.session import put, stored_config


def evaluate_run(path: Path, which: str = "best", changes: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Evaluate a checkpoint; writes RUN/evaluation.json and RUN/evaluation/<tag>.png, and changes nothing else.

    A run that is still being trained may be evaluated.

    Args:
        path: the run.
        which: `best`, `last` or a step.
        changes: values by dotted key that replace stored ones.

    Raises:
        RunError: this is no run, or it has no such checkpoint.
        ConfigError: a value cannot be used.
    """
    config = stored_config(path)
    for key, value in (changes or {}).items():
        put(config, key, value)
    settings = build_settings(config)
    task = build_task(config, dataclasses.replace(settings, compile=False))
    try:
        torch.set_num_threads(settings.threads)
        checkpoint = Checkpoints(path / "checkpoints", best=task.best).choose(which)
        checkpoint.restore(task)
        metrics = {tag: float(value) for tag, value in task.evaluate().items()}
        pictures = task.pictures()
    finally:
        task.close()
    result: dict[str, float] = {"step": checkpoint.manifest.step, **metrics}
    record = {
        "checkpoint": checkpoint.manifest.file,
        "evaluated": datetime.now().astimezone().isoformat(timespec="seconds"),
        "changes": dict(changes or {}),
        "metrics": result,
    }
    write_json(path / "evaluation.json", record)
    for tag, picture in pictures.items():
        folder = path / "evaluation"
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{picture_name(tag)}.png", rasterise(picture)[0])
    return result
