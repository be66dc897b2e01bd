"""Statistics of a figure over several seeds: mean, interquartile mean, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# scipy.stats is loaded where it is used: a second of every start, and 40 MiB.

_AT_ONCE = 2**22
"""Numbers of resamples that are in memory at a time."""


def interquartile_mean(values: np.ndarray, axis: int = 0) -> Any:
    """Average `values` (n,) without the lowest and the highest quarter (each floor(n / 4) values); Agarwal et al. 2021.

    With `axis`, of every row of values along it, as scipy's bootstrap calls it.
    """
    from scipy import stats

    trimmed: float = stats.trim_mean(values, 0.25, axis=axis)
    return trimmed


def bootstrap_interval(
    values: np.ndarray, resamples: int = 2000, statistic: Callable[..., float] = np.mean
) -> tuple[float, float]:
    """Estimate the 95 % percentile bootstrap interval of a statistic of `values` (n,); resampling has a fixed seed.

    A single value, or equal values, give an interval of length zero.
    """
    if len(values) < 2 or np.ptp(values) == 0.0:
        return float(values[0]), float(values[0])
    from scipy import stats

    rng = np.random.default_rng(0)
    found = stats.bootstrap((values,), statistic, n_resamples=resamples, method="percentile", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def over_seeds(found: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Summarise every figure that all seeds have: mean and IQM with 95 % intervals, deviation (n - 1), extremes.

    Args:
        found: each seed's figures by tag, at least one seed.
    """
    summary: dict[str, dict[str, float]] = {}
    for tag in found[0]:
        if not all(tag in one for one in found):
            continue
        values = np.array([float(one[tag]) for one in found])
        mean_low, mean_high = bootstrap_interval(values)
        iqm_low, iqm_high = bootstrap_interval(values, statistic=interquartile_mean)
        summary[tag] = {
            "mean": float(values.mean()),
            "mean_low": mean_low,
            "mean_high": mean_high,
            "iqm": float(interquartile_mean(values)),
            "iqm_low": iqm_low,
            "iqm_high": iqm_high,
            "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "min": float(values.min()),
            "max": float(values.max()),
            "seeds": len(values),
        }
    return summary


Samples = Sequence["NDArray[np.float64]"]
"""Values of shape (..., n_k), one array for each stratum k: runs of one configuration, which differ in their seeds."""


def pooled(samples: Samples) -> NDArray[np.float64]:
    """All values of all strata, of shape (..., n)."""
    return np.concatenate(list(samples), axis=-1)


def stratified_interval(
    samples: Samples, statistic: Callable[..., Any], resamples: int = 2000
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Estimate the 95 % percentile interval of a statistic of all values, resampling within each stratum.

    The stratified bootstrap of Agarwal et al. 2021. Leading axes are many statistics at once, of the same resamples.
    The resampling has a fixed seed.

    Args:
        samples: values of each stratum.
        statistic: called as `statistic(values, axis=-1)` on pooled values.
        resamples: how many times to resample.

    Returns:
        Lower and upper bounds of shape (...); None where a stratum has one value alone, which tells of no spread.
    """
    if any(sample.shape[-1] < 2 for sample in samples):
        return None
    width = samples[0][..., 0].size * sum(sample.shape[-1] for sample in samples)

    def over_all(*strata: NDArray[np.float64], axis: int) -> Any:
        return statistic(np.concatenate(strata, axis), axis=axis)

    return _bootstrap(samples, over_all, resamples, width)


def probability_of_improvement(better: Samples, than: Samples) -> float:
    """The probability that a value of one group is above one of another, ties counting half.

    The Mann-Whitney statistic, Agarwal et al. 2021: the mean over all i, j of [x_i > y_j] + [x_i = y_j] / 2.

    Args:
        better, than: values of shape (n_k,) of each stratum, which are pooled.
    """
    return float(_above(pooled(better), pooled(than)))


def improvement_interval(better: Samples, than: Samples, resamples: int = 2000) -> tuple[float, float] | None:
    """The 95 % percentile interval of `probability_of_improvement`; None where a stratum has one value alone."""
    if any(sample.shape[-1] < 2 for sample in (*better, *than)):
        return None

    def statistic(*strata: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        x, y = strata[: len(better)], strata[len(better) :]
        return _above(np.concatenate(x, axis), np.concatenate(y, axis))

    low, high = _bootstrap((*better, *than), statistic, resamples, pooled(better).size * pooled(than).size)
    return float(low), float(high)


def performance_profile(samples: Samples, levels: NDArray[np.float64]) -> Samples:
    """For every level whether each value is above it: the share of these, their mean, is the profile.

    Args:
        samples: values of shape (n_k,) of each stratum.
        levels: of shape (levels,).

    Returns:
        Zeros and ones of shape (levels, n_k) for each stratum, for `pooled` and `stratified_interval` with `np.mean`.
    """
    return [(sample[None, :] > levels[:, None]).astype(float) for sample in samples]


def _above(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of pairs of which x is the larger, over the last axes."""
    one, other = x[..., :, None], y[..., None, :]
    share: NDArray[np.float64] = ((one > other) + 0.5 * (one == other)).mean((-2, -1))
    return share


def _bootstrap(
    samples: Samples, statistic: Callable[..., Any], resamples: int, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The percentile interval; `width` numbers are held for each resample."""
    from scipy import stats

    found = stats.bootstrap(
        tuple(samples), statistic, axis=-1, vectorized=True, n_resamples=resamples, method="percentile",
        batch=max(1, min(resamples, _AT_ONCE // width)), rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return np.asarray(found.low), np.asarray(found.high)
