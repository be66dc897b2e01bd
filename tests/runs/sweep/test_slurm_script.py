"""The script for SLURM that the README has: a run that a signal ends is requeued, any other end is the job's own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "rlgan/runs/sweep/README.md"


@pytest.mark.parametrize(("code", "requeued"), [(0, ""), (1, ""), (2, ""), (138, "requeue 77"), (143, "requeue 77")])
def test_only_what_a_signal_ends_is_requeued(tmp_path: Path, code: int, requeued: str) -> None:
    (script,) = re.findall(r"```text\n(#!/bin/bash\n.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "run.sbatch").write_text(script)
    for name, does in (("srun", f'echo "$@" > asked; exit {code}'), ("scontrol", 'echo "$@" > requeued')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "77"}
    ended = subprocess.run(["bash", "run.sbatch", "task=ddpg", "name=a b"], cwd=tmp_path, env=environment)
    assert ended.returncode == code and (tmp_path / "asked").read_text() == "rlgan task=ddpg name=a b\n"
    told = tmp_path / "requeued"
    assert (told.read_text().strip() if told.exists() else "") == requeued
    assert {line.split()[1].split("=")[0] for line in script.splitlines() if line.startswith("#SBATCH")} >= {
        "--requeue",
        "--signal",
    }
