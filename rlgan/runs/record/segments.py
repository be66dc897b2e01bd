"""Rows of a ring on disk, in segments that checkpoints share: a save writes the rows that are new.

`rows_<first>_<end>_<hash>.bin` holds the bytes of the rows `first` to `end` (exclusive, of all that were ever added).
Its name says its content, so it is never changed, and no two contents compete for one name. The names are made from the
numbers in a manifest and never read from it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlgan.runs.record.files import is_hollow, replacing
from rlgan.task.errors import CheckpointError
from rlgan.task.ring import Ring

Keys = tuple[str, ...]

#: Rows of fewer bytes are written whole into the checkpoint: a file more costs more than they do.
SMALLEST = 2**20
#: So many segments of a like length become one: at most 7 of each order of magnitude stay, and each row is written
#: again as often as the base-8 logarithm of the number of saves says.
_MERGED = 8


@dataclass(frozen=True)
class Segment:
    """Rows `first` to `end` in a file; `sha256` is of its bytes."""

    first: int
    end: int
    sha256: str

    def __post_init__(self) -> None:
        if not (type(self.first) is type(self.end) is int and 0 <= self.first < self.end):
            raise ValueError(f"rows {self.first!r} to {self.end!r} are no segment")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 = {self.sha256!r} is none")

    @property
    def file(self) -> str:
        """The file's name."""
        return f"rows_{self.first}_{self.end}_{self.sha256[:16]}.bin"


@dataclass(frozen=True)
class SavedRing:
    """Where the rows of one ring are.

    Args:
        keys: lead to the ring's state in the checkpoint's.
        capacity: rows that the ring can hold.
        segments: one after another, oldest first; they hold the ring's rows and may begin with rows that are no longer
            in it.

    Raises:
        ValueError: these are no rows of such a ring.
    """

    keys: Keys
    capacity: int
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        edges = [(before.end, after.first) for before, after in zip(self.segments, self.segments[1:], strict=False)]
        if type(self.capacity) is not int or self.capacity < 1:
            raise ValueError(f"capacity = {self.capacity!r} of {'.'.join(self.keys)} is none")
        if not self.segments or any(end != first for end, first in edges):
            raise ValueError(f"segments of {'.'.join(self.keys)} do not follow one another")
        if self.segments[0].first > max(0, self.segments[-1].end - self.capacity):
            raise ValueError(f"segments of {'.'.join(self.keys)} begin too late")

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> "SavedRing":
        """Read `dataclasses.asdict` of one, which went through JSON."""
        segments = tuple(Segment(**segment) for segment in record["segments"])
        return cls(tuple(str(key) for key in record["keys"]), record["capacity"], segments)


def split_rings(state: Any, keys: Keys = ()) -> tuple[Any, dict[Keys, Ring]]:
    """Take the rows of large rings out of a state: returns it without them, and the rings by the keys to them."""
    if isinstance(state, Ring) and state["rows"].nbytes >= SMALLEST:
        return {**state, "rows": state["rows"][:0]}, {keys: state}
    if not isinstance(state, Mapping):
        return state, {}
    bare, rings = {}, {}
    for key, value in state.items():
        bare[key], found = split_rings(value, (*keys, key)) if isinstance(key, str) else (value, {})
        rings.update(found)
    return bare, rings


def write_rows(folder: Path, keys: Keys, ring: Ring, former: SavedRing | None) -> SavedRing:
    """Write what `former` lacks of a ring's rows; without it, or where it is no beginning of them, all."""
    rows, added, capacity = ring["rows"].detach(), ring["added"], ring["capacity"]
    oldest = added - len(rows)
    kept: list[Segment] = []
    if former is not None and former.capacity == capacity and former.segments[-1].end <= added:
        kept = [segment for segment in former.segments if segment.end > oldest]
    if not all(_is_there(folder, segment, rows) for segment in kept):
        kept = []
    first = kept[-1].end if kept else oldest
    if first < added:
        stay = _staying([*(segment.end - segment.first for segment in kept), added - first])
        if stay < len(kept):
            first = max(kept[stay].first, oldest)
        kept[stay:] = [_write(folder, rows, first, added, capacity)]
    return SavedRing(keys, capacity, tuple(kept))


def read_rows(folder: Path, saved: SavedRing, like: torch.Tensor) -> torch.Tensor:
    """Read the rows (min(added, capacity), W) of a ring; `like` (0, W) has their width and dtype.

    Raises:
        CheckpointError: a segment is missing, cut short or altered.
        OSError: one cannot be read.
    """
    for segment in saved.segments:
        # Checked for all of them before memory is taken for what they are said to hold.
        if not _is_there(folder, segment, like):
            raise CheckpointError(f"{folder / segment.file}: is missing or damaged (not {_size(segment, like)} bytes)")
    try:
        rows = like.new_empty((min(saved.segments[-1].end, saved.capacity), like.shape[1]))
    except (RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{folder}: {saved.segments[-1].end} rows are more than the memory holds") from error
    for segment in saved.segments:
        digest = hashlib.sha256()
        with open(folder / segment.file, "rb") as file:
            # Rows that are no longer in the ring are overwritten here by what was overwriting them there.
            for place in _places(segment.first, segment.end, saved.capacity):
                part = _bytes(rows[place])
                file.readinto(part)
                digest.update(part)
        if digest.hexdigest() != segment.sha256:
            raise CheckpointError(f"{folder / segment.file}: is damaged (its checksum is not the manifest's)")
    return rows


def _write(folder: Path, rows: torch.Tensor, first: int, end: int, capacity: int) -> Segment:
    parts = [_bytes(rows[place].cpu()) for place in _places(first, end, capacity)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    segment = Segment(first, end, digest.hexdigest())
    with replacing(folder / segment.file, lasting=False) as file:
        for part in parts:
            file.write(part)
    return segment


def _staying(lengths: Sequence[int]) -> int:
    """How many of the segments of these lengths stay when the last one is written; it takes in those after them."""
    stay, length = len(lengths) - 1, lengths[-1]
    while True:
        alike = 0
        while alike < stay and _order(lengths[stay - 1 - alike]) <= _order(length):
            alike += 1
        if alike < _MERGED - 1:
            return stay
        length += sum(lengths[stay - alike : stay])
        stay -= alike


def _order(length: int) -> int:
    """The order of magnitude of a length, to the base 8."""
    return (length.bit_length() - 1) // (_MERGED.bit_length() - 1)


def _places(first: int, end: int, capacity: int) -> Iterator[slice]:
    """Where the rows `first` to `end` lie in the ring, in their order."""
    while first < end:
        place = first % capacity
        count = min(end - first, capacity - place)
        yield slice(place, place + count)
        first += count


def _bytes(rows: torch.Tensor) -> memoryview:
    """The memory of rows, whatever their dtype."""
    return rows.contiguous().view(torch.uint8).reshape(-1).numpy().data


def _size(segment: Segment, like: torch.Tensor) -> int:
    return (segment.end - segment.first) * like.shape[1] * like.element_size()


def _is_there(folder: Path, segment: Segment, like: torch.Tensor) -> bool:
    try:
        found = (folder / segment.file).stat()
    except FileNotFoundError:
        return False
    return found.st_size == _size(segment, like) and not is_hollow(found)
