"""Pictures of a WGAN: samples over the critic's level sets, grids of images, the players' path, a mixture's modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlgan.task.figure import FAKE, INK, REAL, SMALL, colour_bar, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rlgan.gan.losses import Critic
    from rlgan.gan.metrics.modes import ModeCoverage
    from rlgan.task.task import Picture

_LEVELS = 15
_PIXELS = 160
_BACKGROUND = 64
_SMALLEST_TILE = 40
"""Smaller images are enlarged by the whole number of pixels that brings them to this side at least."""


def _points(x: Tensor) -> NDArray[np.float64]:
    points: NDArray[np.float64] = x.detach().to("cpu", torch.float64).numpy()
    return points


def window(real: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """A square about the real samples with some room to spare; fakes far away must not shrink the picture."""
    low, high = real.min(0), real.max(0)
    centre, half = (low + high) / 2, 0.65 * float((high - low).max() or 1.0)
    return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half


def level_sets(
    axes: Axes, critic: Critic, seen: tuple[float, float, float, float], like: Tensor, bar: bool = True
) -> None:
    """Fill a window with f minus its median there: only differences of f mean anything, a critic is free to shift.

    Args:
        axes: where to draw.
        critic: f, ``(batch, 2) -> (batch,)``, in evaluation mode.
        seen: the window, x from and to, y from and to.
        like: a tensor of the critic's dtype and device.
        bar: whether the scale is drawn beside.
    """
    from matplotlib.colors import CenteredNorm
    from matplotlib.ticker import MaxNLocator

    xs, ys = np.linspace(*seen[:2], _PIXELS), np.linspace(*seen[2:], _PIXELS)
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
    if bar:
        colour_bar(axes.figure, axes, filled, "critic $f(x)$ − median")


def plane(x_real: Tensor, x_fake: Tensor, critic: Critic, step: int, w1: float | None = None) -> Figure:
    """Samples in the plane, real in grey and generated in red, over the critic's level sets.

    Args:
        x_real, x_fake: ``(n, 2)`` and ``(m, 2)``; 500 to 2,500 of each read well. The window follows the real ones;
            how many generated ones lie outside of it is said below the axes.
        critic: f, ``(batch, 2) -> (batch,)``, in evaluation mode.
        step: for the caption.
        w1: exact W1 between the two samples, for the caption.
    """
    assert x_real.ndim == x_fake.ndim == 2 and x_real.shape[1] == x_fake.shape[1] == 2
    real, fake = _points(x_real), _points(x_fake)
    seen = x0, x1, y0, y1 = window(real)
    drawing = figure(5.6, 4.8)
    axes = drawing.add_subplot()
    level_sets(axes, critic, seen, x_real)
    size = float(np.clip(4000 / len(real), 2.0, 8.0))
    for points, colour, alpha, name in ((real, REAL, 0.45, "real"), (fake, FAKE, 0.65, "generated")):
        axes.scatter(
            points[:, 0], points[:, 1], s=size, c=colour, alpha=alpha, linewidths=0, label=name, rasterized=True
        )
    axes.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal")
    legend = axes.legend(
        loc="upper right", fontsize=SMALL, frameon=True, framealpha=0.85, edgecolor="none", handletextpad=0.2
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
            handle.set_sizes([22.0])  # type: ignore[attr-defined]
    quiet(axes, title=f"generator   step {step:,}" + ("" if w1 is None else f"   $W_1$ = {w1:.3g}"))
    inside = (fake[:, 0] >= x0) & (fake[:, 0] <= x1) & (fake[:, 1] >= y0) & (fake[:, 1] <= y1)
    if not inside.all():
        note = f"{np.count_nonzero(~inside):,} of {len(fake):,} generated points outside"
        axes.set_xlabel(note, fontsize=SMALL - 1, color=INK, loc="left")
    return drawing


def image_grid(images: Tensor, columns: int = 10) -> NDArray[np.uint8]:
    """Tile images into one picture, with a thin border between them; small ones are enlarged.

    Args:
        images: ``(n, C, H, W)``, C = 1 (grey) or 3 (RGB), in [-1, 1]: what lies outside is cut off, not rescaled, so
            that two pictures of one run compare. nan is black. The last row is filled up with empty tiles.
        columns: images in a row.

    Returns:
        ``(height, width, 3)``, uint8: what TensorBoard and PNG take.

    Raises:
        ValueError: if the images have not 1 or 3 channels, or there are none.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"images = {tuple(images.shape)}: must be (n, C, H, W) with n > 0 and C = 1 or 3")
    unit = ((images.detach().to("cpu", torch.float64).nan_to_num(-1.0) + 1.0) / 2.0).clamp(0, 1)
    pixels = (unit * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    zoom = max(1, -(-_SMALLEST_TILE // min(pixels.shape[1:3])))
    pixels = pixels.repeat(zoom, 1).repeat(zoom, 2)
    n, height, width, _ = pixels.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    border = max(1, zoom // 2)
    tiles = np.full((rows * columns, height + border, width + border, 3), _BACKGROUND, np.uint8)
    tiles[:n, border:, border:] = pixels
    grid = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + border), columns * (width + border), 3)
    return np.pad(grid, ((0, border), (0, border), (0, 0)), constant_values=_BACKGROUND)


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


def trajectory(path: Tensor) -> Figure:
    """The way that two players of one parameter each went: the Dirac-GAN, the bilinear game.

    Args:
        path: the points (theta, psi) after every step ``(steps, 2)``, at least one. The equilibrium, 0, has a cross.
    """
    drawing = figure(4.8, 4.8)
    axes = drawing.add_subplot()
    points = _points(path)
    points = points[np.isfinite(points).all(1)]
    reach = 1.0
    axes.plot(points[:, 0], points[:, 1], color=FAKE, linewidth=0.9, alpha=0.85)
    if len(points):
        axes.plot(*points[0], marker="o", color=FAKE, markersize=4, markerfacecolor="white")
        axes.plot(*points[-1], marker="o", color=FAKE, markersize=4)
        # A path that runs away must not shrink what it came from.
        distance = np.abs(points).max(1)
        reach = min(float(distance.max()), 4 * float(distance[0]) or np.inf) or 1.0
    axes.plot(0.0, 0.0, marker="+", color=INK, markersize=9)
    axes.set(xlim=(-1.15 * reach, 1.15 * reach), ylim=(-1.15 * reach, 1.15 * reach), aspect="equal")
    quiet(axes, r"generator $\theta$", r"critic $\psi$", "○ start   ● end")
    return drawing


def mode_bars(coverage: ModeCoverage, step: int) -> Figure:
    """Every mode's share of the samples beside what it should be, and how wide the generator makes it.

    Args:
        coverage: of a sample.
        step: for the caption.
    """
    from matplotlib.ticker import MaxNLocator

    k = len(coverage.counts)
    drawing = figure(max(4.8, 0.24 * k + 1.6), 3.2)
    axes = drawing.add_subplot()
    shares = _points(coverage.nearest / max(int(coverage.nearest.sum()), 1))
    modes = np.arange(k)
    axes.bar(modes, shares, width=0.7, color=FAKE, alpha=0.75, label="share of the samples")
    axes.axhline(1 / k, color=REAL, linewidth=1.0, linestyle="--", label=f"of real ones: 1/{k}")
    axes.set(xlim=(-0.7, k - 0.3), ylim=(0, max(1.25 / k, 1.1 * float(shares.max()))))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    right = axes.twinx()
    spreads = _points(coverage.spreads)
    right.plot(modes, spreads, "o", color=REAL, markersize=3.5, label="spread / true spread (right)")
    right.set_ylim(0, max(1.5, 1.1 * float(spreads.max())))
    quiet(right)
    kl = f"KL(generated || uniform) = {coverage.reverse_kl:.3g}"
    quiet(axes, "mode", "share", f"step {step:,}   {coverage.covered} of {k} modes   {kl}")
    drawing.legend(loc="outside lower center", ncols=3, fontsize=SMALL - 1, frameon=False)
    return drawing


@final
class PlayersPath:
    """Where two players of one parameter each have been, (theta, psi) after every step; larger ones are not followed.

    Args:
        generator, critic: their vectors.
    """

    def __init__(self, generator: Tensor, critic: Tensor) -> None:
        self._points: list[tuple[float, float]] = []
        self._follows = generator.numel() == critic.numel() == 1
        self.record(generator, critic)

    def record(self, generator: Tensor, critic: Tensor) -> None:
        """Add where they are now."""
        if self._follows:
            self._points.append((float(generator), float(critic)))

    @property
    def points(self) -> Tensor:
        """All points so far, ``(steps + 1, 2)``; ``(0, 2)`` of larger players."""
        return torch.tensor(self._points, dtype=torch.float64).reshape(-1, 2)

    def load(self, points: Tensor) -> None:
        """Go on from `points`."""
        self._points = [(float(theta), float(psi)) for theta, psi in points]

    def pictures(self) -> dict[str, Picture]:
        """The path so far, of players that are followed."""
        return {"players/path": trajectory(self.points)} if self._follows else {}
