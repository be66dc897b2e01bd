"""Pictures of a minimisation: what they show can be read, whatever classes are called and wherever a path goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from torch import Tensor, nn

from rlgan.erm import Crater, Labelled, Quadratic, Sample, Surface
from rlgan.erm.pictures import confusion, heights, misclassified, regions, short, widened


@dataclass(frozen=True)
class Named(Labelled):
    """Points in the plane, or pictures, of classes by these names."""

    called: tuple[str, ...]
    x: Tensor
    y: Tensor

    @property
    def classes(self) -> int:  # type: ignore[override]
        return len(self.called)

    def names(self) -> list[str]:
        return list(self.called)

    def make(self) -> tuple[Sample, None]:
        return Sample(self.x, self.y), None


class Says(nn.Module):
    """The first feature is the class that it says."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        said = x.flatten(1)[:, 0].round().long().clamp(0, self.classes - 1)
        return nn.functional.one_hot(said, self.classes).to(x.dtype)


def test_counts_of_a_confusion_matrix_stand_out_from_their_cells() -> None:
    said, y = torch.tensor([1.0] * 9 + [2] * 3 + [0] * 5), torch.tensor([0] * 9 + [1] * 3 + [0] * 5)
    problem = Named(("a", "b", "c"), said[:, None], y)
    axes = confusion(problem, Says(3), problem.train, 7).axes[0]
    assert axes.get_title("left") == "5 of 17 right, step 7"
    counts = {text.get_text(): text for text in axes.texts}
    assert set(counts) == {"9", "3", "5"}
    (image,) = axes.images
    for text in counts.values():
        x, y_at = (int(v) for v in text.get_position())
        cell = image.cmap(image.norm(np.asarray(image.get_array())[y_at, x]))[:3]
        luminance = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in (cell, to_rgb(text.get_color()))]
        assert abs(luminance[0] - luminance[1]) > 0.4


def test_of_many_classes_the_confusion_is_dots_one_for_each_cell() -> None:
    y = torch.arange(300)
    problem = Named(tuple(map(str, range(300))), (y.float() + 1).clamp(max=299)[:, None], y)
    axes = confusion(problem, Says(300), problem.train, 0).axes[0]
    off, on = (dots.get_offsets() for dots in axes.collections)
    assert np.array_equal(off, np.stack((np.arange(1, 300), np.arange(299)), 1))
    assert np.array_equal(on, [[299, 299]])


def test_names_are_short_enough_and_no_formulas() -> None:
    assert short("cat", 13) == "cat"
    assert short("$x_1$", 13) == r"\$x_1\$"
    assert short("Hippopotamus amphibius", 13) == "Hippopot…bius"
    called = ("Hippopotamus amphibius (Linnaeus, 1758)", "$5 to $10", "c" * 200)
    y = torch.arange(3).repeat(4)
    pictures = Named(called, ((y + 1) % 3).float()[:, None, None, None].expand(-1, 1, 4, 4), y)
    drawn = misclassified(pictures, Says(3), pictures.train, 0)
    assert drawn is not None
    plane = Named(called, torch.stack((y.float(), torch.randn(12)), 1), y)
    for figure in (drawn, confusion(plane, Says(3), plane.train, 0), regions(plane, Says(3), plane.train, 0)):
        figure.draw_without_rendering()
        width, height = figure.bbox.width, figure.bbox.height
        texts = [text for text in figure.findobj(Text) if any(part in text.get_text() for part in ("H", "$", "cc"))]
        assert len(texts) >= 3
        for text in texts:
            box = text.get_window_extent()
            assert box.x0 > -2 and box.x1 < width + 2 and box.y0 > -2 and box.y1 < height + 2, text


def test_a_window_has_room_for_a_path_but_not_for_one_that_diverges() -> None:
    window = (-1.0, 1.0, -2.0, 2.0)
    assert widened(window, np.array([[0.0, 0.0], [1.0, -1.0]])) == window
    assert widened(window, np.array([[3.0, 0.0], [1e90, -9.0]])) == pytest.approx((-1.0, 3.1, -9.2, 2.0))
    assert widened(window, np.array([[-3.0], [np.inf]])) == pytest.approx((-3.1, 1.0, -2.0, 2.0))


def test_the_height_of_a_surface_that_looks_at_numbers_is_found_too() -> None:
    class Bent(Surface):
        usual_start = (1.0, 2.0)

        def value(self, theta: Tensor) -> Tensor:
            return theta.square().sum() if theta.sum() > 0 else theta.abs().sum()

    points = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    assert torch.equal(heights(Bent(), points), torch.tensor([5.0, 3.0]))
    assert torch.equal(heights(Quadratic(kappa=1.0), points), torch.tensor([2.5, 2.5]))
    assert heights(Crater(dimension=1, kappa=1.0), torch.ones(4, 1)).tolist() == [0.25] * 4
