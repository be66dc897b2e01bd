"""AcceleGrad beside Adam: the whole comparison, shrunken, against a loop over numbers."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.erm import ERM
from tests.lectures.shrunken import summary


def gap(steps: int) -> float:
    """f - f* of AcceleGrad's output on the smooth problem, by the paper's lines."""
    curvature = 1000.0 ** -np.linspace(1, 0, 20)
    y = z = np.full(20, 1 / np.sqrt(20))
    total, mean, weights = 0.0, np.zeros(20), 0.0
    for k in range(steps):
        a = max(1.0, (k + 1) / 4)
        x = z / a + (1 - 1 / a) * y
        g = curvature * x
        total += a * a * float(g @ g)
        eta = 2 * 2 / np.sqrt(1 + total)
        z = z - a * eta * g
        z = z / max(1.0, float(np.linalg.norm(z)))
        y = x - eta * g
        mean, weights = mean + a * y, weights + a
    mean = mean / weights
    return float(curvature @ mean**2 / 2)


def test_the_known_gaps() -> None:
    assert [gap(10), gap(100)] == pytest.approx([4.09e-4, 1.553e-6], rel=1e-3)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERM, "pictures", lambda self: {})
    found = summary("07_accelegrad", tmp_path / "run", "steps=50", "eval_every=10", "seeds=null")
    numbers = found["numbers"]
    assert numbers["smooth_10"] == pytest.approx(gap(10)) and numbers["smooth_accelegrad"] == pytest.approx(gap(50))
    assert numbers["descent_10"] == pytest.approx(3.22e-3, rel=1e-3)
    # The best of the grid on the training sample; both have begun to learn.
    assert max(numbers["train_adam"], numbers["train_accelegrad"]) < 1 and numbers["slope_kink"] < 0
