"""`rlgan export`: what a run has learnt, in a folder for others; see `rlgan.runs.share.exported` for its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import rlgan
from rlgan.runs.config.build import RunSpec
from rlgan.runs.record.directory import read_config, short_path, stored
from rlgan.runs.record.files import write_atomically, write_json
from rlgan.runs.share.card import card
from rlgan.runs.share.exported import ABOUT, CARD, CONFIG, FORMAT, WEIGHTS, is_exported, needed, read_about
from rlgan.runs.share.networks import as_onnx, as_program, described
from rlgan.runs.share.start import restored
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.hooks.function import Function

FORMATS = ("safetensors", "onnx", "torch")
_ENDINGS = (("onnx", "onnx"), ("torch", "pt2"))


def export_run(path: Path, to: Path, checkpoint: str = "best", formats: Sequence[str] = FORMATS) -> Path:
    """Write what a run of one seed has learnt: weights and configuration, networks for other programs, a model card.

    Everything is written into the folder under names of its own; an earlier export there is written over.

    Args:
        path: the run.
        to: a new or empty folder, or one of an earlier export.
        checkpoint: best, last or a step.
        formats: `safetensors`: the weights, which rlgan reads; `onnx` and `torch` (torch.export, .pt2): every function
            of the task with any number of rows, for programs without rlgan.

    Returns:
        The folder.

    Raises:
        RunError: this is no run, it has no such checkpoint, or the folder holds other files or cannot be written.
        ConfigError: an unknown format, a library is missing, or a network is another one after it was written.
    """
    _check(path, to, formats)
    found = restored(path, checkpoint)
    with closing(found.task):
        functions, weights = found.task.functions(), found.task.weights()
        manifest, best = found.checkpoint.manifest, found.task.best
        explained = found.task.explained
    if not weights and not functions:
        raise ConfigError(f"{type(found.task).__name__}: has no functions() and no weights() to export; write them")
    files: dict[str, bytes] = {}
    former = _written_before(to)
    if "safetensors" in formats:
        files[WEIGHTS] = _weights(weights, manifest.step)
    about: dict[str, Any] = {
        "format": FORMAT,
        "rlgan": rlgan.__version__,
        "torch": str(torch.__version__),
        "run": path.resolve().name,
        "seed": found.spec.settings.seed,
        "step": manifest.step,
        "checkpoint": checkpoint,
        "best": list(best),
        "metrics": dict(manifest.metrics),
        "functions": {name: _written(name, function, formats, files) for name, function in functions.items()},
    }
    files[CARD] = card(found.spec.config, about, explained, to).encode()
    try:
        to.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_atomically(to / name, data)
        write_json(to / CONFIG, stored(found.spec.config))
        for name in former - files.keys():  # of another run, or of other formats
            (to / name).unlink(missing_ok=True)
        write_json(to / ABOUT, about)
    except OSError as error:
        raise RunError(f"{error.filename or to}: cannot be written ({error.strerror}); choose another to=") from error
    return to


def _check(path: Path, to: Path, formats: Sequence[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"formats = {name}: there is no such format; choose some of {', '.join(FORMATS)}")
    if not formats:
        raise ConfigError(f"formats = []: name at least one of {', '.join(FORMATS)}")
    config = read_config(path)
    shown = short_path(path)
    if isinstance(config.get("compare"), dict):
        raise ConfigError(f"{shown}: is a comparison; export its variants one by one, {shown}/NAME")
    if config.get("seeds") is not None:
        first = RunSpec.of(config).settings.every_seed[0]
        raise ConfigError(f"{shown}: is a run of several seeds; export them one by one, {shown}/seed={first}")
    if to.is_dir() and any(to.iterdir()) and not is_exported(to):
        raise RunError(f"to = {to}: holds other files; name a new or an empty folder")
    if to.exists() and not to.is_dir():
        raise RunError(f"to = {to}: is a file; name a new or an empty folder")
    if "safetensors" in formats:
        needed("safetensors.torch")
    if "onnx" in formats:
        for module in ("onnx", "onnxscript", "onnxruntime"):
            needed(module)
    needed("huggingface_hub")


def _written_before(to: Path) -> set[str]:
    """The weights and networks of an earlier export, by the names that it has said."""
    if not is_exported(to):
        return set()
    functions = read_about(to).get("functions")
    names = {f"{name}.{ending}" for name in functions or () for _, ending in _ENDINGS}
    return {name for name in names if name == Path(name).name} | {WEIGHTS}


def _weights(weights: Mapping[str, Tensor], step: int) -> bytes:
    plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in weights.items()}
    made: bytes = needed("safetensors.torch").save(plain, {"format": "pt", "rlgan": str(FORMAT), "step": str(step)})
    return made


def _written(name: str, function: Function, formats: Sequence[str], files: dict[str, bytes]) -> dict[str, Any]:
    """Put a function in the wanted formats among the files; what was written, for the record."""
    own = described(function)
    for (kind, ending), write in zip(_ENDINGS, (as_onnx, as_program), strict=True):
        if kind in formats:
            file = f"{name}.{ending}"
            files[file], differs = write(name, function)
            own[kind] = {"file": file, "largest difference": differs}
    return own
