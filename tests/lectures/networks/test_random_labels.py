"""The lecture on random labels: widths and exponents by hand, and the whole comparison, shrunken."""

import math
from pathlib import Path

import pytest

from rlgan.lectures.networks.random_labels import exponent, parameters, smallest
from rlgan.nets import MLPSpec
from tests.lectures.shrunken import summary, without


def test_parameters_are_those_of_the_network() -> None:
    net = MLPSpec(hidden=(7,)).build((1, 8, 8), (10,))
    assert parameters(64, 7, 10) == sum(p.numel() for p in net.parameters())


def test_the_smallest_width_is_one_below_which_another_was_tried_in_vain() -> None:
    reached = {50: {4: True, 1: False, 2: True}, 100: {3: True, 4: True}, 200: {3: False}, 400: {3: False, 4: True}}
    found = smallest(reached)
    assert found[50] == 2 and math.isnan(found[100]) and math.isnan(found[200]) and found[400] == 4


def test_the_exponent_of_a_power() -> None:
    assert exponent({n: 3.0 * n**1.5 for n in (50, 100, 400)}) == pytest.approx(1.5)
    assert math.isnan(exponent({50: 10.0, 100: math.nan})) and math.isnan(exponent({50: 10.0}))


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    kept = {"true_labels", "half_random", "random_labels", "n50_w1", "n50_w8", "n100_w3"}
    words = ("steps=20", "seeds=1", "log_every=10", "network.hidden=[8]", *without("09_random_labels", kept))
    numbers = summary("09_random_labels", tmp_path / "run", *words)["numbers"]
    assert 0 < numbers["error_train_random_labels"] <= 1 and 0 < numbers["error_test_true_labels"] < 1
    assert set(numbers) >= {"needed_50", "needed_100", "per_sample", "exponent", "error_test_half_random"}
