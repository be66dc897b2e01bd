"""Both tasks, killed and resumed in new processes, are the run that was not: every metric, every bit of the state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.runs.conftest import Server
from tests.small import COMPILED, QUIET, TASKS, checkpoint, differences, metrics, status, summary


class Case(NamedTuple):
    """A run that is killed at a step, and goes on from the checkpoint of the step before."""

    saved: int
    killed: int
    words: tuple[str, ...]
    seeds: tuple[int, ...] = ()


WGAN = (*TASKS["wgan"], "seed=3", "checkpoint_every=20")
DDPG = (*TASKS["ddpg"], "seed=3", "log_every=20")
#: An episode of Pendulum has 200 steps: this checkpoint stands exactly between two of them.
PENDULUM = (*DDPG, "checkpoint_every=200", "learning_starts=100", "steps=260")
NOISY = (*DDPG, "compile=false", "learning_starts=40")
#: The lander falls for longer than this: the checkpoint is in the middle of the first episode.
LUNAR = (
    *NOISY, "env=lunar_lander", "learning_starts=20", "batch_size=16",
    "checkpoint_every=40", "steps=70",
)  # fmt: skip
#: What some of the environments need.
NEEDS = {"Hopper": "mujoco", "LunarLander": "Box2D"}

CASES: dict[str, Case] = {
    "wgan": Case(40, 47, (*WGAN, "steps=60", "eval_every=25", "averaging@critic.averaging=ema")),
    "wgan, gradient penalty by Adam": Case(
        20,
        33,
        (
            *WGAN,
            "lipschitz=gradient_penalty",
            "optimizer@critic.optimizer=adam",
            "schedule@generator.schedule=linear",
            "noise@generator.noise=gaussian",
        ),
    ),
    "wgan, digits with batch norm": Case(
        20,
        26,
        (
            "task=wgan",
            *QUIET,
            "data=digits",
            "steps=30",
            "batch_size=32",
            "network@critic.network=mlp_64",
            "network@generator.network=dcgan",
            "generator.network.width=4",
            "generator.network.norm=batch",
            "game.k=1",
            "checkpoint_every=10",
        ),
    ),
    "wgan, compiled": Case(20, 33, (*WGAN, "compile=true", *COMPILED["wgan"])),
    "ddpg, in mid-episode": Case(
        140, 175, (*DDPG, "checkpoint_every=70", "learning_starts=100", "eval_every=100", "steps=230")
    ),
    "ddpg, in the warm-up": Case(60, 95, (*DDPG, "checkpoint_every=60", "learning_starts=100", "steps=130")),
    "ddpg, at an episode's end, by a drifting noise": Case(200, 230, (*PENDULUM, "exploration=ornstein_uhlenbeck")),
    "ddpg, at an episode's end, k=3": Case(200, 230, (*PENDULUM, "game.k=3")),
    "ddpg, at an episode's end, simultaneous": Case(200, 230, (*PENDULUM, "game=simultaneous", "updates_per_step=0.7")),
    "ddpg, compiled": Case(200, 230, (*PENDULUM, "compile=true", *COMPILED["ddpg"])),
    "ddpg, Hopper by parameter noise": Case(
        181,  # one of the two restarted at a step that counted one transition
        251,
        (
            *DDPG,
            "env=hopper",
            "env.num_envs=2",
            "exploration=parameter",
            "exploration.adapt_every=7",
            "actor.network.norm=layer",
            "checkpoint_every=90",
            "steps=300",
        ),
    ),
    "wgan, many seeds": Case(40, 47, (*WGAN, "lipschitz=gradient_penalty", "steps=60", "seeds=[3,5]"), (3, 5)),
    "td3, in mid-episode by parameter noise": Case(
        140, 160, (*NOISY, "agent=td3", "exploration=parameter", "checkpoint_every=70", "steps=180", "n_step=3")
    ),
    "td3, Hopper by both noises, prioritised": Case(
        90,
        101,
        (
            *NOISY,
            "agent=td3",
            "env=hopper",
            "exploration=mixed",
            "exploration.parameter.adapt_every=7",
            "replay=prioritised",
            "checkpoint_every=45",
            "steps=120",
        ),
    ),
    "ddpg, LunarLander by parameter noise, prioritised": Case(
        40, 51, (*LUNAR, "exploration=parameter", "exploration.adapt_every=7", "replay=prioritised")
    ),
    "td3, LunarLander by both noises": Case(
        40, 51, (*LUNAR, "agent=td3", "exploration=mixed", "exploration.parameter.adapt_every=7", "n_step=3")
    ),
    "ddpg, many seeds by parameter noise": Case(
        140, 175, (*DDPG, "exploration=parameter", "checkpoint_every=70", "steps=230", "seeds=3"), (3, 4, 5)
    ),
}

#: These are killed indeed, and go on in a fresh interpreter with other hash seeds and addresses.
FRESH = ("wgan", "ddpg, in mid-episode")
#: What others of the cases have as well: a compiled graph, stacked seeds, an episode's middle, prioritised replay.
SLOW = (
    "wgan, compiled",
    "wgan, many seeds",
    "td3, in mid-episode by parameter noise",
    "td3, LunarLander by both noises",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in CASES]
)
def test_killed_and_resumed_in_new_processes_is_the_run_that_was_not(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    for environment, package in NEEDS.items():
        if environment in name:
            pytest.importorskip(package, reason=f"{environment} comes with the extra [{package.lower()}]")
    monkeypatch.chdir(tmp_path)
    if name in FRESH:
        code, printed = server(*case.words, "run_dir=killed", kill=case.killed)
        assert code == -signal.SIGKILL, printed
        code, printed = server(*case.words, "run_dir=whole")
    else:
        code, printed = server(*case.words, "run_dir=whole", copy=case.killed)
    assert code == 0, printed
    folders = [f"seed={seed}" for seed in case.seeds] or [""]
    for folder in folders:
        killed = Path("killed") / folder
        assert status(killed)["state"] == "running" and not (killed / "summary.json").exists()

    if name in FRESH:
        fresh = subprocess.run(
            [sys.executable, "-m", "rlgan", "resume=killed"], env=dict(os.environ), capture_output=True, text=True
        )
        code, printed = fresh.returncode, fresh.stderr
    else:
        code, printed = server("resume=killed")
    assert code == 0, printed
    assert f"resuming at step {case.saved}\n" in printed and "bit-exact" not in printed

    for folder in folders:
        whole, killed = Path("whole") / folder, Path("killed") / folder
        assert metrics(killed) == metrics(whole)
        assert summary(killed) == summary(whole)
        last = summary(whole)["step"]
        assert differences(checkpoint(killed, last), checkpoint(whole, last)) == []
        assert status(killed)["state"] == "finished"
