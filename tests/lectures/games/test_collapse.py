"""The lecture on mode collapse, shrunken."""

from pathlib import Path

import pytest

from tests.lectures.shrunken import summary


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = (
        "steps=20",
        "eval_every=10",
        "seeds=2",
        "critic.network.hidden=[16,16]",
        "generator.network.hidden=[16,16]",
    )
    numbers = summary("18_mode_collapse", tmp_path / "run", *words)["numbers"]
    for name in ("outrun", "outrun_penalty", "even", "even_penalty"):
        assert 0 <= numbers[f"least_{name}"] <= numbers[f"modes_{name}"] <= numbers[f"most_{name}"] <= 8
        assert numbers[f"w1_{name}"] > 0.05
