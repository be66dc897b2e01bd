"""Runs that earlier formats wrote (`golden/make.py`): they are evaluated, gone on with, and written in today's."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from rlgan.runs.record import checkpoint
from tests.runs.record.golden import make
from tests.small import metrics, rlgan, status

GOLDEN = Path(__file__).parent / "golden"
OF_EVALUATE = {"wgan": ["n=64"], "ddpg": ["episodes=1"], "erm": []}
RUNS = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("format_*/*"))


@pytest.mark.parametrize("name", RUNS)
def test_a_golden_run_is_evaluated_and_goes_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN / name, "run")
    number = int(name.partition("/")[0].removeprefix("format_"))
    manifest = json.loads(Path("run/checkpoints/step_000000008.json").read_text())
    assert manifest.get("format", 1) == number
    assert bool(list(Path("run/checkpoints").glob("*.bin"))) == name.endswith("ddpg")
    before = metrics(Path("run"))
    ended = rlgan("evaluate", "run", "checkpoint=last", *OF_EVALUATE[name.partition("/")[2]])
    assert ended.code == 0 and "step 8" in ended.err, ended.err
    ended = rlgan("resume=run", "steps=12", "progress=false")
    assert ended.code == 0 and "resuming at step 8\n" in ended.err and "passed over" not in ended.err, ended.err
    after = metrics(Path("run"))
    assert after[: len(before)] == before and after[-1]["step"] == 12 and status(Path("run"))["state"] == "finished"
    assert json.loads(Path("run/checkpoints/step_000000012.json").read_text())["format"] == checkpoint.FORMAT


def test_there_is_one_of_each_format_and_it_tells_of_no_machine() -> None:
    assert {name.partition("/")[0] for name in RUNS} == {f"format_{i + 1}" for i in range(checkpoint.FORMAT)}
    for file in GOLDEN.glob("*/*/*.*"):
        assert not re.search(r'[ "](/|[A-Z]:\\)\w', file.read_text()), file


def test_todays_code_writes_what_the_newest_golden_run_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and types: what differs is another format, and needs a number of its own."""
    monkeypatch.setattr("rlgan.runs.record.segments.SMALLEST", 1)
    make.make(tmp_path)
    for name in make.RUNS:
        here, there = (
            torch.load(folder / name / "checkpoints/step_000000008.pt", weights_only=True)
            for folder in (tmp_path, GOLDEN / f"format_{checkpoint.FORMAT}")
        )
        for state in (here, there):
            state["about"].pop("meta")  # remarks, of which any may be missing
            # Which figures there are is no format.
            for figures in (state.pop("latest"), state["about"].pop("metrics"), state["task"].pop("last", {"": 0.0})):
                assert figures and {type(value) for value in figures.values()} == {float}
        assert shape(here) == shape(there)


def shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return (str(value.dtype), tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
