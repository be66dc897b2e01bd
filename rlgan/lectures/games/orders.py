"""Who moves when: the two parameters of the Dirac-GAN under several orders of play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, PALE, REAL, SMALL, figure, quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURS = (FAKE, BLUE, REAL, "#8a6d1f")


def orders_of_play(runs: Mapping[str, Ran], window: int = 100) -> Drawn:
    """The way of (theta, psi) under every order, and its distance from the equilibrium (0, 0) against steps.

    The game is max_theta min_psi psi theta (Mescheder et al. 2018, with their critic's sign turned), both players by
    gradient steps of one length h. The equilibrium is a centre of its flow, so that an order of play decides by what it
    does beyond the flow.

    Args:
        runs: of `data=dirac`. One called `free` is without a bound on psi, and is not drawn: of it the growth of
            ``|(theta, psi)|`` per step is measured, sqrt(1 + h^2) for simultaneous steps.
        window: steps at the end over which the distance is taken.

    Returns:
        The figure, and for every variant `distance_NAME`, the largest distance over the window, `nearest_NAME`, the
        least one, and of `free` `growth` and `growth_expected`.
    """
    paths = {name: _path(ran) for name, ran in runs.items()}
    drawn = {name: path for name, path in paths.items() if name != "free"}
    made = figure(2.5 * len(drawn) + 0.4, 5.0)
    grid = made.add_gridspec(2, len(drawn), height_ratios=(1.15, 1.0))
    reach = 1.12 * max(float(np.abs(path).max()) for path in drawn.values())
    below = made.add_subplot(grid[1, :])
    numbers: dict[str, float] = {}
    for i, (name, path) in enumerate(drawn.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        axes = made.add_subplot(grid[0, i])
        axes.axhline(0, color=PALE, lw=0.6)
        axes.axvline(0, color=PALE, lw=0.6)
        axes.plot(path[:, 0], path[:, 1], color=colour, lw=0.8, alpha=0.9)
        axes.plot(*path[0], "o", color=colour, ms=5, mfc="white")
        axes.plot(*path[-1], "o", color=colour, ms=5)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        quiet(axes, r"generator $\theta$", r"critic $\psi$" if i == 0 else "", name)
        distance = np.hypot(path[:, 0], path[:, 1])
        below.plot(np.arange(1, len(distance) + 1), np.maximum(distance, 1e-8), color=colour, lw=1.3, label=name)
        numbers |= {
            f"distance_{name}": float(distance[-window:].max()),
            f"nearest_{name}": float(distance[-window:].min()),
        }
    below.set_yscale("log")
    quiet(below, "step", "distance from the equilibrium", curves=True)
    below.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    if "free" in paths:
        distance = np.hypot(*paths["free"].T)
        rate = float(runs["free"].config["generator"]["optimizer"]["lr"])
        numbers |= {"growth": float((distance[-1] / distance[0]) ** (1 / (len(distance) - 1)))}
        numbers |= {"growth_expected": float(np.sqrt(1 + rate**2))}
    return Drawn(made, numbers)


def _path(ran: Ran) -> NDArray[np.float64]:
    """The points (theta, psi) after every step, of shape (steps, 2)."""
    points: NDArray[np.float64] = ran.task().state_dict()["path"].double().numpy()
    return points
