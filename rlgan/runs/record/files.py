"""The files of a run: looked at before anything is touched, replaced in whole, appended to by whole lines.

A run directory may come from anybody, so all of it has to be regular files of its own: through a link, a FIFO or a
device a run would write, cut or wait somewhere else.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any, BinaryIO

from rlgan.task.errors import RunError

_FILES = (
    "lock", "config.yaml", "task.json", "status.json", "summary.json", "evaluation.json", "metrics.jsonl",
    "metrics.csv", "wandb.json", "overrides.jsonl", "notes.jsonl", "episodes.jsonl", "variants.yaml", "figure.png",
)  # fmt: skip
_FILES_BEGIN = ("metrics.jsonl.", "episodes.jsonl.", "events.out.tfevents")
_READ_WHOLE = (
    "config.yaml", "task.json", "status.json", "summary.json", "metrics.jsonl", "overrides.jsonl", "notes.jsonl",
    "variants.yaml", "step_",
)  # fmt: skip
_FOLDERS = ("checkpoints", "pictures", "evaluation", "study", "videos")
_ENDINGS = (".pt", ".json", ".bin", ".png", ".npz", ".mp4", ".gif", ".html", ".md", ".csv")
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
)


def examine(run: Path) -> None:
    """Look at everything in a run's directory that is read or written by name; the directory itself may be a link.

    Raises:
        RunError: something there is no regular file, or no folder, of the directory's own, or cannot be looked at.
    """
    for entry in _entries(run):
        name = entry.name
        if name in _FILES or name.startswith(_FILES_BEGIN):
            _expect(entry, "a file")
        elif name in _FOLDERS:
            _expect(entry, "a folder")
            for inner in _entries(run / name):
                if not inner.is_dir(follow_symlinks=False) or inner.name.endswith(_ENDINGS):
                    _expect(inner, "a file")
        elif name.startswith("seed="):
            _expect(entry, "a folder")
            examine(run / name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RunError(f"{folder}: cannot be read ({error.strerror}); make it readable") from error


def _expect(entry: os.DirEntry[str], wanted: str) -> None:
    found = entry.stat(follow_symlinks=False)
    kind = next((word for is_so, word in _KINDS if is_so(found.st_mode)), "a device")
    if kind != wanted:
        raise RunError(
            f"{entry.path}: is {kind} and no {wanted.removeprefix('a ')} of this run; what is in a run's directory is "
            "its own: put it there itself, or remove it"
        )
    # Checkpoints are looked at by themselves: one that is damaged gives way to the one before.
    read = entry.name.startswith(_READ_WHOLE) and not entry.name.endswith(".pt")
    if kind == "a file" and read and is_hollow(found):
        raise RunError(f"{entry.path}: is damaged (of its {found.st_size} bytes hardly any are there); remove it")


@contextmanager
def replacing(path: Path, before: Callable[[], object] = lambda: None, lasting: bool = True) -> Iterator[IO[bytes]]:
    """Write a file anew so that a reader, or a kill at any moment, finds the old content or the new one.

    `before` is called when the new one is safe on the disk, just before it takes the place of the old one.

    Staged beside its place, fsynced, renamed; then the directory is fsynced, so that the rename survives a power cut.
    Not `lasting`: the rename waits for the next fsync of the directory; until then a power cut may bring back the old
    content, whole.
    """
    staged = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with _new(staged) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        before()
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    if not lasting:
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new(path: Path) -> BinaryIO:
    """Open a file that is not there: what a kill or somebody else left under its name is never written through."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    return open(path, "xb")


def write_atomically(path: Path, data: bytes, lasting: bool = True) -> None:
    """Replace a file's content, by `replacing`."""
    with replacing(path, lasting=lasting) as file:
        file.write(data)


def write_json(path: Path, value: Any, lasting: bool = True) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode(), lasting)


def overwrite_json(path: Path, value: Any) -> None:
    """Write a file that is there in its own place: a full disk has no room for a second one."""
    data = (json.dumps(value, indent=2) + "\n").encode()
    with open(os.open(path, os.O_WRONLY | os.O_NOFOLLOW), "wb", buffering=0) as file:
        _write(file, data)
        file.truncate(len(data))
        os.fsync(file.fileno())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    try:
        value = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__} and no keys and values")
    return value


def open_lines(path: Path) -> FileIO:
    """Open a file for appending, not through a link; a line that was cut short is ended first, so as to lose no other.

    A file of several names (hard links) becomes one of its own: what is appended is not for the others.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115 - the caller closes it
    try:
        found = os.fstat(descriptor)
        if found.st_nlink > 1:
            content = path.read_bytes()
            file.close()
            write_atomically(path, content)
            return open_lines(path)
        if found.st_size and os.pread(descriptor, 1, found.st_size - 1) != b"\n":
            _write(file, b"\n")
    except BaseException:
        file.close()
        raise
    return file


def _write(file: FileIO, data: bytes) -> None:
    """Write all of it: on a disk that is nearly full the system takes a part, and complains at the next one."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def append_line(path: Path, record: Mapping[str, Any], lasting: bool = True) -> None:
    """Append a record to a .jsonl file; `lasting`: it is on the disk then."""
    with open_lines(path) as file:
        _write(file, (json.dumps(dict(record)) + "\n").encode())
        if lasting:
            os.fsync(file.fileno())


