"""The lecture on universal approximation: best polynomials by theory, and the figure of a few short runs."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.lectures import universal_approximation
from rlgan.lectures.networks.approximation import best_kinks, best_polynomial
from rlgan.runs.compare import Ran
from tests.small import train


@pytest.mark.parametrize("degree", [1, 2])
def test_the_best_polynomial_below_the_cubic_is_chebyshevs(degree: int) -> None:
    # t^3 - T_3(t) / 4 is of degree 1, and no polynomial of degree 2 comes nearer to t^3 than 1/4 (Chebyshev).
    x = np.linspace(0, 1, 401)
    values, error = best_polynomial(x, (2 * x - 1) ** 3, degree)
    assert error == pytest.approx(0.25, abs=1e-4)
    assert np.allclose(values, 0.75 * (2 * x - 1), atol=1e-3)


def test_the_best_line_of_a_convex_function_is_half_a_chord_above_it() -> None:
    x = np.linspace(0, 1, 1001)
    assert best_polynomial(x, x**2, 1)[1] == pytest.approx(1 / 8, abs=1e-6)


def test_kinks_bring_as_much_as_knots_that_are_spread_by_curvature() -> None:
    # Lines between points of g, at knots with equal shares of the integral of sqrt|g''|, err twice as much (looked at
    # away from 0, 1/2 and 1, where g'' is 0 and changes much within a piece).
    x = np.linspace(0, 1, 200_001)
    share = np.cumsum(np.sqrt(np.abs(np.sin(2 * np.pi * x))))
    for kinks in (40, 80):
        knots = np.interp(np.linspace(0, share[-1], kinks + 2), share, x)
        off = np.abs(np.interp(x, knots, np.sin(2 * np.pi * knots)) - np.sin(2 * np.pi * x))
        error = off[(x > 0.1) & (x < 0.4)].max()
        assert error == pytest.approx(2 * best_kinks(kinks), rel=0.06)


@pytest.mark.slow
def test_the_figure_of_short_runs(tmp_path: Path) -> None:
    shared = ("experiment=lecture/26_universal_approximation", "compare=null", "progress=false", "tensorboard=false")
    runs = {}
    for name, words in {"relu": ("seeds=2", "steps=60"), "identity": ("seeds=null", "steps=40")}.items():
        own = (f"network.activation={name}", "network.hidden=[12]", *words, f"run_dir={tmp_path / name}")
        runs[name] = Ran(name, train(*shared, *own))
    drawn = universal_approximation(runs)
    numbers = drawn.numbers
    # The affine function of least squares, which is where the identity's network ends, errs most at the ends.
    assert numbers["error_identity_12"] == pytest.approx(0.9266, abs=2e-3)
    assert numbers["spread_identity"] == 0
    assert numbers["floor_identity"] < numbers["error_identity_12"]
    assert numbers["error_relu_12"] < numbers["error_identity_12"]
    assert len(drawn.figure.axes) == 3
