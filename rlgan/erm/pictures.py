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
COUNTED, LISTED = 20, 60
"""Classes up to which a confusion matrix has counts, and up to which its cells are large enough to be seen."""
LETTERS, CAPTION = 24, 11
"""Of a class's name beside a matrix or a plane, and above a sample."""
AHEAD = 4.0
"""Times the window's width and height, up to which it is widened for a path that leaves it."""


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
        found["regions"] = regions(problem, model, train, step)
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
    z = heights(surface, grid).reshape(PIXELS, PIXELS).numpy()
    low, top = float(z.min()), float(np.quantile(z, 0.97))
    levels = low + max(top - low, 1e-12) * np.linspace(0, 1, LEVELS) ** 2
    shown = np.clip(z, low, top)
    filled = axes.contourf(x, y, shown, levels, cmap="Greys", norm=BoundaryNorm(levels, 330), alpha=0.6)
    axes.contour(x, y, shown, levels, colors="white", linewidths=0.5)
    if (figure := axes.get_figure()) is not None:
        colour_bar(figure, axes, filled, "f(theta)")


@torch.no_grad()
def heights(surface: Surface, points: Tensor) -> Tensor:
    """f at points ``(n, d)``, ``(n,)``."""
    try:
        return torch.func.vmap(surface.value)(points)
    except RuntimeError:  # a value() that looks at numbers, as by `if`, takes one theta at a time
        return torch.stack([surface.value(theta) for theta in points])


def widened(window: Window, points: np.ndarray) -> Window:
    """A window ``(left, right, low, high)`` with room for points ``(n, d)`` that lie not too far from it, d = 1 or 2.

    What is further away, as of a run that diverges, is left out: it would make all else too small to be seen.
    """
    found = list(window)
    for i in range(points.shape[1]):
        low, high = window[2 * i : 2 * i + 2]
        reach, gap = AHEAD * (high - low), 0.05 * (high - low)
        near = points[(points[:, i] > low - reach) & (points[:, i] < high + reach), i]
        if len(near) and near.min() < low:
            found[2 * i] = float(near.min()) - gap
        if len(near) and near.max() > high:
            found[2 * i + 1] = float(near.max()) + gap
    return found[0], found[1], found[2], found[3]


def way(surface: Surface, path: Path) -> Figure:
    """Where theta, and its averages, have gone, over the surface's level sets, or along its curve."""
    drawn = figure(5.4, 4.4)
    axes = drawn.subplots()
    points = path.points.numpy()
    window = widened(surface.window, points.reshape(-1, points.shape[-1]))
    if len(surface.beginning) == 1:
        left, right = window[:2]
        x = np.linspace(left, right, 600)
        y, at = (heights(surface, theta).numpy() for theta in (torch.from_numpy(x)[:, None], path.points[:, 0]))
        axes.plot(x, y, color=REAL, lw=1.2)
        axes.plot(points[:, 0, 0], at, "o-", color=BLUE, ms=2.5, lw=0.6)
        axes.plot(points[-1:, 0, 0], at[-1:], "o", color=FAKE, ms=6)
        quiet(axes, "theta", "f(theta)", f"{type(surface).__name__}, step {len(points) - 1}", curves=True)
        axes.set_xlim(left, right)
        return drawn
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


def short(name: str, letters: int) -> str:
    """A class's name in so many letters, its middle left out; `$` is no formula."""
    name = name if len(name) <= letters else f"{name[: letters - letters // 3 - 1]}…{name[-(letters // 3) :]}"
    return name.replace("$", r"\$")


def regions(problem: Problem, model: nn.Module, train: Sample, step: int) -> Figure:
    """The class that a model says everywhere in the plane, its boundary, and the training samples."""
    drawn = figure(5, 4.6)
    axes = drawn.subplots()
    draw_regions(axes, model, train)
    names = problem.names()
    if len(names) <= len(CLASSES) and names != [str(i) for i in range(len(names))]:
        for name, colour in zip(names, CLASSES, strict=False):
            axes.scatter([], [], s=16, color=colour, label=short(name, LETTERS))
        axes.legend(fontsize=SMALL, loc="best", framealpha=0.9)
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
    seen, rank = np.unique(said, return_inverse=True)
    if len(seen) > 1:
        between = np.arange(len(seen) - 1) + 0.5
        axes.contour(rank.reshape(said.shape), extent=extent, levels=between, colors=INK, linewidths=0.8)
    y = train.y.cpu().numpy()
    shades = np.array(colours)[y]
    axes.scatter(x[:, 0], x[:, 1], s=9, color=shades, edgecolors="white", linewidths=0.3)


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
    names = [short(name, LETTERS) for name in problem.names()]
    longest = max(map(len, names)) if problem.classes <= COUNTED else 0
    side = min(2.2 + 0.32 * problem.classes, 9) if problem.classes <= LISTED else 6
    drawn = figure(*[side + (0.07 * longest if longest > 3 else 0)] * 2)
    axes = drawn.subplots()
    off = counts - np.diag(np.diag(counts))
    most = max(int(off.max()), 1)
    if problem.classes > LISTED:  # cells of less than a few pixels: dots
        for cells, colour in ((off, FAKE), (counts - off, REAL)):
            i, j = cells.nonzero()
            axes.scatter(j, i, s=4 + 26 * np.sqrt(cells[i, j] / counts.max()), color=colour, linewidths=0)
        axes.set(xlim=(-0.5, problem.classes - 0.5), ylim=(problem.classes - 0.5, -0.5), aspect="equal")
    else:
        axes.imshow(off, cmap="Reds", vmin=0, vmax=most * 1.3)
    if problem.classes <= COUNTED:
        for (i, j), n in np.ndenumerate(counts):
            if n:
                colour = "white" if i != j and n > 0.6 * most else INK
                axes.text(j, i, str(n), ha="center", va="center", fontsize=SMALL, color=colour)
        axes.set_xticks(labels, names, rotation=90 if longest > 3 else 0)
        axes.set_yticks(labels, names)
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
    shown, names = wrong[:SHOWN], [short(name, CAPTION) for name in problem.names()]
    # Two words that do not fit beside each other stand one below the other.
    gap = ",\n" if max(map(len, names)) > 4 else ", "
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    drawn = figure(1.0 + 0.8 * columns, 0.6 + (0.95 if gap == ", " else 1.1) * rows)
    for k, axes in enumerate(drawn.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if k < len(shown):
            i = int(shown[k])
            axes.imshow(_pixels(sample.x[i]), cmap="Greys_r", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(
                f"{names[int(sample.y[i])]}{gap}not {names[int(said[i])]}", fontsize=SMALL - 1, color=INK, pad=2
            )
    drawn.suptitle(f"{len(wrong)} of {len(sample.y):,} told wrong, step {step}", fontsize=SMALL + 1, color=INK)
    return drawn


def _pixels(x: Tensor) -> np.ndarray:
    """(C, H, W) in [-1, 1] -> (H, W) or (H, W, 3) in [0, 1]."""
    picture = ((x.double().cpu() + 1) / 2).clamp(0, 1)
    whole: np.ndarray = (picture[:3].permute(1, 2, 0) if len(picture) >= 3 else picture[0]).numpy()
    return whole
