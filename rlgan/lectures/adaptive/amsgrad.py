"""A convex problem on which Adam ends at the worst point, and AMSGrad at the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from rlgan.erm import RareLargeGradient
from rlgan.lectures.ways import BLUE, FAKE, REAL, surface, way
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS = {"adam": ("Adam", FAKE), "amsgrad": ("AMSGrad", BLUE), "sgd": ("gradient descent", REAL)}


def non_convergence(runs: Mapping[str, Ran]) -> Drawn:
    """The way on [-1, 1] of methods that see f_t = C theta once in three steps and -theta otherwise; average regret.

    Adam (Kingma & Ba 2015) divides the rare large gradient by its own size, so that it counts as much as one of the
    small ones, of which there are two: it goes the wrong way (Reddi, Kale & Kumar 2018, On the convergence of Adam and
    beyond, Theorem 1). AMSGrad divides all of them by the largest size so far. The regret of T steps is
    sum_t f_t(theta_t) - min over theta of sum_t f_t(theta); the best point is -1.

    Args:
        runs: of `problem=rare_large_gradient` under `projection=box`.

    Returns:
        The figure, and of each run `end_NAME`, where it ends, and `regret_NAME`, its average regret.
    """
    made = figure(7.6, 3.2)
    left, right = made.subplots(1, 2)
    numbers: dict[str, float] = {}
    for name, ran in runs.items():
        label, colour = _LABELS.get(name, (name, PALE))
        points = way(ran)[:, 0, 0]
        regret = average_regret(cast(RareLargeGradient, surface(ran)), points)
        left.plot(points, color=colour, lw=1.3, label=label)
        right.plot(np.arange(1, len(points)), regret, color=colour, lw=1.3, label=label)
        numbers |= {f"end_{name}": float(points[-1]), f"regret_{name}": float(regret[-1])}
    for at, what in ((-1, "best point"), (1, "worst point")):
        left.axhline(at, color=PALE, lw=0.8, ls="--", zorder=0)
        left.annotate(what, (0.98, at), (0, -4 * at), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", va="top" if at > 0 else "bottom", fontsize=SMALL - 1, color=INK)  # fmt: skip
    left.set_ylim(-1.12, 1.12)
    quiet(left, "step t", r"$\theta_t$", "where they go", curves=True)
    right.axhline(0, color=PALE, lw=0.8, ls="--", zorder=0)
    right.set_xscale("log")
    quiet(right, "step T", "regret / T", "what it costs on average", curves=True)
    right.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    return Drawn(made, numbers)


def average_regret(problem: RareLargeGradient, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1/T) sum_{t <= T} f_t(theta_t) - f_t(-1), T = 1, 2, ..., of points theta_1, ..., theta_{n+1}, ``(n,)``.

    -1 is the best point for every T: the slopes so far are C, C - 1, C - 2, 2 C - 2, ... together, all positive.
    """
    slopes = problem.slopes(len(points) - 1).numpy()
    cost: NDArray[np.float64] = np.cumsum(slopes * (points[:-1] + 1))
    return cost / np.arange(1, len(points))
