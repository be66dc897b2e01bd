"""The expectation of averages: by hand, by simulation; and the whole comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.erm import ERM, Quadratic
from rlgan.lectures.descent.averaging import expected_excess
from rlgan.optim import RunEMA, UniformAverage
from tests.lectures.shrunken import summary


def test_without_noise_it_is_the_points_own() -> None:
    bowl = Quadratic(kappa=4.0, start=(2.0, -1.0))
    x = np.array([2.0, -1.0]) * (1 - 0.5 * np.array([0.25, 1.0])) ** np.arange(6)[:, None]
    assert expected_excess(bowl, 0.5, 0.0, None, 5).tolist() == pytest.approx((x**2 @ [0.25, 1.0] / 2).tolist())
    mean = np.vstack([x[:1], np.cumsum(x[1:], 0) / np.arange(1, 6)[:, None]])
    found = expected_excess(bowl, 0.5, 0.0, UniformAverage(), 5)
    assert found.tolist() == pytest.approx((mean**2 @ [0.25, 1.0] / 2).tolist())


def test_the_points_come_to_their_stationary_variance_and_the_mean_falls_as_one_over_t() -> None:
    bowl, lr, sigma = Quadratic(kappa=1.0, dimension=1, start=(0.0,)), 1.5, 0.4
    points = expected_excess(bowl, lr, sigma, None, 400)
    assert points[-1] == pytest.approx(lr * sigma**2 / (2 - lr) / 2)
    mean = expected_excess(bowl, lr, sigma, UniformAverage(), 400)
    assert mean[-1] == pytest.approx(sigma**2 / 400 / 2, rel=0.01)


def test_the_exponential_average_is_what_many_runs_give() -> None:
    lr, sigma, steps, average = 1.2, 0.5, 30, RunEMA(0.2)
    generator = np.random.default_rng(0)
    x = mean = np.full(20_000, 1.0)
    for t in range(1, steps + 1):
        x = (1 - lr) * x - lr * sigma * generator.standard_normal(len(x))
        mean = mean + average.weight(t, steps) * (x - mean)
    expected = expected_excess(Quadratic(dimension=1), lr, sigma, average, steps)[-1]
    assert (mean**2).mean() / 2 == pytest.approx(expected, rel=0.05)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERM, "pictures", lambda self: {})
    words = ("seeds=null", "steps=120", "compare.variants.bend=[problem=rosenbrock,optimizer.lr=1e-3]")
    numbers = summary("16_averaging", tmp_path / "run", *words)["numbers"]
    assert numbers["valley_uniform"] < numbers["valley_theta"] and numbers["bend_uniform"] > numbers["bend_theta"]
