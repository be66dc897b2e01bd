"""The table of rates: what SGD does under noise that stays, strong growth, and the Polyak-Lojasiewicz inequality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from rlgan.erm import ERM, Crater, LinearRegression
from rlgan.lectures.ways import BLUE, FAKE, GOLD, GREEN, straight, surface
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


_FREE = (("AdaGrad", FAKE), ("Adam", GREEN), ("AMSGrad", GOLD))


class Interval(NamedTuple):
    """A mean over seeds, and the ends of its 95 % interval (Student's t)."""

    mean: float
    low: float
    high: float


def interval(of: ArrayLike) -> Interval:
    """The mean of values of several seeds, independent and about normal; without an interval of one seed."""
    from scipy.stats import t

    values = np.asarray(of, dtype=float)
    mean, n = float(values.mean()), values.size
    if n < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)
    return Interval(mean, mean - half, mean + half)


def rates(runs: Mapping[str, Ran]) -> Drawn:
    """How fast SGD's gradient, or its risk, falls under three sets of assumptions.

        L-smooth, variance sigma^2, lr = 1/(L sqrt N)     mean |grad f|^2 <= (2 L (f_0 - f*) + sigma^2)/sqrt N
        and strong growth, lr = 1/(rho L)                 mean |grad f|^2 <= 2 rho L (f_0 - f*)/k
        and Polyak-Lojasiewicz, lr = 1/(rho L)            E f - f* <= (1 - mu/(rho L))^k (f_0 - f*)

    The first is Ghadimi & Lan 2013, the others Vaswani, Bach & Schmidt 2019 (Fast and faster convergence of SGD for
    over-parameterized models, Theorems 3 and 4); f is the crater, on which the first two exponents are not only bounds.
    The last also holds for least squares that fit every sample, with the largest curvature of a sample in the place of
    rho L; with too few parameters for the noise of the labels they do not, and the risk stops falling.

    (EE-556, Lecture 9: Deep Learning III, "Performance of optimization algorithms (nonconvex)"; Lecture 7, (13), has
    the first bound with L times sigma^2.)

    Args:
        runs: `smooth_N` of `problem=crater` with additive noise, for several N, and `free_adagrad`, `free_adam`,
            `free_amsgrad` of the same; `growth` and `pl` of it with relative noise; `interpolation` and `noisy` of
            `problem=linear_regression`. Several seeds.

    Returns:
        The figure. `slope_smooth`, `slope_growth`, fitted to logarithms, and `slope_free_METHOD`, of the last nine
        tenths of the running mean, each with `_low` and `_high`, its interval over the seeds; `worst_smooth`,
        `worst_growth`: the largest ratio to the bound; `rate_pl`, `rate_interpolation`: factors a step, with `bound_`
        and, of the first, `typical_pl`; `excess_pl`, `excess_interpolation`, `excess_noisy` at the end;
        `step_interpolation`, lr times the largest curvature of a sample, at most 1.
    """
    made = figure(9.0, 3.5)
    left, middle, right = made.subplots(1, 3)
    numbers: dict[str, float] = {}
    _smooth(left, {name: ran for name, ran in runs.items() if name.startswith("smooth_")}, numbers)
    _free(left, {name: ran for name, ran in runs.items() if name.startswith("free_")}, numbers)
    _growth(middle, runs["growth"], numbers)
    _linear(right, runs, numbers)
    return Drawn(made, numbers)


def _put(numbers: dict[str, float], name: str, found: Interval) -> None:
    numbers |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _smooth(axes: Axes, runs: Mapping[str, Ran], numbers: dict[str, float]) -> None:
    n = np.array([float(ran.config["steps"]) for ran in runs.values()])
    means = np.stack([ran.last("gradient/squared_mean") for ran in runs.values()], 1)  # (seeds, runs)
    first = next(iter(runs.values()))
    crater = cast(Crater, surface(first))
    variance = crater.dimension * crater.gradient_noise**2 / float(first.config["batch_size"])
    bound = (2 * float(crater.value(crater.beginning)) + variance) / np.sqrt(n)
    slopes = interval([straight(np.log(n), np.log(own)).slope for own in means])
    _put(numbers, "slope_smooth", slopes)
    numbers["worst_smooth"] = float((means.mean(0) / bound).max())
    axes.plot(n, bound, color=INK, lw=0.9, ls=":", label="bound")
    axes.plot(np.tile(n, len(means)), means.ravel(), "o", color=BLUE, ms=3, alpha=0.5)
    axes.plot(n, means.mean(0), color=BLUE, lw=1.3, label=f"SGD, slope {slopes.mean:.2f}")
    _logarithmic(axes, "steps N", r"mean $|\nabla f|^2$", r"smooth: $1/\sqrt{N}$")
    axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    axes.set_yticks([], minor=True)


