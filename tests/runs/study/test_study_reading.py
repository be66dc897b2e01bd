"""Runs are found below folders and read as they were left: cut, damaged, gone on with, from a stranger."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from rlgan.runs.record.files import Lines
from rlgan.runs.study.finding import find_runs
from rlgan.runs.study.reading import read_curves, read_run, tags_of
from rlgan.task.errors import RunError
from tests.runs.study.written import write_run


def test_runs_are_found_below_folders_once_and_by_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    group = write_run(tmp_path / "outputs/ddpg/group", changes={"seeds": 2})
    (group / "metrics.jsonl").unlink()
    seeds = [write_run(group / f"seed={k}", changes={"seed": k}) for k in range(2)]
    compared = write_run(tmp_path / "outputs/erm/two", changes={"compare": {"variants": {}}})
    (compared / "metrics.jsonl").unlink()
    (compared / "variants.yaml").write_text("{}")
    variant = write_run(compared / "clip")
    alone = write_run(tmp_path / "outputs/wgan/alone_lr=1")
    (alone / "checkpoints").mkdir()
    os.symlink(tmp_path / "outputs", tmp_path / "outputs" / "again")
    assert find_runs(["outputs"]) == [*seeds, variant, alone]
    assert find_runs(["outputs/wgan/*lr*", str(alone), "outputs/ddpg/group/seed=1"]) == [alone, seeds[1]]
    assert read_run(variant).variant == "clip" and read_run(alone).variant is None
    with pytest.raises(RunError, match=r"^nope: no such run or folder; runs nearby: "):
        find_runs(["nope"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"^empty: there is no run in it or below it"):
        find_runs(["empty"])


def test_a_logger_s_lines_are_read_by_tag(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "metrics.jsonl")
    lines.write({"step": 10, "loss": 0.5, "loss/other": 9.0, "return": -1e-7})
    lines.write({"step": 20, "loss": 2.0})
    lines.write({"step": 20, "loss": 3.0})
    lines.close()
    curves = read_curves((tmp_path / "metrics.jsonl").read_bytes(), ["loss", "return", "gone"])
    assert curves.keys() == {"loss", "return"}
    assert curves["loss"].steps.tolist() == [10, 20] and curves["loss"].values.tolist() == [0.5, 3.0]
    assert curves["return"].values.tolist() == [-1e-7]
    assert tags_of(tmp_path) == {"loss", "loss/other", "return"}


def test_cut_and_damaged_lines_are_passed_over() -> None:
    lines = [
        b'{"step": 1, "a": 1.0}',
        b'{"step": 2, "a": 2.',  # cut by a kill
        b'\0\0{"step": 3, "a": 3.0}',  # after NUL bytes
        b'{"a": 4.0, "step": 4}',
        b'{"step": 5, "a": NaN}',
        b'{"step": 6, "a": x}',
        b'{"step": 7.0, "a": 7.0}',
        b"[" * 100_000,
        b'{"step": 8, "a": 8.0',
    ]
    curve = read_curves(b"\n".join(lines), ["a"])["a"]
    assert curve.steps.tolist() == [1, 3, 4, 7] and curve.values.tolist() == [1, 3, 4, 7]


def test_the_configuration_is_that_of_the_last_start(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with (run / "overrides.jsonl").open("a") as file:
        file.write(json.dumps({"overrides": [], "changes": {"steps": 300, "actor.optimizer.lr": 0.5}, "choices": {}}))
    found = read_run(run)
    assert found.config["steps"] == 300 and found.config["actor.optimizer.lr"] == 0.5
    assert found.config["critic.network.hidden"] == [16, 16] and found.choices == {"task": "mine"}


@pytest.mark.parametrize(
    ("state", "pid", "told"),
    [
        ("running", os.getpid(), "running"),
        ("running", 2**22 + 1, "killed"),
        ("finished", 0, "finished"),
        ("dreaming", 0, "unknown"),
    ],
    ids=["alive", "gone", "ended", "no such word"],  # a process number would differ between the workers
)
def test_a_run_that_says_running_without_a_process_was_killed(tmp_path: Path, state: str, pid: int, told: str) -> None:
    run = write_run(tmp_path / "run")
    status = {"state": state, "pid": pid, "host": os.uname().nodename, "step": 3}
    (run / "status.json").write_text(json.dumps(status))
    assert read_run(run).state == told


def test_what_a_run_lacks_is_no_obstacle(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", task=None, changes={"task._target_": "rlgan.rl.Trainer"})
    for name in ("overrides.jsonl", "status.json", "metrics.jsonl"):
        (run / name).unlink()
    (run / "task.json").write_text("{")
    found = read_run(run)
    assert found.state == "unknown" and found.curves == {} and found.typed == []
    assert found.measures.best == "return/eval" and found.measures.better["return/eval"] == "max"


@pytest.mark.parametrize(
    "content",
    [b"", b"{{{", b"[1, 2]", b"steps: 1", b"\xff\xfe\x00", b"[" * 10_000, b"a: &a [1]\nb: *a", b"x: " + b"1" * 600_000],
)
def test_a_damaged_configuration_is_named(tmp_path: Path, content: bytes) -> None:
    run = write_run(tmp_path / "run")
    (run / "config.yaml").write_bytes(content)
    with pytest.raises(RunError, match=r"run/config\.yaml: is damaged \("):
        read_run(run)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl"])
def test_nothing_is_read_through_a_link_or_a_fifo(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    (run / name).rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", run / name)
    with pytest.raises(RunError, match=rf"run/{name}: cannot be read"):
        read_run(run)
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(RunError, match=rf"run/{name}: is no file"):
        read_run(run)


def test_only_the_wanted_curves_are_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", (1.0, 2.0, 3.0))
    assert read_run(run).curves.keys() == {"return/eval", "loss"}
    found = read_run(run, ["loss"]).curves
    assert found.keys() == {"loss"} and np.array_equal(found["loss"].values, [-1, -2, -3])
