"""The scores of a sweep or a search against the numbers that were varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rlgan.runs.study.tables import Row, heading
from rlgan.task.figure import BLUE, COLOURS, FAKE, SMALL, figure, plain, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 4

Numbers = Mapping[str, float]
"""The values of a key as numbers, by how they are written."""


def draw_response(rows: Sequence[Row]) -> Figure | None:
    """Draw the IQM of the last values against what was swept; None where no number takes three values.

    Of a grid a line for each combination of the other keys, with 95 % intervals. Of a search, whose combinations are
    all different, a panel for each number.

    Args:
        rows: the best one first.
    """
    rows = [row for row in rows if row.score.n]
    swept = _swept(rows)
    if not swept:
        return None
    key = max(swept, key=lambda name: len(swept[name]))
    lines: dict[str, list[Row]] = {}
    for row in rows:
        rest = ", ".join(f"{name}={value}" for name, value in row.group.values.items() if name != key)
        lines.setdefault(rest, []).append(row)
    return _grid(key, swept[key], lines) if 2 * len(lines) <= len(rows) else _search(swept, rows)


def scale(axes: Axes, values: np.ndarray) -> None:
    """Make the vertical axis logarithmic where values above 0 span two decades."""
    if values.min() > 0 and values.max() / values.min() > 1e2:
        axes.set_yscale("log")


def _swept(rows: Sequence[Row]) -> dict[str, Numbers]:
    """Every key that takes three finite numbers or more, and nothing else."""
    found: dict[str, Numbers] = {}
    for key in rows[0].section.keys if rows else ():
        try:
            numbers = {row.group.values[key]: float(row.group.values[key]) for row in rows}
        except ValueError:
            continue
        if len(numbers) > 2 and np.isfinite(list(numbers.values())).all():
            found[key] = numbers
    return found


def _grid(key: str, numbers: Numbers, lines: Mapping[str, Sequence[Row]]) -> Figure:
    made = figure(7.2, 3.6)
    axes = made.subplots()
    for colour, (label, rows) in zip(COLOURS, lines.items(), strict=False):  # the best ones come first
        points = sorted((numbers[row.group.values[key]], row.score.points["IQM"]) for row in rows)
        axes.plot(*np.array(points).T, "o-", color=colour, ms=3, lw=1.4, label=plain(label))
        spread = sorted(
            (numbers[row.group.values[key]], *row.score.intervals["IQM"]) for row in rows if row.score.intervals
        )
        if spread:
            at, low, high = np.array(spread).T
            axes.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
    every = [row for rows in lines.values() for row in rows]
    _finish(axes, key, numbers, every)
    axes.set_ylabel(plain(heading(every[0].tag, every[0].direction)))
    if len(lines) > 1:
        made.legend(loc="outside right upper", fontsize=SMALL - 1, frameon=False)
    return made


def _search(swept: Mapping[str, Numbers], rows: Sequence[Row]) -> Figure:
    keys = sorted(swept, key=lambda key: -len(swept[key]))[:MOST_PANELS]
    made = figure(1.2 + 2.2 * len(keys), 2.6)
    panels = made.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        at = [swept[key][row.group.values[key]] for row in rows]
        scores = [row.score.points["IQM"] for row in rows]
        axes.plot(at, scores, "o", color=BLUE, ms=3.5, alpha=0.7, mew=0)
        if rows[0].direction:
            axes.plot(at[:1], scores[:1], "o", color=FAKE, ms=6, mfc="none", mew=1.4)
        _finish(axes, key, swept[key], rows)
    panels[0].set_ylabel(plain(heading(rows[0].tag, rows[0].direction)))
    return made


def _finish(axes: Axes, key: str, numbers: Numbers, rows: Sequence[Row]) -> None:
    least, largest = min(numbers.values()), max(numbers.values())
    if least > 0 and largest / least > 30:
        axes.set_xscale("log")
    scale(axes, np.array([row.score.points["IQM"] for row in rows]))
    quiet(axes, plain(key), curves=True)
