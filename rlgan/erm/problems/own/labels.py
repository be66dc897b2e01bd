"""What is common to samples from files: which labels are classes, and who is held out."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlgan.erm.problems.base import Kind, Labelled, Sample
from rlgan.reading.shown import said
from rlgan.reading.split import split

Read = Literal["auto", "classes", "values"]
FEW = 20
"""Different whole numbers, up to which floating labels may be meant as classes."""


class Raw(NamedTuple):
    """A file as it was read.

    Attributes:
        x: ``(n, *inputs)``, floating.
        labels: ``(n,)``, or ``(n, k)`` of k values for each sample; words or numbers.
        keys: what names each sample, and goes on naming it when others come or go.
        fingerprint: a line that other samples have not.
        notes: what a user has to know about how it was read.
    """

    x: Tensor
    labels: NDArray[Any]
    keys: Sequence[bytes]
    fingerprint: str
    notes: tuple[str, ...] = ()


class Meaning(NamedTuple):
    """What labels are: the classes' names, in the order of their numbers; () of values."""

    kind: Kind
    names: tuple[Any, ...] = ()


def meaning(labels: NDArray[Any], read: Read, name: str) -> Meaning:
    """Whether labels are classes or values.

    Words, whole numbers and booleans are classes, floating numbers are values; where that leaves doubt it is asked.

    Raises:
        ValueError: there is doubt, or they are neither; beginning with the file's `name`.
    """
    numbers = labels.dtype.kind in "biuf"
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        where = int(np.argwhere(~np.isfinite(labels))[0][0])
        raise ValueError(f"{name}: the label of sample {where} is nan or inf; replace it, or leave the sample out")
    if read == "values" and not numbers:
        raise ValueError(f"labels = values: the labels of {name} are words, such as {labels.flat[0]}; use classes")
    if read == "values" or (read == "auto" and labels.ndim == 2):
        return Meaning("values")
    if labels.ndim == 2:
        raise ValueError(f"labels = classes: {name} has {labels.shape[1]} labels for each sample; give one, its class")
    found = np.unique(labels)
    if read == "auto" and numbers:
        whole = labels.dtype.kind != "f" or bool((labels == np.rint(labels)).all())
        if labels.dtype.kind == "f" and not (whole and len(found) <= FEW < len(labels)):
            return Meaning("values")
        if labels.dtype.kind == "f" or len(found) > len(labels) / 2:
            raise ValueError(
                f"{name}: labels are {len(found)} different whole numbers of {len(labels)} samples, and may be classes "
                "or values; set labels=classes or labels=values"
            )
    if len(found) < 2:
        raise ValueError(f"{name}: every label is {found[0]}; there has to be another class")
    return Meaning("classes", tuple(found.tolist()))


def numbered(labels: NDArray[Any], known: Meaning, name: str) -> Tensor:
    """Labels as classes ``(n,)`` int64, or as values ``(n, ...)`` float64.

    Raises:
        ValueError: there is a class that is not known.
    """
    if known.kind == "values":
        return torch.from_numpy(np.ascontiguousarray(labels, dtype=np.float64))
    names = np.asarray(known.names)
    y = np.searchsorted(names, labels).clip(max=len(names) - 1)
    if (strange := labels[names[y] != labels]).size:
        raise ValueError(f"{name}: has the class {strange[0]}, which no training sample has; leave it out")
    return torch.from_numpy(y.astype(np.int64))


