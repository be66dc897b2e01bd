"""The two files of a checkpoint: `.pt` holds plain containers, numbers and tensors, never code; `.json` describes it.

The first is a zip archive of torch.save: a pickle of the containers, and the bytes of every tensor, uncompressed.
Before torch reads it, this looks at the archive and at the names in the pickle; after it, at every object. So it takes
no more memory than it has bytes, and no more than its manifest says.
"""

from __future__ import annotations

import hashlib
import os
import pickletools
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from rlgan.runs.record.files import is_hollow, read_json, replacing
from rlgan.runs.record.segments import SavedRing
from rlgan.task.errors import CheckpointError

#: Of checkpoints and manifests. 1: without a number, and with no description inside the checkpoint; is read as well.
FORMAT = 2
#: What the pickle of plain containers and tensors names.
_NAMES = re.compile(
    r"collections OrderedDict|_codecs encode|(__builtin__|builtins) complex|torch\.serialization _get_layout"
    r"|torch\._utils _rebuild_tensor_v[23]|torch(\.storage)? [A-Za-z0-9]*Storage|torch u?int\d+|torch b?float\d+\w*"
)
_FOREIGN = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ", "NEWOBJ_EX", "BUILD")
_NUMBERS = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Manifest:
    """The JSON description beside a checkpoint, readable without torch.

    Args:
        step: steps done.
        file: the checkpoint's file name.
        size, sha256: of that file.
        metrics: the evaluation made at this very step (empty if none was).
        meta: what fixes the bits of a resumed run: torch version, device, threads, compile mode, layouts, log position.
        rings: where the rows of large rings are.
        format: `FORMAT` of when it was written.
        unpacked: bytes of all tensors in the file; None in format 1.
        replaces: SHA-256 by step of the checkpoints that the run left behind when it went back to an earlier one.

    Raises:
        ValueError, TypeError, AttributeError: this is no such description.
        CheckpointError: a newer rlgan wrote it.
    """

    step: int
    file: str
    size: int
    sha256: str
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    rings: Sequence[SavedRing] = ()
    format: int = FORMAT
    unpacked: int | None = None
    replaces: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_format(self.format, self.file)
        if type(self.step) is not int or self.step < 0 or self.file != file_name(self.step):
            raise ValueError(f"file = {self.file!r}: is not that of step {self.step!r}")
        if type(self.size) is not int or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError("size and sha256 are none")
        if type(self.unpacked) not in (int, type(None)) or (self.unpacked is None and self.format > 1):
            raise ValueError(f"unpacked = {self.unpacked!r}: is no number of bytes")
        if any(type(value) not in (int, float) for value in self.metrics.values()):
            raise ValueError("metrics hold something else than numbers")
        if any(type(value) is int and abs(value) > 1e300 for value in self.metrics.values()):
            raise ValueError("metrics hold what is too large for a number")
        wrong = any(type(sha) is not str for sha in self.replaces.values())
        if wrong or not isinstance(self.meta.get("inputs") or {}, Mapping):
            raise TypeError("meta or replaces do not hold what they should")
        horizon = self.meta.get("horizon")
        if horizon is not None and (type(horizon) is not int or horizon < 1):
            raise ValueError(f"meta.horizon = {horizon!r}: is no number of steps")

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """Read a manifest's file.

        Raises:
            OSError, ValueError, TypeError, KeyError, AttributeError: it cannot be read, or is no manifest.
            CheckpointError: a newer rlgan wrote it.
        """
        record = read_json(file)
        check_format(record.setdefault("format", 1), str(file))
        manifest = cls(**{**record, "rings": [SavedRing.parse(ring) for ring in record.get("rings", ())]})
        if manifest.file != file.with_suffix(".pt").name:
            raise ValueError(f"it is the manifest of {manifest.file}")
        return manifest

    @property
    def segments(self) -> set[str]:
        """The names of the files that its rings' rows are in."""
        return {segment.file for ring in self.rings for segment in ring.segments}


def check_format(number: Any, file: str) -> None:
    """Refuse a number of a format that is not read here.

    Raises:
        CheckpointError: a newer rlgan wrote it.
        ValueError: it is no such number.
    """
    if type(number) is not int or number < 1:
        raise ValueError(f"format = {number!r}: there is none such")
    if number > FORMAT:
        raise CheckpointError(
            f"{file}: written by a newer rlgan (format {number}, this one reads up to {FORMAT}); update rlgan"
        )


def file_name(step: int) -> str:
    """The name of a step's checkpoint."""
    return f"step_{step:09d}.pt"


