"""Surfaces whose critical points are all known: a product, two saddles, and a curve with plateaus and poor minima."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from torch import Tensor

from rlgan.erm.problems.surfaces import Surface, Window


class Critical(NamedTuple):
    """A critical point.

    Attributes:
        point: theta (d,), float64.
        value: f there.
        eigenvalues: of the Hessian there (d,), float64, the smallest first.
    """

    point: Tensor
    value: float
    eigenvalues: Tensor


def critical(point: tuple[float, ...], value: float, *eigenvalues: float) -> Critical:
    """The same of numbers."""
    return Critical(
        torch.tensor(point, dtype=torch.float64), value, torch.tensor(sorted(eigenvalues), dtype=torch.float64)
    )


@final
@dataclass(frozen=True)
class Product(Surface):
    """The squared error of one linear neuron behind another, f = (1 - w2 w1)^2, on the sample x = 1, y = 1.

    theta = (w1, w2). The minima are the two branches of the hyperbola w1 w2 = 1, with f = 0 and a Hessian of the
    eigenvalues 0 and 2 (w1^2 + w2^2). The origin is a strict saddle with the eigenvalues -2 and 2. There is no other
    critical point. Gradient flow keeps w1^2 - w2^2 (Saxe et al. 2014, arXiv:1312.6120), hence where it ends is known,
    see `limit`. A step of gradient descent multiplies w1^2 - w2^2 by 1 - 4 lr^2 f, exactly.

    Args:
        start: theta_0; null is (2, -0.5).
        start_spread, gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    start: tuple[float, ...] | None = None
    start_spread: float = 0.0
    gradient_noise: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        self.check()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return 2.0, -0.5

    @property
    def window(self) -> Window:
        return -2.5, 2.5, -2.5, 2.5

    def value(self, theta: Tensor) -> Tensor:
        return (1 - theta.prod()).square()

    def least(self) -> float:
        return 0.0

    @property
    def critical(self) -> list[Critical]:
        """The saddle; the minima are a curve."""
        return [critical((0.0, 0.0), 1.0, -2.0, 2.0)]

    @staticmethod
    def limit(start: tuple[float, float], kept: float | None = None) -> tuple[float, float]:
        """Where gradient flow from `start` ends: on the branch of w1 w2 = 1 on its side of w1 + w2 = 0.

        On that line it ends in the saddle at the origin.

        Args:
            start: (w1, w2).
            kept: c = w1^2 - w2^2 at the end; None is that of the start, as the flow keeps it.
        """
        total = start[0] + start[1]
        if total == 0:
            return 0.0, 0.0
        c = start[0] ** 2 - start[1] ** 2 if kept is None else kept
        # w1^2 is the positive root of t - 1/t = c; of two forms the one that cancels nothing.
        root = math.hypot(c, 2)
        square = (c + root) / 2 if c > 0 else 2 / (root - c)
        w1 = math.copysign(math.sqrt(square), total)
        return w1, 1 / w1


