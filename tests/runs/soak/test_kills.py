"""Fifty kills (SIGKILL) at random, by the clock or before a random file operation: what is resumed is the whole run."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs.soak.common import CASES, SEED, Case, Report, command, lost

KILLS = 10

# Counts what the process does to files of the run, and dies before one of these.
COUNTS = """
import os, signal, sys
at, total, run = int(sys.argv.pop(1)), 0, os.path.realpath(sys.argv.pop(1))
def note(event, arguments):
    global total
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if not (writes or event in ("os.rename", "os.remove", "os.mkdir", "os.truncate")):
        return
    if not str(arguments[0]).startswith(run):
        return
    total += 1
    if total == at:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(note)
if not at:
    import atexit
    atexit.register(lambda: print("operations:", total))
"""


def killed_by_the_clock(words: list[str], seconds: float) -> bool:
    """Start a command and kill it so many seconds later; False if it had ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rlgan", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


@pytest.mark.parametrize("name", CASES)
def test_whatever_the_moment_nothing_is_lost(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Report
) -> None:
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    draw = random.Random(f"{SEED} {name}")
    whole, run = Path("whole"), Path("killed")
    began = time.monotonic()
    code, printed = command("0", "whole", *case.words, f"run_dir={whole}", before=COUNTS)
    assert code == 0, printed
    seconds, operations = time.monotonic() - began, int(re.findall(r"operations: (\d+)", printed)[0])
    kills, before_any, losses = 0, 0, []
    while kills < KILLS:
        shutil.rmtree(run, ignore_errors=True)
        for _ in range(min(draw.randint(1, 4), KILLS - kills)):
            words = goes_on(case, run, draw)
            if draw.random() < 0.5:
                dead = killed_by_the_clock(words, draw.uniform(0.3, 1.0) * seconds)
            else:
                at = str(draw.randint(1, operations))
                dead = command(at, str(run), *words, before=COUNTS)[0] == -signal.SIGKILL
            kills += dead
            before_any += dead and not any(run.rglob("step_*.json"))
        code, printed = command(*goes_on(case, run, draw))
        assert code == 0, printed
        losses += [f"after {kills} kills: {line}" for line in lost(case, run, whole)]
        if "Traceback" in printed:
            losses.append(printed)
    record_property("soak", json.dumps(["kill -9", name, kills, f"{before_any} before a checkpoint", len(losses)]))
    assert losses == []


def goes_on(case: Case, run: Path, draw: random.Random) -> list[str]:
    """The command that goes on: `resume=`, or the first one again, as a cluster does."""
    if (run / "config.yaml").exists() and draw.random() < 0.5:
        return [f"resume={run}", "progress=false"]
    return [*case.words, f"run_dir={run}"]
