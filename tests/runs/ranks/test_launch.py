"""What torchrun says, and a process that is one of one."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from torch import distributed as dist

from rlgan.runs import ends
from rlgan.runs.config.build import RunSpec
from rlgan.runs.ends import Stop
from rlgan.runs.ranks import agreement, begin
from rlgan.runs.ranks.agreement import Ranks
from rlgan.runs.ranks.launch import Launch, launched, speaks
from rlgan.runs.ranks.parts import check_size
from rlgan.runs.record.checkpoint import Checkpoint
from rlgan.runs.record.directory import RunDirectory
from rlgan.runs.record.payload import Manifest
from rlgan.runs.training.seeds import run_seeds
from rlgan.task.errors import CheckpointError, ConfigError, RunError
from rlgan.task.hooks.callback import Ending
from tests.small import ERM, composed, rlgan

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RESTART_COUNT": "2",
    "TORCHELASTIC_MAX_RESTARTS": "3",
    "TORCHELASTIC_RUN_ID": "job",
}


@pytest.fixture
def by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)


def test_a_process_alone_is_one_of_one() -> None:
    assert launched() is None and speaks()
    alone, ending = Ranks(), Ending("enough", finished=True)
    assert (alone.rank, alone.size, alone.follows, alone.meta, alone.mark) == (0, 1, False, {}, {})
    assert alone.stop(15, ending) == (15, ending) and alone.told("mine") == "mine" and alone.every(3) == [3]
    assert alone.collected("seeds", {"0": 1}) == [{"0": 1}] and alone.end(7) == 7
    with pytest.raises(KeyError), alone.all(), alone.together():
        raise KeyError("passes as it is")


def test_what_torchrun_says_is_read(by_torchrun: None) -> None:
    launch = launched()
    assert launch is not None and launch[:6] == (3, 4, 1, 2, 2, True) and launch.name.startswith("job of ")
    assert not speaks()


@pytest.mark.parametrize(("key", "value"), [("RANK", "4"), ("RANK", "one"), ("WORLD_SIZE", "many")])
def test_an_environment_that_no_launcher_makes_is_refused(
    key: str, value: str, by_torchrun: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match=f"{key} = {value}: .*torchrun"):
        launched()


def test_one_rank_of_one_is_no_launch(by_torchrun: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launched() is None


def test_commands_that_one_process_runs_are_refused(by_torchrun: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert "evaluate: runs in one process and not in 4" in rlgan("evaluate", "latest").err


LAUNCH = Launch(rank=0, size=2, local_rank=0, local_size=2, restarts=0, restartable=True, name="job of 1 on here")


def test_a_restart_goes_on_with_the_run_of_its_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("job of 1 on here", "another"):
        run = tmp_path / "outputs" / "wgan" / name.replace(" ", "_")
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("task: {}")
        (run / "status.json").write_text(json.dumps({"launch": name}))
    again = Ranks(LAUNCH._replace(restarts=1))
    assert begin.run_of(again, None) == tmp_path / "outputs/wgan/job_of_1_on_here"
    assert begin.run_of(again, "mine") == Path("mine")
    assert begin.run_of(Ranks(LAUNCH), None) is None and begin.run_of(Ranks(), None) is None
    with pytest.raises(RunError, match="run_dir = null"):
        begin.run_of(Ranks(LAUNCH._replace(local_size=1)), None)


def test_a_checkpoint_of_another_number_of_ranks_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.open(tmp_path / "run")
    manifest = Manifest(file="step_000000001.pt", step=1, size=1, sha256="0" * 64, metrics={}, meta={}, unpacked=1)
    alone, two = Checkpoint(manifest, {}), Checkpoint(replace(manifest, meta={"ranks": 2}), {})
    ranks = Ranks(LAUNCH)
    ranks.joint = True
    check_size(run, alone, Ranks())
    check_size(run, two, ranks)
    check_size(run, None, ranks)
    with pytest.raises(CheckpointError, match=r"ranks = 1: .* was trained by 2.*--nproc_per_node=2"):
        check_size(run, two, Ranks())
    with pytest.raises(CheckpointError, match=r"ranks = 2: .* was trained by 1.*without torchrun"):
        check_size(run, alone, ranks)
    run.close()


@pytest.mark.parametrize("stacked", [True, False])
def test_seeds_of_another_rank_are_trained_and_nothing_is_said_of_them(
    stacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = () if stacked else ("optimizer=newton", "batch_size=null", "problem=quadratic")
    spec = RunSpec.of(composed(*ERM, "steps=2", "seeds=4", *own))
    monkeypatch.setattr(agreement, "_here", [Ranks(LAUNCH._replace(rank=1))])
    for step in (2, 4):  # the second time they go on
        assert run_seeds(None, spec.with_values(steps=step), Stop(), None, tmp_path).code == 0
        done = {path.parent.name: json.loads(path.read_text())["step"] for path in tmp_path.glob("*/summary.json")}
        assert done == {"seed=1": step, "seed=3": step}
    said = capsys.readouterr()
    assert said.err + said.out == ""


def test_the_signal_that_torchrun_hands_on_is_the_terminals_own(
    by_torchrun: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    clock = iter([0.0, 0.01, 5.0])
    monkeypatch.setattr(ends.time, "monotonic", lambda: next(clock))
    stop = Stop()
    for _ in range(2):
        stop(signal.SIGINT, None)
    assert stop.number == signal.SIGINT and left == []
    stop(signal.SIGINT, None)
    assert left == [130]


def test_who_is_stopped_does_not_wait_for_the_seeds_of_a_rank_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "PATIENCE_OF_STOPPED", 0.01)
    ranks = Ranks(LAUNCH)
    ranks._store = dist.HashStore()
    assert ranks.collected("seeds", {"0": "mine"}, stopped=True) == [{"0": "mine"}]
    ranks._store.set("seeds/1", '{"1": "its own"}')
    assert ranks.collected("seeds", {"0": "mine"}, stopped=True) == [{"0": "mine"}, {"1": "its own"}]
