"""A curve over several seeds: their mean, and the range between the least and the largest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


def band(axes: Axes, steps: NDArray[Any], values: NDArray[Any], colour: str, label: str = "", **line: Any) -> None:
    """Draw the mean of `values` (seeds, n) against `steps` (n,), and pale behind it all that the seeds have.

    Args:
        axes: where to draw.
        steps, values: as `Ran.curve` gives them.
        colour: of both.
        label: of the mean.
        line: further words for the line, such as `ls="--"`.
    """
    axes.plot(steps, values.mean(0), color=colour, label=label or None, **{"lw": 1.4, **line})
    if len(values) > 1:
        axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
