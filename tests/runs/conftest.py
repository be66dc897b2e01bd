"""An outside package in a folder of its own, and its command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlgan.runs.cli import main

OUTSIDE = Path(__file__).parent / "outside"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A researcher's own folder: quadratic.py and conf/, and we stand in it."""
    folder = tmp_path / "mine"
    shutil.copytree(OUTSIDE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    yield folder
    sys.modules.pop("quadratic", None)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rlgan(outside: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """`rlgan ...` in this process; gives (exit code, standard output, standard error)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    return command


@pytest.fixture
def process(outside: Path) -> Command:
    """`python -m rlgan ...` in a process of its own."""

    def command(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "rlgan", *arguments],
            cwd=outside,
            env=dict(os.environ),
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return command


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without its timing keys."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{tag: value for tag, value in line.items() if not tag.startswith("time/")} for line in lines]


@pytest.fixture
def metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """`read_metrics`."""
    return read_metrics
