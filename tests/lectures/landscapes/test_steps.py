"""The lecture on constant and vanishing steps: closed forms against walks, and the comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.lectures.landscapes.steps import CURVATURES, constant_floor, vanishing_constant
from tests.lectures.shrunken import summary


def test_where_constant_and_vanishing_steps_end_is_what_the_variances_recursion_says() -> None:
    constant, vanishing = np.ones(2), np.ones(2)
    for k in range(1, 40_001):
        constant = (1 - 0.1 * CURVATURES) ** 2 * constant + (0.1 * 0.5) ** 2
        lr = 2 / (20 + k)
        vanishing = (1 - lr * CURVATURES) ** 2 * vanishing + (lr * 0.5) ** 2
    assert (CURVATURES * constant).sum() / 2 == pytest.approx(constant_floor(0.1, 0.5), rel=1e-12)
    assert 40_020 * (CURVATURES * vanishing).sum() / 2 == pytest.approx(vanishing_constant(2.0, 0.5), rel=1e-3)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    found = summary("03_steps", tmp_path / "run", "steps=400", "seeds=4", "seed=0")
    numbers = found["numbers"]
    assert numbers["excess_gradient"] < 1e-12 and numbers["step_ratio"] == pytest.approx(4)
    assert numbers["worst"] < 0.6 and 2 < numbers["floor_ratio"] < 8
    assert -1.6 < numbers["rate"] < -0.5
