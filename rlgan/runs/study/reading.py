"""Read what a run has left: configuration, state, what its metrics mean, and the curves of some of them.

A study reads a thousand runs, so that of metrics.jsonl only the wanted tags are parsed, and a configuration is read by
libyaml. A run directory may come from a stranger: nothing is opened through a link or a FIFO, and no code is called.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml

from rlgan.runs.config.reading import DEEPEST, LARGEST
from rlgan.runs.record.directory import short_path
from rlgan.runs.record.files import is_hollow
from rlgan.runs.record.naming import is_housekeeping
from rlgan.task.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def text(value: Any) -> str:
    """A value as one writes it in a command."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else repr(value)
    return "[" + ",".join(map(text, value)) + "]" if isinstance(value, list) else str(value)


def counts(key: str) -> bool:
    """Whether a dotted key belongs to what is learnt; the seed only repeats it."""
    return key != "seed" and not is_housekeeping(key)


class Curve(NamedTuple):
    """The logged values of one metric of one run: increasing steps and finite values, of the same length."""

    steps: NDArray[np.float64]
    values: NDArray[np.float64]


class Measures(NamedTuple):
    """What a run's task.json says of its metrics.

    Args:
        task: name of the task's class.
        best: the tag by which checkpoints are ranked; empty where it is not known.
        better: "max" or "min" by tag, where more or less is known to be better.
        headline: tags that a progress display shows.
        explained: what a tag means, in a line.
    """

    task: str
    best: str = ""
    better: Mapping[str, str] = {}
    headline: tuple[str, ...] = ()
    explained: Mapping[str, str] = {}


@dataclass
class Record:
    """A run as it was read.

    Args:
        path: its directory.
        config: every value of its configuration by dotted key, with what later starts changed.
        choices: which option of every group it was started with.
        typed: the words of its first start.
        state: finished, running, interrupted, failed, killed (it says running, and no process is) or unknown.
        step: how far it came.
        reason: why it ended early.
        measures: what its metrics mean.
        curves: the metrics that were asked for, where it has them.
    """

    path: Path
    config: Mapping[str, Any]
    choices: Mapping[str, str]
    typed: Sequence[str]
    state: str
    step: int
    reason: str
    measures: Measures
    curves: dict[str, Curve] = field(default_factory=dict)

    @property
    def seed(self) -> Any:
        """Its seed."""
        return self.config.get("seed")

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.state == "finished"

    @cached_property
    def fingerprint(self) -> tuple[tuple[str, str], ...]:
        """All that is learnt from, but for the seed."""
        return tuple((key, text(value)) for key, value in self.config.items() if counts(key))

    @cached_property
    def variant(self) -> str | None:
        """Its name in the comparison that it belongs to."""
        inner = self.path.parent if self.path.name.startswith("seed=") else self.path
        return inner.name if (inner.parent / "variants.yaml").is_file() else None


def read_run(path: Path, tags: Sequence[str] | None = None) -> Record:
    """Read a run.

    Args:
        path: its directory.
        tags: metrics whose curves are wanted; None: the task's best one and its headline.

    Raises:
        RunError: it has no readable config.yaml or metrics.jsonl; names the file.
    """
    config = _config(path)
    task = config.get("task")
    starts = _lines(path / "overrides.jsonl")
    first = next((start for start in starts if isinstance(start.get("choices"), dict)), {})
    typed = first.get("overrides")
    for start in starts:
        changes = start.get("changes")
        config |= {str(key): value for key, value in changes.items()} if isinstance(changes, dict) else {}
    measures = _measures(path / "task.json", task.get("_target_") if isinstance(task, dict) else None)
    status = _object(path / "status.json")
    wanted = tuple(dict.fromkeys((measures.best, *measures.headline))) if tags is None else tuple(tags)
    record = Record(
        path,
        dict(flat(config)),
        {str(key): str(value) for key, value in first.get("choices", {}).items() if value is not None},
        [str(word) for word in typed] if isinstance(typed, list) else [],
        _state(status),
        status["step"] if isinstance(status.get("step"), int) else 0,
        str(status.get("reason") or ""),
        measures,
    )
    with suppress(FileNotFoundError):  # it ended before its first log
        record.curves = read_curves(_content(path / "metrics.jsonl"), [tag for tag in wanted if tag])
    return record


def read_curves(data: bytes, tags: Sequence[str]) -> dict[str, Curve]:
    """Read the curves of some tags from the content of a metrics.jsonl.

    Of two values at a step the later one counts, as it does in the run. A line that was cut in half, and a value that
    is no finite number, are passed over.

    Returns:
        The tags that are there.
    """
    found: dict[str, dict[int, float]] = {tag: {} for tag in tags}
    needles = [(values, json.dumps(tag).encode() + b": ") for tag, values in found.items()]
    for line in data.split(b"\n"):
        # As the logger writes it: an object of numbers, the step first.
        if not (line.startswith(b'{"step": ') and line.endswith(b"}")):
            _read_slowly(line, found)
            continue
        step = -1
        for values, needle in needles:
            at = line.find(needle)
            if at < 0:
                continue
            start = at + len(needle)
            end = line.find(b",", start)
            try:
                if step < 0:
                    comma = line.find(b",", 9)
                    step = int(line[9 : comma if comma >= 0 else -1])
                values[step] = float(line[start : end if end >= 0 else -1])
            except ValueError:
                _read_slowly(line, found)
                break
    return {tag: curve for tag, values in found.items() if (curve := _curve(values)) is not None}


