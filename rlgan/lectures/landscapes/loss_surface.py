"""The loss surface (1 - w2 w1)^2: neither convex nor concave, and where gradient descent goes on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rlgan.erm import Product
from rlgan.lectures.ways import BLUE, FAKE, GOLD, GREEN, PURPLE, surface, values, way
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_COLOURS = (BLUE, FAKE, GOLD, GREEN, PURPLE, INK)
_LEVELS = (0.04, 0.25, 1.0, 2.25, 4.0, 9.0, 16.0, 25.0, 36.0)
REACH = 2.5


def loss_surface(runs: Mapping[str, Ran]) -> Drawn:
    """The surface R = (1 - w2 w1)^2, and gradient descent from several starts, on it and over its level sets.

    A function is convex if no chord runs below it, concave if none runs above it; here one of each is shown: from
    (1, 1) to (-1, -1), R = 0 at both ends, and from (1, -1) to (-1, 1), R = 4 at both ends; R = 1 between. The Hessian
    at the origin has the eigenvalues -2 and 2.

    Gradient flow keeps c = w1^2 - w2^2 (Saxe et al. 2014), so that its end is known (`Product.limit`). A step of
    gradient descent multiplies c by 1 - 4 lr^2 R, hence it ends at w1 w2 = 1 with the c that is left, a distance of
    order lr from the end of the flow.

    (EE-556, Lecture 7: Optimization for Deep Learning, "Why is the loss non-convex?".)

    Args:
        runs: gradient descent of `problem=product` with every step logged. Those whose start has w1 + w2 = 0 are on
            the ridge. One called `half`, with half the step of the first, is measured and not drawn.

    Returns:
        The figure, and `smallest` and `largest`, the Hessian's eigenvalues at the origin; `middle`, R there, and
        `chord_below` and `chord_above`, the chords' heights; over the starts off the ridge `risk_worst`, the largest
        R at the end, `sides`, the share that ends on its side of the ridge, `law_worst`, the largest distance from the
        end that the law of c says, `flow_worst`, from that of the flow; `ridge_distance`, the largest distance from
        the origin at the end of those on the ridge; `ratio`, the distance of the first from the end of the flow over
        that of `half`.
    """
    shown = {name: ran for name, ran in runs.items() if name != "half"}
    paths = {name: way(ran)[:, 0] for name, ran in runs.items()}
    product = cast(Product, surface(next(iter(runs.values()))))
    numbers = _of_the_surface(product)
    flow = {name: _from_flow(path) for name, path in paths.items()}
    off = {name: path for name, path in paths.items() if path[0].sum() != 0}
    numbers |= {
        "risk_worst": max(float(values(product, path[-1])) for path in off.values()),
        "sides": float(np.mean([path[-1].sum() * path[0].sum() > 0 for path in off.values()])),
        "law_worst": max(_from_law(path, product, float(runs[n].config["optimizer"]["lr"])) for n, path in off.items()),
        "flow_worst": max(flow[name] for name in off),
        "ridge_distance": max([flow[name] for name in paths if name not in off], default=float("nan")),
    }
    if "half" in runs:
        numbers["ratio"] = flow[next(iter(runs))] / flow["half"]
    made = figure(8.8, 4.8)
    places = made.add_gridspec(1, 2, width_ratios=(1.05, 1))
    _relief(made.add_subplot(places[0], projection="3d", computed_zorder=False), product, [paths[n] for n in shown])
    _map(made.add_subplot(places[1]), product, [paths[n] for n in shown])
    return Drawn(made, numbers)


def _of_the_surface(product: Product) -> dict[str, float]:
    origin = torch.zeros(2, dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh(torch.func.hessian(product.value)(origin)).tolist()
    below, above = (values(product, np.array([[1.0, sign], [-1.0, -sign]])).mean() for sign in (1.0, -1.0))
    return {
        "smallest": eigenvalues[0],
        "largest": eigenvalues[1],
        "middle": float(product.value(origin)),
        "chord_below": float(below),
        "chord_above": float(above),
    }


def _from_flow(path: NDArray[np.float64]) -> float:
    """How far the last point is from where gradient flow from the first one ends."""
    return float(np.linalg.norm(path[-1] - Product.limit((float(path[0, 0]), float(path[0, 1])))))


def _from_law(path: NDArray[np.float64], product: Product, lr: float) -> float:
    """How far it is from the point with w1 w2 = 1 and c = c_0 prod_t (1 - 4 lr^2 R_t)."""
    kept = (path[0, 0] ** 2 - path[0, 1] ** 2) * np.prod(1 - 4 * lr**2 * values(product, path[:-1]))
    return float(np.linalg.norm(path[-1] - Product.limit((float(path[0, 0]), float(path[0, 1])), float(kept))))


def _relief(axes: Any, product: Product, paths: list[NDArray[np.float64]]) -> None:
    line = np.linspace(-REACH, REACH, 241)
    x, y = np.meshgrid(line, line)
    z = values(product, np.stack((x, y), -1))
    top = 16.0
    z[z > top] = np.nan
    axes.plot_surface(x, y, z, cmap="Greys", vmin=-8, vmax=1.6 * top, rcount=241, ccount=241, lw=0, alpha=0.85)
    for path, colour in zip(paths, _COLOURS, strict=False):
        height = values(product, path)
        axes.plot(path[:, 0], path[:, 1], height + 0.1, color=colour, lw=1.8, zorder=5)
        axes.plot(*path[-1], height[-1] + 0.1, "o", color=colour, ms=5, zorder=6)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), zlim=(0, top))
    axes.view_init(elev=42, azim=-72)
    axes.set_box_aspect((1, 1, 0.7), zoom=1.02)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_visible(False)
        axis._axinfo["grid"].update(color=PALE, linewidth=0.4)
    quiet(axes, r"$w_1$", r"$w_2$", r"the surface $(1 - w_2 w_1)^2$")


def _map(axes: Axes, product: Product, paths: list[NDArray[np.float64]]) -> None:
    line = np.linspace(-REACH, REACH, 301)
    x, y = np.meshgrid(line, line)
    axes.contour(x, y, values(product, np.stack((x, y), -1)), _LEVELS, colors=PALE, linewidths=0.7)
    branch = np.linspace(1 / REACH, REACH, 100)
    for sign in (1, -1):
        axes.plot(sign * branch, sign / branch, color=INK, lw=2.2, label="minima: $w_1 w_2 = 1$" if sign > 0 else None)
    for i, (path, colour) in enumerate(zip(paths, _COLOURS, strict=False)):
        total, c = path[0].sum(), path[0, 0] ** 2 - path[0, 1] ** 2
        if c:  # (w1 + w2) (w1 - w2) = c
            along = total * np.geomspace(0.02, 50, 400)
            axes.plot((along + c / along) / 2, (along - c / along) / 2, ":", color=colour, lw=0.9)
        axes.plot(*path.T, color=colour, lw=1.8)
        axes.plot(*path[0], "s", color=colour, ms=5, mfc="white", label="start" if i == 0 else None)
        axes.plot(*path[-1], "o", color=colour, ms=6, label="end" if i == 0 else None)
    axes.plot(0, 0, "X", color="white", mec=INK, ms=9, label="saddle", zorder=1.5)
    axes.plot([], [], ":", color=INK, lw=0.9, label="$w_1^2 - w_2^2$ as at the start")
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), box_aspect=1)
    quiet(axes, r"$w_1$", r"$w_2$", "where gradient descent goes")
    axes.legend(fontsize=SMALL - 1, loc="upper left", bbox_to_anchor=(0.1, 0.86), framealpha=0.9, labelcolor=INK,
                edgecolor="none")  # fmt: skip
