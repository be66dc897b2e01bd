"""The figures of a study: learning curves, scores with intervals, who improves on whom, and performance profiles.

After Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from rlgan.runs.study.groups import Section
from rlgan.runs.study.response import scale
from rlgan.runs.study.scores import STATISTICS, bands
from rlgan.runs.study.tables import Row, heading
from rlgan.task.figure import COLOURS, INK, REAL, SMALL, figure, plain, quiet
from rlgan.task.statistics import (
    improvement_interval,
    performance_profile,
    pooled,
    probability_of_improvement,
    stratified_interval,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CURVES, MOST_BARS, MOST_PAIRS = 8, 40, 6
"""Groups in a figure of curves or profiles, in one of intervals; pairs that are drawn as bars."""

Look = Mapping[str, str]
"""The colour of every group, by its label."""


def looks(rows: Sequence[Row]) -> Look:
    """A group's colour in all figures: of many groups the first rows are told apart, and the others grey."""
    labels = [row.group.label for row in rows]
    told = labels if len(labels) > len(COLOURS) else [group.label for group in rows[0].section.groups]
    return {label: COLOURS[i] if i < len(COLOURS) else REAL for i, label in enumerate(told)}


def draw_curves(rows: Sequence[Row], look: Look, explained: str = "") -> Figure | None:
    """Learning curves: the IQM of each group with its 95 % band, dotted where not all of its runs are there.

    Each run is drawn as a thin line where they are few. None where no run has the metric.
    """
    shown = [row for row in rows[:MOST_CURVES] if any(row.tag in run.curves for run in row.group.runs)]
    if not shown:
        return None
    made = figure(7.2, 3.9)
    axes = made.subplots()
    few = sum(len(row.group.runs) for row in shown) <= 24
    largest = []
    for row in shown:
        colour = look[row.group.label]
        drawn = bands(row.group, row.tag)
        n = max(band.n for band in drawn)
        label = f"{plain(row.group.label)} (n={n})"
        for run in row.group.runs if few and n > 1 else ():
            if row.tag in run.curves:
                axes.plot(*run.curves[row.tag], color=colour, lw=0.6, alpha=0.35)
        for band in drawn:
            whole = band.n == n
            points = "." if len(band.steps) == 1 else None
            axes.plot(
                band.steps, band.middle, color=colour, ls="-" if whole else ":", lw=1.8 if whole else 1.1,
                marker=points, label=label if whole else None,
            )  # fmt: skip
            label = label if not whole else "_"
            if band.interval is not None:
                axes.fill_between(band.steps, *band.interval, color=colour, alpha=0.18, lw=0)
            largest.append(band.middle)
    scale(axes, np.concatenate(largest))
    quiet(axes, "steps", plain(heading(rows[0].tag, rows[0].direction)), plain(explained, 90), curves=True)
    _legend(made, axes, rows[0].section)
    return made


def draw_scores(rows: Sequence[Row], look: Look) -> Figure | None:
    """IQM, mean and median of the final scores, with 95 % intervals as bars; dots are the runs."""
    shown = [row for row in rows if row.score.n][:MOST_BARS]
    if not shown:
        return None
    made = figure(7.6, 1.1 + 0.27 * len(shown))
    panels = made.subplots(1, len(STATISTICS), sharex=True, sharey=True, squeeze=False)[0]
    places = np.arange(len(shown))[::-1]
    for axes, name in zip(panels, STATISTICS, strict=True):
        for at, row in zip(places, shown, strict=True):
            colour = look[row.group.label]
            if name in row.score.intervals:
                low, high = row.score.intervals[name]
                axes.barh(at, high - low, left=low, height=0.62, color=colour, alpha=0.45, lw=0)
            if axes is panels[0] and row.score.n > 1:
                axes.plot(row.score.values, np.full(row.score.n, at), "o", color=INK, ms=1.8, alpha=0.6, mew=0)
            point = row.score.points[name]
            axes.plot([point, point], [at - 0.31, at + 0.31], color=colour, lw=2)
        quiet(axes, title=name, curves=True)
        axes.use_sticky_edges = False
        axes.margins(x=0.06)
        axes.set_ylim(-0.6, len(shown) - 0.4)
    panels[0].set_yticks(places, [f"{plain(row.group.label)} (n={row.score.n})" for row in shown])
    made.supxlabel(plain(heading(rows[0].tag, rows[0].direction)), fontsize=SMALL, color=INK)
    return made


