"""Run directories: unique, readable names; one holder; files that are never half written."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlgan.runs.record.directory import RunDirectory, read_config
from rlgan.runs.record.files import write_atomically
from rlgan.task.errors import RunError


def test_runs_of_the_same_second_get_directories_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunDirectory.create(tmp_path / "wgan", "same"), range(8)))
    assert len({run.path for run in runs}) == 8
    assert {run.path.name for run in runs} == {"same", *(f"same-{i}" for i in range(2, 9))}
    for run in runs:
        run.close()


def test_a_directory_is_held_once_and_can_be_had_again(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path / "r")
    with pytest.raises(RunError, match="a run of this process is using it"):
        RunDirectory.open(tmp_path / "r")
    run.close()
    RunDirectory.open(tmp_path / "r").close()


def test_other_peoples_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"holds other files \(thesis\.tex\)"):
        RunDirectory.open(tmp_path)
    with pytest.raises(RunError, match="is a file"):
        RunDirectory.open(tmp_path / "thesis.tex")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_full_disk_is_named_with_the_file_and_the_next_one_can_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunError, match=r"r/lock: cannot be locked \(No space left on device\); make room$"):
            RunDirectory.open(tmp_path / "r")
    RunDirectory.open(tmp_path / "r").close()
    assert (tmp_path / "r" / "lock").read_text().startswith(f"{os.getpid()} on ")


def test_config_is_written_once(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path / "r")
    run.write_config({"task": {"a": 1}, "b": {"c": [1, 2]}})
    run.write_config({"task": {"a": 2}})
    assert read_config(run.path) == {"task": {"a": 1}, "b": {"c": [1, 2]}}
    run.close()


def test_an_atomic_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "status.json"
    write_atomically(file, b"old")

    def broken(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="power cut"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and [item.name for item in tmp_path.iterdir()] == ["status.json"]


def test_status_keeps_what_was_said_before(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path / "r")
    run.write_status("running", 0, steps=9)
    run.write_status("failed", 4, "nan")
    status = json.loads((run.path / "status.json").read_text())
    assert (status["state"], status["step"], status["reason"], status["steps"]) == ("failed", 4, "nan", 9)
    run.close()
