"""`python -m rlgan` in two processes, as torchrun starts them: what each task leaves, resume, signals, kills, seeds."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rlgan.runs.record.checkpoint import Checkpoints
from tests.small import ERM, TASKS, checkpoint, differences, metrics, rlgan, status

WORDS = {
    "erm": (*ERM, "log_every=10", "eval_every=20", "checkpoint_every=10"),
    "wgan": (*TASKS["wgan"], "lipschitz=gradient_penalty", "eval_every=20", "checkpoint_every=10", "averaging=ema")[
        :-1
    ],
    "ddpg": (*TASKS["ddpg"], "normalise_obs=true", "env.num_envs=2", "checkpoint_every=30", "eval_every=60"),
}
STEPS = {"erm": 200, "wgan": 200, "ddpg": 360}


def start(*words: str, size: int = 2, restarts: int = 0) -> list[subprocess.Popen[str]]:
    """The processes, rank 0 first."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
        "TORCHELASTIC_MAX_RESTARTS": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-m", "rlgan", *words],
            env={**common, "RANK": str(k), "LOCAL_RANK": str(k)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(size)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes, and what was said on standard error."""
    said = [one.communicate(timeout=300)[1] for one in processes]
    return [one.returncode for one in processes], said


def together(*words: str, size: int = 2) -> tuple[list[int], list[str]]:
    return ended(start(*words, size=size))


def part(run: Path, step: int) -> dict[str, Any]:
    """What the second rank's part of a checkpoint holds."""
    return Checkpoints(run / "checkpoints" / "rank=1").choose(str(step)).state


def until_saved(run: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Wait for the first checkpoint that is complete."""
    while not any(run.glob("checkpoints/step_*.json")):
        assert all(one.poll() is None for one in processes), ended(processes)
        time.sleep(0.01)


def alike(a: Path, b: Path, step: int) -> list[str]:
    """Where two runs differ after so many steps, in any bit of any rank."""
    there = differences(checkpoint(a, step), checkpoint(b, step)) + differences(part(a, step), part(b, step))
    return there + ([] if metrics(a) == metrics(b) else ["metrics"])


@pytest.mark.slow
@pytest.mark.parametrize("task", WORDS)
def test_a_task_trains_stops_and_goes_on_to_the_last_bit(task: str, tmp_path: Path) -> None:
    whole, stopped, steps = tmp_path / "whole", tmp_path / "stopped", STEPS[task]
    words = (*WORDS[task], f"steps={steps}")
    codes, said = together(*words, f"run_dir={whole}")
    assert codes == [0, 0], said
    assert said[1] == "" and status(whole)["ranks"] == 2 and status(whole)["state"] == "finished"
    mine, other = checkpoint(whole, steps)["task"], part(whole, steps)["task"]
    for name, player in mine["players"].items():
        assert differences(player["theta"], other["players"][name]["theta"]) == []
    assert differences(mine["generators"], other["generators"]) != []
    if task == "ddpg":
        assert differences(mine["normaliser"], other["normaliser"]) == [] and mine["normaliser"]["count"] == steps
        assert differences(mine["replay"], other["replay"]) != []
    processes = start(*words, f"run_dir={stopped}")
    until_saved(stopped, processes)
    processes[1].send_signal(signal.SIGTERM)  # at one of them is enough
    codes, said = ended(processes)
    assert codes in ([143, 143], [0, 0]), said
    codes, said = together(f"resume={stopped}")
    assert codes == [0, 0], said
    assert alike(whole, stopped, steps) == []
    assert rlgan("evaluate", str(whole)).code == 0
    refused = rlgan(f"resume={whole}", f"steps={2 * steps}")
    assert refused.code == 2 and "was trained by 2" in refused.err and "--nproc_per_node=2" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_stops_all_and_the_same_command_goes_on(rank: int, tmp_path: Path) -> None:
    words = (*WORDS["erm"], "steps=4000", "log_every=1000", "eval_every=0", "checkpoint_every=1000")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert together(*words, f"run_dir={whole}")[0] == [0, 0]
    processes = start(*words, f"run_dir={killed}")
    until_saved(killed, processes)
    processes[rank].kill()
    codes, said = ended(processes)
    assert codes[rank] == -9 and codes[1 - rank] == 1, said
    assert "another of the 2 ranks is gone" in said[1 - rank] and "Traceback" not in said[1 - rank]
    assert status(killed)["state"] == ("running" if rank == 0 else "failed")
    codes, said = together(*words, f"run_dir={killed}")
    assert codes == [0, 0] and "resuming at step" in said[0], said
    assert alike(whole, killed, 4000) == []


@pytest.mark.slow
def test_a_restart_without_run_dir_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = (*WORDS["erm"], "steps=20000", "log_every=5000", "eval_every=0", "checkpoint_every=100")
    processes = start(*words)
    while not (made := list(tmp_path.glob("outputs/erm/*/checkpoints/step_000000100.json"))):
        assert all(one.poll() is None for one in processes), ended(processes)
        time.sleep(0.01)
    processes[1].kill()
    ended(processes)
    processes = start(*words, restarts=1)
    while status(made[0].parents[1])["state"] != "running":
        assert all(one.poll() is None for one in processes), ended(processes)
        time.sleep(0.01)
    processes[0].send_signal(signal.SIGINT)
    codes, said = ended(processes)
    assert codes == [130, 130] and "resuming at step" in said[0], said
    assert len(list(tmp_path.glob("outputs/erm/*"))) == 1


@pytest.mark.slow
def test_seeds_are_spread_over_ranks_and_are_the_seeds_of_one_process(tmp_path: Path) -> None:
    words = (*WORDS["erm"], "seeds=3", "compile=false")
    codes, said = together(*words, f"run_dir={tmp_path / 'two'}")
    assert codes == [0, 0], said
    assert rlgan(*words, f"run_dir={tmp_path / 'one'}").code == 0
    found = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two")]
    assert found[0]["seeds"] == found[1]["seeds"] == dict.fromkeys("012", "finished")
    for seed in range(3):
        a, b = (checkpoint(tmp_path / name / f"seed={seed}", 40)["task"]["players"] for name in ("one", "two"))
        assert differences(a["model"]["theta"], b["model"]["theta"]) == []


@pytest.mark.slow
def test_what_is_wrong_is_said_once_and_by_whom(tmp_path: Path) -> None:
    codes, said = together(*WORDS["erm"], "batch_size=33", f"run_dir={tmp_path / 'odd'}")
    assert codes == [2, 2] and said[1] == "" and not (tmp_path / "odd").exists()
    assert said[0].startswith("rlgan: batch_size = 33: cannot be shared out evenly among 2 ranks"), said
    codes, said = together(*WORDS["erm"], "optimizer=sgd", "optimizer.lr=1e30", f"run_dir={tmp_path / 'nan'}")
    assert codes == [1, 1] and said[1] == "" and "a mean over 2 ranks" in said[0], said
    made = tmp_path / "run"
    assert together(*WORDS["erm"], f"run_dir={made}")[0] == [0, 0]
    damaged = made / "checkpoints" / "rank=1" / "step_000000040.pt"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    codes, said = together(f"resume={made}", "steps=60")
    assert codes == [0, 0] and "rank 1: " in said[0] and "going back to the one before" in said[0], said
    assert "resuming at step 30" in said[0]
