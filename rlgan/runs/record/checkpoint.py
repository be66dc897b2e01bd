"""Checkpoints that survive a kill at any byte, a full disk and a flipped bit.

`step_000001000.pt` is staged, fsynced and renamed; then its manifest `step_000001000.json`, with size and SHA-256, is
written the same way, and only what has a manifest that agrees is a checkpoint. The former ones are removed after that,
so there is a good one at every moment. Files hold plain containers and tensors, and are read with
`torch.load(weights_only=True)` and in no other way: a checkpoint cannot run code.

The rows of a large ring (`rlgan.task.Ring`) stand in files of their own, before the checkpoint and named by its
manifest; a checkpoint goes on from those of the one before it, and is sound if they are. See `segments.py`.
"""

import hashlib
import json
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import torch

from rlgan.runs.record.directory import replacing, write_json
from rlgan.runs.record.segments import SavedRing, read_rows, split_rings, write_rows
from rlgan.task.errors import CheckpointError
from rlgan.task.task import Task

Say = Callable[[str], None]


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

    Raises:
        ValueError: the file's name is not that of the step.
    """

    step: int
    file: str
    size: int
    sha256: str
    metrics: dict[str, float] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    rings: Sequence[SavedRing] = ()

    def __post_init__(self) -> None:
        if self.file != file_name(self.step):
            raise ValueError(f"file = {self.file!r}: that of this step is {file_name(self.step)}")

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        """Read a manifest's file.

        Raises:
            OSError, ValueError, TypeError, KeyError: it cannot be read, or is no manifest.
        """
        record = json.loads(file.read_text())
        return cls(**{**record, "rings": [SavedRing.parse(ring) for ring in record.get("rings", ())]})

    @property
    def segments(self) -> set[str]:
        """The names of the files that its rings' rows are in."""
        return {segment.file for ring in self.rings for segment in ring.segments}


def file_name(step: int) -> str:
    """The name of a step's checkpoint."""
    return f"step_{step:09d}.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, its checksum verified."""

    manifest: Manifest
    state: dict[str, Any]

    def restore(self, task: Task) -> None:
        """Restore the state of the checkpoint in `task`.

        Raises:
            CheckpointError: the task, as it is configured now, cannot take what was saved (another size, another seed).
        """
        try:
            task.load_state_dict(self.state["task"])
        except ValueError as error:
            raise CheckpointError(str(error)) from error


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


class _Hashing:
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


def _segments(manifests: Iterable[Manifest]) -> set[str]:
    return {name for manifest in manifests for name in manifest.segments}


