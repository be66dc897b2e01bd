"""Averages of a run's points: in a valley that it oscillates across, and along a valley that bends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from rlgan.erm import Quadratic
from rlgan.lectures.ways import BLUE, FAKE, REAL, level_lines, surface, values, way
from rlgan.optim import Average, RunEMA, UniformAverage
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_NAMES = {"theta": ("the points themselves", REAL), "ema": ("exponential average", BLUE), "uniform": ("mean", FAKE)}


def averaging(runs: Mapping[str, Ran], shown: int = 60) -> Drawn:
    """Polyak's mean of all points and an exponential average, of noisy gradient descent with a large step.

    On a quadratic the points keep a variance that goes with the step size, and their mean has the best one that there
    is (Ruppert 1988; Polyak & Juditsky 1992, Acceleration of stochastic approximation by averaging). In a valley that
    bends the mean of points on its floor lies on the wall; an average that forgets stays on the floor behind them.

    (CMSC 35246, Lecture 6: Optimization for Deep Neural Networks, "Polyak Averaging" and "Simple Modification".)

    Args:
        runs: `valley` of `problem=quadratic` and `bend` of `problem=rosenbrock`, `averaging=several`, several seeds.
        shown: last steps of the first seed that are drawn in the valley.

    Returns:
        The figure. For each run and each of `theta`, `ema`, `uniform`: `RUN_WHICH`, the mean over the seeds of
        f - f* at the end; of the valley `ratio_WHICH`, that over its expectation.
    """
    made = figure(9.0, 3.6)
    left, middle, right = made.subplots(1, 3, width_ratios=(1, 1.15, 1))
    numbers: dict[str, float] = {}
    paths = {name: [way(ran, seed) for seed in ran.seeds] for name, ran in runs.items()}
    order = {name: _order(ran) for name, ran in runs.items()}
    for name, ran in runs.items():
        excess = values(surface(ran), np.stack(paths[name])).mean(0)  # (steps + 1, 1 + averages)
        numbers |= {f"{name}_{which}": float(excess[-1, i]) for which, i in order[name].items()}
        if name == "valley":
            _curves(middle, ran, excess, order[name], numbers)
    _valley(left, runs["valley"], paths["valley"][0], order["valley"], shown)
    _bend(right, runs["bend"], paths["bend"][0], order["bend"])
    return Drawn(made, numbers)


def expected_excess(
    bowl: Quadratic, lr: float, noise: float, average: Average | None, steps: int
) -> NDArray[np.float64]:
    """E f - f* of gradient descent's points, or of an average of them, after t = 0, ..., steps steps, ``(steps + 1,)``.

    Exactly, from the mean and the covariance of (theta_i, its average): along each eigenvector
    theta+ = (1 - lr lambda) theta - lr xi with xi of variance noise^2, and average+ = average + w_t (theta+ - average).

    Args:
        bowl: the quadratic, with its start.
        lr: step size, constant.
        noise: standard deviation of a gradient.
        average: None for the points themselves.
        steps: length of the run, which weights may depend on.
    """
    found = np.zeros(steps + 1)
    for curvature, start in zip(bowl.eigenvalues.tolist(), bowl.beginning.tolist(), strict=True):
        mean, covariance = np.array([start, start]), np.zeros((2, 2))
        for t in range(steps + 1):
            if t:
                w = 1.0 if average is None else average.weight(t, steps)
                a = 1 - lr * curvature
                step, push = np.array([[a, 0.0], [w * a, 1 - w]]), np.array([lr, w * lr])
                mean = step @ mean
                covariance = step @ covariance @ step.T + noise**2 * np.outer(push, push)
            found[t] += curvature / 2 * (mean[1] ** 2 + covariance[1, 1])
    return found


def _order(ran: Ran) -> dict[str, int]:
    """Where each kind of point stands in a recorded path: theta first, then the averages as they are configured."""
    averages = ran.config["averaging"]["averages"]
    kept = [name for name, node in averages.items() if not node["_target_"].endswith("NoAverage")]
    return {"theta": 0, **{name: i + 1 for i, name in enumerate(kept)}}


def _curves(
    axes: Axes, ran: Ran, excess: NDArray[np.float64], order: Mapping[str, int], numbers: dict[str, float]
) -> None:
    bowl, n = cast(Quadratic, surface(ran)), len(excess) - 1
    lr = float(ran.config["optimizer"]["lr"])
    fraction = float(ran.config["averaging"]["averages"]["ema"]["fraction"])
    kinds: dict[str, Average | None] = {"theta": None, "ema": RunEMA(fraction), "uniform": UniformAverage()}
    noise = bowl.gradient_noise / float(ran.config["batch_size"]) ** 0.5
    for which, i in order.items():
        label, colour = _NAMES[which]
        expected = expected_excess(bowl, lr, noise, kinds[which], n)
        axes.plot(np.arange(1, n + 1), excess[1:, i], color=colour, lw=1.2, label=label)
        axes.plot(np.arange(1, n + 1), expected[1:], color=INK, lw=0.9, ls=":")
        numbers[f"ratio_{which}"] = float(excess[-1, i] / expected[-1])
    axes.set_xscale("log")
    axes.set_yscale("log")
    quiet(axes, "step t", r"$f - f^*$", f"mean of {len(ran.seeds)} seeds (dotted: expected)", curves=True)


def _valley(axes: Axes, ran: Ran, path: NDArray[np.float64], order: Mapping[str, int], shown: int) -> None:
    every = path[-shown:, 0]
    reach = 1.15 * np.abs(every).max(0)
    axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]))
    level_lines(axes, surface(ran), reach[1] ** 2 / 2 * np.linspace(0.05, 1.4, 9) ** 2)
    axes.plot(*every.T, color=PALE, lw=0.7)
    for which, i in order.items():
        label, colour = _NAMES[which]
        points = path[-shown:, i]
        axes.plot(*points.T, "o", color=colour, ms=2.2 if which == "theta" else 3.2, label=label)
    axes.plot(0, 0, "*", color="white", mec=INK, ms=11, zorder=3)
    quiet(axes, r"$\theta_1$", r"$\theta_2$", f"a valley, the last {shown} steps")


def _bend(axes: Axes, ran: Ran, path: NDArray[np.float64], order: Mapping[str, int]) -> None:
    of = surface(ran)
    axes.set(xlim=(-1.5, 1.3), ylim=(-0.5, 1.6))
    level_lines(axes, of, np.geomspace(0.5, 400, 9))
    for which, i in order.items():
        label, colour = _NAMES[which]
        axes.plot(*path[:, i].T, color=colour, lw=1.3, label=label)
        axes.plot(*path[-1, i], "o", color=colour, ms=6)
    axes.plot(1, 1, "*", color="white", mec=INK, ms=11, zorder=3)
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower left")
    quiet(axes, r"$\theta_1$", r"$\theta_2$", "a valley that bends, the whole way")
