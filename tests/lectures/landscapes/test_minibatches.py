"""The lectures on minibatches and cooling down: samples' gradients one by one, and the comparisons, shrunken."""

from pathlib import Path

import pytest
import torch

from rlgan.erm import ERM, Digits
from rlgan.lectures.landscapes.minibatches import sample_gradients
from rlgan.nets import MLPSpec
from rlgan.optim import sgd
from rlgan.task.settings import Settings
from tests.lectures.shrunken import summary


def test_gradients_of_samples_are_autograds_and_their_mean_is_the_whole_ones() -> None:
    problem = Digits(train_samples=60)
    task = ERM(
        Settings(device="cpu", precision="float64", compile=False), problem, MLPSpec((5,)), sgd(0.1), batch_size=20
    )
    gradients, full = sample_gradients(task)
    assert torch.allclose(gradients.mean(0), full, atol=1e-14)
    x, y = task.train
    loss = torch.nn.functional.cross_entropy(task.model.module(x[3:4]), y[3:4])
    by_hand = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(task.model.module.parameters()))])
    assert torch.allclose(gradients[3], by_hand, atol=1e-14)


@pytest.mark.slow
def test_the_comparison_of_minibatches_shrunken(tmp_path: Path) -> None:
    words = ("seeds=1", "seed=0", "steps=200", "problem.train_samples=300", "network.hidden=[8]")
    numbers = summary("03_minibatches", tmp_path / "run", *words)["numbers"]
    assert numbers["bias"] < 1e-4 and numbers["still"] == 0
    assert numbers["slope"] == pytest.approx(-1, abs=0.1) and numbers["worst"] < 0.4


@pytest.mark.slow
def test_the_comparison_of_cut_offs_shrunken(tmp_path: Path) -> None:
    words = ("seeds=2", "seed=0", "steps=1200", "problem.train_samples=300", "network.hidden=[8]")
    numbers = summary("03_cool_down", tmp_path / "run", *words)["numbers"]
    assert numbers["drop_cut_25"] < 1 and 0 < numbers["ratio_cut_50"] < 1
    assert 0 <= numbers["error_cut_50"] < 0.5
