"""Learning rates for each feature: the invariance of diagonal AdaGrad by hand, and the comparisons, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.erm import ERM
from tests.lectures.shrunken import summary


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERM, "pictures", lambda self: {})


def adagrad(curvature: float, lr: float, steps: int) -> list[float]:
    theta, total, found = 1.0, 0.0, []
    for _ in range(steps):
        g = curvature * theta
        total += g * g
        theta -= lr * g / np.sqrt(total)
        found.append(theta)
    return found


def test_of_a_separable_quadratic_the_curvature_cancels() -> None:
    assert adagrad(0.002, 0.8, 30) == pytest.approx(adagrad(2.0, 0.8, 30), rel=1e-12)


@pytest.mark.slow
def test_scales_shrunken(tmp_path: Path) -> None:
    numbers = summary("05_scales", tmp_path / "run", "steps=30")["numbers"]
    assert numbers["same"] < 1e-6 and numbers["round_sgd"] < 1e-12
    assert numbers["axes_adagrad"] < numbers["axes_sgd"] and numbers["rotated_full"] < numbers["rotated_adagrad"]
    assert len(numbers) == 3 * 6 + 1


@pytest.mark.slow
def test_frequency_shrunken(tmp_path: Path) -> None:
    numbers = summary("05_frequency", tmp_path / "run", "steps=60", "seeds=null")["numbers"]
    assert numbers["rare_adagrad"] < numbers["rare_sgd"] < 1 and len(numbers) == 6


@pytest.mark.slow
def test_steep_then_flat_shrunken(tmp_path: Path) -> None:
    numbers = summary("05_steep_then_flat", tmp_path / "run", "steps=40", "problem.steep=100")["numbers"]
    assert numbers["rise_adagrad"] <= 0 and numbers["held"] == pytest.approx(1)
    assert numbers["rmsprop"] < numbers["adagrad"] and numbers["rise_rmsprop"] >= 1
