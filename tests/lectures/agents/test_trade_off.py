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

    assert play([1.0] * 30) == pytest.approx(best_return(30), abs=1e-5)
    assert best_return(30) == pytest.approx(0.2 + 0.4 + 0.6 + 0.8 + 21)
    for at in (0, 9, 29):
        assert play([1.0] * at + [0.5] + [1.0] * (29 - at)) <= best_return(30)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    numbers = summary("23_trade_off", tmp_path / "run", "steps=90", "seeds=1", "eval_every=50")["numbers"]
    assert numbers["best"] == pytest.approx(best_return(30))
    assert all(0 <= numbers[f"found_{name}"] <= 1 for name in ("s0", "s16")) and numbers["kept_s0"] < numbers["best"]