@final
@dataclass(frozen=True)
class MinmaxSaddle(Surface):
    """A saddle that is a minimum along x and a maximum along y: f = x^2 - y^2 + y^4/2.

    The quartic bounds it from below, so that descent ends somewhere. The origin is a strict saddle with the eigenvalues
    2 and -2. The minima (0, 1) and (0, -1) have f = -1/2 and the eigenvalues 2 and 4. There is no other critical point.
    On the ridge y = 0 gradient descent goes to the saddle and stays. It is a (1, 1, 1/10, 1/10)-strict saddle.

    Args:
        start: theta_0; null is (1, 0), on the ridge.
        start_spread, gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    start: tuple[float, ...] | None = None
    start_spread: float = 0.0
    gradient_noise: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        self.check()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return 1.0, 0.0

    @property
    def window(self) -> Window:
        return -1.5, 1.5, -1.5, 1.5

    def value(self, theta: Tensor) -> Tensor:
        x, y = theta
        return x * x - y * y + y**4 / 2

    def least(self) -> float:
        return -0.5

    @property
    def critical(self) -> list[Critical]:
        """The saddle, then the minima."""
        return [
            critical((0.0, 0.0), 0.0, -2.0, 2.0),
            critical((0.0, 1.0), -0.5, 2.0, 4.0),
            critical((0.0, -1.0), -0.5, 2.0, 4.0),
        ]


@final
@dataclass(frozen=True)
class MonkeySaddle(Surface):
    """Three valleys meet in a point of no curvature: f = x^3 - 3 x y^2 + (3/4) (x^2 + y^2)^2.

    In polar coordinates r^3 cos(3 phi) + (3/4) r^4; the quartic bounds it from below. The Hessian at the origin is 0,
    so that second derivatives do not tell what it is. The minima are at r = 1, phi = pi/3, pi and 5 pi/3, with
    f = -1/4 and the eigenvalues 3 (along r) and 9. There is no other critical point. On the ridge y = 0, x > 0 gradient
    descent goes to the origin, as slowly as x = 1/(3 lr k) after k steps.

    Args:
        start: theta_0; null is (1, 0), on the ridge.
        start_spread, gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    start: tuple[float, ...] | None = None
    start_spread: float = 0.0
    gradient_noise: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        self.check()

    @property
    def usual_start(self) -> tuple[float, ...]:
        return 1.0, 0.0

    @property
    def window(self) -> Window:
        return -1.5, 1.5, -1.5, 1.5

    def value(self, theta: Tensor) -> Tensor:
        x, y = theta
        square = x * x + y * y
        return x**3 - 3 * x * y * y + 0.75 * square * square

    def least(self) -> float:
        return -0.25

    @property
    def critical(self) -> list[Critical]:
        """The saddle, then the minima."""
        half = math.sqrt(3) / 2
        minima = [(-1.0, 0.0), (0.5, half), (0.5, -half)]
        return [critical((0.0, 0.0), 0.0, 0.0, 0.0), *(critical(point, -0.25, 3.0, 9.0) for point in minima)]


CURVATURE = 4.0
"""Of `Plateaus` at its minima; minus that at its maxima."""
FLAT, FOOT = 1.0, 0.5
"""Lengths of a plateau of it, and of the foot of its left wall."""
HEIGHTS = {"a": 0.7, "b": 0.0, "c": 0.6, "d": 0.0, "e": 0.45, "f": 0.35, "g": 0.5, "h": 0.33}


class Place(NamedTuple):
    """A place of a curve where the slope is 0.

    Attributes:
        kind: plateau, global minimum, local minimum or local maximum.
        left, right: its ends; one point but for a plateau.
        value: f there.
        basin: from where gradient flow leads to it; of a maximum the point itself.
    """

    kind: str
    left: float
    right: float
    value: float
    basin: tuple[float, float]


class _Knots(NamedTuple):
    """Pieces of third degree, ``(n,)`` float64 each: where they begin; f, f', f'' and f''' there."""

    x: Tensor
    value: Tensor
    slope: Tensor
    bend: Tensor
    change: Tensor


