"""Constant and vanishing steps near a minimum of a function that is not convex: what converges, and how fast."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rlgan.lectures.ways import BLUE, FAKE, GOLD, GREEN, PURPLE, REAL, straight, surface, values, ways
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, SMALL, figure, quiet

_COLOURS = (REAL, FAKE, GOLD, GREEN, PURPLE, BLUE)
CURVATURES = np.array([2.0, 4.0])
"""Eigenvalues of the minmax saddle's Hessian at its minima."""
_LABELS = {
    "gradient": "gradient descent",
    "constant": "SGD, constant",
    "perturbed": "perturbed SGD",
    "vanishing": "SGD, 1/k",
}


def steps(runs: Mapping[str, Ran]) -> Drawn:
    """The excess f - f* against steps for constant and vanishing steps, and its floor against the step size.

    Near a minimum with eigenvalues lambda_i, under noise of variance sigma^2 in each coordinate of the gradient,

        a constant step lr:    E f - f* -> sum_i lr sigma^2 / (2 (2 - lr lambda_i)), about lr sigma^2 d / 4,
        lr_k = c/k:            k (E f - f*) -> sum_i lambda_i c^2 sigma^2 / (2 (2 c lambda_i - 1)),

    the latter where 2 c lambda_i > 1: from the recursion of the variance (Kushner & Yin 2003; for the rate
    Mertikopoulos et al. 2020, Theorem 4). The sphere of perturbed SGD has sigma^2 = 1/2 in the plane.

    (EE-556, Lecture 9: Deep Learning III, "Q1: Does SGD converge?" and "Q3: How fast does SGD converge to local
    minimizers?".)

    Args:
        runs: on `problem=minmax_saddle`: `gradient`, gradient descent; `constant_...`, of one step size each, the
            largest first; `perturbed`; `vanishing`, with `schedule=power` and kappa = 1.

    Returns:
        The figure. Of each with a constant step and noise `floor_NAME`, the mean excess over the second half, and
        `theory_NAME`; `worst`, the largest relative difference of these, `floor_least`, the least floor; `floor_ratio`,
        the first constant step's floor over the last one's, and `step_ratio`, of their steps. `excess_gradient`, at the
        end; of the vanishing step `rate`, the slope of log excess against log k from k = 100 on,
        `times_k`, the mean of k times the excess over the last three quarters, and
        `times_k_theory`.
    """
    made = figure(8.6, 4.0)
    left, right = made.subplots(1, 2, width_ratios=(1.5, 1))
    numbers: dict[str, float] = {}
    sizes, floors, expected = [], [], []
    for (name, ran), colour in zip(runs.items(), _COLOURS, strict=False):
        problem = surface(ran)
        excess = values(problem, ways(ran)) - float(problem.least() or 0.0)
        mean = np.maximum(excess.mean(0), 1e-17)
        lr, deviation = float(ran.config["optimizer"]["lr"]), _noise(ran)
        k = np.arange(1, len(mean))
        kind = name.split("_")[0]
        label = _LABELS[kind] + (f" {lr:g}" if kind in ("constant", "perturbed") else "")
        where = _few(len(mean) - 1)
        left.plot(k[where - 1], _smooth(mean[1:], where), color=colour, lw=1.5, label=label)
        if kind == "gradient":
            numbers["excess_gradient"] = float(excess[:, -1].max())
        elif kind == "vanishing":
            numbers |= _vanishing(ran, mean, lr, deviation)
        else:
            floor, known = float(mean[len(mean) // 2 :].mean()), constant_floor(lr, deviation)
            numbers |= {f"floor_{name}": floor, f"theory_{name}": known}
            mark = {"marker": "o"} if kind == "constant" else {"marker": "D", "label": _LABELS[kind]}
            right.plot(lr, floor, ls="", color=colour, ms=7, **mark)
            expected.append(floor / known - 1)
            if kind == "constant":
                sizes.append(lr)
                floors.append(floor)
    numbers |= {
        "worst": float(np.abs(expected).max()),
        "floor_least": min(floors),
        "floor_ratio": floors[0] / floors[-1],
        "step_ratio": sizes[0] / sizes[-1],
    }
    line = np.geomspace(0.7 * min(sizes), 1.4 * max(sizes), 50)
    sigma = _noise(next(ran for name, ran in runs.items() if name.startswith("constant")))
    theory = [constant_floor(float(lr), sigma) for lr in line]
    right.plot(line, theory, ":", color=INK, lw=1.1, label="theory: in proportion to the step")
    right.set(xscale="log", yscale="log")
    right.set_xticks(sorted(sizes), [f"{size:g}" for size in sorted(sizes)])
    right.set_yticks((3e-3, 1e-2, 3e-2), ("0.003", "0.01", "0.03"))
    right.set_ylim(1.5e-3, 5e-2)
    right.minorticks_off()
    left.set(xscale="log", yscale="log", ylim=(1e-6, 3))
    quiet(left, "step k", r"$f - f^*$ (mean of the seeds)", "how near to the minimum", curves=True)
    quiet(right, "step size", r"$f - f^*$ in the end", "where a constant step stays", curves=True)
    left.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower left")
    right.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper left")
    return Drawn(made, numbers)


def constant_floor(lr: float, deviation: float, curvatures: NDArray[np.float64] = CURVATURES) -> float:
    """E f - f* in the end of a constant step on a quadratic, `deviation` = sigma."""
    return float((lr * deviation**2 / (2 * (2 - lr * curvatures))).sum())


def vanishing_constant(c: float, deviation: float, curvatures: NDArray[np.float64] = CURVATURES) -> float:
    """The limit of k (E f - f*) for steps c/k on a quadratic, 2 c lambda > 1."""
    return float((curvatures * c**2 * deviation**2 / (2 * (2 * c * curvatures - 1))).sum())


def _noise(ran: Ran) -> float:
    """sigma, of a coordinate of a step's gradient."""
    found = 0.0
    if str(ran.config["optimizer"]["_target_"]).endswith("perturbed_sgd"):
        found += float(ran.config["optimizer"]["sigma"]) ** 2 / 2
    if ran.config["batch_size"]:
        found += float(ran.config["problem"]["gradient_noise"]) ** 2 / float(ran.config["batch_size"])
    return float(np.sqrt(found))


def _vanishing(ran: Ran, mean: NDArray[np.float64], lr: float, deviation: float) -> dict[str, float]:
    offset = float(ran.config["schedule"]["offset"])
    k = np.arange(1, len(mean)) + offset
    where = _few(len(mean) - 1)
    late = where[where >= min(100, len(mean) // 4)]
    line = straight(np.log(k[late - 1]), np.log(_smooth(mean[1:], late)))
    last = slice(len(k) // 4, None)
    return {
        "rate": line.slope,
        "times_k": float((k * mean[1:])[last].mean()),
        "times_k_theory": vanishing_constant(lr * offset, deviation),
    }


def _few(n: int) -> NDArray[np.int64]:
    """Numbers from 1 to n, evenly spaced in their logarithms."""
    return np.unique(np.geomspace(1, n, 60).astype(int))


def _smooth(of: NDArray[np.float64], where: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of a curve at steps 1, 2, ... over windows that end at `where` and are a fifth of that long."""
    return np.array([of[k - 1 - (k - 1) // 5 : k].mean() for k in where])
