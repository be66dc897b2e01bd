"""A sweep's folder: its jobs by name, and how each of them ended.

SWEEP/sweep.json        what was typed, what is varied, and the jobs that were asked for
SWEEP/<job>/            the run of a job: an ordinary run directory
SWEEP/<job>/job.json    how the last start of that job within a sweep began and ended
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlgan.runs.record.directory import OF_THE_START, short_path
from rlgan.runs.record.files import read_json, write_json
from rlgan.runs.sweep.names import key_of
from rlgan.task.errors import RunError

if TYPE_CHECKING:
    from rlgan.runs.prepare import Outcome

FILE, JOB = "sweep.json", "job.json"
KILLED = 137
"""The exit code of what ends by SIGKILL, 128 + 9."""


class Job(NamedTuple):
    """A job that was asked for: its name in the sweep's folder, and its words `key=value`."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """How a job stands: its last outcome, or why there is none.

    Args:
        job: which one.
        state: finished, failed, refused, interrupted, pruned, running, killed, or `not started`.
        code: exit code; 0 finished.
        message: one line on what went wrong.
        path: its directory.
        start: the start of the sweep that it last ran in.
        words: with which it last ran in a sweep.
        score: tag, direction and value of its figure, where it has one.
    """

    job: Job
    state: str
    code: int
    message: str = ""
    path: Path = field(default_factory=Path)
    start: str = ""
    words: tuple[str, ...] = ()
    score: tuple[str, str, float] | None = None

    @property
    def is_done(self) -> bool:
        """Tell whether nothing is left to do: it finished, and with the same words."""
        return self.state == "finished" and sorted(_lasting(self.words)) == sorted(_lasting(self.job.words))


def _lasting(words: Sequence[str]) -> list[str]:
    """Without the words that change nothing of what is learnt."""
    return [word for word in words if key_of(word) not in OF_THE_START]


@dataclass(frozen=True)
class Folder:
    """The folder of a sweep.

    Args:
        path: absolute; workers on other machines see it under the same path.
    """

    path: Path

    def write(self, words: Sequence[str], varied: Sequence[str], jobs: Sequence[Job] | None) -> None:
        """Write sweep.json: what was typed, the varied keys, and all jobs, if they are known."""
        listed = None if jobs is None else [{"name": job.name, "words": list(job.words)} for job in jobs]
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / FILE, {"words": list(words), "varied": list(varied), "jobs": listed})

    def read(self) -> dict[str, Any]:
        """What sweep.json says; empty where there is none.

        Raises:
            RunError: it is damaged.
        """
        try:
            found = read_json(self.path / FILE)
            jobs = [Job(str(job["name"]), tuple(map(str, job["words"]))) for job in found["jobs"] or ()]
            return {"words": list(map(str, found["words"])), "varied": list(map(str, found["varied"])), "jobs": jobs}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.path / FILE}: cannot be read ({error}); remove it to start the sweep anew"
            ) from error

    def jobs(self) -> list[Job]:
        """The jobs that were asked for; of a sweeper that keeps no list, those that have a directory."""
        if listed := self.read().get("jobs"):
            return list(listed)
        records = sorted(self.path.glob(f"*/{JOB}"))
        return [Job(file.parent.name, tuple(_record(file).get("words", ()))) for file in records]

    def stands(self, job: Job) -> Ended:
        """How a job stands."""
        return _stands(job, self.path / job.name)

    def processes(self, start: str) -> list[int]:
        """The processes on this machine that run a job of this start of the sweep."""
        records = map(_record, self.path.glob(f"*/{JOB}"))
        mine = {"state": "running", "start": start, "host": socket.gethostname()}
        return [int(record["pid"]) for record in records if mine.items() <= record.items()]

    def ended(self) -> list[Ended]:
        """How every job stands."""
        return [self.stands(job) for job in self.jobs()]


def begin(path: Path, words: Sequence[str], start: str) -> None:
    """Note that a job starts."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / JOB, {"words": list(words), "state": "running", "start": start, **_where()})


def end(path: Path, words: Sequence[str], start: str, outcome: Outcome) -> None:
    """Note how a job ended."""
    record = {key: value for key, value in vars(outcome).items() if key != "path"}
    record["message"] = outcome.message.removesuffix("; go on with resume=")
    write_json(path / JOB, {"words": list(words), **record, "start": start, **_where()})


def mark(path: Path, state: str) -> None:
    """Call the end of a job by another word."""
    if record := _record(path / JOB):
        write_json(path / JOB, {**record, "state": state})


def _where() -> dict[str, Any]:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "time": now}


def _stands(job: Job, path: Path) -> Ended:
    """How a job stands, by what is in its directory.

    A run that was gone on with by hand afterwards has a status that is newer than the job's last word.
    """
    record, status = _record(path / JOB), _record(path / "status.json")
    start, words = str(record.get("start", "")), tuple(record.get("words", ()))
    newer = _time(path / "status.json") > _time(path / JOB) or record.get("state") in (None, "running")
    if status and newer and (status.get("state") != "running" or _time(path / "status.json") > _time(path / JOB)):
        record = {"message": status.get("reason", ""), "score": record.get("score"), **status}
    state = record.get("state")
    if state is None:
        return Ended(job, "not started", 1, path=path)
    if state == "running":
        if holder(path):
            return Ended(job, "running", 1, f"process {holder(path)} is running there", path, start, words)
        step = status.get("step", 0)
        return Ended(job, "killed", KILLED, f"its process was killed after step {step}", path, start, words)
    code = record.get("code", {"finished": 0, "interrupted": 130}.get(str(state), 1))
    score = record.get("score")
    figure = (str(score[0]), str(score[1]), float(score[2])) if score else None
    return Ended(job, str(state), int(code), str(record.get("message", "")), path, start, words, figure)


def _record(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except (OSError, ValueError):
        return {}


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def holder(path: Path) -> str:
    """The process that is running in a run directory, as its lock names it; empty if there is none."""
    with suppress(OSError), open(path / "lock", "r+") as file:  # without a lock nobody has begun
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return file.read(200).strip() or "unknown"
    return ""


def report(ended: Sequence[Ended]) -> Iterator[str]:
    """Say how many runs finished, and of the others which and why, a line each."""
    done = sum(one.state == "finished" for one in ended)
    pruned = sum(one.state == "pruned" for one in ended)
    yield f"{done} of {len(ended)} runs finished{f', {pruned} pruned' if pruned else ''}"
    for one in ended:
        if one.state not in ("finished", "not started", "pruned"):
            where = f" ({short_path(one.path)})" if one.path.is_dir() else ""
            yield f"  {one.state}: {' '.join(one.job.words)}: {one.message}{where}"
    if waiting := sum(one.state == "not started" for one in ended):
        yield f"  not started: {waiting}"