@final
@dataclass(frozen=True)
class Plateaus(Surface):
    """A curve with two plateaus, two global minima and two poor ones: one variable, all critical points known.

    From the left: a plateau (a), a global minimum (b), a plateau (c) and the other global minimum (d), a maximum (e), a
    poor minimum (f), a maximum (g), a poor minimum (h); a wall on either side. f has a continuous second derivative,
    piecewise linear: `CURVATURE` = kappa at the minima, -kappa at the maxima, 0 on the plateaus, where the slope is 0
    too. Between extrema a height D apart the curve is D s^2 (3 - 2 s) over a length of sqrt(6 D / kappa); between a
    plateau and a minimum D below it f'' goes 0, -kappa/2, kappa over two lengths of sqrt(3 D / kappa).

    Noise of a temperature T, a variance of 2 lr T a step, leaves a minimum over a barrier D after about
    (2 pi / kappa) exp(D / T) / lr steps (Kramers 1940).

    Args:
        start: theta_0; null is the middle of plateau (c).
        start_spread, gradient_noise: see `Surface`.

    Raises:
        ValueError: an impossible number.
    """

    start: tuple[float, ...] | None = None
    start_spread: float = 0.0
    gradient_noise: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        self.check()

    @cached_property
    def _rows(self) -> list[tuple[str, float, float, float, float]]:
        """Name, x, f, f' and f'' of every knot, from the left."""
        k, high = CURVATURE, HEIGHTS
        rows = [("", -FOOT, high["a"] + k * FOOT**2 / 6, -k * FOOT / 2, k)]

        def add(name: str, length: float, value: float, slope: float = 0.0, bend: float = 0.0) -> None:
            rows.append((name, rows[-1][1] + length, value, slope, bend))

        def half_way(plateau: str, minimum: str, sign: int) -> float:
            width = math.sqrt(3 * (high[plateau] - high[minimum]) / k)
            add("", width, high[plateau] - k * width**2 / 12, sign * k * width / 4, -k / 2)
            return width

        add("a", FOOT, high["a"])
        add("a", FLAT, high["a"])
        add("b", half_way("a", "b", -1), high["b"], 0.0, k)
        add("c", half_way("c", "b", 1), high["c"])
        add("c", FLAT, high["c"])
        add("d", half_way("c", "d", -1), high["d"], 0.0, k)
        for sign, before, name in ((-1, "d", "e"), (1, "e", "f"), (-1, "f", "g"), (1, "g", "h")):
            add(name, math.sqrt(6 * abs(high[name] - high[before]) / k), high[name], 0.0, sign * k)
        return rows

    @cached_property
    def _knots(self) -> _Knots:
        """The pieces; outside of the knots f'' is constant."""
        columns = list(zip(*self._rows, strict=True))[1:]
        x, value, slope, bend = (torch.tensor(column, dtype=torch.float64) for column in columns)
        zero = torch.zeros(1, dtype=torch.float64)
        change = torch.cat((zero, bend.diff() / x.diff(), zero))
        # The first piece, left of all knots, is told from the first knot too.
        x, value, slope, bend = (torch.cat((column[:1], column)) for column in (x, value, slope, bend))
        return _Knots(x, value, slope, bend, change)

    @cached_property
    def places(self) -> dict[str, Place]:
        """(a) to (h), from the left."""
        at = {name: [row[1] for row in self._rows if row[0] == name] for name in HEIGHTS}
        ends = {name: (min(found), max(found)) for name, found in at.items()}
        basins = {
            "a": (-math.inf, ends["a"][1]),
            "b": (ends["a"][1], ends["c"][0]),
            "c": ends["c"],
            "d": (ends["c"][1], ends["e"][0]),
            "e": ends["e"],
            "f": (ends["e"][0], ends["g"][0]),
            "g": ends["g"],
            "h": (ends["g"][0], math.inf),
        }
        kinds = dict.fromkeys("ac", "plateau") | dict.fromkeys("bd", "global minimum")
        kinds |= dict.fromkeys("eg", "local maximum") | dict.fromkeys("fh", "local minimum")
        return {name: Place(kinds[name], *ends[name], HEIGHTS[name], basins[name]) for name in HEIGHTS}

    def basin(self, x: float) -> str:
        """The place that gradient flow from x ends in."""
        closed = [name for name, place in self.places.items() if place.kind in ("plateau", "local maximum")]
        for name in [*closed, *self.places]:
            left, right = self.places[name].basin
            if left <= x <= right:
                return name
        raise ValueError(f"x = {x}: is not a number")

    @property
    def usual_start(self) -> tuple[float, ...]:
        c = self.places["c"]
        return ((c.left + c.right) / 2,)

    @property
    def window(self) -> Window:
        return -0.8, self.places["h"].right + 0.7, -0.1, 1.3

    def value(self, theta: Tensor) -> Tensor:
        knots = _Knots(*(column.to(theta) for column in self._knots))
        piece = (theta[:, None] >= knots.x[1:]).sum(-1)
        x, value, slope, bend, change = (column[piece] for column in knots)
        t = theta - x
        return (value + t * (slope + t * (bend / 2 + t * change / 6))).sum()

    def least(self) -> float:
        return 0.0

    @property
    def critical(self) -> list[Critical]:
        """The minima and maxima, from the left; beside them all points of the plateaus are critical."""
        bend = {"minimum": CURVATURE, "maximum": -CURVATURE}
        return [
            critical((place.left,), place.value, bend[place.kind.split()[1]])
            for place in self.places.values()
            if place.kind != "plateau"
        ]
