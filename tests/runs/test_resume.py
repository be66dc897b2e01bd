"""A run that is killed, damaged or stopped, and goes on, is the run that was not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs.conftest import Server

Command = Callable[..., tuple[int, str, str]]
Metrics = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture
def whole(rlgan: Command, outside: Path) -> Path:
    """The uninterrupted run that the others are held against."""
    code, _, err = rlgan("task=quadratic", "run_dir=whole", "seed=4")
    assert code == 0, err
    return outside / "whole"


def weights(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints" / "step_000000060.pt", weights_only=True)["task"]
    return state


# Before the first checkpoint, right at one, between two, between a log and a checkpoint, and after the last but one.
@pytest.mark.parametrize("step", [5, 10, 33, 50])
def test_kill_and_resume_in_new_processes_reproduce_metrics_and_weights(
    process: Command, server: Server, whole: Path, outside: Path, metrics: Metrics, step: int
) -> None:
    """One of them in a fresh interpreter, the others in children of one."""
    run = process if step == 33 else server
    code = run("task=quadratic", "run_dir=killed", "seed=4", f"task.events={{{step}: kill}}")[0]
    assert code == -signal.SIGKILL
    assert json.loads((outside / "killed/status.json").read_text())["state"] == "running"
    code, *printed = run("resume=killed", "task.events=null")
    assert code == 0, printed
    assert metrics(outside / "killed") == metrics(whole)
    assert torch.equal(weights(outside / "killed")["theta"], weights(whole)["theta"])
    ours, theirs = ({**json.loads((run / "summary.json").read_text())} for run in (outside / "killed", whole))
    ours.pop("time/seconds"), theirs.pop("time/seconds")
    assert ours == theirs


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR2", 140)])
def test_first_signal_finishes_the_step_and_saves(
    rlgan: Command, whole: Path, outside: Path, metrics: Metrics, name: str, code: int
) -> None:
    ended, _, err = rlgan("task=quadratic", "run_dir=stopped", "seed=4", f"task.events={{33: {name}}}")
    assert ended == code
    assert "saved; go on with resume=stopped" in err
    status = json.loads((outside / "stopped/status.json").read_text())
    assert (status["state"], status["step"]) == ("interrupted", 34)
    assert (outside / "stopped/checkpoints/step_000000034.json").exists()
    # The same command again goes on by itself: what a requeued job does.
    ended, _, err = rlgan("task=quadratic", "run_dir=stopped", "seed=4", f"task.events={{33: {name}}}")
    assert ended == 0 and "resuming at step 34" in err
    assert metrics(outside / "stopped") == metrics(whole)


def test_second_signal_leaves_at_once(process: Command, outside: Path) -> None:
    code, _, _ = process("task=quadratic", "run_dir=left", "task.events={33: SIGINT+SIGINT}")
    assert code == 130
    status = json.loads((outside / "left/status.json").read_text())
    assert status["state"] == "interrupted" and "without saving" in status["reason"]
    assert not (outside / "left/checkpoints/step_000000034.pt").exists()
    assert (outside / "left/checkpoints/step_000000030.json").exists()


@pytest.mark.parametrize("damage", ["flipped bit", "cut short", "no manifest", "file gone", "manifest cut short"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    rlgan: Command, whole: Path, outside: Path, metrics: Metrics, damage: str
) -> None:
    shutil.copytree(whole, outside / "hurt")
    newest = outside / "hurt/checkpoints/step_000000060.pt"
    content = bytearray(newest.read_bytes())
    if damage == "flipped bit":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    elif damage == "cut short":
        newest.write_bytes(content[:-100])
    elif damage == "no manifest":
        newest.with_suffix(".json").unlink()
    elif damage == "file gone":
        newest.unlink()
    else:
        newest.with_suffix(".json").write_text(newest.with_suffix(".json").read_text()[:40])
    code, _, err = rlgan("resume=hurt")
    assert code == 0, err
    assert "step_000000060" in err and "resuming at step 50" in err
    assert metrics(outside / "hurt") == metrics(whole)


def test_no_sound_checkpoint_is_an_error_and_touches_nothing(rlgan: Command, whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    for file in (whole / "checkpoints").glob("*.pt"):
        file.write_bytes(b"")
    code, _, err = rlgan("resume=whole")
    assert code == 2 and err.splitlines()[-1].endswith("no checkpoint is sound; start a new run")
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_a_longer_run_equals_one_that_was_long_from_the_start(
    rlgan: Command, whole: Path, outside: Path, metrics: Metrics
) -> None:
    before = (whole / "config.yaml").read_bytes()
    assert rlgan("resume=whole", "steps=100")[0] == 0
    assert rlgan("task=quadratic", "run_dir=long", "seed=4", "steps=100")[0] == 0
    # The shorter run logged once more, at its own end (60 is no multiple of 7).
    extra = [line for line in metrics(whole) if line["step"] == 60 and "player/loss" in line]
    assert len(extra) == 1
    evaluations = [[line for line in metrics(run) if "distance/eval" in line] for run in (whole, outside / "long")]
    assert evaluations[0] == evaluations[1]
    assert (whole / "config.yaml").read_bytes() == before
    assert rlgan("resume=whole")[0] == 0
    assert json.loads((whole / "summary.json").read_text())["step"] == 100


def test_resume_refuses_a_changed_group_and_unknown_keys(rlgan: Command, whole: Path) -> None:
    code, _, err = rlgan("resume=whole", "flavour@noise=uniform")
    assert code == 2
    assert err == "rlgan: flavour@noise = uniform: is normal in this run and cannot change on resume; start a new run\n"
    assert rlgan("resume=whole", "flavour@noise=normal")[0] == 0
    code, _, err = rlgan("resume=whole", "noise.sgima=1")
    assert code == 2 and err.endswith("noise.sgima = 1: Noise has no such key; did you mean sigma?\n")
    code, _, err = rlgan("resume=whole", "task=quadratik")
    assert code == 2 and "cannot change on resume" in err
    code, _, err = rlgan("resume=wohle")
    assert code == 2 and "no such run; runs nearby:" in err and "whole" in err


def test_resume_says_when_exactness_is_lost(rlgan: Command, whole: Path) -> None:
    code, _, err = rlgan("resume=whole", "steps=70", "threads=2")
    assert code == 0
    assert "note: resume is not bit-exact: threads was 1 and is 2" in err
    # A stranger's word does not steer the terminal.
    manifest = whole / "checkpoints/step_000000070.json"
    manifest.write_text(manifest.read_text().replace('"threads": 2', '"threads": "\\u001b[2J"'))
    code, _, err = rlgan("resume=whole", "steps=80")
    assert code == 0 and "threads was \\x1b[2J and is 2" in err


def test_a_setting_that_was_edited_since_the_checkpoint_is_said(rlgan: Command, whole: Path) -> None:
    """What is typed now is known, and what an earlier start typed is in the checkpoint."""
    note = "when the checkpoint was made"
    assert note not in rlgan("resume=whole", "steps=70", "log_every=7")[2]
    assert note not in rlgan("resume=whole", "steps=80")[2] and note not in rlgan("evaluate", "whole")[2]
    # Of a checkpoint from before a start that asked for something else, by evaluate and by going back to it.
    before = min(json.loads(file.read_text())["step"] for file in (whole / "checkpoints").glob("*.json"))
    assert note not in rlgan("evaluate", "whole", f"checkpoint={before}")[2]
    assert note not in rlgan("resume=whole", f"from={before}")[2]
    config = whole / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.1", "lr: 0.05"))
    for words in (("resume=whole", "steps=90"), ("evaluate", "whole")):
        code, _, err = rlgan(*words)
        assert code == 0 and f"note: task.lr is 0.05 and was 0.1 {note}" in err, err


def test_the_resolved_compile_mode_is_reused(rlgan: Command, whole: Path) -> None:
    manifest = whole / "checkpoints/step_000000060.json"
    record = json.loads(manifest.read_text())
    record["meta"]["compiled"] = True
    manifest.write_text(json.dumps(record))
    code, _, err = rlgan("resume=whole", "steps=70")
    assert code == 0 and "not bit-exact" not in err
    assert json.loads((whole / "checkpoints/step_000000070.json").read_text())["meta"]["compiled"] is True


def test_an_occupied_directory_with_another_configuration_is_refused(rlgan: Command, whole: Path) -> None:
    code, _, err = rlgan("task=quadratic", "run_dir=whole", "seed=4", "task.lr=0.2", "noise.sigma=0.3")
    assert code == 2
    assert "task.lr is 0.1 there and 0.2 here; noise.sigma is 0.1 there and 0.3 here" in err
    assert len(err.splitlines()) == 1


def test_divergence_stops_with_a_diagnosis_and_names_the_last_good_checkpoint(rlgan: Command, outside: Path) -> None:
    code, _, err = rlgan("task=quadratic", "run_dir=nan", "task.events={33: 'nan'}")
    assert code == 1
    assert "stopped at step 33: critic/loss = nan" in err
    assert "last good checkpoint: nan/checkpoints/step_000000030.pt" in err
    status = json.loads((outside / "nan/status.json").read_text())
    assert (status["state"], status["step"], status["error"]) == ("failed", 33, "Diverged")
    assert not (outside / "nan/checkpoints/step_000000033.pt").exists()


def test_a_metric_that_is_not_finite_stops_before_the_next_checkpoint(rlgan: Command, outside: Path) -> None:
    code, _, err = rlgan("task=quadratic", "run_dir=wild", "task.lr=1e12", "checkpoint_every=14", "log_every=2")
    assert code == 1 and "player/loss = inf" in err
    assert not list((outside / "wild").glob("checkpoints/*.pt"))


def test_a_bug_in_a_task_is_told_with_its_line_and_fails_the_run(
    rlgan: Command, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = rlgan("task=quadratic", "run_dir=bug", "task.events={33: error}")
    assert code == 1
    assert "Traceback" not in err and "Quadratic.advance raised RuntimeError: a bug (quadratic.py, line " in err
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    code, _, err = rlgan("task=quadratic", "run_dir=whole", "task.events={33: error}")
    assert code == 1 and "Traceback" in err and 'quadratic.py", line ' in err
    assert json.loads((outside / "bug/status.json").read_text())["error"] == "RuntimeError"


def test_two_processes_cannot_share_a_directory(rlgan: Command) -> None:
    script = (
        "import sys; from pathlib import Path; from rlgan.runs.record.directory import RunDirectory\n"
        "run = RunDirectory.open(Path('shared')); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        code, _, err = rlgan("task=quadratic", "run_dir=shared")
        assert code == 2
        assert f"process {holder.pid} on" in err and len(err.splitlines()) == 1
    finally:
        holder.kill()
        holder.wait()
    # The lock died with its process.
    assert rlgan("task=quadratic", "run_dir=shared")[0] == 0
