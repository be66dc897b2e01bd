"""Pictures of a minimisation: the path over level sets, decision regions, what is told wrong, which class for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rlgan.erm.evaluation import scores
from rlgan.erm.losses import predicted
from rlgan.erm.path import Path
from rlgan.erm.problems.base import Problem, Sample, is_class
from rlgan.erm.problems.surfaces import Surface, Window
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, colour_bar, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rlgan.task.task import Picture

CLASSES = ("#1f6f8b", "#c8102e", "#d9a441", "#6a8d3a", "#7b4f9e", "#4d4d4d", "#c97b84", "#2f9e8f", "#8c6d46", "#3b5ba5")
"""Colours of classes; the eleventh is the first again."""
AVERAGES = (FAKE, "#d9a441", "#6a8d3a", "#7b4f9e")
PIXELS = 200
LEVELS = 20
SHOWN = 40
"""Misclassified samples, at most, in a picture."""


def of(
    problem: Problem, model: nn.Module, train: Sample, test: Sample | None, path: Path, step: int
) -> dict[str, Picture]:
    """Every picture that there is of a problem."""
    if isinstance(problem, Surface):
        return {"path": way(problem, path)} if path.follows and len(problem.beginning) <= 2 else {}
    found: dict[str, Picture] = {}
    flat = problem.inputs[0] if len(problem.inputs) == 1 else 0
    if problem.kind == "values":
        if flat == 1 and not problem.targets:
            found["fit"] = fit(model, train, step)
        return found
    if flat == 2:
        found["regions"] = regions(model, train, step)
    seen = train if test is None else test
    if problem.classes > 2:
        found["confusion"] = confusion(problem, model, seen, step)
    if len(problem.inputs) == 3 and (wrong := misclassified(problem, model, seen, step)) is not None:
        found["misclassified"] = wrong
    return found


def level_sets(axes: Axes, surface: Surface, window: Window) -> None:
    """A surface of two variables as filled contours, close together where it is low."""
    from matplotlib.colors import BoundaryNorm

    x, y = (np.linspace(*ends, PIXELS) for ends in (window[:2], window[2:]))
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    with torch.no_grad():
        z = torch.func.vmap(surface.value)(grid).reshape(PIXELS, PIXELS).numpy()
    low, top = float(z.min()), float(np.quantile(z, 0.97))
    levels = low + max(top - low, 1e-12) * np.linspace(0, 1, LEVELS) ** 2
    shown = np.clip(z, low, top)
    filled = axes.contourf(x, y, shown, levels, cmap="Greys", norm=BoundaryNorm(levels, 330), alpha=0.6)
    axes.contour(x, y, shown, levels, colors="white", linewidths=0.5)
    if (figure := axes.get_figure()) is not None:
        colour_bar(figure, axes, filled, "f(theta)")


def way(surface: Surface, path: Path) -> Figure:
    """Where theta, and its averages, have gone, over the surface's level sets, or along its curve."""
    drawn = figure(5.4, 4.4)
    axes = drawn.subplots()
    points = path.points.numpy()
    if len(surface.beginning) == 1:
        left, right = surface.window[:2]
        x = np.linspace(left, right, 600)
        with torch.no_grad():
            y = torch.func.vmap(surface.value)(torch.from_numpy(x)[:, None]).numpy()
            at = torch.func.vmap(surface.value)(path.points[:, 0]).numpy()
        axes.plot(x, y, color=REAL, lw=1.2)
        axes.plot(points[:, 0, 0], at, "o-", color=BLUE, ms=2.5, lw=0.6)
        axes.plot(points[-1:, 0, 0], at[-1:], "o", color=FAKE, ms=6)
        quiet(axes, "theta", "f(theta)", f"{type(surface).__name__}, step {len(points) - 1}", curves=True)
        axes.set_xlim(left, right)
        return drawn
    window = surface.window
    level_sets(axes, surface, window)
    for i, name in enumerate(path.names):
        colour = BLUE if i == 0 else AVERAGES[(i - 1) % len(AVERAGES)]
        axes.plot(*points[:, i].T, color=colour, lw=1.0, label=name)
        axes.plot(*points[-1, i], "o", color=colour, ms=5)
    axes.plot(*points[0, 0], "s", color=INK, ms=4, label="start")
    optimum = surface.optimum()
    if optimum is not None:
        axes.plot(*optimum.tolist(), "*", color="white", mec=INK, ms=11, label="optimum")
    axes.set_xlim(*window[:2])
    axes.set_ylim(*window[2:])
    axes.legend(fontsize=SMALL, loc="best", framealpha=0.9)
    quiet(axes, "theta_1", "theta_2", f"{type(surface).__name__}, step {len(points) - 1}")
    return drawn


def regions(model: nn.Module, train: Sample, step: int) -> Figure:
    """The class that a model says everywhere in the plane, its boundary, and the training samples."""
    drawn = figure(5, 4.6)
    axes = drawn.subplots()
    draw_regions(axes, model, train)
    quiet(axes, "x_1", "x_2", f"what the model says, step {step}")
    return drawn