def _free(axes: Axes, runs: Mapping[str, Ran], numbers: dict[str, float]) -> None:
    """Methods of which one run shows every N: the mean of |grad f|^2 over the steps so far."""
    for (name, ran), (label, colour) in zip(runs.items(), _FREE, strict=True):
        k, means = ran.curve("gradient/squared_mean")
        late = np.unique(np.searchsorted(k, np.geomspace(k[-1] / 10, k[-1], 20)))
        slopes = interval([straight(np.log(k[late]), np.log(own[late])).slope for own in means])
        _put(numbers, f"slope_{name}", slopes)
        axes.plot(k, means.mean(0), color=colour, lw=1.0, label=f"{label}, slope {slopes.mean:.2f}")
    axes.set_xlim(left=200)
    axes.set_ylim(top=3)
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK)


def _growth(axes: Axes, ran: Ran, numbers: dict[str, float]) -> None:
    crater = cast(Crater, surface(ran))
    k, square = ran.curve("gradient/squared")
    _, mean = ran.curve("gradient/squared_mean")
    bound = 2 * growth(crater) * float(crater.value(crater.beginning)) / k
    at = np.unique(np.searchsorted(k, np.geomspace(max(k[0], 30), k[-1], 40)))
    slopes = interval([straight(np.log(k[at]), np.log(own[at])).slope for own in square])
    _put(numbers, "slope_growth", slopes)
    numbers["worst_growth"] = float((mean.mean(0) / bound).max())
    axes.plot(k, bound, color=INK, lw=0.9, ls=":", label="bound")
    axes.plot(k, square.mean(0), color=BLUE, lw=1.3, label=f"slope {slopes.mean:.2f}")
    _logarithmic(axes, "step k", r"$|\nabla f|^2$", r"and strong growth: $1/k$")


def growth(crater: Crater) -> float:
    """rho: E |grad f_i|^2 = rho |grad f|^2."""
    return 1 + crater.relative_noise**2


def typical_factor(crater: Crater, lr: float) -> float:
    """The factor a step by which f falls near the minimum, in the long run: exp E log (1 - lr lambda (1 + z))^2.

    lambda is the smallest eigenvalue, and z = s or -s; nearly every run has this factor, and the mean of many a
    slightly larger one.
    """
    smallest, s = float(crater.eigenvalues[0]), crater.relative_noise
    return abs((1 - lr * smallest * (1 + s)) * (1 - lr * smallest * (1 - s)))


def _linear(axes: Axes, runs: Mapping[str, Ran], numbers: dict[str, float]) -> None:
    crater, lr = cast(Crater, surface(runs["pl"])), float(runs["pl"].config["optimizer"]["lr"])
    numbers |= {"typical_pl": typical_factor(crater, lr), "bound_pl": 1 - 1 / (8 * crater.kappa * growth(crater))}
    labels = {"pl": ("crater", BLUE), "interpolation": ("least squares, d > n", GREEN),
              "noisy": ("least squares, d < n", FAKE)}  # fmt: skip
    for name, (label, colour) in labels.items():
        k, excess = runs[name].curve("risk/excess")
        numbers[f"excess_{name}"] = float(excess[:, -1].mean())
        axes.plot(k, np.maximum(excess.mean(0), 1e-30), color=colour, lw=1.3, label=label)
        if name != "noisy":
            numbers[f"rate_{name}"] = _factor(k, excess)
    sample = cast(LinearRegression, cast(ERM, runs["interpolation"].task()).problem)
    lr = float(runs["interpolation"].config["optimizer"]["lr"])
    steepest = 2 * float(sample.train.x.double().square().sum(1).max())
    flattest = float(sample.eigenvalues[sample.eigenvalues > 1e-10].min())
    numbers |= {"step_interpolation": lr * steepest, "bound_interpolation": 1 - lr * flattest}
    axes.set_yscale("log")
    axes.set_ylim(1e-24, 1e3)
    quiet(axes, "step k", r"$f - f^*$", "and Polyak-Łojasiewicz: linear", curves=True)
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK)


def _factor(k: NDArray[np.int64], excess: NDArray[np.float64]) -> float:
    """exp of the slope of log f - f* from the middle of a run on, as long as it is well above rounding; over seeds."""
    slopes = []
    for own in excess:
        good = own > 1e-20
        late = good & (k >= k[good][-1] / 2)
        slopes.append(straight(k[late], np.log(own[late])).slope)
    return float(np.exp(np.mean(slopes)))


def _logarithmic(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    quiet(axes, x, y, title, curves=True)
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
