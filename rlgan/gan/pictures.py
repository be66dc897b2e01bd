"""Pictures of a run: samples over the critic's level sets, grids of images.

Matplotlib's object-oriented interface alone (a `Figure` on the Agg canvas): no pyplot, hence no global state, no
window, and nothing to close.
"""

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

_REAL, _FAKE, _INK, _PALE = "#4d4d4d", "#c8102e", "#333333", "#bbbbbb"
_LEVELS = 15
_PIXELS = 160


def _points(x: Tensor) -> NDArray[np.float64]:
    points: NDArray[np.float64] = x.detach().to("cpu", torch.float64).numpy()
    return points


def _window(real: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """A square about the real samples with some room to spare; fakes far away must not shrink the picture."""
    low, high = real.min(0), real.max(0)
    centre, half = (low + high) / 2, 0.65 * float((high - low).max() or 1.0)
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half


def _level_sets(
    figure: Figure,
    axes: Axes,
    critic: Callable[[Tensor], Tensor],
    window: tuple[float, float, float, float],
    like: Tensor,
) -> None:
    """Fill the window with f minus its median there: only differences of f mean anything, a critic is free to shift."""
    xs, ys = np.linspace(*window[:2], _PIXELS), np.linspace(*window[2:], _PIXELS)
    points = torch.from_numpy(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)).to(like)
    with torch.no_grad():
        scores = critic(points).to("cpu", torch.float64).numpy().reshape(_PIXELS, _PIXELS)
    if not np.isfinite(scores).all() or np.ptp(scores) == 0:
        return  # a flat critic has no level sets, a diverged one no picture
    scores = scores - np.median(scores)
    levels = MaxNLocator(_LEVELS).tick_values(scores.min(), scores.max())
    # One colour on either side of the median, so that where reals score above fakes is seen at a glance.
    filled = axes.contourf(xs, ys, scores, levels, cmap="PuOr_r", norm=CenteredNorm(0.0), alpha=0.75, zorder=0)
    axes.contour(xs, ys, scores, levels, colors="white", linewidths=0.5, linestyles="solid", zorder=0.5)
    bar = figure.colorbar(filled, ax=axes, shrink=0.82, pad=0.02, aspect=28)
    bar.set_label("critic $f(x)$ − median", color=_INK, fontsize=8)
    bar.ax.tick_params(labelsize=7, colors=_INK, length=2)
    bar.outline.set_visible(False)


def plane(
    x_real: Tensor,
    x_fake: Tensor,
    critic: Callable[[Tensor], Tensor] | None = None,
    *,
    step: int | None = None,
    w1: float | None = None,
    title: str = "",
) -> Figure:
    """Samples in the plane, real in grey and generated in red, over the critic's level sets.

    Args:
        x_real, x_fake: ``(n, 2)`` and ``(m, 2)``; 500 to 2,500 of each read well. The window follows the real ones;
            how many generated ones lie outside of it is said below the axes.
        critic: f, ``(batch, 2) -> (batch,)``, in evaluation mode; None leaves the level sets out.
        step: for the caption.
        w1: exact W1 between the two samples, for the caption.
        title: first words of the caption, for example the player that generated the samples.
    """
    assert x_real.ndim == x_fake.ndim == 2 and x_real.shape[1] == x_fake.shape[1] == 2
    real, fake = _points(x_real), _points(x_fake)
    window = _window(real)
    figure = Figure(figsize=(5.6 if critic is not None else 4.8, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if critic is not None:
        _level_sets(figure, axes, critic, window, x_real)
    size = float(np.clip(4000 / len(real), 2.0, 8.0))
    axes.scatter(real[:, 0], real[:, 1], s=size, c=_REAL, alpha=0.45, linewidths=0, label="real", rasterized=True)
    axes.scatter(fake[:, 0], fake[:, 1], s=size, c=_FAKE, alpha=0.65, linewidths=0, label="generated", rasterized=True)
    axes.set(xlim=window[:2], ylim=window[2:], aspect="equal")
    axes.tick_params(labelsize=7, colors=_INK, length=2)
    for spine in axes.spines.values():
        spine.set_color(_PALE)
    legend = axes.legend(
        loc="upper right", fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", handletextpad=0.2
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
            handle.set_sizes([22.0])  # type: ignore[attr-defined]
    parts = [title, "" if step is None else f"step {step:,}", "" if w1 is None else f"$W_1$ = {w1:.3g}"]
    axes.set_title("   ".join(p for p in parts if p), fontsize=10, color=_INK, loc="left")
    x0, x1, y0, y1 = window
    inside = (fake[:, 0] >= x0) & (fake[:, 0] <= x1) & (fake[:, 1] >= y0) & (fake[:, 1] <= y1)
    if not inside.all():
        note = f"{np.count_nonzero(~inside):,} of {len(fake):,} generated points outside"
        axes.set_xlabel(note, fontsize=7, color=_INK, loc="left")
    return figure


def image_grid(
    images: Tensor, columns: int = 10, *, value_range: tuple[float, float] = (-1.0, 1.0), smallest_side: int = 40
) -> NDArray[np.uint8]:
    """Tile images into one picture, with a thin border between them.

    Args:
        images: ``(n, C, H, W)``, C = 1 (grey) or 3 (RGB). The last row is filled up with empty tiles.
        columns: images in a row.
        value_range: values shown as black and white; what lies outside is cut off, not rescaled, so that two pictures
            of one run compare. nan is shown as black.
        smallest_side: smaller images are enlarged by the whole number of pixels that brings them to it at least.

    Returns:
        ``(height, width, 3)``, uint8: what TensorBoard and PNG take.

    Raises:
        ValueError: if the images have not 1 or 3 channels, there are none, or the range is empty.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"images = {tuple(images.shape)}: must be (n, C, H, W) with n > 0 and C = 1 or 3")
    low, high = value_range
    if not low < high:
        raise ValueError(f"value_range = {value_range}: must ascend, for example (-1.0, 1.0)")
    unit = ((images.detach().to("cpu", torch.float64).nan_to_num(low) - low) / (high - low)).clamp(0, 1)
    pixels = (unit * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    zoom = max(1, -(-smallest_side // min(pixels.shape[1:3])))
    pixels = pixels.repeat(zoom, 1).repeat(zoom, 2)
    n, height, width, _ = pixels.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    border = max(1, zoom // 2)
    background = 64
    grid = np.full(
        (rows * (height + border) + border, columns * (width + border) + border, 3), background, dtype=np.uint8
    )
    for i, tile in enumerate(pixels):
        top = border + (i // columns) * (height + border)
        left = border + (i % columns) * (width + border)
        grid[top : top + height, left : left + width] = tile
    return grid
