"""Arrays and tables of the user's own, with a label for each sample."""

from __future__ import annotations

import hashlib
import math
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlgan.erm.problems.base import Sample
from rlgan.erm.problems.own.labels import Own, Raw, Read, check_labels
from rlgan.erm.problems.own.tables import SUFFIXES, table
from rlgan.reading.arrays import LABELS, ArraySource, Layout, Range, load
from rlgan.reading.shown import said

INPUTS = ("x", "X", "images", "data", "inputs")
Stamp = tuple[int, int]


@final
@dataclass(frozen=True)
class ArrayFile(Own):
    """Inputs and labels in an .npz file, in two .npy files, or in a table of numbers (.csv, .tsv, .txt).

    Inputs are numbers ``(n, d)``, or images ``(n, H, W)``, ``(n, H, W, C)`` or ``(n, C, H, W)`` with C = 1 or 3, scaled
    to [-1, 1]. A sample is held out by its content, so that two that are alike are on the same side.

    Args:
        path, test_path, held_out, random_labels: see `Own`.
        x: name of the inputs in an .npz; null: x, X, images, data or inputs.
        y: name of the labels in an .npz (null: y, Y, labels, targets or target), or of their column in a table (null:
            the last one).
        y_path: of the .npy with the labels, where `path` is an .npy.
        test_y_path: the same of `test_path`.
        columns: names of the columns of a table that are inputs; null: all but the labels.
        labels: `classes`, `values`, or `auto`: words and whole numbers are classes, other numbers values.
        standardise: give every feature, and every value to be told, the mean 0 and the variance 1 on the training
            samples (images are left); so the risk of values is the share of their variance that is not explained.
        layout: order of an image's axes, `nhw`, `nhwc` or `nchw`; null finds it where that leaves no doubt.
        value_range: an image's values of black and white; null finds them where that leaves no doubt.
    """

    example = "points.csv"

    x: str | None = None
    y: str | None = None
    y_path: Path | None = None
    test_y_path: Path | None = None
    columns: tuple[str, ...] | None = None
    labels: Read = "auto"
    standardise: bool = True
    layout: Layout | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if self.layout not in (None, "nhw", "nhwc", "nchw"):
            raise ValueError(f"layout = {self.layout}: must be nhw, nhwc or nchw, or null to find it")
        if self.value_range is not None and not -math.inf < self.value_range[0] < self.value_range[1] < math.inf:
            raise ValueError(f"value_range = {list(self.value_range)}: must ascend and be finite, for example [0, 255]")
        super().__post_init__()

    @property
    def how(self) -> Read:
        return self.labels

    def read(self, path: Path) -> Raw:
        here = self.path is not None and path == Path(os.path.expanduser(str(self.path)))
        beside = self.y_path if here else self.test_y_path
        beside = None if beside is None else Path(os.path.expanduser(str(beside)))
        values = None if self.value_range is None else (float(self.value_range[0]), float(self.value_range[1]))
        columns = None if self.columns is None else tuple(self.columns)
        return _read(path, self.x, self.y, beside, columns, self.layout, values, _stamp(path), _stamp(beside))

    def prepared(self, train: Sample, test: Sample | None) -> tuple[Sample, Sample | None]:
        if not self.standardise:
            return train, test
        of_x = _moments(train.x) if train.x.ndim == 2 else None
        of_y = _moments(train.y) if train.y.is_floating_point() else None
        return _scaled(train, of_x, of_y), None if test is None else _scaled(test, of_x, of_y)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature."""
    # By powers of two near the largest, which round nothing: squares of huge numbers are inf, those of tiny ones 0.
    largest = values.abs().amax(0)
    scale = torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), torch.ones_like(largest))
    mean, deviation = (values / scale).mean(0), (values / scale).std(0, correction=0)
    # What is the same on every training sample is centred and left.
    varies = deviation > 1e-12 * mean.abs()
    return mean * scale, torch.where(varies, deviation * scale, torch.ones_like(deviation))


def _scaled(sample: Sample, of_x: tuple[Tensor, Tensor] | None, of_y: tuple[Tensor, Tensor] | None) -> Sample:
    x, y = (v if own is None else (v - own[0]) / own[1] for v, own in zip(sample, (of_x, of_y), strict=True))
    return Sample(x, y)


def _stamp(path: Path | None) -> Stamp | None:
    """What changes when a file does."""
    if path is None or not os.path.isfile(path):
        return None
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


# Problems of several seeds in one process read the same file: once, unless it changed meanwhile.
@lru_cache(maxsize=4)
def _read(
    path: Path,
    x: str | None,
    y: str | None,
    beside: Path | None,
    columns: tuple[str, ...] | None,
    layout: Layout | None,
    value_range: Range | None,
    stamp: Stamp | None,
    other: Stamp | None,
) -> Raw:
    suffix, name = path.suffix.lower(), f"path = {said(path)}"
    if columns is not None and suffix not in SUFFIXES:
        raise ValueError(f"columns = {list(columns)}: {said(path.name)} is no table; leave it out")
    if x is not None and suffix in SUFFIXES:
        raise ValueError(f"x = {x}: {said(path.name)} is a table; name its columns of inputs, columns=[{x}]")
    if suffix in SUFFIXES:
        inputs, labels = table(path, y, columns)
    elif suffix == ".npy":
        if beside is None:
            raise ValueError(f"y_path = null: {said(path.name)} holds inputs alone; give the .npy of their labels")
        inputs, labels = load(path, x, "x", "inputs"), _labels(beside, y)
    elif suffix == ".npz":
        x = x or _usual(path, INPUTS, "x", "inputs")
        inputs, labels = (
            load(path, x, "x", "inputs"),
            load(path, y or _usual(path, LABELS, "y", "labels"), "y", "labels"),
        )
    else:
        raise ValueError(f"{name}: is neither .npz, .npy nor a table ({', '.join(SUFFIXES)}); save it as one of these")
    if inputs.ndim == 0 or labels.ndim == 0 or len(inputs) != len(labels):
        counts = f"{len(inputs) if inputs.ndim else 'one'} inputs and {len(labels) if labels.ndim else 'one'} labels"
        raise ValueError(f"{name}: has {counts}; give a label for each input")
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind not in "biufU" or labels.ndim > 2:
        raise ValueError(f"{name}: labels of {labels.dtype} {labels.shape} are none; give a word or number for each")
    if inputs.ndim >= 3:
        return _images(path, x, layout, value_range, labels)
    return _numbers(inputs, labels, name)


def _labels(path: Path, y: str | None) -> NDArray[Any]:
    try:
        return load(path, y, "y", "labels")
    except ValueError as error:
        raise ValueError(re.sub("^path =", "y_path =", str(error))) from error


def _usual(path: Path, usual: tuple[str, ...], field: str, what: str) -> str | None:
    """The usual name that there is in an .npz; None where it cannot be said, so that `load` says what is wrong.

    Raises:
        ValueError: there are several arrays, and none has a usual name.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            names = list(found)
    except Exception:  # said by `load`, in full
        return None
    here = [name for name in usual if name in names]
    if not here:
        raise ValueError(
            f"{field} = null: {said(path.name)} holds {', '.join(names) or 'nothing'}; say which is {what}"
        )
    return here[0]


