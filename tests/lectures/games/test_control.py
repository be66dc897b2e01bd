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
    construction = "[lipschitz=none, network@critic.network=orthogonal]"
    few = f"compare.variants={{clipping: [lipschitz=clip], construction: {construction}}}"
    numbers = summary("20_lipschitz_control", tmp_path / "run", *words, few)["numbers"]
    # Orthonormal layers are 1-Lipschitz from the first step on, whatever they have learnt.
    assert 0 < numbers["flattest_construction"] <= numbers["steepest_construction"] < 1.001
    assert numbers["gap_construction"] < 1.05 and numbers["slope_clipping"] != numbers["slope_construction"]
