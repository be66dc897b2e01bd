"""A run's directory: made once, locked while it runs, and readable afterwards.

RUN/config.yaml       the resolved configuration, written once
RUN/overrides.jsonl   one line a start: what was typed, the groups' choices, the commit, the versions
RUN/task.json         the task's best metric and its direction, its headline, what its metrics mean
RUN/status.json       state, step, reason; replaced atomically
RUN/metrics.jsonl     one line a log; the figures that plots read
RUN/events.out.*      TensorBoard, see rlgan.runs.logging.events
RUN/pictures/         the latest picture under each tag
RUN/checkpoints/      rlgan.runs.record.checkpoint
RUN/summary.json      final metrics under their tags
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

from rlgan.runs.config.reading import dump, read
from rlgan.runs.record.files import (
    append_line,
    examine,
    keep_aside,
    overwrite_json,
    read_json,
    read_lines,
    whereabouts,
    write_atomically,
    write_json,
)
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.suggest import closest

LATEST = "latest"
EXPORTED = "rlgan.json"  # in a folder that `rlgan export` wrote
"""In the place of a run's path: the run below outputs/ that was active last."""

State = Literal["running", "finished", "interrupted", "failed"]

# Record locks belong to the process, so they cannot tell two runs of one process apart; this can.
_held: set[Path] = set()

#: What a killed process, a file system or a file manager leaves in a directory that is empty otherwise.
_LEFTOVER = re.compile(r"lock|job\.json|.*\.tmp|\.(nfs|_).*|\.DS_Store|lost\+found|\.directory|Thumbs\.db|desktop\.ini")


