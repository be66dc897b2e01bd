"""The picture of a player's loss: slices along lines, and the plane through two random directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

_INK, _PALE, _LINE, _TOP = "#333333", "#bbbbbb", "#1f6f8b", "#c8102e"
_LEVELS = 14
#: The plane shows losses up to this quantile: a corner where the loss explodes would leave one colour for the rest.
_SHOWN = 0.97


class Slice(Protocol):
    """Coordinates (n,) and the losses there: (n,), or (n, n) with the first direction first."""

    @property
    def coordinates(self) -> Tensor:
        """Distances along each direction."""

    @property
    def losses(self) -> Tensor:
        """The loss at each."""


class Landscape(Protocol):
    """What a task says of one player's loss surface."""

    @property
    def numbers(self) -> Mapping[str, float]:
        """Finite numbers by tag; `eigenvalue/largest`, `eigenvalue/smallest` and their `..._error` are drawn."""

    @property
    def kind(self) -> str:
        """The classification of the point."""

    @property
    def line(self) -> Slice:
        """Along a random direction."""

    @property
    def top(self) -> Slice:
        """Along the eigenvector of the largest eigenvalue."""

    @property
    def plane(self) -> Slice:
        """Through two random directions, the first that of `line`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know, one sentence each."""


def draw(landscape: Landscape, player: str, step: int) -> Figure:
    """Left the loss along two lines, right its level sets in a plane; the point itself is marked.

    Args:
        landscape: what was found.
        player: whose.
        step: of training, for the caption.
    """
    figure = Figure(figsize=(10.0, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.1))
    left, right = halves
    along, steepest = left.subplots(2, 1)
    here = landscape.numbers["loss"]
    _line(along, landscape.line, here, _LINE, "distance along a random direction (1 = length of theta's filters)")
    _line(steepest, landscape.top, here, _TOP, r"distance along the eigenvector of the largest $|\lambda|$ (same unit)")
    left.supylabel(f"loss of the {player}", fontsize=8, color=_INK)
    _plane(right, right.subplots(), landscape.plane, player)
    ends = "   ".join(
        rf"$\lambda_{{\mathrm{{{end[:3]}}}}}$ = {_value(landscape.numbers, f'eigenvalue/{name}')}"
        for end, name in (("max", "largest"), ("min", "smallest"))
    )
    figure.suptitle(
        f"{player}   step {step:,}   {ends}   ({landscape.kind.replace('_', ' ')})", fontsize=10, color=_INK, x=0.01,
        ha="left",
    )  # fmt: skip
    return figure


def _value(numbers: Mapping[str, float], tag: str) -> str:
    return f"{numbers[tag]:.4g} ± {numbers[f'{tag}_error']:.1g}".replace("-", "−")


def _array(x: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = x.detach().to("cpu").double().numpy()
    return found


def _line(axes: Axes, piece: Slice, here: float, colour: str, label: str) -> None:
    axes.plot(_array(piece.coordinates), _array(piece.losses), color=colour, lw=1.5)
    axes.plot([0], [here], "o", color=_INK, ms=4, zorder=3)
    axes.set_xlabel(label, fontsize=8, color=_INK)
    axes.margins(x=0.02)
    axes.grid(color=_PALE, lw=0.4, alpha=0.6)
    _quiet(axes)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plane(figure: FigureBase, axes: Axes, piece: Slice, player: str) -> None:
    # Contours want rows along the vertical axis.
    at, losses = _array(piece.coordinates), _array(piece.losses).T
    axes.set_xlabel("first random direction", fontsize=8, color=_INK)
    axes.set_ylabel("second random direction", fontsize=8, color=_INK)
    axes.set(xlim=(at[0], at[-1]), ylim=(at[0], at[-1]), aspect="equal")
    _quiet(axes)
    finite = losses[np.isfinite(losses)]
    if finite.size and np.ptp(finite) > 0:
        levels = MaxNLocator(_LEVELS).tick_values(finite.min(), np.quantile(finite, _SHOWN))
        filled = axes.contourf(
            at, at, np.ma.masked_invalid(losses), levels, cmap="viridis", norm=BoundaryNorm(levels, 256), extend="max"
        )
        axes.contour(at, at, np.ma.masked_invalid(losses), levels, colors="white", linewidths=0.5, linestyles="solid")
        bar = figure.colorbar(filled, ax=axes, shrink=0.9, pad=0.02, aspect=28)
        bar.set_label(f"loss of the {player}", fontsize=8, color=_INK)
        bar.ax.tick_params(labelsize=7, colors=_INK, length=2)
    axes.plot([0], [0], "o", color="white", mec=_INK, ms=5)


def _quiet(axes: Axes) -> None:
    axes.tick_params(labelsize=7, colors=_INK, length=2)
    for spine in axes.spines.values():
        spine.set_color(_PALE)
