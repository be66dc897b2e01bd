"""Checkpoints that survive a kill at any byte, a full disk and a flipped bit.

`step_000001000.pt` is staged, fsynced and renamed; then its manifest `step_000001000.json`, with size and SHA-256, is
written the same way, and only what has a manifest that agrees is a checkpoint. The former ones are removed after that,
so there is a good one at every moment. Files hold plain containers and tensors, and are read with
`torch.load(weights_only=True)` and in no other way: a checkpoint cannot run code.

A file holds its own description as well, so that a lost manifest can be made again (`go_back`). What a run leaves
behind when it goes on from an earlier step is removed only when a new checkpoint stands.

The rows of a large ring (`rlgan.task.Ring`) stand in files of their own, before the checkpoint and named by its
manifest; a checkpoint goes on from those of the one before it, and is sound if they are. See `segments.py`.
"""

import math
import os
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any, Literal

from rlgan.runs.record.files import write_json
from rlgan.runs.record.payload import (
    FORMAT,
    Manifest,
    check,
    check_format,
    file_name,
    read_payload,
    storable,
    unlike,
    weight,
    write_payload,
)
from rlgan.runs.record.segments import SavedRing, read_rows, split_rings, write_rows
from rlgan.task.errors import CheckpointError
from rlgan.task.task import Task

Say = Callable[[str], None]

#: What a checkpoint's own description says better than a manifest, which no checksum guards.
_INSIDE = ("metrics_bytes", "metrics_sha256", "episodes_bytes", "episodes_sha256", "wall_seconds")

#: The ending of a manifest whose checkpoint is being removed.
_GONE = ".gone"


