"""The rates of momentum against eigenvalues of the step's matrix, and the comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.erm import ERM
from rlgan.lectures.descent.momentum import rates
from tests.lectures.shrunken import summary


def radius(kappa: float, lr: float, rho: float, nesterov: bool) -> float:
    """The largest modulus of an eigenvalue of one step on (theta, v), over the two curvatures 1/kappa and 1."""
    found = 0.0
    for curvature in (1 / kappa, 1.0):
        ahead = rho * (1 - lr * curvature) if nesterov else rho
        step = np.array([[1 - lr * curvature, ahead], [-lr * curvature, ahead]])
        found = max(found, float(np.abs(np.linalg.eigvals(step)).max()))
    return found


@pytest.mark.parametrize("kappa", [4.0, 100.0])
def test_rates_are_spectral_radii(kappa: float) -> None:
    q, root = rates(kappa), kappa**0.5
    assert q["descent"] == pytest.approx(radius(kappa, 2 / (1 + 1 / kappa), 0.0, False))
    # A double root is known to the square root of rounding only.
    heavy = radius(kappa, 4 / (1 + 1 / root) ** 2, q["heavy_ball"] ** 2, False)
    assert q["heavy_ball"] == pytest.approx(heavy, abs=1e-6)
    assert q["nesterov"] == pytest.approx(radius(kappa, 1.0, (root - 1) / (root + 1), True), abs=1e-6)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERM, "pictures", lambda self: {})
    numbers = summary("04_momentum", tmp_path / "run", "steps=60")["numbers"]
    assert numbers["rate_descent"] == pytest.approx(99 / 101, abs=1e-9)
    assert numbers["speed_slope_90"] == pytest.approx(0.1 * (1 - 0.9**60), rel=1e-9)
    assert numbers["worst_speed"] < 1e-9 < numbers["distance_heavy_ball"] < numbers["distance_descent"]
