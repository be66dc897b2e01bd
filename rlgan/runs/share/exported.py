"""A folder that `rlgan export` wrote, read as data: nothing in it is run.

DIR/model.safetensors    every tensor under its name of `rlgan.optim.weights`
DIR/config.json          the run's configuration
DIR/rlgan.json           format, run, step, metrics, and what was exported of each function
DIR/README.md            the model card
DIR/<function>.onnx, .pt2    what other programs run
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rlgan.optim.weights import Unlike
from rlgan.runs.config.build import RunSpec
from rlgan.runs.record.directory import EXPORTED, set_key
from rlgan.runs.record.files import read_json
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.task import Task

WEIGHTS, CONFIG, ABOUT, CARD = "model.safetensors", "config.json", EXPORTED, "README.md"
FORMAT = 1
"""Of rlgan.json and of the tensors' names."""


def is_exported(path: Path) -> bool:
    """Tell whether a folder is one that `rlgan export` wrote."""
    return path.is_dir() and (path / ABOUT).is_file()


def read_about(path: Path) -> dict[str, Any]:
    """What rlgan.json says.

    Raises:
        RunError: it cannot be read, or a newer rlgan wrote it.
    """
    file = path / ABOUT
    about = _read(file)
    number = about.get("format")
    if type(number) is not int or number < 1:
        raise RunError(f"{file}: format = {number!r}: there is none such; export the run again")
    if number > FORMAT:
        raise RunError(f"{file}: written by a newer rlgan (format {number}, this one reads {FORMAT}); update rlgan")
    metrics = about.get("metrics", {})
    if type(about.get("step", 0)) is not int:
        raise RunError(f"{file}: step = {about['step']!r}: is no whole number; export the run again")
    if not isinstance(metrics, dict) or not all(type(value) in (int, float) for value in metrics.values()):
        raise RunError(f"{file}: metrics: are no numbers by name; export the run again")
    return about


def _read(file: Path) -> dict[str, Any]:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a FIFO would be waited for; the Hub's cache consists of links
            raise ValueError("it is no regular file")
        return read_json(file)
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read ({error}); export the run again") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors by name, on the CPU.

    Raises:
        RunError: they cannot be read.
        ConfigError: the library that reads them is missing.
    """
    read_about(path)
    if not (path / WEIGHTS).is_file():
        raise RunError(f"{path}: was exported without its weights; export the run again, with safetensors in formats=")
    load_file = needed("safetensors.torch").load_file
    try:
        found: dict[str, Tensor] = load_file(path / WEIGHTS)
    except Exception as error:  # whatever a damaged file brings about in the library
        why = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise RunError(f"{path / WEIGHTS}: cannot be read ({why}); export the run again") from error
    return found


def restored_from(path: Path, changes: Mapping[str, Any] | None = None) -> tuple[Task, dict[str, Any]]:
    """Build the task of an exported folder with its weights, to be used and not to be trained; and its configuration.

    Raises:
        RunError: a file cannot be read, or does not fit to the others.
        ConfigError: a value cannot be used, or the configuration names what is not trusted.
    """
    weights = read_weights(path)
    config = _read(path / CONFIG)
    for key, value in (changes or {}).items():
        set_key(config, key, value)
    task = RunSpec.of(config).with_values(compile=False).task()
    try:
        for name, own in task.weights().items():
            if name in weights and weights[name].is_floating_point() != own.is_floating_point():
                raise Unlike(f"{name}: is {weights[name].dtype} there, and {own.dtype} here")
        if odd := sorted(weights.keys() - task.weights().keys()):
            raise Unlike(f"{odd[0]}: is there, and not here")
        task.load_weights(weights)
    except Unlike as error:
        task.close()
        raise RunError(f"{path / WEIGHTS}: does not fit to {CONFIG} ({error}); export the run again") from error
    except BaseException:
        task.close()
        raise
    return task, config


def needed(module: str) -> Any:
    """Import a module of the extra `export`.

    Raises:
        ConfigError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        raise ConfigError(f'export: needs {package}, which is not installed; pip install "rlgan[export]"') from error
