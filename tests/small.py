"""The tasks in a size for tests, from the command line and as objects."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlgan.runs.cli import main
from rlgan.runs.config.build import build_settings, build_task, plain
from rlgan.runs.config.sources import ROOT
from rlgan.runs.options import conf_directory
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.task.task import Task

#: Nothing that these tests do not look at; evaluation at the end alone.
QUIET = ("device=cpu", "progress=false", "logger=[]", "log_every=10", "eval_every=0", "checkpoint_every=0")

TASKS: dict[str, tuple[str, ...]] = {
    "wgan": (
        "experiment=gan/ring_clip",
        *QUIET,
        "steps=40",
        "batch_size=32",
        "critic.network.hidden=[16,16]",
        "generator.network.hidden=[16,16]",
    ),
    "ddpg": (
        "task=ddpg",
        *QUIET,
        "steps=120",
        "batch_size=32",
        "learning_starts=60",
        "capacity=1000",
        "eval_episodes=2",
        "critic.network.hidden=[16,16]",
        "actor.network.hidden=[16,16]",
    ),
}

ERM = ("task=erm", *QUIET, "steps=40", "batch_size=32", "network.hidden=[16]", "sharpness=false")
"""The task of one player, whose groups stand at the root."""

#: What the compiled cases of all tests share, so that their graphs are compiled once and then found in torch's cache.
COMPILED: dict[str, tuple[str, ...]] = {"wgan": ("game=simultaneous", "lipschitz=gradient_penalty"), "ddpg": ()}

OTHER = {"wgan": "generator", "ddpg": "actor"}
"""The player beside the critic."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def rlgan(*arguments: str) -> Ended:
    """`rlgan ...` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return Ended(end.value.code, out.getvalue(), err.getvalue())


def train(*arguments: str) -> Path:
    """`rlgan ...` in this process, a run that must finish; its `run_dir`."""
    ended = rlgan(*arguments)
    assert ended.code == 0, ended.err
    return Path(next(item for item in reversed(arguments) if item.startswith("run_dir=")).partition("=")[2])


def composed(*arguments: str) -> dict[str, Any]:
    """The configuration of `rlgan ...`, plain and resolved."""
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        config = compose(ROOT, overrides=list(arguments))
    OmegaConf.set_struct(config, False)
    return plain(config)


def builder(*arguments: str) -> Callable[[], Task]:
    """What builds the task that `rlgan ...` would train, anew at every call."""
    values = composed(*arguments)
    return lambda: build_task(values, build_settings(values))


def build(*arguments: str) -> Task:
    """The task that `rlgan ...` would train."""
    return builder(*arguments)()


def untimed(line: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics without the keys that tell time."""
    return {tag: value for tag, value in line.items() if not tag.startswith("time/")}


def metrics(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without its timing keys."""
    return [untimed(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]


def summary(run: Path) -> dict[str, Any]:
    """summary.json without its timing keys."""
    return untimed(json.loads((run / "summary.json").read_text()))


def status(run: Path) -> dict[str, Any]:
    """status.json."""
    found: dict[str, Any] = json.loads((run / "status.json").read_text())
    return found


def checkpoint(run: Path, step: int) -> dict[str, Any]:
    """Everything that the checkpoint of a step holds."""
    return Checkpoints(run / "checkpoints").choose(str(step)).state


def differences(a: Any, b: Any, path: str = "state") -> list[str]:
    """Where two trees of plain containers and tensors differ in any bit."""
    if type(a) is not type(b):
        return [f"{path}: {type(a).__name__} and {type(b).__name__}"]
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
        return [] if same else [path]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f"{path}: keys {sorted(a)} and {sorted(b)}"]
        return [line for key in a for line in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{path}: {len(a)} and {len(b)} entries"]
        return [line for i in range(len(a)) for line in differences(a[i], b[i], f"{path}[{i}]")]
    return [] if a == b else [f"{path}: {a} and {b}"]
