"""Adaptive methods and gradient descent on samples that they were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from rlgan.erm import ERM, Wilson
from rlgan.erm.evaluation import scores
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

PLAIN, ADAPTIVE = ("sgd", "heavy_ball"), ("adagrad", "rmsprop", "adam")
COLOURS = {"sgd": "#0d3b4a", "heavy_ball": "#5d9fb3", "adagrad": "#d9a441", "rmsprop": "#e0707f", "adam": FAKE}
WORDS = {"sgd": "SGD", "heavy_ball": "momentum", "adagrad": "AdaGrad", "rmsprop": "RMSProp", "adam": "Adam"}


def chosen(errors: Mapping[float, NDArray[np.float64]]) -> tuple[float, float]:
    """The learning rate that is best on the first half of the seeds, and its mean error on the others.

    Args:
        errors: of every seed ``(seeds,)``, by learning rate; of one seed both halves are that seed.
    """
    half = max(1, len(next(iter(errors.values()))) // 2)
    best = min(errors, key=lambda lr: float(errors[lr][:half].mean()))
    rest = errors[best][half:]
    return best, float(rest.mean() if len(rest) else errors[best].mean())


def adaptive_generalisation(runs: Mapping[str, Ran]) -> Drawn:
    """What each method says of new samples of Wilson's construction; test error over learning rates, and losses.

    (Wilson et al. 2017, arXiv:1705.08292, section 3.3, and the protocol of section 4: each method at its best.)

    Args:
        runs: `wilson_METHOD` of `problem=wilson`, and METHOD_LR of another problem, for every method of `WORDS`.

    Returns:
        The figure. `error_train_wilson`, the largest; of every method `error_wilson_METHOD`; `distance_wilson_METHOD`,
        |theta - theta*| / |theta*| with theta* the solution of least norm, or the one with all coordinates alike for
        adaptive methods; `negative`, the share of new samples with a negative label. Of the other problem `lr_METHOD`,
        the best learning rate on the first half of the seeds, and at it on the other half `error_METHOD`, the mean
        test error, `risk_METHOD`, the mean training loss; and `steps_METHOD`, when the mean training loss was first
        below 0.1 (nan: never).
    """
    numbers: dict[str, float] = {"error_train_wilson": 0.0}
    made = figure(10.5, 3.7)
    left, middle, right = made.subplots(1, 3, width_ratios=(1.0, 1.0, 1.05))
    for i, name in enumerate(WORDS):
        numbers |= _construction(left, i, name, runs[f"wilson_{name}"], numbers)
        grid = {float(ran.config["optimizer"]["lr"]): ran for key, ran in runs.items() if _method(key) == name}
        errors = {lr: grid[lr].last("error/test") for lr in sorted(grid)}
        lr, error = chosen(errors)
        best = grid[lr]
        steps, risks = best.curve("risk/train")
        below = np.flatnonzero(risks.mean(0) < 0.1)
        numbers |= {f"lr_{name}": lr, f"error_{name}": error, f"risk_{name}": float(risks[:, -1].mean())}
        numbers[f"steps_{name}"] = float(steps[below[0]]) if len(below) else float("nan")
        middle.plot(list(errors), [100 * e.mean() for e in errors.values()], "o-", color=COLOURS[name], lw=1.1, ms=3,
                    label=f"{WORDS[name]}: {100 * error:.2f} %")  # fmt: skip
        low, high = (np.array([100 * f(e) for e in errors.values()]) for f in (np.min, np.max))
        middle.fill_between(list(errors), low, high, color=COLOURS[name], alpha=0.10, lw=0)
        middle.plot(lr, 100 * errors[lr].mean(), "*", color=COLOURS[name], ms=10, mec="white", mew=0.5)
        right.plot(steps, risks.mean(0), color=COLOURS[name], lw=1.0, ls=":")
        test_steps, test_risks = best.curve("risk/test")
        right.plot(test_steps, test_risks.mean(0), color=COLOURS[name], lw=1.3, label=WORDS[name])
    quiet(left, "", "f(x) of new samples", "a construction: adaptive methods fail", curves=True)
    left.axhline(0, color=INK, lw=0.8)
    left.set_xticks(range(len(WORDS)), list(WORDS.values()))
    left.set_ylim(-1.15, 1.35)
    left.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK, loc="center left", markerscale=3)
    top = max(100 * float(ran.last("error/test").min()) for key, ran in runs.items() if _method(key))
    middle.set_xscale("log")
    middle.set_ylim(0, min(top, 12.0) * 1.5)
    middle.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK, ncols=2, loc="upper center")
    quiet(middle, "learning rate (star: chosen)", "test error, %", "digits: each at its best", curves=True)
    right.set_yscale("log")
    right.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK)
    quiet(right, "step", "loss (dotted: training, full: test)", "digits: losses at the chosen rates", curves=True)
    return Drawn(made, numbers)


def _method(key: str) -> str | None:
    """The method of a variant METHOD_LR; None of another."""
    name, _, rate = key.rpartition("_")
    return name if name in WORDS and rate[:1].isdigit() else None


def _construction(axes: Axes, i: int, name: str, ran: Ran, so_far: Mapping[str, float]) -> dict[str, float]:
    """Scores of the new samples of the construction as dots of column i, and the numbers."""
    task = cast(ERM, ran.task())
    problem, test = cast(Wilson, task.problem), task.test
    assert test is not None
    f = scores(task.model.module, test.x).double().numpy()
    positive = test.y.numpy() == 1
    for is_positive, colour, words in ((True, BLUE, "label 1"), (False, FAKE, "label -1")):
        said = f[positive == is_positive]
        spread = np.linspace(-0.3, 0.3, len(said))
        axes.plot(i + spread, said, ".", color=colour, ms=2.5, label=words if i == 0 else None)
    axes.text(i, 1.15, f"{100 * ran.mean('error/test'):.0f} %\nwrong", ha="center", fontsize=SMALL - 1, color=INK)
    theta = task.model.vector.theta.detach().double()
    goal = problem.adaptive() if name in ADAPTIVE else problem.optimum()
    return {
        "error_train_wilson": max(so_far["error_train_wilson"], float(ran.last("error/train").max())),
        f"error_wilson_{name}": ran.mean("error/test"),
        f"distance_wilson_{name}": float((theta - goal).norm() / goal.norm()),
        "negative": float((~positive).mean()),
    }
