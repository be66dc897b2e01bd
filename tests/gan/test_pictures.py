"""Pictures: what is drawn where, read back from the pixels and the artists."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlgan.gan.data import Digits, Ring
from rlgan.gan.metrics import mode_coverage
from rlgan.gan.pictures import image_grid, mode_bars, neighbour_grid, plane, trajectory
from rlgan.nets import MLPSpec


def render(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]


def drawn(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xydata())


def test_plane_shows_both_samples_and_the_level_sets() -> None:
    torch.manual_seed(0)
    x = Ring().sample(500, torch.Generator().manual_seed(0))
    figure = plane(x, x + 0.1, MLPSpec(hidden=(16,)).build((2,), ()), step=1200, w1=0.125)
    pixels = render(figure)
    assert pixels.std() > 10
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["real", "generated"]  # type: ignore[union-attr]
    assert axes.get_title(loc="left") == "generator   step 1,200   $W_1$ = 0.125"
    assert any(isinstance(artist, ContourSet) for artist in axes.get_children())
    assert len(figure.axes) == 2  # the colour bar
    assert axes.get_aspect() == 1.0
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    assert x0 < -1.2 and x1 > 1.2 and y0 < -1.2 and y1 > 1.2


def test_plane_orients_the_critic_as_the_samples() -> None:
    """f = x_1: the level sets are brighter, or darker, from left to right and constant from bottom to top."""
    x = Ring(sigma=1e-4).sample(50, torch.Generator().manual_seed(0))
    contour = next(a for a in plane(x, x, lambda p: p[:, 0], 0).axes[0].get_children() if isinstance(a, ContourSet))
    for level, path in zip(contour.levels, contour.get_paths(), strict=False):
        if np.size(path.vertices):
            assert np.asarray(path.vertices)[:, 0].min() >= level - 1e-2


def test_plane_survives_a_flat_critic_a_diverged_one_and_lost_samples() -> None:
    x = Ring().sample(50, torch.Generator().manual_seed(0))

    def flat(p: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(p))

    for critic in (flat, lambda p: torch.full((len(p),), float("nan"))):
        assert not any(isinstance(a, ContourSet) for a in plane(x, x, critic, 0).axes[0].get_children())
    lost = torch.cat((x[:40], torch.full((10, 2), 1e6)))
    figure = plane(x, lost, flat, 0)
    assert figure.axes[0].get_xlim()[1] < 2
    assert figure.axes[0].get_xlabel() == "10 of 50 generated points outside"
    assert render(plane(x, torch.full((5, 2), float("nan")), flat, 0)).std() > 0


def test_plane_leaves_the_critic_without_gradients() -> None:
    critic = MLPSpec(hidden=(4,)).build((2,), ())
    plane(torch.randn(9, 2), critic(torch.randn(9, 2))[:, None].expand(-1, 2), critic, 0)
    assert all(p.grad is None for p in critic.parameters())


def test_image_grid_places_every_image_and_its_grey_levels() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 8, 8)
    grid = image_grid(images, columns=2)
    assert grid.dtype == np.uint8
    assert grid.shape == (2 * 40 + 6, 2 * 40 + 6, 3)  # two by two tiles of 5 x 8 and three borders of 2
    assert (grid[2:42, 2:42] == 0).all()
    assert (grid[2:42, 44:84] == 128).all()
    assert (grid[44:84, 2:42] == 255).all()
    assert np.unique(grid[44:84, 44:84]).tolist() == [64]  # empty tile, the colour of the border


def test_image_grid_keeps_orientation_range_and_colour() -> None:
    image = -torch.ones(1, 3, 40, 80)
    image[0, 0, 0, 79] = 1.0  # red, top right
    image[0, 2, 39, 0] = 7.0  # blue, bottom left, out of range: cut off
    tile = image_grid(image)[1:-1, 1:-1]
    assert tile.shape == (40, 80, 3)
    assert tile[0, 79].tolist() == [255, 0, 0]
    assert tile[39, 0].tolist() == [0, 0, 255]
    assert tile.sum() == 2 * 255
    assert (image_grid(torch.full((1, 1, 40, 40), float("nan")))[1:-1, 1:-1] == 0).all()


def test_image_grid_of_real_digits_is_the_scans() -> None:
    points = Digits().points[:10]
    grid = image_grid(points)
    assert grid.shape == (44, 10 * 42 + 2, 3)
    np.testing.assert_allclose(grid[2:42:5, 2:42:5, 0] / 255 * 2 - 1, points[0, 0], atol=1 / 255)


@pytest.mark.parametrize("shape", [(4, 2, 8, 8), (0, 1, 8, 8), (4, 8, 8)])
def test_image_grid_refuses_what_is_not_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^images = \("):
        image_grid(torch.zeros(shape))


def test_neighbours_stand_beside_each_other() -> None:
    """Generated on the left and its neighbour on the right, then a gap that no pair has inside."""
    left, right = -torch.ones(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    grid = neighbour_grid(left, right, columns=3)
    zoom, border = 5, 2
    row = grid[border + 4, :, 0]
    width = 17 * zoom
    for pair in range(3):
        start = border + pair * (width + border)
        assert (row[start : start + 8 * zoom] == 0).all()
        assert (row[start + 8 * zoom : start + 16 * zoom] == 255).all()
        assert (row[start + 16 * zoom : start + width + border] == 64).all()
    assert neighbour_grid(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).shape[2] == 3


def test_trajectories_are_drawn_from_start_to_end() -> None:
    angle = torch.linspace(0, 6, 50, dtype=torch.float64)
    circle = torch.stack((angle.cos(), angle.sin()), 1)
    figure = trajectory(circle)
    assert render(figure).std() > 5
    assert render(trajectory(circle * torch.exp(3 * angle)[:, None])).std() > 5
    axes = figure.axes[0]
    path = axes.get_lines()[0]
    np.testing.assert_allclose(drawn(path), circle.numpy())
    start, end = axes.get_lines()[1], axes.get_lines()[2]
    np.testing.assert_allclose(drawn(start), circle[:1].numpy())
    np.testing.assert_allclose(drawn(end), circle[-1:].numpy())
    assert axes.get_xlim()[1] > 1.0
    assert "generator" in axes.get_xlabel() and "critic" in axes.get_ylabel()
    lost = trajectory(torch.tensor([[1.0, 1.0], [2.0, float("nan")]]))
    assert render(lost).std() > 0


def test_bars_show_every_modes_share_and_width() -> None:
    ring = Ring()
    j = torch.arange(900) % 3
    samples = ring.modes[j] + ring.sigma * torch.randn(900, 2, generator=torch.Generator().manual_seed(0))
    coverage = mode_coverage(samples, ring.modes, ring.sigma)
    figure = mode_bars(coverage, 7)
    bars = [patch.get_height() for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert bars == pytest.approx([1 / 3] * 3 + [0] * 5)
    np.testing.assert_allclose(drawn(figure.axes[1].get_lines()[0])[:, 1], coverage.spreads.numpy())
    assert figure.axes[0].get_title(loc="left") == "step 7   3 of 8 modes   KL(generated || uniform) = 0.981"
    assert render(figure).std() > 5


def test_matplotlib_is_loaded_where_something_is_drawn_and_pyplot_never() -> None:
    """pyplot keeps every figure alive and may look for a display."""
    code = (
        "import sys, rlgan.gan, rlgan.rl, rlgan.runs.cli, rlgan.runs.evaluate, rlgan.task.figure as f\n"
        "assert 'matplotlib' not in sys.modules\nf.figure(1, 1)\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
