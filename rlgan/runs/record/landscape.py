"""Draw a player's loss around its parameters: along two lines, and in a plane of random directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rlgan.task.figure import BLUE, FAKE, INK, LARGE, SMALL, colour_bar, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase
    from numpy.typing import NDArray
    from torch import Tensor

    from rlgan.optim.second_order.landscape import Landscape, Slice

_LEVELS = 14
_SHOWN = 0.97
"""The plane shows losses up to this quantile: a corner where the loss explodes would leave one colour for the rest."""


def draw(landscape: Landscape, player: str, step: int) -> Figure:
    """Draw on the left the loss along two lines, on the right its level sets in a plane, with the point marked.

    Args:
        landscape: what was found.
        player: whose.
        step: of training, for the caption.
    """
    drawing = figure(10.0, 4.4)
    halves: Any = drawing.subfigures(1, 2, width_ratios=(1, 1.1))
    left, right = halves
    along, steepest = left.subplots(2, 1)
    here = landscape.numbers["loss"]
    _line(along, landscape.line, here, BLUE, "distance along a random direction (1 = length of theta's filters)")
    _line(steepest, landscape.top, here, FAKE, r"distance along the eigenvector of the largest $|\lambda|$ (same unit)")
    left.supylabel(f"loss of the {player}", fontsize=SMALL, color=INK)
    _plane(right, right.subplots(), landscape.plane, player)
    ends = "   ".join(
        rf"$\lambda_{{\mathrm{{{end[:3]}}}}}$ = {_value(landscape.numbers, f'eigenvalue/{name}')}"
        for end, name in (("max", "largest"), ("min", "smallest"))
    )
    title = f"{player}   step {step:,}   {ends}   ({landscape.kind.replace('_', ' ')})"
    drawing.suptitle(title, fontsize=LARGE, color=INK, x=0.01, ha="left")
    return drawing


def _value(numbers: Mapping[str, float], tag: str) -> str:
    return f"{numbers[tag]:.4g} ± {numbers[f'{tag}_error']:.1g}".replace("-", "−")


def _array(x: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = x.detach().to("cpu").double().numpy()
    return found


def _line(axes: Axes, piece: Slice, here: float, colour: str, label: str) -> None:
    axes.plot(_array(piece.coordinates), _array(piece.losses), color=colour, lw=1.5)
    axes.plot([0], [here], "o", color=INK, ms=4, zorder=3)
    axes.margins(x=0.02)
    quiet(axes, label, curves=True)


def _plane(where: FigureBase, axes: Axes, piece: Slice, player: str) -> None:
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import MaxNLocator

    # Contours want rows along the vertical axis.
    at, losses = _array(piece.coordinates), _array(piece.losses).T
    axes.set(xlim=(at[0], at[-1]), ylim=(at[0], at[-1]), aspect="equal")
    quiet(axes, "first random direction", "second random direction")
    finite = losses[np.isfinite(losses)]
    if finite.size and np.ptp(finite) > 0:
        levels = MaxNLocator(_LEVELS).tick_values(finite.min(), np.quantile(finite, _SHOWN))
        shown, norm = np.ma.masked_invalid(losses), BoundaryNorm(levels, 256)
        filled = axes.contourf(at, at, shown, levels, cmap="viridis", norm=norm, extend="max")
        axes.contour(at, at, shown, levels, colors="white", linewidths=0.5, linestyles="solid")
        colour_bar(where, axes, filled, f"loss of the {player}")
    axes.plot([0], [0], "o", color="white", mec=INK, ms=5)
