"""How near one hidden layer comes to a continuous function as it grows wider, and what no width helps against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from scipy.optimize import linprog

from rlgan.erm import ERM, Curve
from rlgan.nets.layers import in_evaluation_mode
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

POINTS = 2001
"""Of [0, 1], at which the largest error is looked for."""
_COLOURS = {"relu": FAKE, "tanh": BLUE, "identity": REAL, "polynomial": "#8a6d1f"}


class Fit(NamedTuple):
    """Networks of one activation and width: their largest errors, one a seed, and the best one's values."""

    errors: list[float]
    values: Array


def best_polynomial(x: Array, y: Array, degree: int) -> tuple[Array, float]:
    """The polynomial whose largest distance from y at the points x is the least, as a linear programme.

    min e over coefficients c and e with |sum_j c_j T_j(2 x_i - 1) - y_i| <= e, T_j Chebyshev's polynomials.

    Args:
        x: points of [0, 1], ``(n,)``.
        y: values there, ``(n,)``.
        degree: of the polynomial.

    Returns:
        Its values at x, and e.

    Raises:
        RuntimeError: the solver did not reach the optimum.
    """
    basis = np.polynomial.chebyshev.chebvander(2 * x - 1, degree)
    ones = np.ones((len(x), 1))
    found = linprog(
        np.append(np.zeros(degree + 1), 1.0),
        A_ub=np.block([[basis, -ones], [-basis, -ones]]),
        b_ub=np.concatenate((y, -y)),
        bounds=[(None, None)] * (degree + 1) + [(0, None)],
    )
    if not found.success:
        raise RuntimeError(f"the best polynomial of degree {degree}: {found.message}")
    return basis @ found.x[:-1], float(found.x[-1])


def best_kinks(kinks: int) -> float:
    """About the least largest error of piecewise linear functions with so many kinks, for sin(2 pi x) on [0, 1].

    (integral of sqrt |g''|)^2 / (16 (kinks + 1)^2) for many kinks: on a piece of length h a straight line comes within
    |g''| h^2 / 16, and the pieces are best made so that all are equally far. A layer of m units of ReLU has m kinks.
    """
    x = (np.arange(100_000) + 0.5) / 100_000
    root = np.sqrt(4 * np.pi**2 * np.abs(np.sin(2 * np.pi * x))).mean()
    return float(root**2 / (16 * (kinks + 1) ** 2))


def universal_approximation(runs: Mapping[str, Ran]) -> Drawn:
    """The largest error on [0, 1] against the width, for activations that are polynomials and others.

    (EE-556, Lecture 7: Optimization for Deep Learning, "Why neural networks?: An approximation theoretic motivation"
    and "What is the role of the activation function"; Cybenko 1989; Leshno et al. 1993.)

    Args:
        runs: one hidden layer on `problem=curve`, of several widths and activations.

    Returns:
        The figure, and of each activation A and width m `error_A_m`, the largest error of the best seed, for the
        theorem says that there is a network. `floor_identity` and `floor_polynomial` are the least largest errors of
        straight lines and of parabolas, which no network of these activations comes below; `least_A` is the least of
        all widths and `spread_identity` the difference of the worst from it.
    """
    fits: dict[str, dict[int, Fit]] = defaultdict(dict)
    x = torch.linspace(0, 1, POINTS, dtype=torch.float64)[:, None]
    target = np.zeros(0)
    for ran in runs.values():
        network = ran.config["network"]
        errors, values = [], np.zeros(0)
        for seed in ran.seeds:
            task = cast(ERM, ran.task(seed))
            target = cast(Curve, task.problem).value(x).numpy()
            model = task.model.module
            with torch.no_grad(), in_evaluation_mode(model):
                f = model(x.to(task.settings.dtype)).double().numpy()
            errors.append(float(np.abs(f - target).max()))
            if errors[-1] == min(errors):
                values = f
        fits[network["activation"]][network["hidden"][0]] = Fit(errors, values)
    numbers = {
        f"error_{name}_{width}": min(fit.errors) for name, of in fits.items() for width, fit in sorted(of.items())
    }
    for name, of in fits.items():
        numbers[f"least_{name}"] = min(min(fit.errors) for fit in of.values())
    if "identity" in fits:
        every = [error for fit in fits["identity"].values() for error in fit.errors]
        numbers["spread_identity"] = max(every) - min(every)
    at = x[:, 0].numpy()
    line, numbers["floor_identity"] = best_polynomial(at, target, 1)
    _, numbers["floor_polynomial"] = best_polynomial(at, target, 2)
    made = figure(10.4, 3.4)
    good, poor, against = made.subplots(1, 3)
    _curves(good, at, target, fits.get("relu", {}), FAKE)
    quiet(good, r"$x$", r"$f(x)$", "ReLU: wide enough is near enough", curves=True)
    _curves(poor, at, target, fits.get("polynomial", {}), _COLOURS["polynomial"])
    poor.plot(at, line, color=INK, lw=0.9, ls="--", label="best straight line")
    poor.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK)
    quiet(poor, r"$x$", r"$f(x)$", r"$\sigma(u) = u + u^2/2$: a parabola at any width", curves=True)
    _against(against, fits, numbers)
    return Drawn(made, numbers)


def _curves(axes: Axes, x: Array, target: Array, fits: Mapping[int, Fit], colour: str) -> None:
    """The function, and the best networks of the least width, one in the middle and the greatest."""
    axes.plot(x, target, color=REAL, lw=2.6, alpha=0.35, label="g")
    widths = sorted(fits)
    shown = sorted({widths[0], widths[len(widths) // 2], widths[-1]}) if widths else []
    for i, width in enumerate(shown):
        style = (":", "--", "-")[i + 3 - len(shown)]
        axes.plot(x, fits[width].values, color=colour, lw=1.2, ls=style, label=f"m = {width}")
    axes.set_ylim(-1.35, 1.55)
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK)


def _against(axes: Axes, fits: Mapping[str, Mapping[int, Fit]], numbers: Mapping[str, float]) -> None:
    """Largest error against width: a dot for each seed, a line through the best."""
    widths = sorted({width for of in fits.values() for width in of})
    axes.axhspan(numbers["floor_polynomial"], 3, color=REAL, alpha=0.10, lw=0)
    axes.text(widths[0], 1.55, "parabolas and lines: here, whatever the width", fontsize=SMALL - 1, color=INK)
    for name, of in fits.items():
        colour = _COLOURS.get(name, INK)
        own = sorted(of)
        for width in own:
            axes.plot([width] * len(of[width].errors), of[width].errors, ".", color=colour, ms=4, alpha=0.5)
        hidden = name == "identity"  # behind the polynomial's line
        best = [min(of[width].errors) for width in own]
        axes.plot(own, best, "-", color=colour, lw=3.5 if hidden else 1.3, alpha=0.35 if hidden else 1, label=name)
    axes.plot(widths, [best_kinks(m) for m in widths], color=FAKE, lw=0.9, ls=":", label="best with m kinks (exists)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(widths, [str(m) for m in widths])
    axes.minorticks_off()
    axes.set_ylim(1e-4, 2.6)
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK, loc="lower left")
    quiet(axes, "width m", r"$\sup_x |g(x) - f(x)|$", "largest error on [0, 1]", curves=True)
