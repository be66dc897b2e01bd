"""Sharp and flat minima: where small and large batches end, how good that is, and what the measures do not know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from rlgan.erm import ERM
from rlgan.erm.evaluation import scores
from rlgan.optim.second_order.curvature import extremes
from rlgan.optim.second_order.landscape import player_loss
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

SHADES = ("#92bfcd", "#5d9fb3", BLUE, "#0d3b4a", "#06202a")


def at_loss(risks: NDArray[np.float64], sharpness: NDArray[np.float64], loss: float) -> float:
    """The sharpness when the training loss first came down to `loss`, between two looks straight in logarithms.

    Args:
        risks, sharpness: of one run at its looks, ``(n,)``.

    Returns:
        nan where it never did, or was so from the first look on.
    """
    below = np.flatnonzero(risks <= loss)
    if not len(below) or below[0] == 0:
        return math.nan
    i = below[0]
    (high, low), (before, after) = np.log(risks[i - 1 : i + 1]), np.log(sharpness[i - 1 : i + 1])
    return math.exp(before + (after - before) * (high - math.log(loss)) / (high - low))


def rescaled(module: nn.Module, factor: float) -> Tensor:
    """Parameters (d,) of the same function: the first layer times `factor`, the next layer's weights over it.

    relu(c z) = c relu(z) for c > 0. (Dinh et al. 2017, arXiv:1703.04933, section 4.)

    Args:
        module: linear layers with ReLUs between them, two at least.
    """
    first, second = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][:2]
    scale = {id(first.weight): factor, id(first.bias): factor, id(second.weight): 1 / factor}
    return torch.cat([(p.detach() * scale.get(id(p), 1.0)).flatten() for p in module.parameters()])


def sharp_and_flat(
    runs: Mapping[str, Ran],
    small: str = "batch_16",
    large: str = "batch_all",
    equal: float = 0.01,
    factors: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    points: int = 61,
) -> Drawn:
    """The loss from a small batch's minimum to a large one's; sharpness against test error; rescaling.

    (Keskar et al. 2017, arXiv:1609.04836, figure 3 and metric 2.1; Dinh et al. 2017, arXiv:1703.04933.)

    Args:
        runs: with `sharpness=true`, of several batches and of Adam.
        small, large: the two between which the line is drawn, of the same seeds.
        equal: the training loss at which sharpness is compared on the way.
        factors: of the rescaling.
        points: of the line.

    Returns:
        The figure. Means over seeds: `largest_NAME` (eigenvalue), `keskar_NAME`, `error_NAME` (test), `risk_NAME`
        (training) at the end, and `equal_NAME`, the largest eigenvalue where the training loss first was `equal`;
        `error_train`, the largest of all; `rank`, Spearman's correlation of largest eigenvalue and test error over all
        runs; `unscaled_sharpness` and `rescaled_sharpness`, the largest eigenvalue of the first seed of `small` as it
        is and at the largest factor, and `rescaled_change`, how far its scores changed, over their largest.
    """
    from scipy.stats import spearmanr

    numbers: dict[str, float] = {"error_train": max(float(ran.last("error/train").max()) for ran in runs.values())}
    made = figure(10.5, 3.6)
    left, middle, right = made.subplots(1, 3)
    sharp, wrong = [], []
    colours = dict(zip([name for name in runs if name != "adam"], SHADES, strict=False)) | {"adam": FAKE}
    for name, ran in runs.items():
        eigenvalues, errors = ran.last("sharpness/largest"), ran.last("error/test")
        steps, every = ran.curve("sharpness/largest")
        at, risks = ran.curve("risk/train")
        risks = risks[:, np.isin(at, steps)]
        numbers |= {
            f"largest_{name}": float(eigenvalues.mean()),
            f"keskar_{name}": ran.mean("sharpness/keskar"),
            f"error_{name}": float(errors.mean()),
            f"risk_{name}": ran.mean("risk/train"),
            f"equal_{name}": float(np.mean([at_loss(r, s, equal) for r, s in zip(risks, every, strict=True)])),
        }
        sharp.append(eigenvalues)
        wrong.append(errors)
        label = f"{name.replace('_', ' ')}: {100 * errors.mean():.1f} %"
        middle.plot(eigenvalues, 100 * errors, "o", color=colours[name], ms=4, alpha=0.8, label=label)
        middle.plot(eigenvalues.mean(), 100 * errors.mean(), "+", color=colours[name], ms=11, mew=1.6)
    numbers["rank"] = float(spearmanr(np.concatenate(sharp), np.concatenate(wrong)).statistic)
    middle.set_xscale("log")
    middle.minorticks_off()
    ends = middle.get_xlim()
    marks = [mark for mark in (0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100) if ends[0] <= mark <= ends[1]]
    middle.set_xticks(marks, [f"{mark:g}" for mark in marks])
    middle.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK)
    quiet(middle, "largest eigenvalue of the Hessian", "test error, % (cross: mean)",
          f"new samples: rank correlation {numbers['rank']:.2f}", curves=True)  # fmt: skip
    _line(left, runs[small], runs[large], points)
    numbers |= _rescaling(right, cast(ERM, runs[small].task()), factors)
    return Drawn(made, numbers)


def _line(axes: Axes, small: Ran, large: Ran, points: int) -> None:
    """Training and test loss at (1 - a) theta_small + a theta_large; a line for each seed, and their mean."""
    a = np.linspace(-0.75, 1.75, points)
    curves: dict[str, list[NDArray[np.float64]]] = {"training": [], "test": []}
    for seed in small.seeds:
        first, second = (cast(ERM, ran.task(seed)) for ran in (small, large))
        start, end = (task.model.vector.theta.detach() for task in (first, second))
        assert first.test is not None
        for label, sample in (("training", first.whole), ("test", type(first.whole)(*first.test))):
            loss = player_loss(first.update.pure, "model", sample)
            with torch.no_grad():
                curves[label].append(np.array([float(loss(start + float(b) * (end - start))) for b in a]))
    for (label, rows), colour in zip(curves.items(), (BLUE, FAKE), strict=True):
        for row in rows:
            axes.plot(a, row, color=colour, lw=0.5, alpha=0.4)
        axes.plot(a, np.exp(np.mean(np.log(rows), 0)), color=colour, lw=1.5, label=label)
    for place, words in ((0, small.name), (1, large.name)):
        axes.axvline(place, color=INK, lw=0.7, ls=":")
        axes.text(place + 0.03, 0.97, words.replace("_", " "), transform=axes.get_xaxis_transform(), va="top",
                  fontsize=SMALL - 1, color=INK)  # fmt: skip
    axes.set_yscale("log")
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="center left")
    quiet(axes, "a: from one minimum (0) to the other (1)", "loss", "between two minima", curves=True)


def _rescaling(axes: Axes, task: ERM, factors: tuple[float, ...]) -> dict[str, float]:
    """Largest eigenvalue and change of the scores over the factor of `rescaled`."""
    module, vector = task.model.module, task.model.vector
    before, x = vector.theta.detach().clone(), task.train.x
    plain = scores(module, x)
    values, changes = [], []
    for factor in factors:
        theta = rescaled(module, factor)
        values.append(extremes(task.loss, theta, 60, tolerance=1e-4).largest.value)
        with torch.no_grad():
            vector.theta.copy_(theta)
            changes.append(float((scores(module, x) - plain).abs().max() / plain.abs().max()))
            vector.theta.copy_(before)
    axes.plot(factors, values, "o-", color=BLUE, ms=4, lw=1.3)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(factors, [f"{f:g}" if f >= 1 else f"1/{1 / f:g}" for f in factors])
    axes.minorticks_off()
    quiet(axes, "c: first layer times c, second over c", "largest eigenvalue of the Hessian",
          "one function, any sharpness", curves=True)  # fmt: skip
    unscaled = values[int(np.argmin(np.abs(np.log(factors))))]
    return {"unscaled_sharpness": unscaled, "rescaled_sharpness": values[-1], "rescaled_change": max(changes)}
