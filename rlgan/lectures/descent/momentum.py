"""Momentum in an ill-conditioned valley: the way, the rate, and the speed under a gradient that stays the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from rlgan.erm import Quadratic, Ramp
from rlgan.lectures.ways import COLOURS, level_lines, straight, surface, way
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_LABELS = {"descent": "gradient descent", "heavy_ball": "heavy ball", "nesterov": "Nesterov"}


def momentum(runs: Mapping[str, Ran], shown: int = 40) -> Drawn:
    """Gradient descent, heavy ball and Nesterov's momentum in a valley; heavy balls on a slope.

    On a quadratic with eigenvalues mu and L = kappa mu the distance to the minimum falls as q^t, or as t q^t:

        gradient descent, lr = 2/(L + mu):                          q = (kappa - 1)/(kappa + 1)
        heavy ball, lr = 4/(sqrt L + sqrt mu)^2, rho = q^2:         q = (sqrt kappa - 1)/(sqrt kappa + 1)  (Polyak 1964)
        Nesterov, lr = 1/L, rho = the heavy ball's q:              q = 1 - 1/sqrt kappa  (Nesterov 2004)

    With momentum q is a double root, hence the factor t, which is divided out before a line is put through the last
    half of log(distance). Under a constant gradient g the velocity v <- rho v - lr g has the speed
    lr |g| (1 - rho^t)/(1 - rho) after t steps, and lr |g|/(1 - rho) in the end.

    (CMSC 35246, Lecture 6: Optimization for Deep Neural Networks, the slides on momentum.)

    Args:
        runs: `descent`, `heavy_ball` and `nesterov` of `problem=quadratic`; any others, of `problem=ramp`, are slopes.
        shown: steps of the way that are drawn.

    Returns:
        The figure. Of each run in the valley `rate_NAME`, `theory_NAME`, `distance_NAME`, the last one, and
        `farthest_NAME`, the largest; of each on the slope `speed_NAME` and `terminal_NAME`, and `worst_speed`, the
        largest relative difference of any speed from its closed form.
    """
    made = figure(8.4, 5.6)
    grid = made.add_gridspec(2, 2, height_ratios=(1, 1.25))
    above, below, slope = (made.add_subplot(place) for place in (grid[0, :], grid[1, 0], grid[1, 1]))
    numbers: dict[str, float] = {}
    valley = {name: ran for name, ran in runs.items() if isinstance(surface(ran), Quadratic)}
    _ways(above, valley, shown)
    for i, (name, ran) in enumerate(valley.items()):
        steps, distance = ran.curve("distance/optimum")
        bowl = cast(Quadratic, surface(ran))
        expected = rates(bowl.kappa)[name]
        late = slice(len(steps) // 2, None)
        double = 0 if name == "descent" else 1
        line = straight(steps[late], np.log(distance[0, late] / steps[late] ** double))
        below.plot(steps, distance[0], color=COLOURS[i], lw=1.4, label=f"{_LABELS[name]}, q = {expected:.3f}")
        theory = expected ** (steps - steps[-1]) * (steps / steps[-1]) ** double
        below.plot(steps[late], (distance[0, -1] * theory)[late], color=INK, lw=0.9, ls=":")
        numbers |= {
            f"rate_{name}": float(np.exp(line.slope)),
            f"theory_{name}": expected,
            f"distance_{name}": float(distance[0, -1]),
            f"farthest_{name}": float(distance.max()),
        }
    below.set_yscale("log")
    quiet(below, "step t", "distance to the minimum", r"as fast as $q^t$ (dotted: theory)", curves=True)
    below.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    worst = 0.0
    for i, (name, ran) in enumerate((n, r) for n, r in runs.items() if n not in valley):
        steps, speed = ran.curve("optim/model/update_norm")
        rho = float(ran.config["optimizer"]["rho"])
        gradient = float(np.linalg.norm(cast(Ramp, surface(ran)).slope))
        terminal = float(ran.config["optimizer"]["lr"]) * gradient / (1 - rho)
        colour = COLOURS[i % len(COLOURS)]
        slope.plot(steps, speed[0], color=colour, lw=1.4, label=rf"$\rho$ = {rho:g}")
        slope.axhline(terminal, color=colour, lw=0.9, ls=":")
        worst = max(worst, float(np.abs(speed[0] / (terminal * (1 - rho**steps)) - 1).max()))
        numbers |= {f"speed_{name}": float(speed[0, -1]), f"terminal_{name}": terminal}
    numbers["worst_speed"] = worst
    slope.set_xlim(0, 60)
    slope.set_ylim(bottom=0)
    quiet(slope, "step t", "length of a step", r"constant gradient (dotted: $\eta|g|/(1-\rho)$)", curves=True)
    slope.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper right", bbox_to_anchor=(1, 0.92))
    return Drawn(made, numbers)


def rates(kappa: float) -> dict[str, float]:
    """q of each method at its best settings on a quadratic of condition number `kappa`."""
    root = kappa**0.5
    return {"descent": (kappa - 1) / (kappa + 1), "heavy_ball": (root - 1) / (root + 1), "nesterov": 1 - 1 / root}


def _ways(axes: Axes, valley: Mapping[str, Ran], shown: int) -> None:
    """The first points of every run over the level sets of the valley."""
    paths: dict[str, NDArray[np.float64]] = {name: way(ran)[: shown + 1, 0] for name, ran in valley.items()}
    every = np.concatenate(list(paths.values()))
    low, high = every.min(0), every.max(0)
    axes.set(xlim=(low[0] - 0.1, high[0] + 0.5), ylim=(1.1 * low[1], 1.1 * high[1]))
    bowl = surface(next(iter(valley.values())))
    level_lines(axes, bowl, np.square(np.linspace(0.01, 1.6, 16) * float(high[1])) / 2)
    for i, (name, points) in enumerate(paths.items()):
        axes.plot(*points.T, "o-", color=COLOURS[i], ms=2.4, lw=1.1, label=_LABELS[name])
    axes.plot(*every[0], "o", color=INK, ms=6, mfc="white")
    axes.plot(0, 0, "*", color="white", mec=INK, ms=11, zorder=3)
    quiet(axes, r"$\theta_1$, along the valley", r"$\theta_2$, across", f"the first {shown} steps")
    for spine in axes.spines.values():
        spine.set_color(PALE)