@dataclass(frozen=True)
class Own(Labelled):
    """Samples from files, with classes or values.

    Args:
        path: of the file or folder, from where the run starts.
        test_path: another like it to test on; then nothing is held out. null: a share of `path`.
        held_out: the share; it does not change when other samples come or go.
        random_labels: share of the training labels that is replaced at random, of classes.

    Raises:
        ValueError: a file that cannot be read, labels that are none, an impossible share; naming it.
    """

    example: ClassVar[str]
    """A path, for messages."""

    path: Path | None = None
    test_path: Path | None = None
    held_out: float = 0.2
    random_labels: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out = {self.held_out}: the share to test on lies in [0, 1), for example 0.2")
        if self.path is not None:
            _ = self.train

    @abstractmethod
    def read(self, path: Path) -> Raw:
        """The samples of a file or folder, read once while it does not change."""

    @property
    def how(self) -> Read:
        """How labels are read."""
        return "classes"

    @cached_property
    def _files(self) -> dict[str, Raw]:
        """What `path` holds, and `test_path` where there is one, as they were when the problem was made."""
        if self.path is None:
            raise ValueError(f"problem.path = null: has to be given, for example problem.path={self.example}")
        found = {}
        for which, path in (("path", self.path), ("test_path", self.test_path)):
            if path is not None:
                try:
                    found[which] = self.read(Path(os.path.expanduser(str(path))))
                except ValueError as error:  # messages name `path`
                    raise ValueError(
                        re.sub("^(y_)?path =", rf"{which.removesuffix('path')}\1path =", str(error))
                    ) from error
        return found

    @cached_property
    def _meaning(self) -> Meaning:
        known = meaning(self._files["path"].labels, self.how, f"path = {said(self.path)}")
        if known.kind == "values" and self.random_labels:
            raise ValueError(f"random_labels = {self.random_labels}: labels are values, not classes; leave it out")
        return known

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return self._meaning.kind

    @property
    def classes(self) -> int:  # type: ignore[override]
        return len(self._meaning.names)

    @property
    def targets(self) -> tuple[int, ...]:
        return tuple(self.train.y.shape[1:])

    def names(self) -> list[str]:
        return [said(name) for name in self._meaning.names]

    def make(self) -> tuple[Sample, Sample | None]:
        raw, known = self._files["path"], self._meaning
        whole = Sample(raw.x, numbered(raw.labels, known, f"path = {said(self.path)}"))
        if self.test_path is None:
            kept, held = split(raw.keys, self.held_out)
            train, test = (Sample(whole.x[index], whole.y[index]) for index in (kept, held))
        else:
            other, name = self._files["test_path"], f"test_path = {said(self.test_path)}"
            if other.x.shape[1:] != raw.x.shape[1:]:
                raise ValueError(
                    f"{name}: holds samples of shape {tuple(other.x.shape[1:])}, and path of {tuple(raw.x.shape[1:])}; "
                    "give samples of one shape"
                )
            train, test = whole, Sample(other.x, numbered(other.labels, known, name))
        return self.prepared(train, test if len(test.y) else None)

    def prepared(self, train: Sample, test: Sample | None) -> tuple[Sample, Sample | None]:
        """Samples as the model takes them; what is learnt for that is learnt from the training samples."""
        return train, test

    def notes(self) -> list[str]:
        n, held = len(self.train.y), 0 if self.test is None else len(self.test.y)
        what = f"{self.classes} classes" if self.kind == "classes" else "values"
        shape = "x".join(map(str, self.inputs))
        own = f"{n:,} training and {held:,} test samples of shape {shape}, labels are {what}"
        unseen = [] if self.kind == "values" else sorted(set(range(self.classes)) - set(self.train.y.tolist()))
        few = ", ".join(self.names()[i] for i in unseen[:3]) + (", ..." if len(unseen) > 3 else "")
        lost = [f"no training sample is of {few} ({len(unseen)} of {self.classes} classes)"] if unseen else []
        return [own, *lost, *self._files["path"].notes, *super().notes()]

    def inputs_from_outside(self) -> dict[str, str]:
        return (
            {f"problem.{name}": raw.fingerprint for name, raw in self._files.items()} if self.path is not None else {}
        )


def check_labels(read: str) -> None:
    """Refuse a way to read labels that there is not.

    Raises:
        ValueError: naming it.
    """
    if read not in get_args(Read):
        raise ValueError(f"labels = {read}: must be auto, classes or values")
