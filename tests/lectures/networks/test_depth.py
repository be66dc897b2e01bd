"""The lecture on depth and batch norm: a step of the chain by hand, and the figure of a few short runs."""

from pathlib import Path

import pytest

from rlgan.erm import Chain
from rlgan.lectures import depth_and_batch_normalisation
from rlgan.lectures.networks.depth import step
from rlgan.runs.compare import Ran
from tests.small import train


def test_a_step_of_two_layers_by_hand() -> None:
    # R = (y - w1 w2)^2 at (2, 2), y = 3.5: q = (2, 2), g = 2 (4 - 3.5) q = (2, 2), H = [[8, 8 + 1], [8 + 1, 8]].
    found = step(Chain(layers=2, weight=2.0), 0.1)
    assert found.first == pytest.approx(0.8)
    assert found.second == pytest.approx(0.8 - 0.005 * 4 * 34)
    assert found.actual == pytest.approx(0.25 - (3.5 - 1.8**2) ** 2)
    assert found.optimal == pytest.approx(8 / (4 * 34))


def test_the_second_order_is_what_a_small_step_falls_short_of_the_first() -> None:
    chain = Chain(layers=8, weight=1.2)
    small, smaller = step(chain, 1e-4), step(chain, 1e-5)
    # The rest is of third order.
    ratio = (small.actual - small.second) / (smaller.actual - smaller.second)
    assert ratio == pytest.approx(1000, rel=0.05)


@pytest.mark.slow
def test_the_figure_of_short_runs(tmp_path: Path) -> None:
    shared = ("experiment=lecture/14_batch_norm_and_depth", "compare=null", "progress=false", "tensorboard=false")
    words = {
        "chain": ("problem=chain", "problem.layers=5", "problem.weight=1.2", "optimizer.lr=0.01", "steps=1"),
        "plain": ("network.hidden=[8,8]", "optimizer.lr=0.5", "steps=400", "seeds=null", "seed=0"),
        "batch": ("network.hidden=[8,8]", "optimizer.lr=1e-6", "steps=2", "seeds=2", "network.norm=batch"),
    }
    runs = {name: Ran(name, train(*shared, *own, f"run_dir={tmp_path / name}")) for name, own in words.items()}
    drawn = depth_and_batch_normalisation(runs)
    numbers = drawn.numbers
    expected = step(Chain(layers=5, weight=1.2), 0.01)
    assert numbers["run_difference"] < 1e-12
    assert numbers["ratio_120_5"] == pytest.approx(expected.actual / expected.first)
    assert numbers["largest_none_2"] == numbers["smallest_none_2"] == 0.5
    assert numbers["largest_batch_2"] == 0  # nothing is trained by 2 steps of 1e-6
    assert len(drawn.figure.axes) == 3