def read_lines(path: Path, say: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:
    """Read the records of a .jsonl file, if there is one.

    A line that is no JSON object, such as one that a kill cut short, is left out; `say` is told so.

    Raises:
        OSError: it cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            say(f"{path}: line {number} is no JSON object; passed over")
    return records


def _record(line: bytes) -> dict[str, Any] | None:
    """The object in a line; before it may stand NUL bytes, with which a file was once made longer."""
    try:
        record = json.loads(line.strip(b"\0 \t\r"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def is_hollow(found: os.stat_result) -> bool:
    """Tell whether a large file is nearly all holes: its length would be taken for memory, and reading it not end."""
    return found.st_size > 2**28 and found.st_blocks * 512 < found.st_size // 64


class Lines:
    """A .jsonl file of records by their steps, in which a run goes on from one of its checkpoints.

    What stands after that step is kept as `<name>.before` until the next checkpoint stands (`settle`): the file holds
    what the run now does, and a kill before that checkpoint loses nothing, for the former one finds its lines by their
    checksum in one of the two.

    Args:
        path: the file.
        step: the checkpoint's; None for a new run, -1 for one that starts anew.
        length: of the file at the checkpoint.
        digest: SHA-256 of these bytes; None if it was not kept.

    Attributes:
        note: what is wrong with the file that was found, or empty.
    """

    def __init__(self, path: Path, step: int | None = None, length: int = 0, digest: str | None = None) -> None:
        self._path, self._before = path, path.with_name(f"{path.name}.before")
        self.note = ""
        self._hash = hashlib.sha256()
        kept = self._kept(-1 if step is None else step, length, digest)
        self._hash.update(kept)
        if not path.exists() or kept != path.read_bytes():
            if path.exists() and not self._before.exists():
                keep_aside(path, self._before)
            write_atomically(path, kept)
        self._file = open_lines(path)

    def _kept(self, step: int, length: int, digest: str | None) -> bytes:
        found = [file.read_bytes() for file in (self._path, self._before) if file.exists()]
        for content in found:
            head = content[:length]
            if len(head) == length and digest in (None, hashlib.sha256(head).hexdigest()):
                return head if head.endswith(b"\n") or not head else head + b"\n"
        if not found:
            self.note = f"{self._path}: is gone; it goes on from here" if length else ""
            return b""
        self.note = f"{self._path}: is not what it was at the checkpoint; what it says up to step {step} is kept"
        lines = [line for line in found[0].split(b"\n") if line.strip(b"\0 \t\r")]
        return b"".join(line.strip(b"\0") + b"\n" for line in lines if not _later(line, step))

    def move(self, path: Path) -> None:
        """Go on in the directory's new place."""
        self._path, self._before = path, path.with_name(self._before.name)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record."""
        self.write_all([record])

    def write_all(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append records."""
        lines = "".join(json.dumps(dict(record)) + "\n" for record in records).encode()
        self._hash.update(lines)
        _write(self._file, lines)

    def flush(self) -> dict[str, Any]:
        """Make durable what was written; returns what a checkpoint has to know of it."""
        os.fsync(self._file.fileno())
        return {"metrics_bytes": os.fstat(self._file.fileno()).st_size, "metrics_sha256": self._hash.hexdigest()}

    def settle(self) -> None:
        """A checkpoint stands: what was kept aside is not needed any more."""
        with suppress(OSError):
            self._before.unlink()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _later(line: bytes, step: int) -> bool:
    at = (_record(line) or {}).get("step")
    return isinstance(at, int | float) and at > step


def keep_aside(path: Path, name: Path) -> None:
    """Give a file's content another name as well."""
    try:
        os.link(path, name)
    except OSError:  # a file system without hard links
        write_atomically(name, path.read_bytes())


def whereabouts(descriptor: int, path: Path) -> Path:
    """Find a folder that was opened at `path` where it is now: somebody may have renamed it.

    Raises:
        RunError: it is gone.
    """
    mine = os.fstat(descriptor)
    name = getattr(fcntl, "F_GETPATH", None)  # of macOS
    for find in (
        lambda: path,
        lambda: os.fsdecode(fcntl.fcntl(descriptor, name, bytes(1024)).rstrip(b"\0")) if name else path,
        lambda: os.readlink(f"/proc/self/fd/{descriptor}"),
    ):
        with suppress(OSError):
            found = Path(find())
            if os.path.samestat(os.stat(found), mine):
                return found
    raise RunError(f"{path}: was removed, or moved to another file system, while the run was going on")
