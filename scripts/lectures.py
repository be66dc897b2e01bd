"""Every figure and claim of the lectures: `python scripts/lectures.py` trains, draws and writes one page of them.

    python scripts/lectures.py --list                  number, title and last result of each
    python scripts/lectures.py --only 4 orders         some: by number, or by a part of the name
    python scripts/lectures.py --only 19 seed=1        further words go to the runs
    python scripts/lectures.py --redraw                the figures of finished ones anew, without training

Each is an experiment, `rlgan experiment=lecture/NAME`, in outputs/lectures/NAME. What is finished is not trained again,
and what was stopped goes on. The page is outputs/lectures/index.html, written anew after each of them.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from omegaconf import OmegaConf  # noqa: E402

from rlgan.runs.options import conf_directory, outside_directories  # noqa: E402
from rlgan.runs.record.files import write_atomically  # noqa: E402
from rlgan.task.errors import ConfigError  # noqa: E402
from rlgan.task.suggest import nearest  # noqa: E402
from scripts.studies.lecture_page import Entry, page  # noqa: E402

OUTPUTS = Path("outputs/lectures")
ALWAYS = ("threads=1", "progress=false")


@dataclass(frozen=True)
class Lecture:
    """An experiment that shows a figure or a claim of a lecture.

    Args:
        file: its YAML.
    """

    file: Path

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def number(self) -> int:
        """The number at the head of the file's name; those without one come last."""
        found = re.match(r"\d+", self.name)
        return int(found[0]) if found else 10**9

    @property
    def label(self) -> str:
        return str(self.number) if self.number < 10**9 else "-"

    @property
    def content(self) -> Any:
        """What the YAML says, comments left out."""
        return OmegaConf.to_container(OmegaConf.load(self.file))

    @property
    def section(self) -> Mapping[str, Any]:
        """Its section `compare`."""
        content = self.content
        section = content.get("compare") if isinstance(content, dict) else None
        return section if isinstance(section, dict) else {}

    @property
    def title(self) -> str:
        return str(self.section.get("title", self.name))

    @property
    def folder(self) -> Path:
        """Its run's directory."""
        return OUTPUTS / self.name

    def entry(self) -> Entry:
        """What the page says of it, from what its run left."""
        summary = _json(self.folder / "summary.json")
        status = _json(self.folder / "status.json")
        figure = self.folder / "figure.png"
        picture = figure.read_bytes() if figure.is_file() else None
        state, reason = str(status.get("state", "")), str(status.get("reason", ""))
        section = summary or self.section
        record = _json(_record(self))
        if not state and record.get("failed"):  # it could not start, so that there is no directory
            state, reason = "failed", str(record["failed"])
        return Entry(
            self.label,
            self.title,
            shlex.join(["rlgan", f"experiment=lecture/{self.name}", *map(str, record.get("words", []))]),
            {key: str(section.get(key, "")).strip() for key in ("claim", "deck", "slide")},
            summary if state == "finished" else {},
            picture if state == "finished" else None,
            "" if state == "finished" else {"": "not run yet", "failed": f"failed: {reason}"}.get(state, "stopped"),
        )

    def fingerprint(self, words: Sequence[str]) -> dict[str, Any]:
        """What its result depends on."""
        text = json.dumps([self.content, sorted(words)], sort_keys=True, default=str)
        return {"words": list(words), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _record(lecture: Lecture) -> Path:
    """Where the fingerprint of its run is kept."""
    return OUTPUTS / f"{lecture.name}.json"


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def lectures() -> list[Lecture]:
    """All of them, by their numbers."""
    roots = [conf_directory(), *outside_directories()]
    found = [Lecture(file) for root in roots for file in root.glob("experiment/lecture/*.yaml")]
    return sorted(found, key=lambda lecture: (lecture.number, lecture.name))


def chosen(every: Sequence[Lecture], only: Sequence[str]) -> list[Lecture]:
    """Those that any of the words means: a number, or a part of a name.

    Raises:
        ConfigError: a word means none.
    """
    found: set[Lecture] = set()
    for word in only:
        fits = [one for one in every if (word.lstrip("0") == one.label if word.isdecimal() else word in one.name)]
        if not fits:
            raise ConfigError(
                f"--only {word}: means no lecture; {nearest(word, [one.name for one in every], 'there are')}"
            )
        found |= {*fits}
    return [one for one in every if one in found] if only else list(every)


class Runner:
    """Runs several lectures at a time, each in a process of its own.

    Args:
        jobs: at most so many at a time.
        words: further words for each.
        every: all lectures, for the page.

    Attributes:
        failed: those that did not finish.
    """

    def __init__(self, jobs: int, words: Sequence[str], every: Sequence[Lecture]) -> None:
        self.failed: list[Lecture] = []
        self._jobs, self._words, self._every = jobs, list(words), every
        self._running: dict[Lecture, tuple[subprocess.Popen[bytes], float]] = {}
        self._number: int | None = None
        self._done, self._count = 0, 0

    def __call__(self, todo: Sequence[Lecture]) -> int:
        """Run them all; returns 128 + signal after one that stopped it, else 0."""
        waiting, self._count = list(todo), len(todo)
        with self._signals():
            try:
                while waiting or self._running:
                    while waiting and len(self._running) < self._jobs and self._number is None:
                        self._start(waiting.pop(0))
                    if self._number is not None:
                        waiting.clear()
                    self._collect()
                    time.sleep(0.05)
            finally:  # nothing that was started goes on by itself
                for process, _ in self._running.values():
                    process.terminate()
                for process, _ in self._running.values():
                    process.wait()
        return 0 if self._number is None else 128 + self._number

    def _start(self, lecture: Lecture) -> None:
        OUTPUTS.mkdir(parents=True, exist_ok=True)
        _record(lecture).write_text(json.dumps(lecture.fingerprint(self._words)) + "\n")
        words = [f"experiment=lecture/{lecture.name}", *ALWAYS, *self._words, f"run_dir={lecture.folder}"]
        # Numerical libraries take every core each, and wait for one another then.
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with _log(lecture).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "rlgan", *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **one, "PYTHONPATH": path},
                start_new_session=True,  # a Ctrl-C is passed on once, not sent twice
            )
        self._running[lecture] = process, time.monotonic()

    def _collect(self) -> None:
        for lecture, (process, began) in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[lecture]
            self._done += 1
            entry = lecture.entry()
            if code == 0:
                told = entry.verdict
            elif self._number is not None and code in (128 + signal.SIGTERM, -signal.SIGTERM):
                told = "stopped; the same command goes on with it"
            else:
                self.failed.append(lecture)
                why = _last_words(lecture)
                told = f"FAILED: {why} ({_log(lecture)})"
                _record(lecture).write_text(json.dumps({**lecture.fingerprint(self._words), "failed": why}) + "\n")
            seconds = time.monotonic() - began
            print(
                f"{self._done:>2}/{self._count}  {lecture.label:>2}  {lecture.title}: {told}, {seconds:.0f} s",
                flush=True,
            )
            write_page(self._every)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first signal lets every run save, a second one ends them at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            self._number = number if self._number is None else self._number
            for process, _ in self._running.values():
                process.send_signal(signal.SIGTERM)

        wanted = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
        former = {number: signal.signal(number, stop) for number in wanted}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def _log(lecture: Lecture) -> Path:
    """What its run printed."""
    return OUTPUTS / f"{lecture.name}.log"


