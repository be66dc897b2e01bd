"""The lecture on exploration where the reward is far away, shrunken."""

from pathlib import Path

import pytest

from tests.lectures.shrunken import summary


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = ("steps=800", "seeds=1", "eval_every=400", "eval_episodes=1", "env.max_episode_steps=100")
    numbers = summary("22_exploration", tmp_path / "run", *words, "compare.figure.goal=-1e9")["numbers"]
    # Whatever is rewarded is above such a goal; the car starts at -0.5 and is seen wherever it was.
    assert numbers["found_none"] == numbers["found_parameter"] == 1
    assert -0.6 < numbers["reached_none"] < 0.6 and numbers["solved_none"] == 0
