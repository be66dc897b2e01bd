"""The lecture on width: what counts as curved downwards, and the whole comparison, shrunken."""

from pathlib import Path

import numpy as np
import pytest

from rlgan.lectures.networks.width import downwards
from tests.lectures.shrunken import summary, without

A = np.linspace(-1, 1, 41)
X, Y = np.meshgrid(A, A, indexing="ij")


def test_what_is_curved_downwards() -> None:
    assert downwards(X**2 + Y**2) == 0 and downwards(X**2 + 3 * X * Y + 4 * Y**2) == 0
    assert downwards(X**2 - Y**2) == 1 and downwards(X * Y) == 1  # a saddle, turned
    assert downwards(X**2 * (X > 0) - X**2 * (X <= 0)) == pytest.approx(0.5, abs=0.02)
    assert downwards(Y**2 - 1e-3 * X**2) == 0  # below one per cent of the largest


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    words = ("steps=150", "seeds=1", "compare.figure.points=7", *without("11_width", {"w2", "w128", "few", "many"}))
    found = summary("11_width", tmp_path / "run", *words)
    numbers = found["numbers"]
    assert numbers["error_widest"] == numbers["error_test_128"] < numbers["error_test_2"]
    assert 0 <= numbers["downwards_few"] <= 1 and numbers["rise_many"] > 0 and "interpolating" in numbers