def _last_words(lecture: Lecture) -> str:
    """The last error in its log, or its last line."""
    lines = [line for line in _log(lecture).read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("rlgan: ") for line in lines if line.startswith("rlgan: ")]
    return (errors or lines or ["it said nothing"])[-1]


def _running(lecture: Lecture) -> bool:
    """Tell whether a process holds its directory."""
    try:
        with (lecture.folder / "lock").open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return False


def write_page(every: Sequence[Lecture]) -> Path:
    """Write outputs/lectures/index.html from what the runs have left."""
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    file = OUTPUTS / "index.html"
    write_atomically(file, page([lecture.entry() for lecture in every]).encode())
    return file


def show(every: Sequence[Lecture]) -> None:
    """Print number, title and last result of each."""
    width = max((len(one.title) for one in every), default=0)
    for one in every:
        entry = one.entry()
        former = _json(_record(one))
        changed = former and former.get("sha256") != one.fingerprint(former.get("words", []))["sha256"]
        print(
            f"{one.label:>2}  {one.title:<{width}}  {entry.verdict}{' (its YAML has changed since)' if changed else ''}"
        )


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 if a lecture failed, 2 if nothing could start."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--list", action="store_true", help="number, title and last result of each, and stop")
    made.add_argument("--only", nargs="+", default=[], metavar="WORD", help="numbers, or parts of names")
    made.add_argument("--jobs", type=int, default=cores(), help="at a time; default: %(default)s")
    made.add_argument("--fresh", action="store_true", help="train anew what is there")
    made.add_argument("--redraw", action="store_true", help="draw the figures of finished ones anew")
    made.add_argument("words", nargs="*", metavar="key=value", help="further words for the runs")
    asked = made.parse_intermixed_args(argv)
    words = [*asked.words, *(word for word in asked.only if "=" in word)]
    try:
        if odd := [word for word in words if "=" not in word]:
            raise ConfigError(f"{odd[0]}: is no key=value; name lectures after --only")
        if asked.jobs < 1:
            raise ConfigError(f"--jobs {asked.jobs}: at least one at a time, for example --jobs 2")
        every = lectures()
        some = chosen(every, [word for word in asked.only if "=" not in word])
    except ConfigError as error:
        print(f"lectures: {error}", file=sys.stderr)
        return 2
    if asked.list:
        show(some)
        return 0
    try:
        return run(every, some, words, asked)
    except OSError as error:
        said = f"{error.filename or OUTPUTS}: cannot be written ({error.strerror or error})"
        print(f"lectures: {said}; make room, or start elsewhere", file=sys.stderr)
        return 2


