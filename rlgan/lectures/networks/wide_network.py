"""Gradient descent on a wide network, beside the linear system that it becomes and the bound on its rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from rlgan.erm import ERM, Wide
from rlgan.erm.problems.wide import WideNet
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

SHADES = ("#c3dbe3", "#92bfcd", "#5d9fb3", BLUE, "#0d3b4a", "#06202a")
FLOOR = 1e-20
"""Of the squared error, relative to its start: below it is rounding."""


@dataclass(frozen=True)
class Course:
    """A variant's squared errors e_k = |u_k - y|^2, k = 0 and every logged step.

    Args:
        problem: with the kernel.
        eta: the step on |u - y|^2 / 2.
        steps: ``(n,)``, the first is 0.
        errors: e_k / e_0, ``(seeds, n)``.
        predicted: the same of the linear system with the kernel of infinite width.
        moved: the largest distance of a unit's weights from where they started, of each seed.
        flipped: share of (unit, sample) whose relu is now on or off and was not at first, of each seed.
    """

    problem: Wide
    eta: float
    steps: NDArray[np.int64]
    errors: NDArray[np.float64]
    predicted: NDArray[np.float64]
    moved: NDArray[np.float64]
    flipped: NDArray[np.float64]

    @property
    def least(self) -> float:
        """lambda_0."""
        return float(self.problem.eigenvalues[0])

    def excess(self, factor: float) -> float:
        """The largest e_k / (factor^k e_0) over steps and seeds, as long as e_k is above rounding; at most 1: a bound.

        Step 0, where it is 1, does not count.
        """
        seen = self.errors[:, 1:] > FLOOR
        ratio = np.log(np.maximum(self.errors[:, 1:], FLOOR)) - self.steps[1:] * math.log(factor)
        return float(np.exp(ratio[seen].max()))

    def rate(self, errors: NDArray[np.float64]) -> float:
        """-log(e_j / e_i) / ((j - i) eta) over the second half of the steps above rounding; the mean of the seeds."""
        rates = []
        for row in errors:
            last = int((row > FLOOR).sum()) - 1
            first = last // 2
            rates.append(-math.log(row[last] / row[first]) / (float(self.steps[last] - self.steps[first]) * self.eta))
        return float(np.mean(rates))


def course(ran: Ran) -> Course:
    """Read what a variant of `problem=wide` did."""
    steps, risks = ran.curve("risk/train")
    found: list[tuple[float, Tensor, float, float]] = []
    for seed in ran.seeds:
        task = cast(ERM, ran.task(seed))
        problem, net = cast(Wide, task.problem), cast(WideNet, task.model.module)
        x, y = task.train
        with torch.no_grad():
            first = torch.relu(x @ net.start.T) @ _last_at_start(net, task) / math.sqrt(problem.width) - y
            moved = float((net.hidden - net.start).norm(dim=1).max())
            flipped = float(((x @ net.hidden.T > 0) != (x @ net.start.T > 0)).double().mean())
        found.append((float(first.square().sum()), first, moved, flipped))
    n = len(y)
    eta = float(ran.config["optimizer"]["lr"]) * 2 / n
    start = np.array([square for square, *_ in found])
    every = np.concatenate(([0], steps))
    return Course(
        problem,
        eta,
        every,
        np.concatenate((np.ones((len(found), 1)), risks * n / start[:, None]), 1),
        np.stack([linear_system(problem.kernel, eta, residual, every) for _, residual, *_ in found]),
        np.array([moved for *_, moved, _ in found]),
        np.array([flipped for *_, flipped in found]),
    )


def _last_at_start(net: WideNet, task: ERM) -> Tensor:
    """Output weights at first; those that are trained are drawn again."""
    if not isinstance(net.last, torch.nn.Parameter):
        return net.last
    with task.generators.init("model"):
        again = cast(WideNet, task.problem.network(task.settings, ()))
    return again.last.detach().to(net.last)


def linear_system(kernel: Tensor, eta: float, residual: Tensor, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """|(I - eta H)^k r|^2 / |r|^2 at steps k, ``(len(steps),)``, of a kernel H ``(n, n)`` and a residual r ``(n,)``."""
    values, vectors = torch.linalg.eigh(kernel)
    parts = (vectors.T @ residual.to(vectors)).square()
    factors = (1 - eta * values).square()[None, :] ** torch.from_numpy(steps)[:, None]
    whole: NDArray[np.float64] = ((factors * parts).sum(1) / parts.sum()).numpy()
    return whole


def wide_network(runs: Mapping[str, Ran]) -> Drawn:
    """Squared error over steps for several widths with Du's bound; the slide's rate; how far weights move.

    (Du et al. 2019, arXiv:1810.02054, theorem 4.1 and figure 1; EE-556, Lecture 7: Optimization for Deep Learning, "GD
    finds global minimizers of overparametrized networks".) The slide has the rate (1 - eta)^t of R_n, and does not say
    how the output is scaled. Here it is divided by sqrt(m), as in the paper, and eta is the step on |u - y|^2 / 2. Were
    it the step on R_n = |u - y|^2 / n, the slide's rate would be n / 2 times further away.

    Args:
        runs: of `problem=wide`; those called mN are of the width N. `theorem_step` has eta = lambda_0 / n^2; `uniform`
            has output weights from U[-1, 1], and `all_trained` trains them too.

    Returns:
        The figure. Of every run `worst_NAME`, the largest |u_k - y|^2 over its bound (1 - eta lambda_0/2)^k |u_0 - y|^2
        with lambda_0 of its own kernel, and `rate_NAME`, the slope of -log |u_k - y|^2 over eta k (that of (1 - eta)^k
        is at least 1); `rate_kernel`, the slope for infinite width; `moved_slope` and `flipped_slope`, exponents of m;
        `lambda_0`, `eta`.
    """
    courses = {name: course(ran) for name, ran in runs.items()}
    widths = {name: found for name, found in courses.items() if name[0] == "m" and name[1:].isdigit()}
    numbers: dict[str, float] = {}
    for name, found in courses.items():
        numbers[f"worst_{name}"] = found.excess(1 - found.eta * found.least / 2)
        numbers[f"rate_{name}"] = found.rate(found.errors)
    widest = list(widths.values())[-1]
    numbers |= {"rate_kernel": widest.rate(widest.predicted), "lambda_0": widest.least, "eta": widest.eta}
    made = figure(10.5, 3.6)
    left, middle, right = made.subplots(1, 3, width_ratios=(1.15, 1.0, 0.85))
    _falling(left, widths)
    _slide(middle, {"signs, fixed": widest, **{k: courses[k] for k in ("uniform", "all_trained") if k in courses}})
    numbers |= _moving(right, widths)
    return Drawn(made, numbers)


def _falling(axes: Axes, widths: Mapping[str, Course]) -> None:
    """e_k / e_0 over steps, a line for each seed."""
    for shade, (name, found) in zip(SHADES, widths.items(), strict=False):
        for i, row in enumerate(found.errors):
            label = f"m = {int(name[1:]):,}" if i == 0 else None
            axes.plot(found.steps, np.maximum(row, FLOOR), color=shade, lw=1.2, label=label)
    axes.plot(found.steps, found.predicted.mean(0), color=INK, lw=1.0, ls=":", label=r"$m = \infty$, linear system")
    bound = (1 - found.eta * found.least / 2) ** found.steps
    axes.plot(found.steps, bound, color=FAKE, lw=1.4, ls="--", label=r"bound $(1 - \eta\lambda_0/2)^k$")
    axes.set_yscale("log")
    axes.set_ylim(1e-13, 1e6)
    axes.set_yticks([10.0**k for k in range(-12, 1, 2)])
    axes.legend(fontsize=SMALL - 1, frameon=False, loc="upper right", labelcolor=INK, ncols=2)
    quiet(axes, "step k", r"$|u_k - y|^2\;/\;|u_0 - y|^2$", "wide enough, the error falls linearly", curves=True)


def _slide(axes: Axes, named: Mapping[str, Course]) -> None:
    """e_k / e_0 over eta k, beside (1 - eta)^k."""
    words = {"uniform": "U[-1, 1], fixed", "all_trained": "U[-1, 1], trained"}
    for colour, (name, found) in zip((BLUE, "#6a8d3a", "#d9a441"), named.items(), strict=False):
        for i, row in enumerate(found.errors):
            label = f"a: {words.get(name, name)}" if i == 0 else None
            axes.plot(found.eta * found.steps, np.maximum(row, FLOOR), color=colour, lw=1.2, label=label)
    time = np.linspace(0, 20, 100)
    axes.plot(time, (1 - found.eta) ** (time / found.eta), color=FAKE, lw=1.4, ls="--", label=r"slide, $(1 - \eta)^k$")
    axes.set_yscale("log")
    axes.set_ylim(1e-6, 3)
    axes.set_xlim(0, 20)
    axes.legend(fontsize=SMALL - 1, frameon=False, loc="upper right", labelcolor=INK)
    quiet(axes, r"$\eta k$", "", r"the slide's rate is too fast", curves=True)


def _moving(axes: Axes, widths: Mapping[str, Course]) -> dict[str, float]:
    """How far weights moved against m, and its exponents."""
    m = np.array([found.problem.width for found in widths.values()], dtype=float)
    numbers = {}
    for colour, tag, label in (
        (BLUE, "moved", r"largest $|w_r - w_r(0)|$"),
        (REAL, "flipped", "share of relus that flipped"),
    ):
        values = np.array([getattr(found, tag).mean() for found in widths.values()])
        slope = float(np.polyfit(np.log(m), np.log(np.maximum(values, 1e-12)), 1)[0]) if len(m) > 1 else math.nan
        axes.plot(m, values, "o", color=colour, ms=4, label=f"{label}: $m^{{{slope:.2f}}}$")
        axes.plot(m, values[-1] * (m / m[-1]) ** -0.5, color=colour, lw=0.8, ls=":")
        numbers[f"{tag}_slope"] = slope
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(fontsize=SMALL - 1, frameon=False, loc="lower left", labelcolor=INK)
    quiet(axes, "width m", "", r"weights hardly move (dotted: $m^{-1/2}$)", curves=True)
    return numbers
