"""What several values of one figure say together: mean, interquartile mean, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

# scipy.stats is loaded where it is used: a second of every start, and 40 MiB.


def interquartile_mean(values: np.ndarray, axis: int = 0) -> float:
    """Mean of `values` (n,) without the lowest and the highest quarter (each floor(n / 4) values); Agarwal et al. 2021.

    With `axis`, of every row of values along it, as scipy's bootstrap calls it.
    """
    from scipy import stats

    trimmed: float = stats.trim_mean(values, 0.25, axis=axis)
    return trimmed


def bootstrap_interval(
    values: np.ndarray,
    level: float = 0.95,
    resamples: int = 2000,
    statistic: Callable[..., float] = np.mean,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of `values` (n,), with resamples drawn from a fixed seed.

    A single value, or equal values, give an interval of length zero.
    """
    if len(values) < 2 or np.ptp(values) == 0.0:
        return float(values[0]), float(values[0])
    from scipy import stats

    result = stats.bootstrap(
        (values,),
        statistic,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def over_seeds(found: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Of every figure that all seeds have: mean and IQM with 95 % bootstrap intervals, deviation (n - 1), extremes.

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