def _digest(parts: NDArray[Any]) -> list[bytes]:
    return [hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in parts]


def _fingerprint(what: str, keys: list[bytes], labels: NDArray[Any]) -> str:
    content = hashlib.sha256(b"".join(keys) + np.ascontiguousarray(labels).tobytes()).hexdigest()[:16]
    return f"{what}, sha256 of samples and labels {content}"


def _numbers(inputs: NDArray[Any], labels: NDArray[Any], name: str) -> Raw:
    x = inputs[:, None] if inputs.ndim == 1 else inputs
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name}: inputs of dtype {x.dtype} are no numbers; turn words into numbers first")
    x = np.ascontiguousarray(x, dtype=np.float64)
    if not x.size:
        raise ValueError(f"{name}: inputs of shape {inputs.shape} hold nothing; give (n, d)")
    if len(wrong := np.argwhere(~np.isfinite(x))):
        raise ValueError(
            f"{name}: sample {wrong[0][0]} has nan or inf in feature {wrong[0][1]}; replace it, or leave the sample out"
        )
    keys = _digest(x)
    return Raw(
        torch.from_numpy(x), labels, keys, _fingerprint(f"{len(x):,} samples of {x.shape[1]} numbers", keys, labels)
    )


def _images(path: Path, x: str | None, layout: Layout | None, value_range: Range | None, labels: NDArray[Any]) -> Raw:
    source = ArraySource(path, x, layout, value_range, "problem")
    pixels = torch.from_numpy(source.decoded).float() / 127.5 - 1
    keys = source.keys()
    return Raw(
        pixels, labels, keys, _fingerprint(source.fingerprint(), keys, labels), (source.reading, *source.remarks())
    )
