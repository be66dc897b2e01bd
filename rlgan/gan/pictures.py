"""Pictures of a run: samples over the critic's level sets, grids of images, the players' path, a mixture's modes.

Matplotlib's object-oriented interface alone (a `Figure` on the Agg canvas): no pyplot, hence no global state, no
window, and nothing to close.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from rlgan.gan.metrics.modes import ModeCoverage

_REAL, _FAKE, _INK, _PALE = "#4d4d4d", "#c8102e", "#333333", "#bbbbbb"
_PLAYERS = ("#c8102e", "#1f5aa6", "#3a8f5c", "#8a5aa8", "#d98c1f", "#4d4d4d")
_LEVELS = 15
_PIXELS = 160
_BACKGROUND = 64


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
    grid = np.full(
        (rows * (height + border) + border, columns * (width + border) + border, 3), _BACKGROUND, dtype=np.uint8
    )
    for i, tile in enumerate(pixels):
        top = border + (i // columns) * (height + border)
        left = border + (i % columns) * (width + border)
        grid[top : top + height, left : left + width] = tile
    return grid


def neighbour_grid(generated: Tensor, nearest: Tensor, columns: int = 5) -> NDArray[np.uint8]:
    """Each generated image, on the left of a pair, beside the training image that is nearest to it.

    Args:
        generated, nearest: ``(n, C, H, W)`` in [-1, 1], C = 1 or 3.
        columns: pairs in a row.

    Returns:
        ``(height, width, 3)``, uint8.
    """
    assert generated.shape == nearest.shape
    left, right = generated.detach().cpu().double(), nearest.detach().cpu().double()
    gap = torch.full((*left.shape[:3], 1), 2 * _BACKGROUND / 255 - 1, dtype=torch.float64)
    return image_grid(torch.cat((left, right, gap), 3), columns)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.tick_params(labelsize=7, colors=_INK, length=2)
    for spine in axes.spines.values():
        spine.set_color(_PALE)
    return figure, axes


def trajectory(
    paths: Mapping[str, Tensor],
    *,
    names: tuple[str, str] = (r"generator $\theta$", r"critic $\psi$"),
    equilibrium: tuple[float, float] = (0.0, 0.0),
    title: str = "",
) -> Figure:
    """The way that two players of one parameter each went: the Dirac-GAN, the bilinear game.

    Args:
        paths: the points (theta, psi) after every step ``(steps, 2)``, at least one, by the name of the game or method.
        names: of the axes.
        equilibrium: marked by a cross.
        title: first words of the caption.
    """
    figure, axes = _figure(4.8, 4.8)
    reach = 0.0
    for colour, (name, path) in zip(_PLAYERS * len(paths), paths.items(), strict=False):
        points = _points(path)
        finite = points[np.isfinite(points).all(1)]
        axes.plot(finite[:, 0], finite[:, 1], color=colour, linewidth=0.9, alpha=0.85, label=name)
        if len(finite):
            axes.plot(*finite[0], marker="o", color=colour, markersize=4, markerfacecolor="white")
            axes.plot(*finite[-1], marker="o", color=colour, markersize=4)
            # A path that runs away must not shrink what it came from.
            distance = np.abs(finite - np.asarray(equilibrium)).max(1)
            reach = max(reach, min(float(distance.max()), 4 * float(distance[0]) or np.inf))
    axes.plot(*equilibrium, marker="+", color=_INK, markersize=9)
    reach = 1.15 * (reach or 1.0)
    axes.set(
        xlim=(equilibrium[0] - reach, equilibrium[0] + reach), ylim=(equilibrium[1] - reach, equilibrium[1] + reach)
    )
    axes.set_aspect("equal")
    axes.set_xlabel(names[0], fontsize=8, color=_INK)
    axes.set_ylabel(names[1], fontsize=8, color=_INK)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    axes.set_title(title or "○ start   ● end", fontsize=9, color=_INK, loc="left")
    return figure


def mode_bars(coverage: ModeCoverage, *, step: int | None = None) -> Figure:
    """Every mode's share of the samples beside what it should be, and how wide the generator makes it.

    Args:
        coverage: of a sample.
        step: for the caption.
    """
    k = len(coverage.counts)
    figure, axes = _figure(max(4.8, 0.24 * k + 1.6), 3.2)
    shares = _points(coverage.nearest / max(int(coverage.nearest.sum()), 1))
    modes = np.arange(k)
    axes.bar(modes, shares, width=0.7, color=_FAKE, alpha=0.75, label="share of the samples")
    axes.axhline(1 / k, color=_REAL, linewidth=1.0, linestyle="--", label=f"of real ones: 1/{k}")
    axes.set(xlim=(-0.7, k - 0.3), ylim=(0, max(1.25 / k, 1.1 * float(shares.max()))))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("mode", fontsize=8, color=_INK)
    axes.set_ylabel("share", fontsize=8, color=_INK)
    other = axes.twinx()
    spreads = _points(coverage.spreads)
    other.plot(modes, spreads, "o", color=_REAL, markersize=3.5, label="spread / true spread (right)")
    other.set_ylim(0, max(1.5, 1.1 * float(spreads.max())))
    other.tick_params(labelsize=7, colors=_INK, length=2)
    for spine in other.spines.values():
        spine.set_color(_PALE)
    handles = [h for a in (axes, other) for h in a.get_legend_handles_labels()[0]]
    labels = [label for a in (axes, other) for label in a.get_legend_handles_labels()[1]]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    parts = ["" if step is None else f"step {step:,}", f"{coverage.covered} of {k} modes"]
    parts.append(f"KL(generated || uniform) = {coverage.reverse_kl:.3g}")
    axes.set_title("   ".join(p for p in parts if p), fontsize=9, color=_INK, loc="left")
    return figure
