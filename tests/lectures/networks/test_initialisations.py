"""The lecture on initialisation: the theory of wide networks against a wide one, and the figure of a few short runs."""

import math
from pathlib import Path

import pytest
import torch

from rlgan.lectures import initialisations
from rlgan.lectures.networks.initialisations import mean_field
from rlgan.runs.compare import Ran
from tests.small import train


def test_small_values_shrink_as_without_tanh_and_large_ones_saturate() -> None:
    first, second = mean_field([1 / 3, 1 / 3], 1e-6)
    assert first == pytest.approx(math.sqrt(1e-6 / 3), rel=1e-5) and second == pytest.approx(first / math.sqrt(3))
    assert mean_field([1e6], 1.0)[0] == pytest.approx(1, abs=2e-3)


def test_a_wide_network_spreads_as_is_predicted() -> None:
    torch.manual_seed(0)
    width, variances = 1500, [1.0, 6.0, 25 / 9]
    x = torch.randn(40, width)
    predicted = mean_field(variances, float(x.square().mean()))
    for v, expected in zip(variances, predicted, strict=True):
        x = torch.tanh(x @ torch.randn(width, width) * math.sqrt(v / width))
        assert float(x.square().mean().sqrt()) == pytest.approx(expected, rel=0.02)


@pytest.mark.slow
def test_the_figure_of_short_runs(tmp_path: Path) -> None:
    shared = ("experiment=lecture/15_initialisation", "compare=null", "progress=false", "tensorboard=false")
    words = {
        "constant_1": ("network.init=constant", "seeds=null"),
        "xavier_1": ("network.init=xavier", "seeds=2", "optimizer.lr=1e-6"),
        "xavier_2": ("network.init=xavier", "seeds=2"),
    }
    runs = {}
    for name, own in words.items():
        run = train(
            *shared, "network.hidden=[64,64]", "optimizer.lr=0.1", "steps=40", *own, f"run_dir={tmp_path / name}"
        )
        runs[name] = Ran(name, run)
    drawn = initialisations(runs)
    numbers = drawn.numbers
    assert numbers["rank_constant"] == 1 and numbers["rank_xavier"] > 10
    assert numbers["lr_xavier"] == 0.1 and numbers["error_train_xavier"] < 0.5
    assert numbers["spread_xavier"] == pytest.approx(numbers["predicted_xavier"], rel=0.15)
    assert "predicted_constant" not in numbers and len(drawn.figure.axes) == 3