class RunDirectory:
    """A run's directory, locked by this process.

    Use `create` for a new directory of a unique name, `open` for one that the user named; both take the lock, which
    the operating system drops with the process, however it dies.

    Raises:
        RunError: another process holds the directory, or it is not fit for a run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.started = time.time()
        self._status: dict[str, Any] = {}
        self._lock = self._take_lock()
        self._folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)

    @classmethod
    def create(cls, parent: Path, name: str) -> RunDirectory:
        """Make a new directory below `parent`; of two of one name the later one gets `-2` at its end."""
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 10_000):
            path = parent / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)
        raise RunError(f"{parent / name}: ten thousand runs of one name; choose another with name=")

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open the directory that the user chose: new, empty, or an earlier run's."""
        if os.path.lexists(path) and not path.is_dir():
            raise RunError(f"run_dir = {path}: is a file; name a directory")
        if not is_run(path):
            try:
                path.mkdir(parents=True, exist_ok=True)
                strange = sorted(item.name for item in path.iterdir() if not _LEFTOVER.fullmatch(item.name))
            except OSError as error:
                raise RunError(f"run_dir = {path}: cannot be made ({error.strerror}); choose another") from error
            if strange:
                raise RunError(f"run_dir = {path}: holds other files ({strange[0]}); name a new or an empty directory")
        examine(path)
        return cls(path)

    def _take_lock(self) -> IO[str]:
        if self.path in _held:
            raise RunError(f"{self.path}: a run of this process is using it; choose another run_dir")
        # POSIX record locks and not flock: a forked environment worker must not keep a dead run's lock.
        name = self.path / "lock"
        file: IO[str] | None = None
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            file = open(descriptor, "a+")  # noqa: SIM115 - held open for the run's life
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink > 1:  # a copy by hard links: what is written is not for the others
                name.unlink()
                return self._take_lock()
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            if file is None or error.errno not in (errno.EACCES, errno.EAGAIN):
                remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another run_dir"
                raise RunError(f"{name}: cannot be locked ({error.strerror}); {remedy}") from error
            file.seek(0)
            holder = file.read(200).strip() or "unknown"
            file.close()
            raise RunError(
                f"{self.path}: process {holder} is running there; wait for it, end it, or choose another run_dir"
            ) from None
        _held.add(self.path)
        return file

    def close(self) -> None:
        """Release the lock. The process's death does it as well."""
        if not self._lock.closed:
            _held.discard(self.path)
            self._lock.close()
            os.close(self._folder)

    def follow(self) -> bool:
        """Find the directory where it is now; tells whether it was renamed or moved since.

        Raises:
            RunError: it is gone.
        """
        now = whereabouts(self._folder, self.path)
        moved = now != self.path
        if moved:
            _held.discard(self.path)
            _held.add(now)
            self.path = now
        return moved

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def summary(self) -> dict[str, float] | None:
        """The final metrics; None before the run has finished, and where they are damaged, which is said."""
        try:
            return read_json(self.path / "summary.json")
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError):
                _say_once(f"{self.path / 'summary.json'}: cannot be read ({error}); it is written anew at the end")
            return None

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml, if it is not there; it is never overwritten."""
        target = self.path / "config.yaml"
        if not target.exists():
            write_atomically(target, dump(dict(config)).encode())

    def add_start(self, record: Mapping[str, Any]) -> None:
        """Append a line to overrides.jsonl."""
        append_line(self.path / "overrides.jsonl", record)

    def saved(self) -> int | None:
        """The last step of which status.json says that a checkpoint was made; None where that cannot be known."""
        unknown = None if read_lines(self.path / "metrics.jsonl") else 0
        try:
            status = read_json(self.path / "status.json")
            step = status.get("saved", unknown if status["state"] == "failed" else status["step"])
        except (OSError, ValueError, KeyError) as error:
            step = unknown if isinstance(error, FileNotFoundError) else None
        return step if type(step) is int else None

    def keep_metrics(self) -> None:
        """Keep metrics.jsonl as `metrics.jsonl.before-<time>`, and the episodes so: a new start loses neither."""
        now = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
        for file in (self.path / "metrics.jsonl", self.path / "episodes.jsonl"):
            if file.exists() and file.stat().st_size:
                keep_aside(file, file.with_name(f"{file.name}.before-{now}"))

    def write_status(self, state: State, step: int, reason: str = "", **more: Any) -> None:
        """Replace status.json."""
        self._status.update(more)
        record = {
            "state": state,
            "step": step,
            "reason": reason,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.fromtimestamp(self.started).astimezone().isoformat(timespec="seconds"),
            "updated": datetime.now().astimezone().isoformat(timespec="seconds"),
            **self._status,
        }
        file = self.path / "status.json"
        try:
            write_json(file, record, lasting=state != "running")
        except OSError:
            overwrite_json(file, record)

    def write_summary(self, values: Mapping[str, Any]) -> None:
        """Replace summary.json."""
        write_json(self.path / "summary.json", dict(values))


def first_choices(path: Path) -> dict[str, str]:
    """Read which option of every group a run was started with."""
    starts = starts_of(path)
    return dict(starts[0]["choices"]) if starts else {}


def last_logger(path: Path) -> Any:
    """Read where the last start of a run was logged to; None where that is not known."""
    said = [start["logger"] for start in starts_of(path) if "logger" in start]
    return said[-1] if said else None


def starts_of(path: Path) -> list[dict[str, Any]]:
    """The records of a run's starts; a line that is none is left out, and said."""
    file = Path(short_path(path.resolve())) / "overrides.jsonl"  # in the same words however it was named
    try:
        starts = read_lines(file, _say_once)
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror}); make it a readable file") from error
    good = [item for item in starts if all(isinstance(item.get(key), dict) for key in ("changes", "choices"))]
    good = [item for item in good if all(key.count(".") < 64 for key in item["changes"])]
    good = [item for item in good if all(isinstance(word, str) for word in item["choices"].values())]
    if not starts and (path / "status.json").exists():
        _say_once(f"{file}: is gone or empty; what later starts changed is not known any more")
    if odd := len(starts) - len(good):
        _say_once(f"{file}: {odd} of its lines do not describe a start; passed over")
    return good


_said: set[str] = set()