def draw_improvement(rows: Sequence[Row]) -> Figure | None:
    """The probability that a run of one group ends better than one of another; None below two groups of many runs.

    Few pairs are bars with their 95 % intervals, many a table of colours, bold where the interval leaves out 1/2.
    """
    shown = [row for row in rows if row.score.n > 1 and row.score.intervals][:MOST_CURVES]
    if len(shown) < 2 or not rows[0].direction:
        return None
    sign = 1 if rows[0].direction == "max" else -1
    samples = [[sign * sample for sample in row.score.samples] for row in shown]
    pairs = list(combinations(range(len(shown)), 2))
    point = {(i, j): probability_of_improvement(samples[i], samples[j]) for i, j in pairs}
    interval = {(i, j): improvement_interval(samples[i], samples[j]) or (np.nan, np.nan) for i, j in pairs}
    labels = [plain(row.group.label, 40) for row in shown]
    if len(pairs) > MOST_PAIRS:
        return _matrix(labels, point, interval)
    made = figure(6.4, 0.9 + 0.34 * len(pairs))
    axes = made.subplots()
    for at, pair in zip(range(len(pairs))[::-1], pairs, strict=True):
        low, high = interval[pair]
        axes.barh(at, high - low, left=low, height=0.6, color=COLOURS[0], alpha=0.4, lw=0)
        axes.plot([point[pair]] * 2, [at - 0.3, at + 0.3], color=COLOURS[0], lw=2)
    axes.axvline(0.5, color=INK, lw=0.8, ls="--")
    axes.set_yticks(range(len(pairs))[::-1], [f"{labels[i]}  better than  {labels[j]}" for i, j in pairs])
    axes.set_xlim(-0.02, 1.02)
    quiet(axes, "probability", curves=True)
    return made


def _matrix(
    labels: Sequence[str],
    point: Mapping[tuple[int, int], float],
    interval: Mapping[tuple[int, int], tuple[float, float]],
) -> Figure:
    count = len(labels)
    made = figure(2.6 + 0.62 * count, 1.3 + 0.42 * count)
    axes = made.subplots()
    shares = np.full((count, count), np.nan)
    for (i, j), share in point.items():
        shares[i, j], shares[j, i] = share, 1 - share
        low, high = interval[i, j]
        weight = "bold" if low > 0.5 or high < 0.5 else "normal"
        for row, column in ((i, j), (j, i)):
            value = shares[row, column]
            ink = "white" if abs(value - 0.5) > 0.3 else INK
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=SMALL, color=ink, weight=weight)
    axes.imshow(shares, cmap="PuOr", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(count), labels, rotation=30, ha="right")
    axes.set_yticks(range(count), labels)
    quiet(axes, "than", "better")
    return made


def draw_profiles(rows: Sequence[Row], look: Look) -> Figure | None:
    """Performance profiles: for every score the share of a group's runs that end better; up to four with 95 % bands."""
    shown = [row for row in rows if row.score.n > 1][:MOST_CURVES]
    if not shown or not rows[0].direction:
        return None
    sign = 1 if rows[0].direction == "max" else -1
    every = np.concatenate([row.score.values for row in shown])
    low, high = every.min(), every.max()
    if low == high:
        return None
    room = 0.04 * (high - low)
    levels = np.linspace(low - room, high + room, 400)
    made = figure(7.2, 3.6)
    axes = made.subplots()
    for row in shown:
        colour = look[row.group.label]
        better = performance_profile([sign * sample for sample in row.score.samples], sign * levels)
        label = f"{plain(row.group.label)} (n={row.score.n})"
        axes.plot(levels, pooled(better).mean(-1), color=colour, lw=1.6, label=label)
        if len(shown) <= 4 and (band := stratified_interval(better, np.mean, 1000)) is not None:
            axes.fill_between(levels, *band, color=colour, alpha=0.15, lw=0)
    axes.set_ylim(-0.02, 1.02)
    word = "above" if sign > 0 else "below"
    quiet(axes, f"{plain(rows[0].tag)} = x", f"share of runs that end {word} x", curves=True)
    _legend(made, axes, rows[0].section)
    return made


def _legend(made: Figure, axes: Axes, section: Section) -> None:
    """To the right of the axes, with the names of what differs above it."""
    title = ", ".join(section.keys)
    made.legend(
        *axes.get_legend_handles_labels(), loc="outside right upper", fontsize=SMALL - 1, frameon=False,
        title=plain(title) if len(title) < 40 else None, title_fontsize=SMALL - 1, alignment="left",
    )  # fmt: skip
