"""Functions to be approximated: their values, the points, and what a line and a polynomial make of them."""

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch

from rlgan.erm import Curve
from rlgan.erm.problems.curve import Target

FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "affine": lambda x: 2 * x - 1,
    "polynomial": lambda x: np.cos(3 * np.arccos(2 * x - 1)),
    "absolute": lambda x: np.abs(2 * x - 1),
    "sine": lambda x: -np.sin(2 * math.pi * x),
    "runge": lambda x: 1 / (1 + (10 * x - 5) ** 2),
    "step": lambda x: np.heaviside(x - 0.5, 0),
}


@pytest.mark.parametrize("target", get_args(Target))
def test_one_variable(target: Target) -> None:
    problem = Curve(target=target)
    x, y = problem.train
    assert x.shape == (101, 1) and float(x[0]) == 0 and float(x[-1]) == 1
    np.testing.assert_allclose(y.numpy(), FORMULAS[target](x[:, 0].numpy()), rtol=0, atol=1e-14)
    middles = problem.test.x[:, 0]
    torch.testing.assert_close(middles, (x[1:, 0] + x[:-1, 0]) / 2, rtol=0, atol=1e-15)
    assert torch.equal(problem.test.y, problem.value(problem.test.x))


@pytest.mark.parametrize("target", get_args(Target))
def test_two_variables(target: Target) -> None:
    problem = Curve(target=target, dimension=2, samples=21)
    x, y = problem.train
    assert x.shape == (441, 2) and problem.test.x.shape == (400, 2)
    a, b = (FORMULAS[target](x[:, j].numpy()) for j in (0, 1))
    t = 2 * x.numpy() - 1
    wanted = {
        "affine": (a + b) / 2,
        "absolute": (a + b) / 2,
        "runge": 1 / (1 + 25 * (t**2).sum(1)),
        "step": (t.sum(1) > 0).astype(float),
    }.get(target, a * b)
    np.testing.assert_allclose(y.numpy(), wanted, rtol=0, atol=1e-14)


def test_frequency_is_the_number_of_periods() -> None:
    y = Curve(frequency=5.0, samples=1000).train.y
    assert int((y[:-1] * y[1:] < 0).sum()) == 9  # its zeros between 0 and 1


def test_noise_is_on_the_training_values_alone() -> None:
    noisy, plain = Curve(sigma=0.2, samples=2001), Curve(samples=2001)
    difference = noisy.train.y - plain.train.y
    assert float(difference.std()) == pytest.approx(0.2, rel=0.05) and abs(float(difference.mean())) < 0.02
    assert torch.equal(noisy.test.y, plain.test.y)


def test_a_line_has_the_affine_one_and_no_other_and_a_cubic_the_polynomial() -> None:
    def left(target: Target, degree: int) -> float:
        x, y = (part.numpy() for part in Curve(target=target).train)
        return float(np.abs(np.polynomial.Polynomial.fit(x[:, 0], y, degree)(x[:, 0]) - y).max())

    assert left("affine", 1) < 1e-13 and left("polynomial", 3) < 1e-12
    assert min(left(target, 1) for target in get_args(Target) if target != "affine") > 0.3
    assert min(left(target, 3) for target in ("absolute", "runge", "step")) > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curve(target="cosine"), r"^target = cosine: must be one of affine, "),  # type: ignore[arg-type]
        (lambda: Curve(dimension=3), r"^dimension = 3: must be 1 or 2"),
        (lambda: Curve(samples=1), r"^samples = 1: "),
        (lambda: Curve(sigma=-0.1), r"^sigma = -0.1: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
