"""The lecture on the loss surface: the law of descent by a loop of its own, and the comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.erm import Product
from rlgan.lectures.landscapes.loss_surface import _from_flow, _from_law, _of_the_surface
from tests.lectures.shrunken import summary


def descent(start: tuple[float, float], lr: float, steps: int) -> np.ndarray:
    path = [np.array(start)]
    for _ in range(steps):
        w1, w2 = path[-1]
        path.append(path[-1] + 2 * lr * (1 - w1 * w2) * np.array([w2, w1]))
    return np.stack(path)


def test_descent_obeys_its_law_exactly_and_the_flows_only_nearly() -> None:
    path = descent((2.2, -1.0), 0.02, 500)
    assert _from_law(path, Product(), 0.02) < 1e-9 < 1e-3 < _from_flow(path) < 0.1
    assert _from_law(path, Product(), 0.01) > 1e-3  # that is the law of another step
    ridge = descent((1.9, -1.9), 0.02, 500)
    assert _from_flow(ridge) < 1e-6 < float(np.linalg.norm(ridge[100]))


def test_one_chord_runs_below_the_surface_and_one_above() -> None:
    found = _of_the_surface(Product())
    assert found == pytest.approx(
        {"smallest": -2, "largest": 2, "middle": 1, "chord_below": 0, "chord_above": 4}, abs=1e-12
    )


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    found = summary("01_loss_surface", tmp_path / "run", "steps=60", "problem.start=[2.0,-0.8]")
    # The user's start is every variant's: no ridge, one way, and twice the distance of the half step's at most.
    numbers = found["numbers"]
    assert numbers["sides"] == 1 and numbers["risk_worst"] < 1e-2
    assert not found["rules"]["from the ridge it ends in the saddle"]["holds"]
