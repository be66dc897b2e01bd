"""The lecture on sharp and flat minima: rescaling, sharpness at a loss, and the whole comparison, shrunken."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rlgan.lectures.networks.sharpness import at_loss, rescaled
from rlgan.nets import MLPSpec
from tests.lectures.shrunken import summary, without


def test_rescaling_changes_the_parameters_and_not_the_function() -> None:
    torch.manual_seed(0)
    net = MLPSpec(hidden=(5, 4)).build((3,), (2,)).double()
    x = torch.randn(20, 3, dtype=torch.float64)
    before, first = net(x), [p.detach().clone() for p in net.parameters()]
    theta = rescaled(net, 8.0)
    assert not torch.allclose(theta, nn.utils.parameters_to_vector(net.parameters()))
    nn.utils.vector_to_parameters(theta, net.parameters())
    torch.testing.assert_close(net(x), before)
    torch.testing.assert_close(rescaled(net, 1 / 8), nn.utils.parameters_to_vector(first))


def test_sharpness_at_a_loss_is_straight_in_logarithms() -> None:
    risks, sharpness = np.array([1.0, 0.1, 0.001]), np.array([4.0, 2.0, 8.0])
    assert at_loss(risks, sharpness, 0.01) == pytest.approx(4.0)  # half of the way from 2 to 8
    assert at_loss(risks, sharpness, 0.1) == pytest.approx(2.0)
    assert math.isnan(at_loss(risks, sharpness, 1e-6)) and math.isnan(at_loss(risks, sharpness, 1.0))


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    name = "13_sharp_and_flat"
    words = ("steps=60", "log_every=20", "eval_every=20", "seeds=1", "network.hidden=[8,8]", "compare.figure.points=5")
    kept = {"batch_16", "batch_64", "batch_all", "adam"}
    found = summary(name, tmp_path / "run", *words, "compare.figure.equal=1.0", *without(name, kept))
    numbers = found["numbers"]
    assert numbers["rescaled_change"] < 1e-4 and numbers["rescaled_sharpness"] > numbers["unscaled_sharpness"] > 0
    assert set(numbers) >= {"largest_adam", "keskar_batch_all", "equal_batch_64", "rank", "error_train"}
