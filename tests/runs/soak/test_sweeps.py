"""A sweep of 64 runs in parallel, some of which crash and whose command is killed, is whole after a second start."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs.conftest import OUTSIDE
from tests.runs.soak.common import Report
from tests.small import metrics, status

RUNS = 64
CRASHES = {3: "SIGKILL", 7: "error", 11: "_exit", 15: "SIGKILL"}
"""What befalls the runs of these seeds in the middle of their first start."""

CRASHING = """
import os, signal, time
from pathlib import Path
from quadratic import Quadratic

CRASHES = {crashes}

class Crashing(Quadratic):
    def advance(self):
        time.sleep(0.01)
        crash, mark = CRASHES.get(self.settings.seed), Path("crashed-%d" % self.settings.seed)
        if crash and self.steps_done == 30 and not mark.exists():
            mark.touch()
            if crash == "error":
                raise RuntimeError("a bug")
            os._exit(7) if crash == "_exit" else os.kill(os.getpid(), signal.SIGKILL)
        super().advance()
"""

WORDS = ("task=quadratic", "task._target_=crashing.Crashing", "trust=[crashing,quadratic]", "progress=false")


def finished(folder: Path) -> int:
    return sum(json.loads(file.read_text())["state"] == "finished" for file in folder.glob("*/status.json"))


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_a_sweep_that_is_killed_is_whole_after_a_second_start(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Report
) -> None:
    pytest.importorskip({"submitit_local": "submitit"}.get(launcher, launcher))
    folder, runs = tmp_path / "mine", RUNS if launcher == "joblib" else 8
    shutil.copytree(OUTSIDE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    Path("crashing.py").write_text(CRASHING.format(crashes=CRASHES))
    command = [sys.executable, "-m", "rlgan", "-m", *WORDS, f"seed=range(0,{runs})", "run_dir=sweep"]
    command.append(f"hydra/launcher={launcher}")
    sweep, began = Path("sweep"), time.monotonic()
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while first.poll() is None and len(list(Path().glob("crashed-*"))) < sum(seed < runs for seed in CRASHES):
        time.sleep(0.1)
    time.sleep(2)
    assert first.poll() is None, "it was too quick to be killed"
    first.kill()
    first.wait()
    before = finished(sweep)
    again = subprocess.run(command, capture_output=True, text=True)
    record_property(f"{launcher}: finished when the command was killed, of {runs}", before)
    record_property(f"{launcher}: seconds in all", round(time.monotonic() - began))
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1] == f"{runs} of {runs} runs finished" and before < runs == finished(sweep)
    assert len(list(sweep.rglob("*.html"))) == 1
    whole = subprocess.run([*command[:3], *WORDS, "seed=3", "run_dir=whole"], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    assert metrics(sweep / "seed=3") == metrics(Path("whole")) and status(sweep / "seed=3")["step"] == 60
