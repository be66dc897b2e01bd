"""AcceleGrad beside Adam: on a smooth and on a non-smooth convex problem, and on a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rlgan.lectures.band import band
from rlgan.lectures.ways import BLUE, FAKE, REAL, straight
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_KINDS = {"accelegrad": ("AcceleGrad", BLUE), "adam": ("Adam", FAKE), "descent": ("gradient descent", REAL)}


def accelegrad(runs: Mapping[str, Ran]) -> Drawn:
    """f - f* against steps on two convex problems; training and test loss of a classifier.

    AcceleGrad's output, the weighted mean of its points, has f - f* = O(1/k^2) if f is smooth and O(sqrt(log k)/sqrt k)
    if it is only convex and Lipschitz, and does not know which (Levy, Yurtsever & Cevher 2018, Online adaptive methods,
    universality and acceleration). At a kink Adam with a constant learning rate stays at a distance that goes with it.

    (EE-556, Lecture 9: Deep Learning III, "AcceleGrad - Properties and convergence" and "ADAM vs. AcceleGrad".)

    Args:
        runs: PROBLEM_METHOD or PROBLEM_METHOD_SETTING, of the problems `smooth`, `kink` and `digits` and the methods
            `accelegrad` with averaging=weighted, `adam` and `descent`. Settings of one method are a grid: all are
            drawn, and the best is the one with the least f, or training loss, at the end.

    Returns:
        The figure. `smooth_10`, `smooth_100`, `smooth_1000`: f - f* of AcceleGrad after so many steps, and the same of
        `descent_`; `slope_smooth`, `slope_kink`, of AcceleGrad's log(f - f*) over log k from 10 on; `PROBLEM_METHOD`,
        the best at the end; `train_METHOD`, `test_METHOD`, `error_METHOD` of the best classifier, means over seeds.
    """
    made = figure(9.2, 3.6)
    numbers: dict[str, float] = {}
    panels = made.subplots(1, 3)
    for axes, problem, title in zip(panels[:2], ("smooth", "kink"), ("smooth", "not smooth"), strict=True):
        _convex(axes, problem, _of(runs, problem), numbers)
        axes.set_ylim(bottom=0.1 * numbers[f"{problem}_accelegrad"])
        quiet(axes, "step k", r"$f - f^*$", f"convex, {title}", curves=True)
        axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower left")
    _classifier(panels[2], _of(runs, "digits"), numbers)
    return Drawn(made, numbers)


def curve(ran: Ran, tag: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A metric of a method's output: of the average where one is kept."""
    kept = not str(ran.config["averaging"]["_target_"]).endswith("NoAverage")
    return ran.curve(f"{tag}/average" if kept else tag)


def _of(runs: Mapping[str, Ran], problem: str) -> dict[str, list[Ran]]:
    """The runs of a problem by their method."""
    found: dict[str, list[Ran]] = {}
    for name, ran in runs.items():
        if name.startswith(f"{problem}_"):
            found.setdefault(name.split("_")[1], []).append(ran)
    return found


def _best(group: list[Ran], tag: str) -> Ran:
    return min(group, key=lambda ran: float(curve(ran, tag)[1][:, -1].mean()))


def _convex(axes: Axes, problem: str, methods: Mapping[str, list[Ran]], numbers: dict[str, float]) -> None:
    for method, group in methods.items():
        best = _best(group, "risk/excess")
        label, colour = _KINDS[method]
        for ran in group:
            k, excess = curve(ran, "risk/excess")
            chosen = ran is best
            axes.plot(k, excess.mean(0), color=colour, lw=1.4 if chosen else 0.7, alpha=1 if chosen else 0.45,
                      label=label if chosen else None)  # fmt: skip
        k, excess = curve(best, "risk/excess")
        numbers[f"{problem}_{method}"] = float(excess[:, -1].mean())
        at = {f"{problem if method == 'accelegrad' else method}_{step}": step for step in (10, 100, 1000)}
        if problem == "smooth" and method != "adam":
            numbers |= {name: float(excess[0, k == step][0]) for name, step in at.items() if step in k}
        if method == "accelegrad":
            spaced = np.unique(np.searchsorted(k, np.geomspace(max(k[0], 10), k[-1], 30)))
            slope = straight(np.log(k[spaced]), np.log(excess[0, spaced])).slope
            numbers[f"slope_{problem}"] = slope
    axes.set_xscale("log")
    axes.set_yscale("log")


def _classifier(axes: Axes, methods: Mapping[str, list[Ran]], numbers: dict[str, float]) -> None:
    for method, group in methods.items():
        best = _best(group, "risk/train")
        label, colour = _KINDS[method]
        for ran in group:
            if ran is not best:
                steps, values = curve(ran, "risk/train")
                axes.plot(steps, values.mean(0), color=colour, lw=0.7, alpha=0.45)
        for tag, style in (("train", "-"), ("test", "--")):
            steps, values = curve(best, f"risk/{tag}")
            band(axes, steps, values, colour, f"{label}, {tag}", ls=style)
            numbers[f"{tag}_{method}"] = float(values[:, -1].mean())
        numbers[f"error_{method}"] = float(curve(best, "error/test")[1][:, -1].mean())
    axes.set_yscale("log")
    axes.set_ylim(bottom=1e-7)
    quiet(axes, "step", "cross-entropy", "a classifier of digits", curves=True)
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower left")
