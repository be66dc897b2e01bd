"""A folder of pictures of the user's own, with a class for each."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np
import torch

from rlgan.erm.problems.own.labels import Own, Raw
from rlgan.erm.problems.own.tables import named_labels
from rlgan.reading.files import PARTS, FolderSource, Listing
from rlgan.reading.shown import colour, said
from rlgan.reading.sources import shared


@final
@dataclass(frozen=True)
class Folder(Own):
    """Pictures in one folder for each class, `path/CLASS/.../picture`; or in one folder, with a file of labels.

    They are read as they are shown: upright, in sRGB, what is transparent on `background`, values in [-1, 1]. Hidden
    names are passed over, and links are followed. A picture is held out by its name. All are kept in memory.

    Args:
        path, test_path, held_out, random_labels: see `Own`.
        labels: a table of two columns, or a JSON object, with the class of each picture by its name from `path` on;
            null: the name of the folder below `path` that it lies in.
        side: crop each to its middle square and resize it to side x side; null wants pictures of one size.
        background: colour that is seen through what is transparent, as HTML names it.
        memory_mb: refuse what takes more memory than this.
    """

    example = "pictures"

    labels: Path | None = None
    side: int | None = None
    background: str = "white"
    memory_mb: int = 4096

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise ValueError(f"side = {self.side}: must be at least 1 pixel, for example 32")
        colour(self.background)
        super().__post_init__()

    def read(self, path: Path) -> Raw:
        stamp = tuple(Listing(path).files) if os.path.isdir(path) else None
        source = shared(FolderSource, path, self.side, self.background, "problem", stamp=stamp)
        needed = 4 * len(source) * math.prod(source.shape) / 2**20
        if needed > self.memory_mb:
            raise ValueError(
                f"memory_mb = {self.memory_mb}: {len(source):,} pictures take {needed:,.0f} MiB; set side to a smaller "
                "size, for example side=64, or raise it"
            )
        labels = None if self.labels is None else Path(os.path.expanduser(str(self.labels)))
        return _decoded(source, path, labels, _stamp(labels))


def _stamp(labels: Path | None) -> int | None:
    return os.stat(labels).st_mtime_ns if labels is not None and labels.exists() else None


# Problems of several seeds in one process have the same pictures.
@lru_cache(maxsize=2)
def _decoded(source: FolderSource, path: Path, labels: Path | None, stamp: int | None) -> Raw:
    classes = np.asarray(_classes(source.names, path) if labels is None else _listed(source.names, labels))
    pixels = torch.from_numpy(source.decoded).float() / 127.5 - 1
    told = hashlib.sha256("\0".join(classes.tolist()).encode(errors="surrogateescape")).hexdigest()[:16]
    fingerprint = f"{source.fingerprint()}, of the classes {told}"
    return Raw(pixels, classes, source.keys(), fingerprint, (source.reading, *source.remarks()))


def _classes(names: list[str], path: Path) -> list[str]:
    """The folders below `path` that pictures lie in.

    Raises:
        ValueError: one lies in none, or the folders are parts of a data set.
    """
    loose = [name for name in names if "/" not in name]
    if loose:
        raise ValueError(
            f"path = {said(path)}: {said(loose[0])} lies in no folder of a class; put each picture into the folder of "
            "its class, or give a file of labels, labels=labels.csv"
        )
    found = [name.split("/", 1)[0] for name in names]
    if {name.lower() for name in found} <= PARTS:
        one = said(path / next(iter(sorted(set(found)))))
        raise ValueError(
            f"path = {said(path)}: {', '.join(sorted(set(found)))} are parts of a data set and no classes; give one as "
            f"path={one}, and another as test_path"
        )
    return found


def _listed(names: list[str], labels: Path) -> list[str]:
    """The class of each picture by a file of labels.

    Raises:
        ValueError: a picture has none.
    """
    known = named_labels(labels)
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"labels = {said(labels)}: does not tell the class of {said(missing[0])}, nor of {len(missing) - 1} others"
            "; add them, or move the pictures away"
        )
    return [known[name] for name in names]