def storable(value: Any, path: str = "state") -> Any:
    """Convert a value to what `torch.load(weights_only=True)` will return of it.

    Tensors are detached, and views cloned: a view saves its whole storage (a 10-element view of a million writes 4 MB).
    numpy scalars become Python's.

    Raises:
        TypeError: something else than dict, list, tuple, tensor, int, float, complex, str, bytes, bool or None.
    """
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        return tensor if whole and type(tensor) is torch.Tensor else tensor.clone()
    if isinstance(value, np.generic):
        return value.item()
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if isinstance(value, Mapping):
        return {storable(key, f"{path} key"): storable(item, f"{path}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        items = [storable(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return items if type(value) is list else tuple(items)
    raise TypeError(f"{path} is a {type(value).__name__}: a checkpoint holds plain containers, numbers and tensors")


class Hashing:
    """A file that hashes what passes through it, so that the checksum is of what was meant to be written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def write_payload(target: Path, plain: Mapping[str, Any], before: Any) -> tuple[int, str]:
    """Write a `storable` mapping, by `replacing`; returns the file's size and SHA-256."""
    # The manifest's fsync of the directory is for all files, and nothing is removed before it.
    with replacing(target, before, lasting=False) as file:
        hashing = Hashing(file)
        torch.save(dict(plain), cast(IO[bytes], hashing))
    return hashing.size, hashing.digest.hexdigest()


def weight(plain: Any) -> int:
    """Count the bytes of all tensors.

    Raises:
        ValueError: an object that `storable` never makes: of another type, a tensor of more than it holds, or a
            container in two places, of which one of some bytes could be made as large as the memory.
    """
    total, seen, open_ = 0, set[int](), [plain]
    while open_:
        value = open_.pop()
        if type(value) is torch.Tensor:
            size = value.numel() * value.element_size()
            if value.layout != torch.strided or size > value.untyped_storage().nbytes():
                raise ValueError(f"a tensor {tuple(value.shape)} is more than is there")
            total += size
        elif type(value) in (dict, list, tuple):
            if value and id(value) in seen:
                raise ValueError("one container is in two places")
            seen.add(id(value))
            open_ += [*value.keys(), *value.values()] if type(value) is dict else value
        elif type(value) not in _NUMBERS:
            raise ValueError(f"it holds a {type(value).__name__}")
    return total


def unlike(value: Any, like: Any, path: str) -> str:
    """Where a state has a container or a number of another kind than the task's own has, in words; else empty.

    Shapes are the task's affair, and so is what may be None.
    """
    if isinstance(like, Mapping) and isinstance(value, Mapping):
        found = (unlike(value[key], like[key], f"{path}.{key}") for key in like if key in value)
        return next((wrong for wrong in found if wrong), "")
    kinds: tuple[Any, ...] = (Mapping, (list, tuple), (bool, int, float), str, torch.Tensor)
    kind = next((kind for kind in kinds if isinstance(like, kind)), object)
    return "" if value is None or isinstance(value, kind) else f"{path} is of the type {type(value).__name__}"


def check(file: Path, size: int | None, sha256: str | None) -> tuple[int, str]:
    """Read a file through; returns its size and SHA-256.

    Raises:
        CheckpointError: it is not there, or not as long or not the one that is said.
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: is missing") from None
    with open(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if size is not None and found.st_size != size:
            raise CheckpointError(f"{file}: is damaged ({found.st_size} bytes instead of {size})")
        if is_hollow(found):
            raise CheckpointError(f"{file}: is damaged (of its {found.st_size} bytes hardly any are there)")
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 is not None and digest != sha256:
        raise CheckpointError(f"{file}: is damaged (its checksum is not the manifest's)")
    return found.st_size, digest


def read_payload(file: Path, most: int | None = None, whole: bool = False) -> tuple[dict[str, Any], int]:
    """Load a checkpoint's file, tensors on the CPU; returns what it holds and `weight` of it.

    Args:
        file: it.
        most: bytes that its tensors may have; None for as many as the file.
        whole: check the archive's own checksums, where there is no other.

    Raises:
        CheckpointError: it is no archive of plain containers and tensors, or more than it may be.
        OSError: it cannot be read.
    """
    try:
        _look_inside(file, most, whole)
        state = torch.load(file, map_location="cpu", weights_only=True)
        total = weight(state)
    except OSError:
        raise
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    except Exception as error:  # whatever a forged archive or pickle can bring about
        why = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{file}: holds no plain containers and tensors ({why})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{file}: holds a {type(state).__name__} and no state")
    if most is not None and total > most:
        raise CheckpointError(f"{file}: would unpack to {total} bytes, and its manifest says {most}")
    return state, total


def _look_inside(file: Path, most: int | None, whole: bool) -> None:
    size = file.stat().st_size
    with open(file, "rb") as stream:
        if stream.read(4) != b"PK\3\4":  # torch would read what stands before the archive, and not what is looked at
            raise CheckpointError("is no archive of torch.save")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        root = members[0].filename.partition("/")[0] if members else ""
        names = {item.filename.partition("/")[2] for item in members if item.filename.startswith(f"{root}/")}
        if len({item.filename for item in members}) < len(members):
            raise CheckpointError("holds two files of one name")
        if "data.pkl" not in names or "constants.pkl" in names or len(names) < len(members):
            raise CheckpointError("is another archive than torch.save writes of plain containers and tensors")
        if any(item.compress_type != zipfile.ZIP_STORED or item.file_size != item.compress_size for item in members):
            raise CheckpointError("is compressed, so that it would unpack to more than its manifest says")
        tensors = sum(item.file_size for item in members if "/data/" in item.filename)
        if sum(item.file_size for item in members) > size or (most is not None and tensors > most):
            raise CheckpointError(
                f"would unpack to {tensors} bytes, and its manifest says {size if most is None else most}"
            )
        if whole and (bad := archive.testzip()) is not None:
            raise CheckpointError(f"is damaged ({bad})")
        for item in members:
            if item.filename.endswith("/data.pkl"):
                _look_at_names(archive.read(item))


def _look_at_names(pickle: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in _FOREIGN or (opcode.name == "GLOBAL" and not _NAMES.fullmatch(str(argument))):
            raise CheckpointError(f"names {argument or opcode.name}, which no checkpoint does; it was not loaded")
