"""One style for all pictures: colours, figures without a window, and axes that keep in the background.

No pyplot, hence no global state and nothing to close. Matplotlib is loaded when the first figure is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

INK, PALE = "#333333", "#bbbbbb"
"""Of text, and of what carries no data: frames and grids."""
REAL, FAKE, BLUE = "#4d4d4d", "#c8102e", "#1f6f8b"
"""Grey: the truth. Red: what a network makes of it. Blue: whatever else is drawn."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#333333")
"""Of things side by side, which the colour-blind can tell apart as well: after Okabe and Ito, without the yellow."""
SMALL, LARGE = 8, 9
"""Sizes of labels and of titles, in points."""


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, on the Agg canvas, which sees to it that labels do not overlap."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(made)
    return made


def plain(text: str, longest: int = 60) -> str:
    """Text for a figure as it stands: a `$` begins no formula, and the middle of a long name is left out."""
    short = text if len(text) <= longest else f"{text[: longest // 2]}…{text[-(longest // 2 - 1) :]}"
    # The legend leaves out what begins with an underscore.
    return (f" {short}" if short.startswith("_") else short).replace("$", r"\$")


def quiet(axes: Axes, x: str = "", y: str = "", title: str = "", *, curves: bool = False) -> None:
    """Small ticks, a pale frame, and the labels and title that are given; for `curves` a grid and an open frame."""
    axes.tick_params(labelsize=SMALL - 1, colors=INK, length=2)
    for side, spine in axes.spines.items():
        spine.set_color(PALE)
        spine.set_visible(not curves or side in ("left", "bottom"))
    if curves:
        axes.grid(color=PALE, lw=0.4, alpha=0.6)
    axes.set_xlabel(x, fontsize=SMALL, color=INK)
    axes.set_ylabel(y, fontsize=SMALL, color=INK)
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left")


def colour_bar(where: FigureBase, axes: Axes, filled: Any, label: str) -> None:
    """The scale of filled contours, beside their axes."""
    bar = where.colorbar(filled, ax=axes, shrink=0.86, pad=0.02, aspect=28)
    bar.set_label(label, color=INK, fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL - 1, colors=INK, length=2)
    bar.outline.set_visible(False)
