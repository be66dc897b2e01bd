"""Statistics of a figure over several seeds: mean, interquartile mean, bootstrap intervals."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

# scipy.stats is loaded where it is used: a second of every start, and 40 MiB.


def interquartile_mean(values: np.ndarray, axis: int = 0) -> float:
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
