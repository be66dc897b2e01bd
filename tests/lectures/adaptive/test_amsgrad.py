"""Adam's non-convergence: the regret by hand and by a loop, and the whole comparison."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.erm import RareLargeGradient
from rlgan.lectures.adaptive.amsgrad import average_regret
from tests.lectures.shrunken import summary


def test_the_regret_of_three_steps_by_hand() -> None:
    # f = 3 x, -x, -x; at 0.5, 0, -1 it is 1.5, 0, 1; the best point -1 has -3, 1, 1.
    points = np.array([0.5, 0.0, -1.0, 0.7])
    assert average_regret(RareLargeGradient(), points).tolist() == pytest.approx([4.5, 3.5 / 2, 3.5 / 3])


def test_who_stays_at_the_best_point_has_none_and_who_stays_at_the_worst_has_the_most() -> None:
    best, worst = (average_regret(RareLargeGradient(large=5.0), np.full(31, x)) for x in (-1.0, 1.0))
    assert np.abs(best).max() == 0 and worst[29] == pytest.approx(2 * (5 - 2) / 3)


@pytest.mark.slow
def test_the_comparison_is_what_a_loop_over_numbers_gives(tmp_path: Path) -> None:
    found = summary("06_amsgrad", tmp_path / "run", "steps=300")
    x = {"adam": 0.0, "amsgrad": 0.0}
    v, largest = 0.0, 1e-8
    for t in range(1, 301):
        g = 3.0 if t % 3 == 1 else -1.0
        v = 0.1 * v + 0.9 * g * g
        largest = max(largest, v)
        sizes = {"adam": (v / (1 - 0.1**t)) ** 0.5 + 1e-8, "amsgrad": largest**0.5}
        x = {name: min(1.0, max(-1.0, x[name] - 0.1 / t**0.5 * g / sizes[name])) for name in x}
    for name, end in x.items():
        assert found["numbers"][f"end_{name}"] == pytest.approx(end, abs=1e-9)
