"""The lecture on memorisation, shrunken."""

from pathlib import Path

import pytest

from tests.lectures.shrunken import summary


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = ("steps=10", "eval_every=5", "seeds=1", "critic.network.hidden=[16]", "generator.network.hidden=[16]")
    numbers = summary("21_memorisation", tmp_path / "run", *words)["numbers"]
    assert (numbers["images_few"], numbers["images_many"]) == (45, 1438)
    # After ten steps nothing is copied: samples are further from the training images than unseen images are.
    assert min(numbers["ratio_few"], numbers["ratio_many"]) > 1
