"""What a line, a lifted coordinate and a hidden layer make of a disc inside of a ring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rlgan.erm import ERM, Rings
from rlgan.erm.pictures import CLASSES, draw_regions
from rlgan.nets import MLP
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, LARGE, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


def lifting(runs: Mapping[str, Ran]) -> Drawn:
    """A line on two clouds; and on a disc in a ring a line, a plane over z = sqrt(x^2 + y^2), and a hidden layer.

    (EE-556, Lecture 7: Optimization for Deep Learning, "Power of linear classifiers" and "An important alternative for
    non-linearly separable data".)

    Args:
        runs: `line` and `hidden` of `problem=rings`, `lifted` of the same with `problem.lifted=true`, the first and the
            last without hidden layers; `clouds` of `problem=blobs`.

    Returns:
        The figure. Of each run `error_NAME_least` and `error_NAME_largest`, the share of test samples told wrong, over
        the seeds; `best_line`, the least error that a line has on the two distributions; `crossing`, the radius at
        which the lifted plane meets the axis of the ring, and the gap, `gap_inner` to `gap_outer`, in which it should.
    """
    numbers: dict[str, float] = {}
    for name, ran in runs.items():
        wrong = ran.last("error/test")
        numbers |= {f"error_{name}_least": float(wrong.min()), f"error_{name}_largest": float(wrong.max())}
    tasks = {name: cast(ERM, ran.task()) for name, ran in runs.items()}
    rings = cast(Rings, tasks["line"].problem)
    plane = _linear(tasks["lifted"])
    numbers |= {
        "best_line": best_line(rings.gap, rings.width),
        "crossing": -plane[3] / plane[2],
        "gap_inner": 1.0,
        "gap_outer": 1.0 + rings.gap,
    }
    made = figure(7.6, 7.0)
    grid = made.add_gridspec(2, 2, wspace=0.08)
    for place, name, title in (
        (grid[0, 0], "clouds", "two clouds, a line: {largest} wrong"),
        (grid[0, 1], "line", "disc and ring, a line: {least} wrong (best {best})"),
        (grid[1, 1], "hidden", "a hidden layer of {units} units: {largest} wrong"),
    ):
        axes = made.add_subplot(place)
        draw_regions(axes, tasks[name].model.module, tasks[name].train)
        if name != "clouds":
            axes.set_aspect("equal", adjustable="box")
        if name == "hidden":
            _units(axes, tasks[name])
        words = {end: _percent(numbers[f"error_{name}_{end}"]) for end in ("least", "largest")}
        words |= {"best": _percent(numbers["best_line"]), "units": str(len(_layers(tasks[name])[0].bias))}
        quiet(axes, r"$x$", r"$y$", title.format(**words))
    told = _percent(numbers["error_lifted_largest"])
    _lifted(made.add_subplot(grid[1, 0], projection="3d"), tasks["lifted"], plane, told)
    return Drawn(made, numbers)


def best_line(gap: float, width: float) -> float:
    """The least error of a line on the disc |x| <= 1 and the ring 1 + gap <= |x| <= 1 + gap + width, half and half.

    Both are filled evenly and round, so that the line may be x = t: the shares beyond it are areas of circular
    segments, R^2 arccos(t/R) - t sqrt(R^2 - t^2), and t is looked for on a fine grid.
    """

    def segment(t: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
        t = np.clip(t, -radius, radius)
        return radius**2 * np.arccos(t / radius) - t * np.sqrt(radius**2 - t**2)

    inner, outer = 1 + gap, 1 + gap + width
    t = np.linspace(-outer, outer, 100_001)
    disc = segment(t, 1.0) / math.pi
    ring = (segment(t, outer) - segment(t, inner)) / (math.pi * (outer**2 - inner**2))
    beyond_is_ring = (disc + 1 - ring) / 2
    return float(np.minimum(beyond_is_ring, 1 - beyond_is_ring).min())


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _layers(task: ERM) -> tuple[torch.nn.Linear, ...]:
    return cast(MLP, task.model.module).linears


def _linear(task: ERM) -> list[float]:
    """Weights and bias of a network without hidden layers."""
    (layer,) = _layers(task)
    return [*layer.weight.detach().flatten().tolist(), float(layer.bias.detach())]


def _lifted(axes: Any, task: ERM, plane: list[float], wrong: str) -> None:
    """The samples in three dimensions, and the plane w.x + b = 0."""
    x, y = task.train.x.double().numpy(), task.train.y.numpy()
    reach = 1.02 * float(np.abs(x[:, :2]).max())
    u, v = np.meshgrid(np.linspace(-reach, reach, 2), np.linspace(-reach, reach, 2))
    height = -(plane[0] * u + plane[1] * v + plane[3]) / plane[2]
    axes.computed_zorder = False
    below = x[:, 2] < -(x[:, :2] @ np.array(plane[:2]) + plane[3]) / plane[2]
    for chosen, order in ((below, 1), (~below, 3)):
        for i in range(2):
            at = x[chosen & (y == i)]
            axes.scatter(*at.T, s=7, color=CLASSES[i], edgecolors="white", linewidths=0.2, depthshade=False,
                         zorder=order)  # fmt: skip
    axes.plot_surface(u, v, height, color=INK, alpha=0.16, zorder=2, linewidth=0)
    axes.set_xticks([-2, 0, 2])
    axes.set_yticks([-2, 0, 2])
    axes.set_zticks([0, 1, 2])
    axes.set_box_aspect(None, zoom=1.08)
    axes.view_init(elev=16, azim=-62)
    axes.tick_params(labelsize=SMALL - 2, colors=INK, pad=-3)
    axes.set_xlabel(r"$x$", fontsize=SMALL, color=INK, labelpad=-8)
    axes.set_ylabel(r"$y$", fontsize=SMALL, color=INK, labelpad=-8)
    axes.set_zlabel(r"$z = \sqrt{x^2 + y^2}$", fontsize=SMALL, color=INK, labelpad=-8)
    axes.set_title(f"lifted, a plane: {wrong} wrong", fontsize=LARGE, color=INK, loc="left")
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_alpha(0)
        axis._axinfo["grid"].update(color=PALE, linewidth=0.3)


def _units(axes: Axes, task: ERM) -> None:
    """The line of each hidden unit on which its input is 0."""
    first = _layers(task)[0]
    weight, bias = first.weight.detach().double().numpy(), first.bias.detach().double().numpy()
    x, y = axes.get_xlim(), axes.get_ylim()
    for (a, b), c in zip(weight, bias, strict=True):
        nearest = -c * np.array([a, b]) / (a * a + b * b)
        along = 10 * np.array([-b, a]) / math.hypot(a, b)
        axes.plot(*np.stack((nearest - along, nearest + along)).T, color=INK, lw=0.5, ls=(0, (4, 3)), alpha=0.7)
    axes.set_xlim(x)
    axes.set_ylim(y)
