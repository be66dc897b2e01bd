"""A curve with plateaus and poor minima: which share of starts descent, momentum and noise bring to the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from rlgan.erm import Plateaus
from rlgan.lectures.ways import BLUE, FAKE, REAL, surface, values, ways
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_LABELS = {
    "descent": "gradient descent",
    "heavy_ball": "heavy ball, 0.9",
    "ball": "heavy ball, 0.9",
    "heavier_ball": "heavy ball, 0.99",
    "perturbed": "perturbed SGD",
    "minibatch": "minibatches of 16",
}
_KINDS = {"global minimum": BLUE, "local minimum": FAKE, "plateau": "#999999"}


def plateaus(runs: Mapping[str, Ran]) -> Drawn:
    """The curve with its places (a) to (h), and where runs from everywhere on it have ended, method by method.

    Gradient descent of small steps ends in the place whose basin it starts in, so that of uniform starts the share that
    ends in a global minimum is the basins' share of the line. A velocity runs over a barrier that is lower than the
    speed allows, and does nothing from rest: on a plateau it stays. Noise of temperature T = lr sigma^2 / 2 moves what
    rests, and leaves a minimum behind a barrier D after about (2 pi / kappa) exp(D / T) / lr steps (Kramers 1940): soon
    where D is a few T, and never where it is many.

    (EE-556, Lecture 7: Optimization for Deep Learning, "Towards training with neural networks" and "Minibatch and
    momentum"; Lecture 9: Deep Learning III.)

    Args:
        runs: of `problem=plateaus`, each from the same starts, one for each seed; `descent` is gradient descent. Two
            called `wall_descent` and `wall_ball`, from one start, are drawn on the curve and stand in no share.

    Returns:
        The figure. Of each run, `share_NAME`, of the starts that end in a basin of a global minimum; `freed_NAME`, of
        those starts in another basin that do; `lost_NAME`, of those in such a basin that do not; `plateau_NAME`, of the
        starts on a plateau that end there. `basins`, the global basins' share of the starts; `moved`, the longest way
        that `descent` went from a start on a plateau; `value_wall_descent` and `value_wall_ball`, f at their ends.
    """
    curve = cast(Plateaus, surface(next(iter(runs.values()))))
    every = {name: ways(ran)[:, :, 0] for name, ran in runs.items()}
    walls = {name: path[0] for name, path in every.items() if name.startswith("wall_")}
    paths = {name: path for name, path in every.items() if name not in walls}
    good = [name for name, place in curve.places.items() if place.kind == "global minimum"]
    numbers: dict[str, float] = {}
    ends: dict[str, list[str]] = {}
    for name, path in paths.items():
        begun, ends[name] = [curve.basin(x) for x in path[:, 0]], [curve.basin(x) for x in path[:, -1]]
        before, after = np.isin(begun, good), np.isin(ends[name], good)
        flat = _on_plateau(curve, path[:, 0])
        numbers |= {
            f"share_{name}": float(after.mean()),
            f"freed_{name}": _share(after[~before]),
            f"lost_{name}": _share(~after[before]),
            f"plateau_{name}": _share(_on_plateau(curve, path[flat, -1])),
        }
        numbers["basins"] = float(before.mean())
    still = paths["descent"][_on_plateau(curve, paths["descent"][:, 0])]
    numbers["moved"] = float(np.abs(still - still[:, :1]).max()) if len(still) else 0.0
    numbers |= {f"value_{name}": float(values(curve, path[-1:])) for name, path in walls.items()}
    made = figure(8.4, 6.4)
    above, below = made.subplots(2, 1, height_ratios=(1.35, 1))
    _curve(above, curve, walls, paths["descent"][:, 0])
    _shares(below, ends, len(next(iter(ends.values()))))
    return Drawn(made, numbers)


def _share(of: NDArray[np.bool_]) -> float:
    return float(of.mean()) if of.size else 0.0


def _on_plateau(curve: Plateaus, x: NDArray[np.float64]) -> NDArray[np.bool_]:
    found = np.zeros(x.shape, dtype=bool)
    for place in curve.places.values():
        if place.kind == "plateau":
            found |= (place.left <= x) & (x <= place.right)
    return found


def _curve(axes: Axes, curve: Plateaus, walls: Mapping[str, NDArray[np.float64]], starts: NDArray[np.float64]) -> None:
    left, right = curve.window[:2]
    x = np.linspace(left, right, 800)
    axes.plot(x, values(curve, x[:, None]), color=INK, lw=1.6, zorder=2)
    for name, place in curve.places.items():
        middle = (place.left + place.right) / 2
        above = {"plateau": 7, "local maximum": 15}.get(place.kind, -15)
        axes.plot(
            (place.left, place.right), (place.value, place.value), color=INK, lw=4 if place.left < place.right else 1
        )
        axes.annotate(
            f"({name})", (middle, place.value), (0, above), textcoords="offset points", ha="center",
            fontsize=SMALL + 1, color=INK,
        )  # fmt: skip
    for (name, path), colour, lift in zip(walls.items(), (FAKE, BLUE), (0.0, 0.05), strict=False):
        height = values(curve, path[:, None]) + 0.03 + lift
        label = f"{_LABELS[name.removeprefix('wall_')]}, from the right wall"
        axes.plot(path, height, "o-", color=colour, lw=1.2, ms=2.5, label=label)
        axes.plot(path[-1], height[-1], "o", color=colour, ms=7)
    axes.plot(starts, np.full(len(starts), -0.16), "|", color=REAL, ms=6, label="starts of the shares below")
    axes.set_ylim(-0.22, 1.3)
    axes.set_xlim(left, right)
    quiet(axes, r"$\theta$", r"f($\theta$)", "two plateaus, two global minima (b) and (d), two poor ones", curves=True)
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper center")


def _shares(axes: Axes, ends: Mapping[str, list[str]], n: int) -> None:
    groups = (("global minimum", "bd"), ("plateau", "ac"), ("local minimum", "fheg"))
    for row, places in enumerate(ends.values()):
        at = 0.0
        for kind, letters in groups:
            for letter in letters:
                width = places.count(letter) / n
                if width:
                    axes.barh(row, width, left=at, height=0.66, color=_KINDS[kind], edgecolor="white", lw=1.0)
                if width > 0.035:
                    axes.text(at + width / 2, row, letter, ha="center", va="center", fontsize=SMALL, color="white")
                at += width
        good = sum(places.count(letter) for letter in "bd") / n
        axes.text(1.01, row, f"{good:.0%}", va="center", fontsize=SMALL, color=BLUE)
    axes.set_yticks(range(len(ends)), [_LABELS.get(name, name) for name in ends])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    quiet(axes, "share of starts", "", "where they end: blue a global minimum, grey a plateau, red a poor minimum")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["top"].set_visible(False)
    axes.spines["right"].set_visible(False)
