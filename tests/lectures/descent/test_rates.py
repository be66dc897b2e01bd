"""The table of rates: intervals and factors by hand, the exponent of strong growth by its integral, the comparison."""

import math
from pathlib import Path

import numpy as np
import pytest

from rlgan.erm import ERM, Crater
from rlgan.lectures.descent.rates import growth, interval, typical_factor
from tests.lectures.shrunken import summary


def test_an_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0])
    half = 4.302652729911275 * 1.0 / 3**0.5  # t of 2 degrees of freedom at 97.5 %
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half))
    assert interval([5.0]).mean == 5.0 and math.isnan(interval([5.0]).low)


def test_the_typical_factor_is_that_of_a_long_product() -> None:
    crater = Crater(kappa=10.0, relative_noise=0.5)
    sign = np.random.default_rng(0).choice([-1.0, 1.0], size=200_000)
    logarithm = 2 * np.log(np.abs(1 - 0.8 * 0.1 * (1 + 0.5 * sign))).mean()
    assert typical_factor(crater, 0.8) == pytest.approx(math.exp(logarithm), abs=1e-3)
    assert growth(crater) == 1.25


def test_between_one_and_kappa_the_craters_gradient_falls_as_one_over_k() -> None:
    crater, lr = Crater(kappa=1e6, dimension=60), 1.0
    t, eigenvalues = np.ones(60), crater.eigenvalues.numpy()
    square = []
    for _ in range(4000):
        slope = t / (1 + t**2) ** 2
        square.append((eigenvalues * slope**2).sum())
        t = t - lr * eigenvalues * slope
    assert square[3999] / square[39] == pytest.approx(1 / 100, rel=0.1)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERM, "pictures", lambda self: {})
    few = [f"compare.variants.smooth_{n}=[schedule=inverse_sqrt_horizon,steps={n // 100}]" for n in (1000, 3000, 10000)]
    sample = "problem=linear_regression,problem.samples=40,optimizer=sgd,optimizer.lr=0.009,steps=100"
    free = "optimizer.lr=1.0,problem.gradient_noise=0.5,steps=100"
    few += [f"compare.variants.free_{m}=[optimizer={m},{free}]" for m in ("adagrad", "adam", "amsgrad")]
    words = [
        "seeds=null",
        "compare.variants.smooth_300=[schedule=inverse_sqrt_horizon,steps=3]",
        "compare.variants.growth=[problem.relative_noise=0.5,problem.kappa=1e6,problem.dimension=60,steps=300]",
        f"compare.variants.interpolation=[{sample},problem.dimension=100]",
        f"compare.variants.noisy=[{sample},problem.dimension=20]",
    ]
    numbers = summary("08_rates", tmp_path / "run", *words, *few)["numbers"]
    assert numbers["rate_pl"] == pytest.approx(numbers["typical_pl"], abs=0.02)
    assert numbers["slope_free_adagrad"] < 0 and numbers["worst_growth"] < 1 and numbers["step_interpolation"] <= 1
