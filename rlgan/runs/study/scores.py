"""What a group of runs comes to: its curve on common steps, and its scores at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rlgan.runs.study.groups import Group
from rlgan.runs.study.reading import Curve, Record
from rlgan.task.statistics import Samples, interquartile_mean, pooled, stratified_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATISTICS: Mapping[str, Callable[..., Any]] = {"IQM": interquartile_mean, "mean": np.mean, "median": np.median}
POINTS = 200
"""At most so many steps are drawn of a curve."""


@dataclass(frozen=True)
class Score:
    """The last values of a group's runs.

    Args:
        samples: by stratum; empty where no run has the metric.
        step: where they were taken, if no run has finished: the last step that all of them have come to.
    """

    samples: Samples
    step: int | None = None

    @property
    def n(self) -> int:
        """How many runs count."""
        return sum(len(sample) for sample in self.samples)

    @property
    def values(self) -> NDArray[np.float64]:
        """All of them, of shape (n,)."""
        return pooled(self.samples)

    @cached_property
    def points(self) -> dict[str, float]:
        """IQM, mean and median of all values."""
        return {name: float(statistic(self.values, axis=-1)) for name, statistic in STATISTICS.items()}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Their 95 % intervals; none where a configuration has one run alone."""
        found = {name: stratified_interval(self.samples, statistic) for name, statistic in STATISTICS.items()}
        return {name: (float(both[0]), float(both[1])) for name, both in found.items() if both is not None}


def score(group: Group, tag: str) -> Score:
    """Take the last value of a metric from every finished run of a group, or from all where none has finished."""
    done = [[run.curves[tag].values[-1:] for run in s if run.finished and tag in run.curves] for s in group.strata]
    if any(done):
        return Score([np.concatenate(stratum) for stratum in done if stratum])
    begun = [[run.curves[tag] for run in stratum if tag in run.curves] for stratum in group.strata]
    if not any(begun):
        return Score([])
    step = min(curve.steps[-1] for stratum in begun for curve in stratum)
    at = np.array([step])
    return Score([np.concatenate([along(c, at) for c in stratum]) for stratum in begun if stratum], int(step))


def along(curve: Curve, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve's values at other steps, linearly in between, and NaN before its first and after its last one."""
    return np.interp(steps, curve.steps, curve.values, left=np.nan, right=np.nan)


@dataclass(frozen=True)
class Band:
    """The interquartile mean of a group's curves, over steps at which the same runs are there.

    Args:
        steps, middle: of shape (m,).
        interval: 95 % bounds, each of shape (m,); None where a configuration has one run alone.
        n: how many runs are there.
    """

    steps: NDArray[np.float64]
    middle: NDArray[np.float64]
    interval: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    n: int


def bands(group: Group, tag: str) -> list[Band]:
    """Average the curves of a group's runs on common steps.

    Runs that logged at other steps are interpolated in between. No run counts beyond its own end: where one ends a new
    band of the others begins, at the step where the former one stopped.
    """
    strata = [[run.curves[tag] for run in stratum if tag in run.curves] for stratum in group.strata]
    curves = [curve for stratum in strata for curve in stratum]
    if not curves:
        return []
    grid = _steps(curves)
    values = [np.array([along(curve, grid) for curve in stratum]) for stratum in strata if stratum]
    there = np.concatenate([np.isfinite(stratum) for stratum in values])
    changes = [0, *(np.flatnonzero((there[:, 1:] != there[:, :-1]).any(0)) + 1), len(grid)]
    found = []
    for first, end in pairwise(changes):
        same = there[:, first]
        if not same.any():
            continue
        # To the neighbouring step as well, where the same runs are there beside others: no gap is in the line.
        first -= first > 0 and bool(there[same, first - 1].all())
        end += end < len(grid) and bool(there[same, end].all())
        parts = np.split(same, np.cumsum([len(stratum) for stratum in values])[:-1])
        samples = [stratum[part, first:end].T for stratum, part in zip(values, parts, strict=True) if part.any()]
        middle = interquartile_mean(pooled(samples), axis=-1)
        interval = stratified_interval(samples, interquartile_mean, 1000)
        found.append(Band(grid[first:end], middle, interval, int(same.sum())))
    return found


def _steps(curves: Sequence[Curve]) -> NDArray[np.float64]:
    """The steps of all curves together, thinned out; every curve's first and last one stay."""
    every = np.unique(np.concatenate([curve.steps for curve in curves]))
    if len(every) > POINTS:
        thin = every[np.linspace(0, len(every) - 1, POINTS).astype(int)]
        ends = [step for curve in curves for step in (curve.steps[0], curve.steps[-1])]
        every = np.unique(np.concatenate([thin, ends]))
    return every


def states(runs: Sequence[Record]) -> dict[str, int]:
    """How many runs are in which state, finished ones first."""
    order = ("finished", "running", "interrupted", "failed", "killed", "unknown")
    count = {state: sum(run.state == state for run in runs) for state in order}
    return {state: number for state, number in count.items() if number}