def tags_of(path: Path) -> set[str]:
    """List the metrics that a run has logged.

    Raises:
        RunError: metrics.jsonl cannot be read.
    """
    return {tag for row in _lines(path / "metrics.jsonl") for tag in row} - {"step"}


def _read_slowly(line: bytes, found: Mapping[str, dict[int, float]]) -> None:
    """A line in another form, such as one with NUL bytes before it."""
    if not (line := line.strip(b"\0 \t\r")):
        return
    with suppress(ValueError, TypeError, OverflowError, RecursionError):
        row = json.loads(line)
        for tag in found.keys() & row.keys() if isinstance(row, dict) else ():
            found[tag][int(row["step"])] = float(row[tag])


def _curve(values: Mapping[int, float]) -> Curve | None:
    steps = np.fromiter(values.keys(), float, len(values))
    numbers = np.fromiter(values.values(), float, len(values))
    order = np.argsort(steps, kind="stable")
    finite = order[np.isfinite(numbers[order])]
    return Curve(steps[finite], numbers[finite]) if len(finite) else None


def _content(path: Path) -> bytes:
    """What is in a file of a run's own.

    Raises:
        FileNotFoundError: there is none.
        RunError: it cannot be read, or is no regular file.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or is_hollow(found):
                raise RunError(f"{short_path(path)}: is no file of this run's own, or is damaged")
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise RunError(f"{short_path(path)}: cannot be read ({error.strerror})") from error


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.yaml"
    try:
        data = _content(file)
    except FileNotFoundError:
        raise RunError(f"{short_path(path)}: is not a run (it has no config.yaml)") from None
    config = _yaml(file, data)
    if not isinstance(config, dict) or not isinstance(config.get("task"), dict):
        raise RunError(f"{short_path(file)}: is damaged (it names no task)")
    return {str(key): value for key, value in config.items()}


def _yaml(file: Path, data: bytes) -> Any:
    """Plain containers, within the bounds of `rlgan.runs.config.reading.read`, which takes fifteen times as long."""
    if len(data) > LARGEST:
        raise RunError(f"{short_path(file)}: is damaged (it has {len(data):,} bytes)")
    try:
        text, depth = data.decode(), 0
        for event in yaml.parse(text, Loader=_Loader):
            opens, closes = isinstance(event, yaml.CollectionStartEvent), isinstance(event, yaml.CollectionEndEvent)
            depth += opens - closes
            if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
                raise RunError(f"{short_path(file)}: is damaged (nested too deeply, or repeats itself by aliases)")
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RunError(f"{short_path(file)}: is damaged ({' '.join(str(error).split())[:100]})") from error


def _object(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where the file is gone or damaged."""
    with suppress(FileNotFoundError, ValueError, RecursionError, RunError):
        found = json.loads(_content(path))
        return found if isinstance(found, dict) else {}
    return {}


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file's lines; what is none is left out."""
    rows = []
    try:
        data = _content(path)
    except FileNotFoundError:
        return []
    for line in data.split(b"\n"):
        with suppress(ValueError, RecursionError):
            row = json.loads(line.strip(b"\0 \t\r"))
            rows += [row] if isinstance(row, dict) else []
    return rows


def _measures(file: Path, target: object) -> Measures:
    """From task.json; of a run that has none, from its task's class, if that is one of ours."""
    found = _object(file)
    name = str(target).rpartition(".")[2]
    best, better = found.get("best"), found.get("better")
    if not (isinstance(best, list) and len(best) == 2 and isinstance(best[0], str)):
        ours = isinstance(target, str) and re.fullmatch(r"rlgan\.[a-z]+\.[A-Za-z]\w*", target)
        return _of_class(str(target)) if ours else Measures(name)
    directions = {**better, best[0]: best[1]} if isinstance(better, dict) else {best[0]: best[1]}
    headline, explained = found.get("headline"), found.get("explained")
    return Measures(
        str(found.get("class", name)),
        best[0],
        {str(tag): word for tag, word in directions.items() if word in ("min", "max")},
        tuple(map(str, headline)) if isinstance(headline, list) else (),
        {str(tag): str(line) for tag, line in explained.items()} if isinstance(explained, dict) else {},
    )


@lru_cache
def _of_class(target: str) -> Measures:
    module, _, name = target.rpartition(".")
    task: Any = None
    with suppress(ImportError):
        task = getattr(import_module(module), name, None)
    if not hasattr(task, "best"):
        return Measures(name)
    tag, direction = task.best
    return Measures(name, tag, {**task.better, tag: direction}, task.headline, task.explained)


def _state(status: Mapping[str, Any]) -> str:
    state = status.get("state")
    if state == "running" and status.get("host") == socket.gethostname() and isinstance(status.get("pid"), int):
        try:
            os.kill(status["pid"], 0)
        except (ProcessLookupError, OverflowError):
            return "killed"
        except PermissionError:
            return "running"
    return state if state in ("finished", "running", "interrupted", "failed") else "unknown"


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested sections by its dotted key; a list is one value."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, value
