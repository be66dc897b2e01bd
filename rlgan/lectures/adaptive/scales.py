"""A learning rate for each parameter: features of unlike scale and frequency, and walls that AdaGrad remembers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rlgan.erm import ERM
from rlgan.lectures.band import band
from rlgan.lectures.ways import BLUE, COLOURS, FAKE, level_lines, surface, values, way
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = {
    "sgd": "gradient descent",
    "norm": "AdaGrad, one step size",
    "adagrad": "AdaGrad, diagonal",
    "full": "AdaGrad, full matrix",
    "rmsprop": "RMSProp",
    "adam": "Adam",
}
PROBLEMS = {
    "round": "all features alike",
    "axes": "unlike scales",
    "rotated": "unlike scales, rotated",
    "rare": "unlike frequencies",
}

ROUNDING = 1e-16
"""Shares of the first distance that are less are drawn as this."""


def scales(runs: Mapping[str, Ran]) -> Drawn:
    """The distance to the optimum under six methods, of least squares with four kinds of features, or some.

    With a separable quadratic f = sum_i lambda_i (theta_i - theta*_i)^2 / 2 a coordinate of diagonal AdaGrad (Duchi,
    Hazan & Singer 2011) moves by lr g_i / sqrt(sum g_i^2), from which lambda_i cancels: its way does not depend on the
    scales at all. Rotated axes are not its own. The full matrix, H = (sum g g^T)^(1/2), turns with the problem.

    (CMSC 35246, Lecture 6: Optimization for Deep Neural Networks, "Adaptive Learning Rate Methods"; EE-556, Lecture 7:
    Optimization for Deep Learning, "Deep learning optimizers: Ill-Conditioned Curvature"; Lecture 9: Deep Learning III,
    AdaGrad with H = lambda I and with H = D.)

    Args:
        runs: PROBLEM_METHOD, of the problems `round`, `axes`, `rotated` of `problem=linear_regression` and `rare` of
            `problem=sparse_features`, and the methods `sgd`, `norm`, `adagrad`, `full`, `rmsprop`, `adam`.

    Returns:
        The figure, and of every run `PROBLEM_METHOD`, the distance at the end as a share of the first, a mean over
        seeds; `same`, the largest relative difference between diagonal AdaGrad's distances on `round` and `axes`, down
        to a millionth of the first.
    """
    problems = [name for name in PROBLEMS if any(run.startswith(f"{name}_") for run in runs)]
    made = figure(2.7 * len(problems) + (0.4 if len(problems) > 1 else 3.0), 4.0)
    numbers: dict[str, float] = {}
    panels = made.subplots(1, len(problems), sharey=True, squeeze=False)[0]
    for axes, problem in zip(panels, problems, strict=True):
        for i, (method, label) in enumerate(METHODS.items()):
            if (ran := runs.get(f"{problem}_{method}")) is None:
                continue
            steps, distance = ran.curve("distance/optimum")
            share = distance / _start(ran)
            band(axes, steps, np.maximum(share, ROUNDING), COLOURS[i], label, lw=1.4)
            numbers[f"{problem}_{method}"] = float(share[:, -1].mean())
        axes.set_xscale("log")
        axes.set_yscale("log")
        quiet(
            axes,
            "step",
            "distance to the optimum over that at the start" if axes is panels[0] else "",
            PROBLEMS[problem],
            curves=True,
        )
    panels[0].set_ylim(ROUNDING / 3, 5)
    handles, labels = panels[0].get_legend_handles_labels()
    made.legend(handles, labels, fontsize=SMALL, frameon=False, labelcolor=INK, ncol=3, loc="outside lower center")
    if {"round_adagrad", "axes_adagrad"} <= runs.keys():
        numbers["same"] = _difference(runs["round_adagrad"], runs["axes_adagrad"])
    return Drawn(made, numbers)


def steep_then_flat(runs: Mapping[str, Ran]) -> Drawn:
    """AdaGrad and RMSProp from a steep wall onto a flat floor: the way, the distance, and the effective learning rate.

    AdaGrad divides by the root of all squared gradients so far, the first ones on the wall included, so that its
    effective learning rate only falls: at most lr over the first gradient. RMSProp forgets the wall (Tieleman & Hinton
    2012). (EE-556, Lecture 9: Deep Learning III, "What could be improved over AdaGrad?"; Lecture 7: Optimization for
    Deep Learning, "AdaGrad" and "RMSProp", early stop.)

    Args:
        runs: METHOD_LR of `problem=steep_then_flat` in two dimensions, of the methods `adagrad` and `rmsprop`. The best
            of a method is the one that ends nearest to the optimum; the others are drawn pale.

    Returns:
        The figure; `adagrad` and `rmsprop`, the distance of the best at the end; `rise_adagrad`, the largest rise of
        AdaGrad's effective learning rates in any step of any run; `rise_rmsprop`, of the best, the last effective
        learning rate over the least; `held`, the largest ratio of an AdaGrad's effective learning rate to its bound.
    """
    made = figure(9.0, 3.5)
    left, middle, right = made.subplots(1, 3)
    numbers: dict[str, float] = {"rise_adagrad": -np.inf, "held": 0.0}
    groups = {kind: [ran for name, ran in runs.items() if name.startswith(kind)] for kind in ("adagrad", "rmsprop")}
    best = {kind: min(group, key=lambda ran: ran.mean("distance/optimum")) for kind, group in groups.items()}
    of = surface(best["adagrad"])
    reach = 1.15 * float(of.beginning.abs().max())
    left.set(xlim=(-reach / 2, reach), ylim=(-reach / 2, reach), aspect="equal")
    level_lines(left, of, float(values(of, of.beginning.numpy()[None])[0]) * np.linspace(0, 1.5, 12)[1:] ** 2)
    level_lines(left, of, [0.05, 0.2, 0.45])
    for kind, colour in (("adagrad", FAKE), ("rmsprop", BLUE)):
        for ran in groups[kind]:
            chosen = ran is best[kind]
            _steep(middle, right, ran, colour, METHODS[kind].split(",")[0], chosen)
            if kind == "adagrad":
                _held(ran, numbers)
        left.plot(*way(best[kind])[:, 0].T, "o-", color=colour, ms=2.2, lw=1.1)
        numbers[kind] = best[kind].mean("distance/optimum")
    rate = best["rmsprop"].curve("optim/model/effective_lr_p10")[1][0]
    numbers["rise_rmsprop"] = float(rate[-1] / rate.min())
    left.plot(0, 0, "*", color="white", mec=INK, ms=11, zorder=3)
    left.plot(*of.beginning.tolist(), "o", color=INK, ms=6, mfc="white", zorder=3)
    quiet(left, r"$\theta_1$", r"$\theta_2$", "steep walls, a flat floor")
    for axes in (middle, right):
        axes.set_yscale("log")
    middle.set_ylim(1e-4, 20)
    quiet(middle, "step", "distance to the optimum", "the best of a grid, others pale", curves=True)
    quiet(right, "step", r"$\alpha / H_t$ of both coordinates", "effective learning rates", curves=True)
    middle.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower left")
    return Drawn(made, numbers)


def _difference(one: Ran, other: Ran) -> float:
    """The largest relative difference of two curves of distances, as long as they are above eps and rounding."""
    first, second = (ran.curve("distance/optimum")[1] for ran in (one, other))
    seen = first > 1e-6 * first.max()
    return float(np.abs(second / first - 1)[seen].max())


def _start(ran: Ran) -> float:
    """|theta_0 - theta*| of a linear model, which starts at 0."""
    optimum = cast(ERM, ran.task()).problem.optimum()
    assert optimum is not None
    return float(optimum.norm())


def _steep(middle: Axes, right: Axes, ran: Ran, colour: str, label: str, chosen: bool) -> None:
    style: dict[str, Any] = {"lw": 1.5} if chosen else {"lw": 0.7, "alpha": 0.35}
    steps, distance = ran.curve("distance/optimum")
    middle.plot(steps, distance[0], color=colour, label=label if chosen else None, **style)
    if chosen:
        for end in ("_p10", "_p90"):
            right.plot(steps, ran.curve(f"optim/model/effective_lr{end}")[1][0], color=colour, lw=1.3)


def _held(ran: Ran, numbers: dict[str, float]) -> None:
    """AdaGrad's effective learning rates against the bound lr / |g_1|, coordinate by coordinate."""
    of = surface(ran)
    first = torch.func.grad(of.value)(of.beginning).abs().numpy()
    for end, gradient in (("_p10", first.max()), ("_p90", first.min())):
        rate = ran.curve(f"optim/model/effective_lr{end}")[1][0]
        numbers["rise_adagrad"] = max(numbers["rise_adagrad"], float(np.diff(rate).max()))
        bound = float(ran.config["optimizer"]["lr"]) / gradient
        numbers["held"] = max(numbers["held"], float(rate.max() / bound))
