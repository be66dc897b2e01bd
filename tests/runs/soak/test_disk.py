"""A disk that is full at some moment of a run: the run says so, and goes on to the same end when there is room."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.soak.common import CASES, SEED, Report, command, lost

FILLS = 5

# In a file system of its own, which only these processes see: until it is full, and then with more room.
FILLED = """
mount -t tmpfs -o size=$1k tmpfs disk || exit 77
shift
{ "$@" run_dir=disk/run; } > printed 2>&1
echo $? > code
cp disk/run/status.json status.json 2> /dev/null
cp disk/run/seed=3/status.json status_of_seed.json 2> /dev/null
mount -o remount,size=200m disk
{ "$@" run_dir=disk/run; } > printed_later 2>&1
echo $? > code_later
cp -r disk/run run
"""


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk_ends_a_run_with_a_line_and_loses_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Report
) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a file system of one's own cannot be had here")
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    draw = random.Random(f"{SEED} {name}")
    code, printed = command(*case.words, "run_dir=whole")
    assert code == 0, printed
    needed = sum(file.stat().st_size for file in Path("whole").rglob("*") if file.is_file()) // 1024
    filled, losses = 0, []
    for _ in range(FILLS):
        for left in ("run", "disk"):
            shutil.rmtree(left, ignore_errors=True)
        for left in ("printed", "code", "status.json", "status_of_seed.json", "printed_later", "code_later"):
            Path(left).unlink(missing_ok=True)
        Path("disk").mkdir()
        kilobytes = draw.randint(16, max(needed, 32))
        words = [sys.executable, "-m", "rlgan", *case.words]
        subprocess.run(["unshare", "-rm", "sh", "-c", FILLED, "sh", str(kilobytes), *words], check=False, timeout=900)
        first, later = int(Path("code").read_text()), int(Path("code_later").read_text())
        printed = Path("printed").read_text(errors="replace")
        where = f"{kilobytes} of {needed} KiB"
        if first:
            filled += 1
            losses += [f"{where}: exit code {first}"] * (first not in (1, 2))
            states = [json.loads(Path(file).read_text())["state"] for file in ("status.json",) if Path(file).is_file()]
            losses += [f"{where}: status says {state}" for state in states if state in ("running", "finished")]
        if "Traceback" in printed:
            losses.append(f"{where}: {printed}")
        if later:
            losses.append(f"{where}, with more room: {Path('printed_later').read_text(errors='replace')}")
        else:
            losses += [f"{where}: {line}" for line in lost(case, Path("run"), Path("whole"))]
    record_property("soak", json.dumps(["full disk", name, filled, f"{FILLS - filled} with room enough", len(losses)]))
    assert losses == []
