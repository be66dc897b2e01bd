"""Asynchronous environments give what synchronous ones give; what fails or dies is named, and nothing hangs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlgan.rl.envs import workers
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.rl.trainer import Trainer
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.task.errors import Diverged
from tests.rl import scripted
from tests.rl.scripted import in_mode
from tests.small import TASKS, builder, differences, rlgan

KINDS = ("sync", "async")


def run(env: VectorEnvironment, steps: int = 12) -> list[tuple[np.ndarray, ...]]:
    """Steps by random actions, the environments closed afterwards."""
    generator = torch.Generator().manual_seed(0)
    try:
        return [env.step(env.random_actions(generator))[:-1] for _ in range(steps)]
    finally:
        env.close()


def ended(env: VectorEnvironment) -> bool:
    """Whether all worker processes are gone."""
    return not any(process.is_alive() for process in env.vector.processes)


@pytest.mark.parametrize(
    ("id", "mode"), [("Pendulum-v1", "disabled"), ("Hidden-v0", "next_step"), ("Parts-v0", "same_step")]
)
def test_transitions_equal_those_of_synchronous_environments(id: str, mode: Any) -> None:
    """To the last bit, also of Parts, which draws from spaces that nobody but the vector environment seeds."""
    kwargs = {"max_episode_steps": 5, "num_envs": 3}
    one, two = (run(in_mode(mode)(id, vectorization=kind, **kwargs).make(seed=4)) for kind in KINDS)  # type: ignore[arg-type]
    assert all(
        np.array_equal(a, b) for left, right in zip(one, two, strict=True) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "raise",
            r"environment 1 \(Doomed-v0\) raised ZeroDivisionError: scripted failure \(in its step, scripted.py:\d+\)",
        ),
        (
            "locked",
            r"environment 1 \(Doomed-v0\) raised Locked: scripted lock \(in its step, scripted.py:\d+\) after 6",
        ),
        (
            "reset",
            r"environment 1 \(Doomed-v0\) raised OSError: no reset left \(in its reset, scripted.py:\d+\) after 10",
        ),
        (
            "nan_reward",
            r"reward of environment 1 \(Doomed-v0\) is nan in component 0 after 6 environment steps, step 3 of its",
        ),
        (
            "inf_reward",
            r"reward of environment 1 \(Doomed-v0\) is inf in component 0 after 6 environment steps, step 3 of its",
        ),
    ],
)
def test_an_environment_that_fails_is_named_with_its_step(how: str, message: str, kind: Any) -> None:
    env = Environment("Doomed-v0", {"how": how}, num_envs=2, vectorization=kind).make(seed=0)
    with pytest.raises(Diverged if "reward" in how else RuntimeError, match=f"^{message}"):
        run(env)
    assert kind == "sync" or ended(env)


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_a_reset_that_fails_is_named_in_every_mode(mode: Any) -> None:
    env = in_mode(mode)("Doomed-v0", {"how": "reset"}, num_envs=2).make(seed=0)
    with pytest.raises(
        RuntimeError, match=r"^environment 1 .* raised OSError: no reset left \(in its reset, scripted.py:\d+\) after "
    ):
        run(env)


def test_environments_that_cannot_be_reset_at_first_leave_no_process_behind() -> None:
    before = set(Path("/proc").glob("[0-9]*/task")) if Path("/proc").exists() else set()
    with pytest.raises(
        RuntimeError, match=r"^environment 1 \(Doomed-v0\) raised OSError: .* after 0 environment steps"
    ):
        Environment("Doomed-v0", {"how": "reset", "at": 0}, num_envs=2, vectorization="async").make(seed=0)
    mine = [
        p for p in Path("/proc").glob("[0-9]*/stat") if p.parent / "task" not in before and _parent(p) == os.getpid()
    ]
    assert mine == []


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


@pytest.mark.parametrize("who", [0, 1])
def test_a_killed_worker_is_named(who: int) -> None:
    env = Environment("Scripted-v0", num_envs=2, vectorization="async").make(seed=0)
    assert any("not be bit-exact: asynchronous" in note for note in env.notes())
    os.kill(env.vector.processes[who].pid, signal.SIGKILL)
    with pytest.raises(
        RuntimeError,
        match=rf"worker process of environment {who} \(exit code -9\) of Scripted-v0 has ended after 0 env",
    ):
        run(env, 3)
    assert ended(env)


def test_closing_never_waits_for_a_worker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.05)
    env = Environment("Scripted-v0", num_envs=3, vectorization="async").make(seed=0)
    stopped, killed, _ = (process.pid for process in env.vector.processes)
    os.kill(stopped, signal.SIGSTOP)
    os.kill(killed, signal.SIGKILL)
    env.close()
    assert ended(env)
    env.close()


def test_a_worker_that_does_not_answer_is_named_and_given_up() -> None:
    env = Environment("Scripted-v0", num_envs=2, vectorization="async", timeout=0.5).make(seed=0)
    env.step(np.zeros((2, env.action_dim), dtype=np.float32))
    os.kill(env.vector.processes[1].pid, signal.SIGSTOP)
    with pytest.raises(
        RuntimeError, match=r"no answer of environment 1 \(Scripted-v0\) within 0.5 s, after .*env.timeout"
    ):
        run(env, 3)
    assert ended(env)


def test_signals_to_the_whole_group_leave_the_workers_alive() -> None:
    """A terminal's Ctrl-C reaches them too; the run's own process still has a step to finish."""
    env = Environment("Scripted-v0", num_envs=2, vectorization="async").make(seed=0)
    for process in env.vector.processes:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            os.kill(process.pid, number)
    assert len(run(env, 5)) == 5 and ended(env)
    # They closed their environments and left by themselves.
    assert [process.exitcode for process in env.vector.processes] == [0, 0]


def test_training_with_workers_is_training_without() -> None:
    words = (*TASKS["ddpg"], "env.num_envs=3", "compile=false")
    tasks = [builder(*words, f"env.vectorization={kind}")() for kind in KINDS]
    for task in tasks:
        assert isinstance(task, Trainer)
        while task.steps_done < 80:
            task.advance()
        assert task.critic.steps > 10
    one, two = ({k: v for k, v in task.state_dict().items() if k != "environments"} for task in tasks)
    assert differences(one, two) == []
    for task in tasks:
        task.close()


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("raise", "sync", "raised ZeroDivisionError: scripted failure"),
        ("locked", "async", "raised Locked: scripted lock"),
        ("kill", "async", "the worker process of environment 1 (exit code -9) of Doomed-v0 has ended"),
        ("nan_reward", "async", "reward of environment 1 (Doomed-v0) is nan"),
    ],
)
def test_a_run_that_ends_so_keeps_its_last_checkpoint(how: str, kind: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    ended = rlgan(
        *TASKS["ddpg"], "env.id=Doomed-v0", f"env.kwargs={{how:{how},at:45,odd:true}}", "env.num_envs=2",
        f"env.vectorization={kind}", "compile=false", "checkpoint_every=40", f"run_dir={path}",
    )  # fmt: skip
    assert ended.code == 1 and said in ended.err
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "failed" and said in json.dumps(status)
    kept = Checkpoints(path / "checkpoints").choose("last")
    # What comes from outside leaves the last whole step to be saved; what diverges does not.
    steps = 80 if "nan" in how else int(ended.err.partition(" environment steps")[0].rpartition(" ")[2])
    assert kept.manifest.step == steps >= 80 and len(kept.state["task"]["replay"]["rows"]) == steps


def test_the_doomed_environment_fails_only_where_it_should() -> None:
    # Otherwise the tests above would not be of environment 1.
    even = scripted.Doomed("raise")
    even.reset(seed=0)
    for _ in range(10):
        even.step(np.zeros(1))