def _say_once(message: str) -> None:
    """Several parts of one command read the same file."""
    if message not in _said:
        _said.add(message)
        print(message, file=sys.stderr)


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration that a run was started with.

    Raises:
        RunError: the directory is not a run; names runs nearby.
    """
    file = path / "config.yaml"
    examine(path)
    if not os.path.isfile(file):
        raise RunError(f"{path}: {_no_run(path)}")
    try:
        config = read(file.read_bytes(), str(file))
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    except ConfigError as error:
        fault = " ".join(str(error).removeprefix(f"{file}: ").split())[:100]
        raise RunError(f"{file}: is damaged ({fault}); put it back as it was") from error
    if not isinstance(config, dict) or not config:
        raise RunError(f"{file}: is damaged (it holds no keys and values); put it back as it was")
    if not isinstance(config.get("task"), dict):
        raise RunError(f"{path}: is not a run (its config.yaml has no task); name a run's directory")
    return {str(key): value for key, value in config.items()}


def _no_run(path: Path) -> str:
    """Why a path is no run, and what to do."""
    if os.path.isfile(path / EXPORTED):
        return "was written by `rlgan export` and is no run; rlgan.load reads it, and init_from= begins at it"
    run = next((place for place in list(path.parents)[:2] if os.path.isfile(place / "config.yaml")), None)
    if run is not None and os.path.isfile(path):
        return f"is of the run {run}; name that"
    return ("is not a run (it has no config.yaml)" if os.path.exists(path) else "no such run") + near(path)


def is_run(path: Path) -> bool:
    """Tell whether a directory holds a run.

    Raises:
        RunError: it cannot be looked at, as its name is too long or it is not for this user.
    """
    try:
        os.lstat(path / "config.yaml")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise RunError(f"run_dir = {path}: cannot be looked at ({error.strerror}); choose another") from error
    return True


def near(path: Path) -> str:
    """Say `; runs nearby: …`, newest first, below the path or the closest folder above it that exists."""
    base = path
    while not os.path.isdir(base) and base != base.parent:
        base = base.parent
    names = [str(run) for run in _runs_in(base, base.parent, Path("outputs"))[:3]]
    return f"; runs nearby: {', '.join(names)}" if names else "; runs are made below outputs/"


def latest_runs(count: int = 5) -> list[Path]:
    """List the runs below outputs/ that were active last, newest first; many seeds in one process are one run."""
    return sorted(runs_below(Path("outputs")), key=_last_active, reverse=True)[:count]


def find_run(word: str) -> Path:
    """Find the run that the user names by its path or as `latest`; which one is the latest is printed.

    Raises:
        RunError: `latest`, and there is no run below outputs/.
    """
    if word != LATEST or os.path.isdir(word):
        if not os.path.lexists(word) and closest(word, [LATEST], 0.8):
            raise RunError(f"{word}: no such run; did you mean {LATEST}?")
        return Path(word)
    newest = latest_runs(1)
    if not newest:
        raise RunError(f"{LATEST}: there is no run below {Path.cwd() / 'outputs'} yet; name a run's directory")
    print(f"{LATEST}: {short_path(newest[0])}", file=sys.stderr)
    return newest[0]


def _runs_in(*places: Path) -> list[Path]:
    """Runs in these folders, two levels deep, by when they were last active, newest first."""
    found = {file.parent.resolve() for place in places for depth in ("", "*/", "*/*/")
             for file in place.glob(f"{depth}config.yaml")}  # fmt: skip
    return sorted((run for run in found if run.parent not in found), key=_last_active, reverse=True)


def runs_below(place: Path) -> Iterator[Path]:
    """All runs below a folder, however deep; what lies within a run is no other run."""
    if (place / "config.yaml").is_file():
        yield place.resolve()
    elif place.is_dir() and not place.is_symlink():
        with suppress(PermissionError):
            for child in place.iterdir():
                yield from runs_below(child)


def _last_active(run: Path) -> float:
    status = run / "status.json"
    return (status if status.exists() else run).stat().st_mtime


# None of them changes what is learnt, so a run may go on with other values of these.
OF_THE_START = ("run_dir", "resume", "progress", "logger", "tensorboard")


def stored(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a configuration what belongs to one start of a run."""
    return {key: value for key, value in config.items() if key not in OF_THE_START}


def short_path(path: Path) -> str:
    """Write a path relative to the current folder where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def set_key(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested plain containers."""
    node: Any = config
    *parents, last = key.split(".")
    for depth, part in enumerate(parents):
        if not isinstance(node.get(part), dict):
            if part in node:
                raise ConfigError(f"{key} = {value}: {'.'.join(parents[: depth + 1])} is a value and no section")
            node[part] = {}
        node = node[part]
    node[last] = value


def stored_config(path: Path, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read a run's configuration with what its later starts, and now `changes`, replace in it.

    Raises:
        RunError: the directory is no run.
    """
    config = stored(read_config(path))
    former = [stored(start["changes"]) for start in starts_of(path)]
    for key, value in (pair for some in (*former, changes or {}) for pair in some.items()):
        set_key(config, key, value)
    return config
