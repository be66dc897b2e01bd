"""The lecture on plateaus, shrunken: descent goes where its basin says, momentum at rest stays."""

from pathlib import Path

import pytest

from tests.lectures.shrunken import summary


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    found = summary("28_plateaus", tmp_path / "run", "steps=250", "seeds=6", "seed=0")
    numbers = found["numbers"]
    assert numbers["share_descent"] == numbers["basins"] and numbers["freed_descent"] == numbers["moved"] == 0
    assert numbers["plateau_heavy_ball"] == 1
    assert numbers["share_perturbed"] > numbers["share_descent"]
    assert numbers["value_wall_ball"] < 1e-3 < numbers["value_wall_descent"]
