"""The lecture on a wide network: the linear system against steps by hand, and the whole comparison, shrunken."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rlgan.erm import Wide
from rlgan.lectures.networks.wide_network import Course, linear_system
from tests.lectures.shrunken import summary


def test_the_linear_system_is_its_steps_one_by_one() -> None:
    problem = Wide(samples=5, dimension=3)
    residual = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    r, expected = residual.clone(), [1.0]
    for _ in range(4):
        r = r - 0.7 * problem.kernel @ r
        expected.append(float(r.square().sum() / residual.square().sum()))
    assert linear_system(problem.kernel, 0.7, residual, np.arange(5)) == pytest.approx(expected)


def test_rate_and_excess_of_an_exactly_linear_course() -> None:
    steps = np.arange(0, 100, 5)
    errors = 0.8 ** steps[None, :].astype(float)
    found = Course(Wide(), 0.5, steps, errors, errors, np.zeros(1), np.zeros(1))
    assert found.rate(errors) == pytest.approx(-math.log(0.8) / 0.5)
    assert found.excess(0.9) == pytest.approx((0.8 / 0.9) ** 5) and found.excess(0.79) > 1


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = ("steps=30", "seeds=1", "problem.samples=10", "problem.dimension=10", "optimizer.lr=2.5")
    found = summary("10_wide_network", tmp_path / "run", *words, "log_every=1")
    numbers = found["numbers"]
    assert numbers["eta"] == 0.5 and numbers["worst_m4096"] <= 1 and -1 < numbers["moved_slope"] < -0.2
    assert numbers["rate_m4096"] == pytest.approx(numbers["rate_kernel"], rel=0.3)
    assert set(numbers) >= {"rate_uniform", "rate_all_trained", "worst_theorem_step", "flipped_slope", "lambda_0"}