def draw_regions(axes: Axes, model: nn.Module, train: Sample) -> None:
    """The same into axes."""
    from matplotlib.colors import ListedColormap

    x = train.x.double().cpu().numpy()
    low, high = x.min(0), x.max(0)
    low, high = low - 0.15 * (high - low), high + 0.15 * (high - low)
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, PIXELS) for a, b in zip(low, high, strict=True))), -1)
    f = scores(model, torch.from_numpy(grid.reshape(-1, 2)).to(train.x))
    said = predicted(f).reshape(PIXELS, PIXELS).cpu().numpy()
    classes = max(int(train.y.max()), int(said.max())) + 1
    colours = [CLASSES[i % len(CLASSES)] for i in range(classes)]
    extent = (low[0], high[0], low[1], high[1])
    axes.imshow(
        said, origin="lower", extent=extent, cmap=ListedColormap(colours), vmin=-0.5, vmax=classes - 0.5, alpha=0.22,
        aspect="auto", interpolation="nearest",
    )  # fmt: skip
    if said.min() < said.max():
        axes.contour(said, extent=extent, levels=np.arange(classes - 1) + 0.5, colors=INK, linewidths=0.8)
    y = train.y.cpu().numpy()
    for i in range(classes):
        axes.scatter(x[y == i, 0], x[y == i, 1], s=9, color=colours[i], edgecolors="white", linewidths=0.3)


def fit(model: nn.Module, train: Sample, step: int) -> Figure:
    """A function of one variable: the samples, and what the model makes of them."""
    drawn = figure(5.4, 3.6)
    axes = drawn.subplots()
    low, high = float(train.x.min()), float(train.x.max())
    x = torch.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 400)[:, None].to(train.x)
    axes.plot(train.x[:, 0].cpu(), train.y.cpu(), ".", color=REAL, ms=4, label="training samples")
    axes.plot(x[:, 0].cpu(), scores(model, x).cpu(), color=FAKE, lw=1.4, label="f(x)")
    axes.legend(fontsize=SMALL, frameon=False)
    quiet(axes, "x", "y", f"the fit, step {step}", curves=True)
    return drawn


def confusion(problem: Problem, model: nn.Module, sample: Sample, step: int) -> Figure:
    """How many samples of each class (rows) were told to be of each (columns)."""
    from sklearn.metrics import confusion_matrix

    said = predicted(scores(model, sample.x)).cpu().numpy()
    labels = list(range(problem.classes))
    counts = confusion_matrix(sample.y.cpu().numpy(), said, labels=labels)
    side = min(2.2 + 0.32 * problem.classes, 9)
    drawn = figure(side, side)
    axes = drawn.subplots()
    off = counts - np.diag(np.diag(counts))
    axes.imshow(off, cmap="Reds", vmin=0, vmax=max(int(off.max()), 1) * 1.3)
    if problem.classes <= 20:
        for i, row in enumerate(counts):
            for j, n in enumerate(row):
                if n:
                    axes.text(j, i, str(n), ha="center", va="center", fontsize=SMALL, color=INK if i == j else FAKE)
        axes.set_xticks(labels, problem.names(), rotation=90 if max(map(len, problem.names())) > 3 else 0)
        axes.set_yticks(labels, problem.names())
    right = int(np.diag(counts).sum())
    quiet(axes, "the model says", "the label says", f"{right:,} of {counts.sum():,} right, step {step}")
    return drawn


def misclassified(problem: Problem, model: nn.Module, sample: Sample, step: int) -> Figure | None:
    """Pictures whose label the model does not say, the surest first; None where there are none."""
    f = scores(model, sample.x)
    said = predicted(f)
    wrong = (said != sample.y).nonzero().flatten()
    if not is_class(sample.y) or not len(wrong):
        return None
    sure = f.abs() if f.ndim == 1 else f.max(1).values - f.gather(1, sample.y[:, None]).squeeze(1)
    wrong = wrong[sure[wrong].argsort(descending=True)]
    shown, names = wrong[:SHOWN], problem.names()
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    drawn = figure(1.0 + 0.8 * columns, 0.6 + 0.95 * rows)
    for k, axes in enumerate(drawn.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if k < len(shown):
            i = int(shown[k])
            axes.imshow(_pixels(sample.x[i]), cmap="Greys_r", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(
                f"{names[int(sample.y[i])]}, not {names[int(said[i])]}", fontsize=SMALL - 1, color=INK, pad=2
            )
    drawn.suptitle(f"{len(wrong)} of {len(sample.y):,} told wrong, step {step}", fontsize=SMALL + 1, color=INK)
    return drawn


def _pixels(x: Tensor) -> np.ndarray:
    """(C, H, W) in [-1, 1] -> (H, W) or (H, W, 3) in [0, 1]."""
    picture = ((x.double().cpu() + 1) / 2).clamp(0, 1)
    whole: np.ndarray = (picture[:3].permute(1, 2, 0) if len(picture) >= 3 else picture[0]).numpy()
    return whole
