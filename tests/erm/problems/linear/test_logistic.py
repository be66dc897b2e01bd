"""Logistic regression: its minimiser against scikit-learn's, its probabilities, and classes that are separable."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression as Theirs

from rlgan.erm import Auto, CrossEntropy, Hinge, Logistic, LogisticRegression
from rlgan.erm.losses import signs
from rlgan.erm.problems.linear.logistic import newton, separable
from rlgan.task.settings import Settings


@pytest.mark.parametrize("kappa", [1.0, 1e4])
def test_the_minimiser_is_scikit_learns_and_its_gradient_vanishes(kappa: float) -> None:
    problem = LogisticRegression(samples=300, dimension=8, kappa=kappa)
    x, y = problem.train
    theta = problem.optimum()
    assert theta is not None and problem.optimum() is theta, "found once"
    leaf = theta.clone().requires_grad_()
    risk = Logistic()(x @ leaf, y).mean()
    (gradient,) = torch.autograd.grad(risk, leaf)
    assert float(gradient.norm()) <= 1e-12 and problem.least() == risk.item()
    theirs = Theirs(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cg").fit(x, y)
    np.testing.assert_allclose(theta.numpy(), theirs.coef_[0], rtol=1e-5, atol=1e-6)


def test_labels_follow_their_probabilities() -> None:
    problem = LogisticRegression(samples=20_000, dimension=3, steepness=2.0)
    theta = problem.optimum()
    assert theta is not None and float(theta.norm()) == pytest.approx(2.0, rel=0.1)
    x, y = problem.train
    sure = torch.sigmoid(x @ theta)
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (low <= sure) & (sure < low + 0.25)
        assert float(y[inside].double().mean()) == pytest.approx(float(sure[inside].mean()), abs=0.02)
    chance = LogisticRegression(samples=20_000, dimension=3, steepness=0.0)
    assert float(chance.train.y.double().mean()) == pytest.approx(0.5, abs=0.02)


def test_separable_classes_have_no_minimiser_and_a_note_says_so() -> None:
    problem = LogisticRegression(samples=20, dimension=30)
    assert problem.separable and problem.optimum() is None and problem.least() == 0
    assert "no minimiser" in problem.notes()[-1]
    x, y = problem.train
    w = torch.linalg.lstsq(x, signs(x[:, 0], y)[:, None]).solution[:, 0]  # fewer samples than features: met exactly
    assert bool(((x @ w > 0).long() == y).all())
    assert not LogisticRegression().separable and len(LogisticRegression().notes()) == 1


def test_separability_is_seen_up_to_one_sample() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 3, dtype=torch.float64)
    x = x[(x[:, 0].abs() > 0.1)]
    y = (x[:, 0] > 0).long()
    assert separable(x, y)
    wrong = y.clone()
    wrong[x[:, 0].argmax()] = 0
    assert not separable(x, wrong)
    with pytest.raises(ArithmeticError, match="no minimiser to 1e-12"):  # rounding alone is more
        newton(x * 1e8, signs(x[:, 0], wrong))


def test_random_labels_have_a_minimiser_of_their_own() -> None:
    problem, noisy = LogisticRegression(), LogisticRegression(random_labels=0.5)
    a, b = problem.optimum(), noisy.optimum()
    assert a is not None and b is not None and float(b.norm()) < 0.7 * float(a.norm())
    assert noisy.least() > problem.least()


def test_the_loss_is_logistic_and_one_of_two_scores_is_refused() -> None:
    problem = LogisticRegression()
    assert isinstance(Auto().of(problem), Logistic) and Auto().outputs(problem) == ()
    assert problem.solved(Logistic()) and not problem.solved(Hinge())
    assert not LogisticRegression(linear=False).solved(Logistic())
    settings = Settings(steps=1)
    assert problem.network(settings, ()) is not None
    assert LogisticRegression(linear=False).network(settings, (2,)) is None
    with pytest.raises(ValueError, match=r"^loss = of 2 scores: .*use loss=logistic"):
        problem.network(settings, CrossEntropy().outputs(problem))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogisticRegression(samples=1), r"^samples = 1: must be at least 2, for example 500"),
        (lambda: LogisticRegression(steepness=-1.0), r"^steepness = -1.0: "),
        (lambda: LogisticRegression(random_labels=2.0), r"^random_labels = 2.0: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