def run(every: Sequence[Lecture], some: Sequence[Lecture], words: Sequence[str], asked: argparse.Namespace) -> int:
    """Run those of `some` that are not finished, and write the page of all; returns the exit code."""
    if asked.fresh and (busy := next(filter(_running, some), None)):
        print(f"lectures: --fresh: {busy.folder} is running now; wait for it, or end it", file=sys.stderr)
        return 2
    todo, stale = [], []
    for one in some:
        finished = _json(one.folder / "status.json").get("state") == "finished"
        former = _json(_record(one))
        if asked.fresh:
            shutil.rmtree(one.folder, ignore_errors=True)
            todo.append(one)
        elif former and one.folder.exists() and former.get("sha256") != one.fingerprint(words)["sha256"]:
            what = "its words are others" if former.get("words") != words else "its YAML has changed"
            print(f"{one.label:>2}  {one.title}: {what} since it was run; --fresh trains it anew", flush=True)
            stale.append(one)
        elif not finished or asked.redraw:
            todo.append(one)
    print(f"{len(todo)} to run, {len(some) - len(todo) - len(stale)} finished, {len(stale)} changed", flush=True)
    runner = Runner(asked.jobs, words, every)
    code = runner(todo)
    entries = [one.entry() for one in some]
    counts = {word: sum(entry.verdict == word for entry in entries) for word in ("seen", "not seen")}
    print(", ".join(f"{number} {word}" for word, number in counts.items()) + f", of {len(entries)}")
    print(write_page(every))
    return code or int(bool(runner.failed))


if __name__ == "__main__":
    sys.exit(main())
