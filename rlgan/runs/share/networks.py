"""A task's functions as files that other programs run, each compared with the network it was made of."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlgan.runs.share.exported import needed
from rlgan.task.errors import ConfigError
from rlgan.task.hooks.function import Function

TOLERANCE = 1e-5
"""The largest difference from the original, in units of the largest output if that is above 1."""
_ROWS = (1, 7, 64)
_EXAMPLE = 2


def described(function: Function) -> dict[str, Any]:
    """What goes in and comes out of a function, for the record."""
    inputs = _draw(function, 1, 0)
    return {
        "about": function.about,
        "inputs": {name: ["n", *value.shape[1:]] for name, value in inputs.items()},
        "dtypes": {name: str(value.dtype).removeprefix("torch.") for name, value in inputs.items()},
        "result": function.result,
    }


def as_onnx(name: str, function: Function) -> tuple[bytes, float]:
    """An ONNX file, with any number of rows, compared in onnxruntime.

    Returns:
        Its content, and the largest difference.

    Raises:
        ConfigError: it cannot be written, or gives something else.
    """
    onnxruntime = needed("onnxruntime")
    inputs = _draw(function, _EXAMPLE, 0)
    module = function.module.cpu()
    with _failures(name, "onnx"), _quietly():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[function.result],
            dynamic_shapes=_any_rows(inputs),
            dynamo=True,
            optimize=True,
            verbose=False,
        )
        assert program is not None
        data: bytes = program.model_proto.SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        takes = {one.name for one in session.get_inputs()}

        def run(given: dict[str, Tensor]) -> NDArray[Any]:
            fed = {key: value.numpy() for key, value in given.items() if key in takes}
            return np.asarray(session.run(None, fed)[0])

        return data, _compared(name, "onnx", function, run)


def as_program(name: str, function: Function) -> tuple[bytes, float]:
    """A program of torch.export, with any number of rows, compared after it was read back.

    Returns:
        Its content, and the largest difference.

    Raises:
        ConfigError: it cannot be written, or gives something else.
    """
    inputs = _draw(function, _EXAMPLE, 0)
    with _failures(name, "torch"), _quietly():
        program = torch.export.export(
            function.module.cpu(), tuple(inputs.values()), dynamic_shapes=_any_rows(inputs), strict=False
        )
        data = io.BytesIO()
        torch.export.save(program, data)
        data.seek(0)
        again = torch.export.load(data).module()

        def run(given: dict[str, Tensor]) -> NDArray[Any]:
            found: NDArray[Any] = again(*given.values()).numpy()
            return found

        return data.getvalue(), _compared(name, "torch", function, run)


def _any_rows(inputs: dict[str, Tensor]) -> tuple[Any, ...]:
    rows = torch.export.Dim("n", min=1, max=2**31 - 1)
    return tuple({0: rows} for _ in inputs)


def _draw(function: Function, n: int, seed: int) -> dict[str, Tensor]:
    parameter = next(function.module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    return {key: x.cpu() for key, x in function.draw(n, torch.Generator(device).manual_seed(seed)).items()}


@torch.no_grad()
def _compared(name: str, kind: str, function: Function, run: Callable[[dict[str, Tensor]], NDArray[Any]]) -> float:
    worst = 0.0
    for seed, rows in enumerate(_ROWS, 1):
        inputs = _draw(function, rows, seed)
        wanted = function.module(*inputs.values()).numpy()
        found = run(inputs)
        if found.shape != wanted.shape:
            raise ConfigError(f"{name}: as {kind} it gives {found.shape} and not {wanted.shape}; it was not written")
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        worst = max(worst, float(np.abs(found.astype(np.float64) - wanted).max(initial=0)) / scale)
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"{name}: as {kind} it differs by {worst:.2g} from the original, more than {TOLERANCE:g}; it was not "
            f"written: leave {kind} out of formats="
        )
    return worst


@contextlib.contextmanager
def _failures(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (ConfigError, OSError):
        raise
    except Exception as error:  # of a network that cannot be traced: whatever the exporter raises
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(
            f"{name}: cannot be written as {kind} ({why}); leave {kind} out of formats=, or write its forward in torch "
            "alone, without branches on values"
        ) from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' own talk."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
