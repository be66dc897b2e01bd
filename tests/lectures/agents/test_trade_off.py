"""The lecture on exploration against exploitation: the best return, and the comparison, shrunken."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from rlgan.lectures.agents.trade_off import best_return
from tests.lectures.shrunken import summary


def test_nobody_does_better_than_the_best_return() -> None:
    env = gymnasium.make("rlgan/SparseWalk-v0")

    def play(actions: list[float]) -> float:
        env.reset(seed=0)
        return sum(float(env.step(np.array([action], np.float32))[1]) for action in actions)

    straight = [1.0] * 7 + [0.5] + [0.0] * 22
    assert play(straight) == pytest.approx(best_return(30), abs=1e-5)
    for at in range(7, 12):
        for by in (-0.3, 0.3):
            other = list(straight)
            other[at] += by
            assert play(other) < best_return(30)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    few = "compare.variants={s0: [exploration=none], s08: [exploration.sigma=0.8]}"
    numbers = summary("23_trade_off", tmp_path / "run", "steps=150", "seeds=2", "eval_every=50", few)["numbers"]
    assert numbers["best"] == pytest.approx(best_return(30))
    assert 0 <= numbers["found_s0"] <= numbers["found_s08"] <= 1 and numbers["kept_s0"] < numbers["best"]
