"""Small runs of every task that the tests of this folder load, trained once a process."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from tests.small import ERM, TASKS, train

WORDS = {"wgan": TASKS["wgan"], "ddpg": (*TASKS["ddpg"], "normalise_obs=true"), "erm": (*ERM, "draw=false")}
SHORT = {
    "wgan": ("steps=4", "checkpoint_every=2"),
    "ddpg": ("steps=70", "env.max_episode_steps=20", "log_every=20"),
    "erm": ("steps=4",),
}


@cache
def small_run(task: str, *more: str) -> Path:
    """A run of a task."""
    folder = Path(tempfile.mkdtemp(prefix=f"face-{task}-"))
    return train(*WORDS[task], *SHORT[task], "seed=1", *more, f"run_dir={folder / task}")
