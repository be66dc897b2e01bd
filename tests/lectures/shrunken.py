"""A lecture's comparison, made short by a few words, in this process."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rlgan.runs.record.files import read_json
from tests.small import rlgan

ROOT = Path(__file__).parents[2]


def summary(name: str, run: Path, *words: str) -> dict[str, Any]:
    """`rlgan experiment=lecture/NAME` with further words, which must finish with a figure; its summary.json."""
    ended = rlgan(f"experiment=lecture/{name}", f"run_dir={run}", "progress=false", "tensorboard=false", *words)
    assert ended.code == 0, ended.err
    assert (run / "figure.png").stat().st_size > 10_000
    found: dict[str, Any] = read_json(run / "summary.json")
    return found


def without(name: str, kept: Collection[str]) -> list[str]:
    """Words that leave out the variants of lecture NAME which are not to be kept."""
    text = (ROOT / "conf" / "experiment" / "lecture" / f"{name}.yaml").read_text()
    variants = OmegaConf.create(text).compare.variants
    return [f"~compare.variants.{variant}" for variant in variants if variant not in kept]
