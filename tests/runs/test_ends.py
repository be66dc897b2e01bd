"""However a run ends, status.json is true, what was done is saved where it can be, and what was measured is shown."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from rlgan.runs.cli import main
from tests.runs.conftest import Command
from tests.small import TASKS

SMALL = ("task=quadratic", "progress=false", "tensorboard=false", "run_dir=run")
MADE = "last good checkpoint: run/checkpoints/step_000000030.pt"


def status(run: str = "run") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(run) / "status.json").read_text())
    return found


def steps(run: str = "run") -> list[int]:
    return sorted(int(file.stem[5:]) for file in Path(run).glob("checkpoints/step_*.json"))


# --- signals


@pytest.mark.parametrize("names", ["SIGHUP", "SIGHUP+SIGHUP", "SIGTERM+SIGHUP", "SIGUSR2+SIGTERM", "SIGUSR1"])
def test_a_closed_terminal_saves_however_often_it_says_so(rlgan: Command, names: str) -> None:
    code, _, err = rlgan(*SMALL, f"task.events={{33: {names}}}")
    assert 128 < code < 160 and "at step 34: saved; go on with resume=run" in err
    assert (status()["state"], status()["step"], steps()[-1]) == ("interrupted", 34, 34)


def test_a_signal_that_somebody_else_handles_is_handed_on_when_all_is_saved(rlgan: Command) -> None:
    seen: list[str] = []
    theirs = [signal.signal(n, lambda *_: seen.append(status()["reason"])) for n in (signal.SIGUSR2, signal.SIGTERM)]
    try:
        code, _, _ = rlgan(*SMALL, "task.events={33: SIGUSR2}")
    finally:
        for number, former in zip((signal.SIGUSR2, signal.SIGTERM), theirs, strict=True):
            signal.signal(number, former)
    assert code == 128 + signal.SIGUSR2 and seen == ["SIGUSR2: saved"]


def test_under_nohup_a_closed_terminal_is_nothing(rlgan: Command) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code, _, _ = rlgan(*SMALL, "task.events={33: SIGHUP}")
        assert code == 0 and status()["state"] == "finished"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_signal_before_the_first_step_saves_what_there_is(
    rlgan: Command, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlgan.runs import session

    prepare = session.prepare

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return prepare(*arguments)

    monkeypatch.setattr(session, "prepare", interrupted)
    code, _, err = rlgan(*SMALL)
    assert code == 143 and "SIGTERM at step 0: saved" in err and status()["state"] == "interrupted"
    monkeypatch.undo()
    monkeypatch.chdir(outside)
    monkeypatch.setenv("RLGAN_TRUST", "quadratic")
    monkeypatch.syspath_prepend(str(outside))
    assert rlgan("resume=run")[0] == 0 and status()["state"] == "finished"


def test_a_terminal_that_is_closed_in_the_middle_loses_nothing(outside: Path) -> None:
    words = ["task=quadratic", "run_dir=run", "steps=100000000", "log_every=100", "eval_every=0", "tensorboard=false"]
    child, terminal = pty.fork()
    if not child:
        os.chdir(outside)
        os.execv(sys.executable, [sys.executable, "-m", "rlgan", *words])
    printed = b""
    while b"it is small" not in printed:  # the last line before the bar
        printed += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    assert status()["reason"] == "SIGHUP: saved" and steps()[-1] == status()["step"]


# --- what is printed goes nowhere


@contextmanager
def output(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    stream = open(descriptor, "w")  # noqa: SIM115 - closing it may fail as well
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        yield
    with suppress(OSError):
        stream.close()


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("to", [closed_pipe, lambda: os.open("/dev/full", os.O_WRONLY)], ids=["pipe", "full disk"])
def test_output_that_nobody_takes_ends_nothing(
    to: Callable[[], int], outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (SMALL, ("evaluate", "run"), ("resume=run", "steps=70"), ("--help",)):
        with output(to(), monkeypatch), pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
    assert status()["state"] == "finished" and status()["step"] == 70 and Path("run/evaluation.json").exists()


def test_streams_that_are_closed_at_the_start_do_not_become_files_of_the_run(outside: Path) -> None:
    words = " ".join((*SMALL[:1], *SMALL[2:], "progress=true"))
    ended = subprocess.run(f"exec {sys.executable} -m rlgan {words} >&- 2>&- <&-", shell=True, cwd=outside, check=False)
    assert ended.returncode == 0 and status()["state"] == "finished"
    for name in ("metrics.jsonl", "overrides.jsonl", "notes.jsonl"):
        assert all(json.loads(line) for line in (outside / "run" / name).read_text().splitlines())


def test_a_path_that_is_no_text_is_printed_and_trained_in(rlgan: Command, outside: Path) -> None:
    folder = outside / os.fsdecode(b"caf\xe9")
    shutil.copytree(outside, folder, ignore=shutil.ignore_patterns("caf*"))
    os.chdir(folder)
    code, out, err = rlgan(*SMALL[:2], "tensorboard=true")
    assert code == 0 and "distance/eval" in out, err
    code, out, err = rlgan("evaluate", "latest")
    assert code == 0 and "distance/eval" in out, err


# --- inputs, bugs, memory


@pytest.mark.parametrize("intact", [True, False])
def test_an_input_that_fails_is_one_line_and_saved_where_the_state_is_whole(rlgan: Command, intact: bool) -> None:
    code, _, err = rlgan(*SMALL, f"task.events={{33: {'intact' if intact else 'input'}}}")
    assert code == 1 and "rlgan: stopped at step 33: cat.jpg: is cut short\n" in err and "Traceback" not in err
    assert (status()["state"], status()["error"], status()["reason"]) == (
        "failed", "InputError", "cat.jpg: is cut short"
    )  # fmt: skip
    assert steps()[-1] == (33 if intact else 30) and ("resume=run" in err if intact else MADE in err)
    assert rlgan("resume=run", "task.events=null")[0] == 0


def test_an_input_that_fails_marks_one_seed(rlgan: Command) -> None:
    code, out, err = rlgan(*SMALL, "seeds=2", "task.events={33: intact}")
    assert code == 1 and err.count("cat.jpg: is cut short") >= 2 and "0 of 2 seeds finished" in out
    assert status()["state"] == status("run/seed=1")["state"] == "failed" and steps("run/seed=0")[-1] == 33


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("exit", "sys.exit(0) was called in the run"),
        ("memory", "out of memory ("),
        ("error", "Quadratic.advance raised RuntimeError: a bug"),
    ],
)
def test_what_fails_is_said_in_a_line_and_the_status_is_true(rlgan: Command, event: str, says: str) -> None:
    code, _, err = rlgan(*SMALL, f"task.events={{33: {event}}}")
    assert code == 1 and f"rlgan: stopped at step 33: {says}" in err and MADE in err
    assert "Traceback" not in err
    assert status()["state"] == "failed" and status()["step"] == 33


# --- the directory


def test_a_directory_that_is_renamed_is_followed(rlgan: Command) -> None:
    code, out, err = rlgan(*SMALL, "task.events={33: 'rename:run:moved'}", "tensorboard=true")
    assert code == 0 and "note: run is now called moved; the run goes on there\n" in err and "Traceback" not in err
    assert not Path("run").exists() and out.endswith("tensorboard --logdir moved\n")
    assert status("moved")["state"] == "finished" and steps("moved")[-1] == 60
    assert [json.loads(line)["step"] for line in Path("moved/metrics.jsonl").read_text().splitlines()][-1] == 60


def test_seeds_that_are_renamed_are_followed(rlgan: Command) -> None:
    code, _, err = rlgan(*SMALL, "seeds=[0,1]", "task.events={33: 'rename:run:moved', 34: 'rename:moved:run'}")
    assert code == 0, err
    assert status()["state"] == status("run/seed=1")["state"] == "finished"


def test_a_directory_that_is_removed_ends_the_run_in_a_line(rlgan: Command) -> None:
    code, _, err = rlgan(*SMALL, "task.events={33: 'remove:run'}")
    assert code == 1 and "run: was removed, or moved to another file system" in err and "Traceback" not in err
    assert "status.json: cannot be written" in err and not Path("run").exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [1500, 4000])
def test_a_disk_that_is_full_is_one_line_and_the_status_is_true(rlgan: Command, size: int) -> None:
    with largest_file(size):
        code, _, err = rlgan(*SMALL, "log_every=1", "tensorboard=true")
    assert code in (1, 2) and "File too large" in err and "Traceback" not in err, err
    assert status()["state"] == "failed"


def test_figures_are_shown_although_the_summary_cannot_be_written(rlgan: Command) -> None:
    code, out, err = rlgan(*SMALL, "task.events={57: 'mkdir:run/summary.json'}")
    assert code == 1 and "distance/eval" in out and "run/summary.json" in err and "Traceback" not in err
    assert status()["state"] == "failed" and steps()[-1] == 60
    os.rmdir("run/summary.json")
    assert rlgan("resume=run", "task.events=null")[0] == 0 and status()["state"] == "finished"


def test_figures_of_an_evaluation_are_shown_although_nothing_can_be_written(rlgan: Command) -> None:
    words = [word for word in TASKS["wgan"] if not word.startswith("steps")]
    code, _, err = rlgan(*words, "steps=3", "run_dir=run")
    assert code == 0, err
    with largest_file(10):
        code, out, err = rlgan("evaluate", "run")
        assert code == 0 and "wasserstein/primal" in out, err
        assert "rlgan: run/evaluation.json: cannot be written (File too large)" in err
        code, out, err = rlgan("evaluate", "run", "n=50")  # who asks for samples wants the file
    assert code == 1 and "wasserstein/primal" in out and "samples.npz: cannot be written (" in err


def test_seeds_that_could_not_start_are_not_running(rlgan: Command) -> None:
    assert rlgan(*SMALL, "seeds=2")[0] == 0
    for file in Path("run/seed=1/checkpoints").iterdir():
        file.write_bytes(b"")
    code, _, err = rlgan("resume=run", "steps=70")
    assert code == 2 and "Traceback" not in err and status()["state"] == "failed"


# --- measures and pictures


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_measure_without_meaning_is_left_out_and_stops_nothing(rlgan: Command, value: str) -> None:
    given = {"inf": "inf", "nan": "-inf"}[value]  # as quadratic.py reads it
    measures = f"task.measures={{twins: {given}, share: 0.5}}"
    code, out, err = rlgan(*SMALL, measures)
    assert code == 0 and err.count(f"note: twins = {value}: has no meaning here and is left out\n") == 1
    assert "share" in out and f"left out, as it has no meaning here: twins = {value}\n" in out
    for name in ("metrics.jsonl", "summary.json"):
        assert "twins" not in (Path("run") / name).read_text() and "share" in (Path("run") / name).read_text()
    code, out, err = rlgan("evaluate", "run")
    assert code == 0 and f"note: twins = {value}" in err and "twins" not in out
    assert "twins" not in Path("run/evaluation.json").read_text()


def test_what_ranks_checkpoints_may_have_no_meaning(rlgan: Command) -> None:
    code, _, err = rlgan(*SMALL, "task.measures={distance/eval: inf}")
    assert code == 0 and "no checkpoint of such a step becomes the best one" in err and steps() == [50, 60]
    code, _, err = rlgan("evaluate", "run")
    assert code == 0 and "step 60" in err


@pytest.mark.parametrize(("draws", "says"), [("nothing", "no such colour"), ("floats", "must be uint8")])
def test_a_picture_that_fails_stops_nothing(rlgan: Command, draws: str, says: str) -> None:
    code, out, err = rlgan(*SMALL, f"task.draws={draws}")
    assert code == 0 and says in err and err.count("note: ") == 2 and "distance/eval" in out
    code, out, err = rlgan("evaluate", "run")
    assert code == 0 and says in err and "distance/eval" in out
