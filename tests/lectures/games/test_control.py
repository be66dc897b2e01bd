"""The lecture on Lipschitz control, shrunken."""

from pathlib import Path

import pytest

from tests.lectures.shrunken import summary


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = (
        "steps=20",
        "eval_every=10",
        "seeds=1",
        "critic.network.hidden=[16,16]",
        "generator.network.hidden=[16,16]",
    )
    numbers = summary("20_lipschitz_control", tmp_path / "run", *words)["numbers"]
    # Orthonormal layers are 1-Lipschitz from the first step on, whatever they have learnt.
    assert 0 < numbers["flattest_construction"] <= numbers["steepest_construction"] < 1.001
    assert numbers["gap_construction"] < 1.05 and numbers["steepest_normalisation"] < 1.01
    # Eight times, if every weight stood at its bound; after a few steps some do.
    assert numbers["slope_clipping_wide"] > numbers["slope_clipping"] > 0
