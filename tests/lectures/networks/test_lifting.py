"""The lecture on lifting: the best line's error by closed form, and the whole comparison, shrunken."""

import math
from pathlib import Path

import pytest
import torch

from rlgan.erm import Rings
from rlgan.lectures.networks.lifting import best_line
from tests.lectures.shrunken import summary


def test_the_best_lines_error_is_that_of_many_samples() -> None:
    sample = Rings(samples=40_000, gap=0.3, width=0.7).train
    t = torch.linspace(-2, 2, 401)
    beyond = sample.x[:, :1] > t
    wrong = (beyond != (sample.y[:, None] == 1)).double().mean(0)
    assert best_line(0.3, 0.7) == pytest.approx(float(torch.minimum(wrong, 1 - wrong).min()), abs=0.01)


def test_a_ring_far_away_and_thin_leaves_the_line_half_of_it() -> None:
    # The disc is a point beside it: the line beside the disc cuts off half of the ring at most.
    assert best_line(1e6, 1.0) == pytest.approx(0.25, abs=1e-3)


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    found = summary("27_lifting", tmp_path / "run", "steps=150", "seeds=null", "optimizer.lr=0.1")
    numbers = found["numbers"]
    assert numbers["error_clouds_largest"] == 0 < numbers["error_line_least"]
    assert numbers["gap_inner"] == 1 and numbers["gap_outer"] == 1.5 and math.isfinite(numbers["crossing"])
    assert set(numbers) >= {"error_lifted_largest", "error_hidden_largest", "best_line"}
