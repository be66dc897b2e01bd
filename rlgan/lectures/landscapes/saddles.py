"""Critical points: a minmax saddle and a monkey saddle, gradient descent that stays there, and noise that leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlgan.erm import MinmaxSaddle, MonkeySaddle, Surface
from rlgan.lectures.ways import BLUE, FAKE, GOLD, GREEN, surface, values, ways
from rlgan.optim.second_order.curvature import classify, strict_saddle
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_LABELS = {
    "perturbed": "perturbed SGD: the unit sphere",
    "langevin": "SGLD, T = 1",
    "minibatch": "minibatch noise in every direction",
}
_COLOURS = {"perturbed": BLUE, "langevin": GOLD, "minibatch": GREEN}
FAR = 0.5
"""Distance from the ridge at which it has been left."""


def saddles(runs: Mapping[str, Ran], shown: int = 6) -> Drawn:
    """Runs from the ridges of two saddles: over the surfaces, and how their distance from the ridge grows.

    On the minmax saddle x^2 - y^2 + y^4/2 (`problem=minmax_saddle`) y_{t+1} = (1 + lr gamma) y_t + s xi_t near the
    ridge y = 0, gamma = 2 and s the standard deviation of a step's noise across it. Hence

        E y_t^2 = s^2 ((1 + lr gamma)^(2 t) - 1) / ((1 + lr gamma)^2 - 1),

    with s = lr sigma / sqrt 2 for the sphere of radius sigma in the plane (Ge et al. 2015), sqrt(2 lr T) for Langevin's
    noise, lr sigma / sqrt b for minibatches of b. Without noise across the ridge y stays 0.

    On the ridge of the monkey saddle x^3 - 3 x y^2 + (3/4)(x^2 + y^2)^2 the flow from x_0 to x takes the time
    (F(x_0) - F(x)) / 3 with F(x) = log((1 + x) / x) - 1/x: for ever to x = 0, and 1/(3 x) when x is small.

    (EE-556, Lecture 7: Optimization for Deep Learning, "Escaping from saddle points", "The strict saddle property" and
    "Perturbed SGD algorithm"; Lecture 9: Deep Learning III, "Critical points" and "Q2".)

    Args:
        runs: of one step size: `descent`, `blind` (noise along the ridge alone), and any of `perturbed`, `langevin` and
            `minibatch` on the minmax saddle; `monkey_descent` and `monkey_perturbed` on the monkey saddle.
        shown: seeds whose ways are drawn.

    Returns:
        The figure. Of each run on the minmax saddle `left_NAME`, the share of seeds that were ever further than 1/2
        from the ridge; of those with noise across it `spread_NAME`, the root mean square of y when theory says 0.1, and
        `growth_NAME` with `growth_theory_NAME`, the factor a step of it from there until theory says 0.3;
        `far_perturbed`, the largest distance from the nearest minimum at the end; `still_NAME`, the largest |y| of
        `descent` and `blind`. `monkey_left`, the share of seeds of `monkey_perturbed` that end within 1/2 of a minimum;
        `monkey_creep`, the time that the way of `monkey_descent` takes by F, over lr times its steps; `monkey_x`, its
        end. What curvature says at the origins, as 1 or 0: `minmax_strict`, `minmax_negative`, `monkey_inconclusive`,
        `monkey_violated`.
    """
    paths = {name: ways(ran) for name, ran in runs.items()}
    on = {name: surface(ran) for name, ran in runs.items()}
    minmax = {name: paths[name] for name in runs if isinstance(on[name], MinmaxSaddle)}
    numbers = _kinds()
    made = figure(8.4, 7.0)
    grid = made.add_gridspec(2, 2, height_ratios=(1.25, 1))
    below = made.add_subplot(grid[1, :])
    for name, path in minmax.items():
        across = np.abs(path[:, :, 1])
        numbers[f"left_{name}"] = float((across.max(1) > FAR).mean())
        if name in _COLOURS:
            numbers |= _growth(below, name, path, _noise(runs[name]), float(runs[name].config["optimizer"]["lr"]))
        else:
            numbers[f"still_{name}"] = float(across.max())
    ends = minmax["perturbed"][:, -1]
    numbers["far_perturbed"] = float(np.hypot(ends[:, 0], np.abs(ends[:, 1]) - 1).max())
    numbers |= _monkey(paths, runs)
    text = "gradient descent, and noise along the ridge alone: y = 0 for ever"
    below.text(0.99, 0.04, text, transform=below.transAxes, ha="right", fontsize=SMALL, color=FAKE)
    below.set_yscale("log")
    quiet(
        below,
        "step t",
        "distance from the ridge\n(root mean square of y)",
        "minmax saddle: leaving the ridge",
        curves=True,
    )
    below.plot([], [], ":", color=INK, lw=1.0, label=r"theory: grows as $(1 + \gamma\,lr)^t$")
    below.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower right", bbox_to_anchor=(1, 0.08))
    titles = ("minmax saddle: eigenvalues -2 and 2", "monkey saddle: no curvature, inconclusive")
    for i, (title, names) in enumerate(
        zip(titles, (("descent", "perturbed"), ("monkey_descent", "monkey_perturbed")), strict=True)
    ):
        axes = made.add_subplot(grid[0, i], projection="3d", computed_zorder=False)
        _relief(axes, on[names[0]], [(paths[names[1]][:shown], BLUE), (paths[names[0]][:1], FAKE)], title)
    return Drawn(made, numbers)


def _kinds() -> dict[str, float]:
    origin = torch.zeros(2, dtype=torch.float64)
    minmax, monkey = MinmaxSaddle().value, MonkeySaddle().value
    of_minmax, of_monkey = (strict_saddle(f, origin, 1.0, 1.0, 0.1, 0.1).alternative for f in (minmax, monkey))
    return {
        "minmax_strict": float(classify(minmax, origin).kind == "strict_saddle"),
        "minmax_negative": float(of_minmax == "negative_curvature"),
        "monkey_inconclusive": float(classify(monkey, origin).kind == "inconclusive"),
        "monkey_violated": float(of_monkey == "violated"),
    }


def _noise(ran: Ran) -> float:
    """s, the standard deviation of the noise of one step across the ridge."""
    config = ran.config
    lr, found = float(config["optimizer"]["lr"]), 0.0
    method = str(config["optimizer"]["_target_"])
    if method.endswith("perturbed_sgd"):
        found += (lr * float(config["optimizer"].get("sigma", 1.0))) ** 2 / 2
    if method.endswith("sgld"):
        found += 2 * lr * float(config["optimizer"].get("temperature", 1.0))
    if config["batch_size"]:
        given = config["problem"]["gradient_noise"]
        sigma = float(given[1] if isinstance(given, list) else given)
        found += (lr * sigma) ** 2 / float(config["batch_size"])
    return float(np.sqrt(found))


def spread(s: float, factor: float, steps: NDArray[Any]) -> NDArray[np.float64]:
    """The root mean square of y after `steps` of y <- factor y + s xi from y = 0, the variance of xi being 1."""
    found: NDArray[np.float64] = s * np.sqrt((factor ** (2.0 * steps) - 1) / (factor**2 - 1))
    return found


def _growth(axes: Axes, name: str, path: NDArray[np.float64], s: float, lr: float) -> dict[str, float]:
    steps = np.arange(path.shape[1])
    measured = np.sqrt((path[:, :, 1] ** 2).mean(0))
    theory = spread(s, 1 + 2 * lr, steps)
    axes.plot(steps[1:], measured[1:], color=_COLOURS[name], lw=1.6, label=_LABELS[name])
    axes.plot(steps[1:][theory[1:] < 1], theory[1:][theory[1:] < 1], ":", color=INK, lw=1.0)
    if theory[1] > 0.1 or theory[-1] < 0.3:  # noise that is far away at once, or a run too short to tell
        return {}
    first, last = np.searchsorted(theory, (0.1, 0.3))

    def growth(of: NDArray[np.float64]) -> float:
        return float((of[last] / of[first]) ** (1 / (last - first)))

    found = {f"spread_{name}": float(measured[first]), f"growth_{name}": growth(measured)}
    return found | {f"growth_theory_{name}": growth(theory)}


def _monkey(paths: Mapping[str, NDArray[np.float64]], runs: Mapping[str, Ran]) -> dict[str, float]:
    minima = np.array([point.point.numpy() for point in MonkeySaddle().critical[1:]])
    ends = paths["monkey_perturbed"][:, -1]
    near = np.linalg.norm(ends[:, None] - minima, axis=-1).min(1)
    path, lr = paths["monkey_descent"][0], float(runs["monkey_descent"].config["optimizer"]["lr"])

    def clock(x: float) -> float:
        return float(np.log((1 + x) / x) - 1 / x)

    return {
        "monkey_left": float((near < FAR).mean()),
        "monkey_x": float(path[-1, 0]),
        "still_monkey": float(np.abs(path[:, 1]).max()),
        "monkey_creep": (clock(path[0, 0]) - clock(path[-1, 0])) / (3 * lr * (len(path) - 1)),
    }


def _relief(axes: Any, of: Surface, drawn: list[tuple[NDArray[np.float64], str]], title: str) -> None:
    reach = 1.35 if isinstance(of, MinmaxSaddle) else 1.15
    angle, radius = np.meshgrid(np.linspace(0, 2 * np.pi, 145), np.linspace(0, reach, 60))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    z = values(of, np.stack((x, y), -1))
    low, high = float(z.min()), float(z.max())
    axes.plot_surface(
        x, y, z, cmap="Greys", vmin=1.6 * low - 0.6 * high, vmax=1.8 * high, rcount=60, ccount=145, lw=0, alpha=0.8
    )
    for (paths, colour), label in zip(drawn, ("perturbed SGD", "gradient descent"), strict=True):
        for i, path in enumerate(paths):
            height = values(of, path) + 0.02 * (high - low)
            line = {"lw": 1.2 if len(paths) > 1 else 2.4, "label": None if i else label}
            axes.plot(path[:, 0], path[:, 1], height, color=colour, zorder=5, **line)
            axes.plot(*path[-1], height[-1], "o", color=colour, ms=6, zorder=6)
    axes.view_init(elev=38, azim=-60)
    axes.set_box_aspect((1, 1, 0.65), zoom=1.15)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_visible(False)
        axis._axinfo["grid"].update(color=PALE, linewidth=0.4)
    quiet(axes, "x", "y", title)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    axes.tick_params(pad=-2)
    axes.xaxis.labelpad = axes.yaxis.labelpad = -6
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper right")
