"""What the trials share: small runs of every kind, and commands in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.small import TASKS, checkpoint, differences, metrics, status, summary

#: Draws the moments; another one is another trial.
SEED = int(os.environ.get("RLGAN_SOAK_SEED", "0"))

Report = Callable[[str, object], None]


class Case(NamedTuple):
    """A run that is to be disturbed.

    Args:
        words: of its command.
        seeds: of a group; none of a single run.
    """

    words: tuple[str, ...]
    seeds: tuple[int, ...] = ()

    @property
    def folders(self) -> list[str]:
        """Where its runs are, below its own folder."""
        return [f"seed={seed}" for seed in self.seeds] or [""]


OFTEN = ("compile=false", "seed=3", "tensorboard=true")
WGAN = (*TASKS["wgan"], *OFTEN, "steps=240", "eval_every=60", "checkpoint_every=30")
DDPG = (*TASKS["ddpg"], *OFTEN, "steps=900", "eval_every=200", "checkpoint_every=90", "log_every=30")
CASES: dict[str, Case] = {
    "wgan": Case((*WGAN, "averaging@generator.averaging=several")),
    "wgan, 3 seeds": Case((*WGAN, "lipschitz=gradient_penalty", "seeds=3"), (3, 4, 5)),
    "ddpg": Case((*DDPG, "exploration=parameter")),
    "ddpg, 3 seeds": Case((*DDPG, "seeds=3"), (3, 4, 5)),
    # Rows of more than 1 MiB stand in segments, and the oldest of these are overwritten.
    "ddpg, large replay": Case(
        (*DDPG, "steps=34500", "learning_starts=34000", "capacity=32000", "checkpoint_every=1500", "eval_every=12000",
         "log_every=1000")
    ),
}  # fmt: skip


def command(*words: str, before: str = "") -> tuple[int, str]:
    """`rlgan ...` in a new process: exit code (less than 0: a signal) and what was printed.

    `before` is Python that the process runs first.
    """
    script = f"{before}\nfrom rlgan.runs.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


def lost(case: Case, run: Path, whole: Path) -> list[str]:
    """How a run that was disturbed differs from the one that was not: figures, end, and any bit of the state."""
    found = []
    for folder in case.folders:
        mine, other = run / folder, whole / folder
        try:
            same = metrics(mine) == metrics(other)
        except ValueError:  # the half of a line that was there before
            same = False
        if not same:
            found.append(f"{folder}/metrics.jsonl differs")
        if summary(mine) != summary(other):
            found.append(f"{folder}/summary.json differs")
        if status(mine)["state"] != "finished":
            found.append(f"{folder}/status.json says {status(mine)['state']}")
        last = summary(other)["step"]
        found += [f"{folder}: {line}" for line in differences(checkpoint(mine, last), checkpoint(other, last))[:3]]
    return found
