"""Every file of a run damaged in four ways: the run goes on exactly, or says which file is at fault."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.conftest import Server
from tests.runs.soak.common import CASES, Case, Report, lost


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :] if data else b"\x10"


WAYS: dict[str, Callable[[bytes], bytes | None]] = {
    "cut in half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a bit flipped": flipped,
    "deleted": lambda data: None,
}


def contents(run: Path) -> dict[str, bytes]:
    return {str(file.relative_to(run)): file.read_bytes() for file in run.rglob("*") if file.is_file()}


def unexpected(case: Case, run: Path, whole: Path, name: str, before: dict[str, bytes], end: tuple[int, str]) -> str:
    """What is wrong with how a command ended on a run with a damaged file; empty if nothing is."""
    code, printed = end
    if "Traceback" in printed:
        return f"traceback: {printed[-600:]}"
    if code == 0:
        differs = lost(case, run, whole)
        # What the file itself held is gone; then the command has a word on it.
        return f"other without a word: {differs}" if differs and Path(name).name not in printed else ""
    lines = [line for line in printed.splitlines() if line.startswith("rlgan: ")]
    if code not in (1, 2) or not lines:
        return f"exit code {code}: {printed[-600:]}"
    if Path(name).name.partition(".")[0] not in lines[-1] and str(run) not in lines[-1]:
        return f"does not name the file: {lines[-1]}"
    after = contents(run)
    gone = [file for file, data in before.items() if after.get(file) != data and not file.endswith("lock")]
    return f"refused, and changed {gone}" if gone else ""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["wgan", "ddpg, 3 seeds", "ddpg, large replay"])
def test_a_damaged_file_is_named_or_does_not_matter(
    name: str, way: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Report
) -> None:
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    at = {"wgan": 130, "ddpg, 3 seeds": 500, "ddpg, large replay": 34100}[name]
    code, printed = server(*case.words, "run_dir=whole", copy=at)
    assert code == 0, printed
    whole, sound, run = Path("whole"), Path("killed"), Path("damaged")
    found: Counter[str] = Counter()
    wrong = []
    for file in sorted(contents(sound)):
        for words in ([f"resume={run}", "progress=false"], ["evaluate", str(run), "checkpoint=last"]):
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(sound, run)
            data = WAYS[way]((run / file).read_bytes())
            if data is None:
                (run / file).unlink()
            else:
                (run / file).write_bytes(data)
            before = contents(run)
            end = server(*words)
            if words[0] == "evaluate" and end[0] == 0:
                after = contents(run)
                changed = [key for key, value in before.items() if after.get(key) != value]
                fault = f"evaluate changed {changed}" if changed else ""
            else:
                fault = unexpected(case, run, whole, file, before, end)
            found["refused" if end[0] else "went on"] += 1
            if fault:
                wrong.append(f"{file} {way}, {words[0]}: {fault}")
    trials = sum(found.values())
    said = f"{found['went on']} went on, {found['refused']} refused by name"
    record_property("soak", json.dumps([f"file {way}", name, trials, said, len(wrong)]))
    assert wrong == []


def test_the_comparison_sees_a_difference(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials above would pass if `lost` saw nothing: another seed is another run."""
    monkeypatch.chdir(tmp_path)
    case = CASES["wgan"]
    for folder, seed in (("whole", 3), ("other", 4)):
        code, printed = server(*case.words, f"seed={seed}", f"run_dir={folder}")
        assert code == 0, printed
    assert lost(case, Path("whole"), Path("whole")) == []
    assert len(lost(case, Path("other"), Path("whole"))) > 2
