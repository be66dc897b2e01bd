"""The way that a run has gone over a surface: its points, level sets to draw it on; lines through curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch

from rlgan.erm import ERM, Surface
from rlgan.runs.compare import Ran
from rlgan.task.figure import BLUE, FAKE, PALE, REAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

GOLD, GREEN, PURPLE = "#d9a441", "#6a8d3a", "#7b4f9e"
COLOURS = (REAL, BLUE, FAKE, GOLD, GREEN, PURPLE)
"""Of the variants of a figure, one after another."""
PIXELS = 240


def way(ran: Ran, seed: int | None = None) -> NDArray[np.float64]:
    """The points of one seed on a surface of at most three variables, ``(steps + 1, 1 + averages, d)``: theta first."""
    points: NDArray[np.float64] = ran.task(seed).state_dict()["path"].double().numpy()
    return points


def ways(ran: Ran) -> NDArray[np.float64]:
    """The points of theta of every seed, ``(seeds, steps + 1, d)``."""
    points = [ran.task(seed).state_dict()["path"][:, 0].double().numpy() for seed in ran.seeds]
    return np.stack(points)


def surface(ran: Ran) -> Surface:
    """The surface that a run was on."""
    return cast(Surface, cast(ERM, ran.task()).problem)


def values(of: Surface, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """f at points ``(..., d)``, of shape ``(...)``."""
    flat = torch.from_numpy(points.reshape(-1, points.shape[-1]))
    with torch.no_grad():
        found: NDArray[np.float64] = torch.func.vmap(of.value)(flat).numpy()
    return found.reshape(points.shape[:-1])


def level_lines(axes: Axes, of: Surface, levels: ArrayLike) -> None:
    """The level sets of a surface of two variables as pale lines, in the window that `axes` have."""
    x, y = (np.linspace(*ends, PIXELS) for ends in (axes.get_xlim(), axes.get_ylim()))
    z = values(of, np.stack(np.meshgrid(x, y), -1))
    axes.contour(x, y, z, np.asarray(levels), colors=PALE, linewidths=0.7, zorder=0)


class Line(NamedTuple):
    """A straight line through points.

    Attributes:
        slope: of it.
        error: the standard error of the slope, if deviations are independent.
    """

    slope: float
    error: float


def straight(x: ArrayLike, y: ArrayLike) -> Line:
    """The line of least squares through points (x, y), at least two."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    off = x - x.mean()
    slope = float((off * y).sum() / (off**2).sum())
    left = y - y.mean() - slope * off
    error = float(np.sqrt((left**2).sum() / max(len(x) - 2, 1) / (off**2).sum()))
    return Line(slope, error)
