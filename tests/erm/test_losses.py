"""The losses against their formulas, scikit-learn and torch; what they are not for is refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import hinge_loss, log_loss

from rlgan.erm import Auto, CrossEntropy, Digits, Hinge, Logistic, Loss, Squared, TwoMoons
from rlgan.erm.losses import correct, predicted

F4 = torch.tensor([[0.1, -0.8, 1.4, 1.1]], dtype=torch.float64)


def test_the_example_of_the_lecture() -> None:
    second, third = (CrossEntropy()(F4, torch.tensor([y])).item() for y in (1, 2))
    assert (round(second, 2), round(third, 2)) == (2.95, 0.75)
    assert predicted(F4).tolist() == [2]  # the third class


@pytest.fixture
def binary() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(50, generator=generator, dtype=torch.float64) * 2
    return f, torch.randint(2, (50,), generator=generator)


def test_two_classes_against_scikit_learn(binary: tuple[torch.Tensor, torch.Tensor]) -> None:
    f, y = binary
    assert Logistic()(f, y).mean().item() == pytest.approx(log_loss(y, torch.sigmoid(f)), abs=1e-12)
    assert Hinge()(f, y).mean().item() == pytest.approx(hinge_loss(2 * y - 1, f), abs=1e-12)
    assert torch.equal(Squared()(f, y), (f - (2 * y - 1)) ** 2)
    # Cross-entropy of two scores is the logistic loss of their difference.
    two = torch.stack((torch.zeros_like(f), f), 1)
    assert torch.allclose(CrossEntropy()(two, y), Logistic()(f, y), atol=1e-14)
    assert torch.equal(predicted(f), predicted(two)) and torch.equal(correct(f, y), correct(two, y))


def test_many_classes_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    f, y = torch.randn(40, 5, generator=generator, dtype=torch.float64), torch.arange(40) % 5
    assert torch.allclose(CrossEntropy()(f, y), F.cross_entropy(f, y, reduction="none"), atol=1e-14)
    # The others are one class against the rest.
    each = [Hinge()(f[:, j], (y == j).long()) for j in range(5)]
    assert torch.allclose(Hinge()(f, y), torch.stack(each, 1).mean(1), atol=1e-15)


def test_large_scores_neither_overflow_nor_lose_the_loss() -> None:
    f = torch.tensor([1e4, -1e4])
    assert Logistic()(f, torch.tensor([0, 0])).tolist() == [1e4, 0.0]
    assert CrossEntropy()(torch.tensor([[1e4, 0.0]]), torch.tensor([1])).item() == 1e4


@pytest.mark.parametrize(
    ("loss", "two", "ten"),
    [
        (Logistic(), (), (10,)),
        (Hinge(), (), (10,)),
        (Squared(), (), (10,)),
        (CrossEntropy(), (2,), (10,)),
        (Auto(), (2,), (10,)),
    ],
)
def test_shapes_of_scores(loss: Loss, two: tuple[int, ...], ten: tuple[int, ...]) -> None:
    assert (loss.outputs(TwoMoons()), loss.outputs(Digits())) == (two, ten)


def test_a_squared_loss_of_values() -> None:
    y = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert Squared()(torch.zeros(2, 2), y).tolist() == [2.5, 17.0]
    assert Auto()(torch.zeros(2), torch.tensor([1.0, 2.0])).tolist() == [1.0, 4.0]
    assert math.isclose(Auto()(torch.zeros(1, 4), torch.tensor([2])).item(), math.log(4), rel_tol=1e-6)
