"""The lecture on critical points: how noise grows across a ridge, and the comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.lectures.landscapes.saddles import spread
from tests.lectures.shrunken import summary


def test_the_spread_is_that_of_many_walks() -> None:
    generator = np.random.default_rng(0)
    y = np.zeros(20_000)
    for _ in range(60):
        y = 1.02 * y + 0.007 * generator.standard_normal(len(y))
    assert np.sqrt((y**2).mean()) == pytest.approx(float(spread(0.007, 1.02, np.array(60))), rel=0.02)
    steps = np.array([400, 401])
    assert spread(0.01, 1.02, steps)[1] / spread(0.01, 1.02, steps)[0] == pytest.approx(1.02, abs=1e-6)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    found = summary("02_critical_points", tmp_path / "run", "steps=150", "seeds=3", "seed=0")
    numbers = found["numbers"]
    assert numbers["minmax_strict"] == numbers["monkey_inconclusive"] == 1
    assert numbers["still_descent"] == numbers["still_blind"] == numbers["still_monkey"] == 0
    assert numbers["left_langevin"] == 1 and numbers["monkey_creep"] == pytest.approx(1, abs=0.05)
    assert numbers["growth_theory_perturbed"] == pytest.approx(1.02, abs=0.002)
    assert abs(numbers["growth_perturbed"] - 1.02) < 0.01
