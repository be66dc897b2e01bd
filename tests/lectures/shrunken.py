"""A lecture's comparison, made short by a few words, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlgan.runs.record.files import read_json
from tests.small import rlgan


def summary(name: str, run: Path, *words: str) -> dict[str, Any]:
    """`rlgan experiment=lecture/NAME` with further words, which must finish with a figure; its summary.json."""
    ended = rlgan(f"experiment=lecture/{name}", f"run_dir={run}", "progress=false", "tensorboard=false", *words)
    assert ended.code == 0, ended.err
    assert (run / "figure.png").stat().st_size > 10_000
    found: dict[str, Any] = read_json(run / "summary.json")
    return found