class Checkpoints:
    """The checkpoints of one run on disk: save, list, read, remove.

    Args:
        path: their directory; made when needed, and cleared of files that a kill left half written.
        keep_last: newest ones that are kept.
        best: tag and direction by which one more is kept, however old; remembered over resumes by the manifests.
        say: receives a sentence when a damaged checkpoint is passed over.
    """

    def __init__(
        self, path: Path, keep_last: int = 2, best: tuple[str, Literal["min", "max"]] | None = None, say: Say = print
    ) -> None:
        self._path = path
        self._keep_last = keep_last
        self._best = best
        self._say = say
        #: Whose segments the next save goes on from: the last one of this object, or what the run was resumed from.
        self._former: Manifest | None = None

    def clean(self) -> None:
        """Remove what a killed process left: staged files, and what no manifest names, for it was never written."""
        if not self._path.is_dir():
            return
        for file in self._path.glob("*.tmp"):
            file.unlink(missing_ok=True)
        for file in self._path.glob("step_*.pt"):
            if not file.with_suffix(".json").exists():
                self._say(f"{file}: was not completed; removed")
                file.unlink(missing_ok=True)
        self._remove_unnamed()

    def _remove_unnamed(self) -> None:
        """Remove the segments that no manifest names; while one of them cannot be read, none."""
        named = self.manifests()
        if len(named) == len(list(self._path.glob("step_*.json"))):
            for name in {file.name for file in self._path.glob("rows_*.bin")} - _segments(named):
                (self._path / name).unlink(missing_ok=True)

    def manifests(self) -> list[Manifest]:
        """Read the manifests, oldest first; unreadable ones are reported and left out."""
        found = []
        for file in sorted(self._path.glob("step_*.json")):
            try:
                found.append(Manifest.read(file))
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                self._say(f"{file}: cannot be read ({error}); passed over")
        return sorted(found, key=lambda manifest: manifest.step)

    def best(self) -> Manifest | None:
        """Find the best checkpoint by the ranking tag; of equals the earliest."""
        return self._best_of(self.manifests())

    def _best_of(self, manifests: Sequence[Manifest]) -> Manifest | None:
        ranked = [item for item in manifests if self._rank(item.metrics) < math.inf]
        return min(ranked, key=lambda item: self._rank(item.metrics), default=None)

    def would_be_best(self, metrics: Mapping[str, float]) -> bool:
        """Tell whether a checkpoint with these metrics would be the best one."""
        best = self.best()
        return self._rank(metrics) < (self._rank(best.metrics) if best else math.inf)

    def _rank(self, metrics: Mapping[str, float]) -> float:
        """Less is better; infinity where the ranking tag has no finite value."""
        tag, direction = self._best or ("", "min")
        value = metrics.get(tag, math.inf)
        if not math.isfinite(value):
            return math.inf
        return value if direction == "min" else -value

    def save(self, step: int, state: Mapping[str, Any], metrics: Mapping[str, float], meta: Mapping[str, Any]) -> Path:
        """Write a checkpoint and remove those that are no longer kept.

        Raises:
            CheckpointError: it could not be written (a full disk); the former ones are untouched.
        """
        target = self._path / file_name(step)
        bare, rings = split_rings(state)
        plain, former = storable(bare), {ring.keys: ring for ring in self._former.rings} if self._former else {}
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            saved = [write_rows(self._path, keys, ring, former.get(keys)) for keys, ring in rings.items()]
            # A manifest of an earlier file of this name would vouch for the wrong bytes.
            before = partial(target.with_suffix(".json").unlink, missing_ok=True)
            # The manifest's fsync of the directory is for all files, and nothing is removed before it.
            with replacing(target, before, lasting=False) as file:
                hashing = _Hashing(file)
                torch.save(plain, cast(IO[bytes], hashing))
            digest, about = hashing.digest.hexdigest(), storable(meta, "meta")
            manifest = Manifest(step, target.name, hashing.size, digest, dict(metrics), about, saved)
            write_json(target.with_suffix(".json"), asdict(manifest))
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                self._remove_unnamed()
            raise CheckpointError(
                f"{target}: could not be written ({error}); the former checkpoint is intact"
            ) from error
        manifests = self.manifests()
        kept = {item.step for item in manifests[-self._keep_last :]}
        if best := self._best_of(manifests):
            kept.add(best.step)
        self._keep(kept, manifests)
        self._former = manifest
        return target

    def _keep(self, steps: Container[int], manifests: Sequence[Manifest]) -> None:
        """Remove the checkpoints of other steps, and the segments that only they and the former one name."""
        removed = [item for item in manifests if item.step not in steps]
        for manifest in removed:
            file = self._path / manifest.file
            file.with_suffix(".json").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        unnamed = _segments([*removed, *([self._former] if self._former else [])])
        for name in unnamed - _segments(item for item in manifests if item.step in steps):
            (self._path / name).unlink(missing_ok=True)

    def discard_after(self, step: int) -> None:
        """Remove checkpoints later than `step`: a run that was resumed there writes them anew, and goes on from it."""
        manifests = self.manifests()
        self._keep({item.step for item in manifests if item.step <= step}, manifests)
        self._former = next((item for item in manifests if item.step == step), None)

    def read(self, manifest: Manifest) -> Checkpoint:
        """Check and load one checkpoint, tensors on the CPU.

        Raises:
            CheckpointError: it, or a segment of it, is missing, cut short or altered.
        """
        file = self._path / manifest.file
        try:
            size = file.stat().st_size
            if size != manifest.size:
                raise CheckpointError(f"{file}: is damaged ({size} bytes instead of {manifest.size})")
            with open(file, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256")
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
        if digest.hexdigest() != manifest.sha256:
            raise CheckpointError(f"{file}: is damaged (its checksum is not the manifest's)")
        state = torch.load(file, map_location="cpu", weights_only=True)
        for ring in manifest.rings:
            try:
                node = reduce(getitem, ring.keys, state)
                node["rows"] = read_rows(self._path, ring, node["rows"])
            except (OSError, LookupError, TypeError, AttributeError) as error:
                raise CheckpointError(f"{file}: rows of {'.'.join(ring.keys)} cannot be read ({error})") from error
        return Checkpoint(manifest, state)

    def newest(self) -> Checkpoint | None:
        """Read the newest sound checkpoint; each damaged one that is passed over is reported.

        Raises:
            CheckpointError: there are checkpoints, and none is sound.
        """
        manifests = self.manifests()
        for manifest in reversed(manifests):
            try:
                return self.read(manifest)
            except CheckpointError as error:
                self._say(f"{error}; going back to the one before")
        if manifests:
            raise CheckpointError(f"{self._path}: no checkpoint is sound; start a new run")
        return None

    def choose(self, which: str) -> Checkpoint:
        """Read the checkpoint called `last` or `best`, or that of a step.

        Raises:
            CheckpointError: there is none such; names those that exist.
        """
        manifests = self.manifests()
        if not manifests:
            raise CheckpointError(f"{self._path}: holds no checkpoint; train the run further with resume=")
        if which == "last":
            newest = self.newest()
            assert newest is not None
            return newest
        if which == "best":
            best = self.best()
            return self.read(best) if best is not None else self.choose("last")
        for manifest in manifests:
            if str(manifest.step) == which:
                return self.read(manifest)
        steps = ", ".join(str(manifest.step) for manifest in manifests)
        raise CheckpointError(f"checkpoint = {which}: there is none; use best, last or one of the steps {steps}")
