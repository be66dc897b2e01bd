"""Make golden runs of the present format: `python -m tests.runs.record.golden.make [NAME ...]` in the root.

They are kept for ever, so that every later version shows that it goes on with what this one wrote.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rlgan.runs.cli import main
from rlgan.runs.record import checkpoint, segments

COMMON = (
    "seed=3", "device=cpu", "progress=false", "logger=[]", "compile=false", "log_every=2", "eval_every=0",
    "checkpoint_every=4", "steps=8", "keep_last=1", "batch_size=4",
)  # fmt: skip
CRITIC = "critic.network.hidden=[4]"
RUNS = {
    "wgan": ("experiment=gan/ring_clip", CRITIC, "generator.network.hidden=[4]"),
    "ddpg": (
        *("experiment=rl/plain", CRITIC, "actor.network.hidden=[4]"),
        *("learning_starts=4", "capacity=20", "eval_episodes=1"),
    ),
    "erm": ("task=erm", "network=mlp_64", "network.hidden=[4]", "problem=two_moons"),
}


def make(folder: Path, runs: Sequence[str] = tuple(RUNS)) -> None:
    """Make the runs below a folder, without what tells of the machine or is large."""
    for name in runs:
        try:
            main([*RUNS[name], *COMMON, f"run_dir={folder / name}"])
        except SystemExit as end:
            assert end.code == 0
        run = folder / name
        (run / "lock").unlink()
        shutil.rmtree(run / "pictures", ignore_errors=True)
        status = json.loads((run / "status.json").read_text())
        (run / "status.json").write_text(json.dumps({**status, "host": "golden", "pid": 1}, indent=2) + "\n")


if __name__ == "__main__":
    segments.SMALLEST = 1  # so that the replay's rows stand in a file of their own
    make(Path("tests/runs/record/golden") / f"format_{getattr(checkpoint, 'FORMAT', 1)}", sys.argv[1:] or tuple(RUNS))
