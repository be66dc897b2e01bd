"""Statistics of many runs: closed forms, and intervals that cover as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rlgan.task.statistics import (
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    performance_profile,
    pooled,
    probability_of_improvement,
    stratified_interval,
)


def test_the_interquartile_mean_of_known_values() -> None:
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0])) == 2.5
    rows = np.array([[100.0, 1.0, 2.0, 3.0], [0.0, 0.0, 4.0, 4.0]])
    assert interquartile_mean(rows, axis=-1).tolist() == [2.5, 2.0]


def test_the_probability_of_improvement_of_known_samples() -> None:
    x, y = [np.array([1.0, 2.0]), np.array([3.0])], [np.array([0.0, 2.0])]
    # Of six pairs 1 > 0, 2 > 0, 3 > 0, 3 > 2 improve, 2 = 2 is half of one.
    assert probability_of_improvement(x, y) == pytest.approx(4.5 / 6)
    assert probability_of_improvement(y, x) == pytest.approx(1.5 / 6)
    u = stats.mannwhitneyu([1.0, 2.0, 3.0], [0.0, 2.0]).statistic
    assert probability_of_improvement(x, y) == pytest.approx(u / 6)
    assert improvement_interval(x, y) is None  # one value alone in a stratum


def test_a_group_that_is_always_better_has_an_interval_of_one_point() -> None:
    assert improvement_interval([np.array([3.0, 4.0, 5.0])], [np.array([0.0, 1.0])]) == (1.0, 1.0)


def test_a_profile_is_the_share_of_values_above_each_level() -> None:
    better = performance_profile([np.array([1.0, 2.0]), np.array([3.0, 4.0])], np.array([0.0, 2.0, 3.5, 9.0]))
    assert pooled(better).mean(-1).tolist() == [1.0, 0.5, 0.25, 0.0]


def test_one_stratum_is_the_plain_bootstrap_and_rows_are_done_at_once() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 7))
    found = stratified_interval([rows], interquartile_mean)
    assert found is not None and found[0].shape == (3,)
    plain = bootstrap_interval(rows[0], statistic=interquartile_mean)
    assert (found[0][0], found[1][0]) == pytest.approx(plain)


def test_strata_keep_the_difference_between_configurations_out_of_the_interval() -> None:
    low, high = np.array([0.0, 0.1, 0.2]), np.array([10.0, 10.1, 10.2])
    within = stratified_interval([low, high], np.mean)
    across = bootstrap_interval(np.concatenate([low, high]))
    assert within is not None and 5.0 <= within[0] <= 5.1 <= within[1] <= 5.2
    assert across[1] - across[0] > 20 * (within[1] - within[0])


def test_one_value_in_a_stratum_tells_of_no_spread() -> None:
    assert stratified_interval([np.array([1.0, 2.0]), np.array([3.0])], np.mean) is None


def test_the_stratified_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(loc=shift, size=(300, 12)) for shift in (0.0, 5.0)]  # 300 trials at once, true mean 2.5
    found = stratified_interval(samples, np.mean, 500)
    assert found is not None
    assert 0.88 <= np.mean((found[0] < 2.5) & (found[1] > 2.5)) <= 0.97
