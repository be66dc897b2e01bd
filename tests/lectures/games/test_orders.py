"""Orders of play: the figure's numbers against loops of a few lines."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.lectures.shrunken import summary

H, STEPS = 0.2, 12


def radii(order: str, bound: float) -> list[float]:
    """|(theta, psi)| after every step of max_theta min_psi psi theta from (1, 1); critic first, and clipped."""
    theta, psi, found = 1.0, 1.0, [math.sqrt(2)]
    for _ in range(STEPS):
        new = max(-bound, min(bound, psi - H * theta))
        theta += H * (new if order == "alternating" else psi)
        psi = new
        found.append(math.hypot(theta, psi))
    return found


@pytest.mark.slow
def test_distances_are_those_of_the_game(tmp_path: Path) -> None:
    found = summary("19_orders_of_play", tmp_path / "run", f"steps={STEPS}", "compare.figure.window=5")
    numbers = found["numbers"]
    for name in ("simultaneous", "alternating"):
        expected = radii(name, 1.0)[-5:]
        assert numbers[f"distance_{name}"] == pytest.approx(max(expected), rel=1e-5)
        assert numbers[f"nearest_{name}"] == pytest.approx(min(expected), rel=1e-5)
    assert numbers["growth"] == pytest.approx(math.sqrt(1 + H**2), rel=1e-6)
    assert found["rules"]["without clipping the distance grows by sqrt(1 + h^2) a step"]["holds"]
