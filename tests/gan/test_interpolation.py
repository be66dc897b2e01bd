"""Paths between latent vectors, and their pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlgan.gan import Interpolation
from rlgan.gan.interpolation import between
from rlgan.runs.logging.pictures import rasterise
from tests.small import TASKS, build


def test_the_path_is_an_arc_and_straight_where_there_is_none() -> None:
    a = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    b = torch.tensor([[0.0, 1.0], [0.0, 4.0], [3.0, 3.0]], dtype=torch.float64)
    path = between(a, b, 3)
    assert torch.allclose(path[:, 0], a) and torch.allclose(path[:, -1], b)
    assert path[0, 1].tolist() == pytest.approx([0.5**0.5, 0.5**0.5])  # on the circle
    assert path[1, 1].tolist() == pytest.approx([2 * 0.5**0.5, 4 * 0.5**0.5])
    assert path[2, 1].tolist() == pytest.approx([2.0, 2.0])  # parallel


@pytest.mark.parametrize("words", [(), ("data=digits",)])
def test_pictures_of_points_and_of_images(words: tuple[str, ...]) -> None:
    task = build(*TASKS["wgan"], *words)
    painter = Interpolation(rows=3, columns=4)
    painter.check(task)
    first, second = (rasterise(painter(task))[1] for _ in range(2))  # type: ignore[arg-type]
    assert first.std() > 0 and np.array_equal(first, second)


def test_what_it_is_not_for() -> None:
    with pytest.raises(ValueError, match="is for WGANs"):
        Interpolation().check(build(*TASKS["ddpg"]))
    with pytest.raises(ValueError, match="is for WGANs"):
        Interpolation().check(build(*TASKS["wgan"], "data=cone_128"))
    with pytest.raises(ValueError, match="columns = 1"):
        Interpolation(columns=1)