class UnreadableError(CheckpointError):
    """A checkpoint may be sound and cannot be read now: permission, a failing disk."""


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
            state = self.state["task"]
            if wrong := unlike(state, task.state_dict(), "task"):
                raise TypeError(wrong)
            task.load_state_dict(state)
            if task.steps_done != self.manifest.step:
                raise TypeError(f"it is of step {task.steps_done}")
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        except (KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            raise CheckpointError(f"{self.manifest.file}: does not fit to config.yaml ({why})") from error


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
        #: Left behind by going on from an earlier step; removed by the next save.
        self._left: dict[str, str] = {}
        self._from: int | None = None

    def move(self, path: Path) -> None:
        """Go on in the directory's new place."""
        self._path = path

    def clean(self) -> None:
        """Remove what a killed process staged or was removing; what else has no manifest goes when a new one stands."""
        for name in self._names(".tmp"):
            (self._path / name).unlink(missing_ok=True)
        for file in (self._path / name for name in self._names(_GONE, "step_")):
            if not file.with_suffix(".json").exists():
                file.with_suffix(".pt").unlink(missing_ok=True)
            file.unlink()

    def _names(self, ending: str, start: str = "") -> list[str]:
        """The names in the directory, sorted.

        Raises:
            UnreadableError: it cannot be read.
        """
        try:
            return sorted(n for n in os.listdir(self._path) if n.endswith(ending) and n.startswith(start))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnreadableError(f"{self._path}: cannot be read ({error.strerror}); make it readable") from error

    def _read_all(self) -> tuple[list[Manifest], list[str]]:
        """All readable manifests, oldest first, and the names of the others, which are reported.

        Raises:
            UnreadableError: one cannot be read now.
            CheckpointError: a newer rlgan wrote one.
        """
        found, bad = [], []
        for name in self._names(".json", "step_"):
            file = self._path / name
            try:
                found.append(Manifest.read(file))
            except FileNotFoundError:  # removed at this moment by the run itself
                continue
            except OSError as error:
                raise UnreadableError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._say(f"{file}: cannot be read ({' '.join(str(error).split())[:160]}); passed over")
                bad.append(name)
        return sorted(found, key=lambda manifest: manifest.step), bad

    def manifests(self) -> list[Manifest]:
        """Read the manifests, oldest first; unreadable ones are reported and left out.

        So are checkpoints that the run has left behind for one of an earlier step.

        Raises:
            CheckpointError: one cannot be read now, or a newer rlgan wrote it.
        """
        return self._current(self._read_all()[0])

    def _current(self, found: Sequence[Manifest]) -> list[Manifest]:
        left = {(step, sha) for item in found for step, sha in item.replaces.items() if step != str(item.step)}
        left |= set(self._left.items())
        return [item for item in found if (str(item.step), item.sha256) not in left]

    def lost(self) -> tuple[list[str], list[str]]:
        """The names of checkpoints without a manifest, and of manifests that are none."""
        found, bad = self._read_all()
        known = {item.file for item in found} | {name.replace(".json", ".pt") for name in bad}
        return [name for name in self._names(".pt", "step_") if name not in known], bad

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
        about = {"format": FORMAT, "step": step, "metrics": dict(metrics), "meta": storable(meta, "meta")}
        present = set[str]()
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            present = set(self._names(".bin", "rows_"))
            saved = [write_rows(self._path, keys, ring, former.get(keys)) for keys, ring in rings.items()]
            plain["about"] = storable({**about, "rings": [asdict(ring) for ring in saved]})
            # A manifest of an earlier file of this name would vouch for the wrong bytes.
            before = partial(target.with_suffix(".json").unlink, missing_ok=True)
            size, digest = write_payload(target, plain, before)
            manifest = Manifest(
                file=target.name, size=size, sha256=digest, rings=saved, unpacked=weight(plain), replaces=self._left,
                **about,
            )  # fmt: skip
            write_json(target.with_suffix(".json"), asdict(manifest))
        except (OSError, RuntimeError) as error:
            with suppress(OSError, CheckpointError):
                for name in set(self._names(".bin", "rows_")) - present:
                    (self._path / name).unlink(missing_ok=True)
            raise CheckpointError(
                f"{target}: could not be written ({error}); the former checkpoint is intact"
            ) from error
        self._left.pop(str(step), None)
        found, bad = self._read_all()
        manifests = self._current(found)
        kept = {item.step for item in manifests[-self._keep_last :]}
        if best := self._best_of(manifests):
            kept.add(best.step)
        self._keep(kept, found)
        if self._from is not None:
            self._sweep(self._from, bad)
        self._former, self._left, self._from = manifest, {}, None
        return target

    def _keep(self, steps: Container[int], manifests: Sequence[Manifest]) -> None:
        """Remove the checkpoints of other steps, and the segments that only they and the former one name."""
        removed = [item for item in manifests if item.step not in steps]
        for manifest in removed:
            # A kill in here leaves no checkpoint of which it is unknown whether it was to be kept: `clean` goes on.
            file = self._path / manifest.file
            with suppress(FileNotFoundError):
                os.replace(file.with_suffix(".json"), file.with_suffix(_GONE))
            file.unlink(missing_ok=True)
            file.with_suffix(_GONE).unlink(missing_ok=True)
        unnamed = _segments([*removed, *([self._former] if self._former else [])])
        for name in unnamed - _segments(item for item in manifests if item.step in steps):
            (self._path / name).unlink(missing_ok=True)

    def _sweep(self, step: int, bad: Iterable[str]) -> None:
        """Remove what was left after `step` without a manifest; then the segments that nothing can be in need of."""
        found = {Path(item.file).stem for item in self._read_all()[0]}
        lost = {Path(name).stem for name in (*self._names(".pt", "step_"), *bad)} - found
        later = {stem for stem in lost if re.fullmatch(r"step_\d{9,}", stem) and int(stem[5:]) > step}
        for stem in later:
            for ending in (".json", ".pt"):
                (self._path / f"{stem}{ending}").unlink(missing_ok=True)
        if lost == later:
            for name in set(self._names(".bin", "rows_")) - _segments(self._read_all()[0]):
                (self._path / name).unlink(missing_ok=True)

    def discard_after(self, step: int) -> None:
        """Go on from `step` (-1: anew): later checkpoints count no more, and are removed when the next one stands."""
        found = self._read_all()[0]
        current = {item.step for item in self._current(found)}
        self._left = {str(m.step): m.sha256 for m in found if m.step > step or m.step not in current}
        self._left.pop(str(step), None)
        self._from, self._former = step, next((item for item in found if item.step == step), None)

    def read(self, manifest: Manifest) -> Checkpoint:
        """Check and load one checkpoint, tensors on the CPU.

        Raises:
            CheckpointError: it, or a segment of it, is missing, cut short or altered.
            UnreadableError: it cannot be read now.
        """
        file = self._path / manifest.file
        try:
            check(file, manifest.size, manifest.sha256)
            state = self._load(file, manifest.unpacked)
            about = state.pop("about", {})
            check_format(about.get("format", 1), str(file))
            self._add_rows(file, state, manifest.rings)
            inside = {key: value for key, value in about.get("meta", {}).items() if key in _INSIDE}
        except OSError as error:
            raise UnreadableError(
                f"{error.filename or file}: cannot be read ({error.strerror}); it may be sound: make it readable"
            ) from error
        except (AttributeError, ValueError) as error:
            raise CheckpointError(f"{file}: describes itself as what it is not ({error})") from error
        return Checkpoint(replace(manifest, meta={**manifest.meta, **inside}), state)

    def _load(self, file: Path, most: int | None) -> dict[str, Any]:
        return read_payload(file, most)[0]

    def _add_rows(self, file: Path, state: dict[str, Any], rings: Iterable[SavedRing]) -> None:
        for ring in rings:
            try:
                node = reduce(getitem, ring.keys, state)
                node["rows"] = read_rows(self._path, ring, node["rows"])
            except (LookupError, TypeError, AttributeError) as error:
                raise CheckpointError(f"{file}: rows of {'.'.join(ring.keys)} cannot be read ({error})") from error

    def newest(self) -> Checkpoint | None:
        """Read the newest sound checkpoint; each damaged one that is passed over is reported.

        Raises:
            CheckpointError: there are checkpoints, and none is sound; or one cannot be read now.
        """
        manifests = self.manifests()
        for name in self.lost()[0] if manifests else ():
            self._say(f"{self._path / name}: has no manifest; passed over (from={Path(name).stem} makes it again)")
        for manifest in reversed(manifests):
            try:
                return self.read(manifest)
            except UnreadableError:
                raise
            except CheckpointError as error:
                self._say(f"{error}; going back to the one before")
        if manifests:
            raise CheckpointError(f"{self._path}: no checkpoint is sound; start a new run")
        return None

    def doubt(self) -> str:
        """What is wrong where checkpoints are and no manifest tells of them, and what can be done; else empty."""
        files, bad = self.lost()
        if not files and not bad:
            return ""
        names = [*files, *bad]
        whole = [*files, *(name for name in self._names(".pt", "step_") if name.replace(".pt", ".json") in bad)]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        offer = f"from={Path(max(whole)).stem} makes it again and goes on from there, " if whole else ""
        return f"{self._path}: {shown}: no manifest can be read; {offer}from=0 starts anew (with resume=)"

    def go_back(self, step: int) -> Checkpoint:
        """Read the checkpoint of a step; a manifest that is lost is made again from what the file says of itself.

        Raises:
            CheckpointError: there is none such, or it is not sound; names those that exist.
        """
        found = [item for item in self._read_all()[0] if item.step == step]
        file = self._path / file_name(step)
        if found:
            return self.read(found[0])
        if not file.exists():
            steps = ", ".join(str(int(name[5:-3])) for name in self._names(".pt", "step_") if name[5:-3].isdecimal())
            raise CheckpointError(f"from = {step}: {file} is not there; {f'there are {steps}' if steps else 'use 0'}")
        try:
            size, digest = check(file, None, None)
            state, total = read_payload(file, whole=True)
            about = dict(state.get("about", {"format": 1, "step": step, "rings": []}))
            check_format(about["format"], str(file))
            if about["step"] != step:
                raise ValueError(f"it is of step {about['step']}")
            about["rings"] = [SavedRing.parse(ring) for ring in about["rings"]]
            manifest = Manifest(file=file.name, size=size, sha256=digest, unpacked=total, **about)
        except OSError as error:
            raise UnreadableError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{file}: does not say what a manifest of it needs ({error})") from error
        checkpoint = self.read(manifest)
        write_json(file.with_suffix(".json"), asdict(manifest))
        self._say(f"{file.with_suffix('.json')}: made again")
        return checkpoint

    def choose(self, which: str) -> Checkpoint:
        """Read the checkpoint called `last` or `best`, or that of a step.

        Raises:
            CheckpointError: there is none such; names those that exist.
        """
        manifests = self.manifests()
        if not manifests:
            none = f"{self._path}: holds no checkpoint; train the run further with resume="
            raise CheckpointError(self.doubt() or none)
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
