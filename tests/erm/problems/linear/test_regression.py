"""Linear models: the optimum, its risk and the Hessian against closed forms, and the condition numbers asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlgan.erm import LinearRegression, SparseFeatures, Squared
from rlgan.erm.problems.linear.regression import LeastSquares
from rlgan.task.settings import Settings

PROBLEMS: list[LeastSquares] = [
    LinearRegression(sigma=0.3, kappa=100.0),
    LinearRegression(samples=10, dimension=30, sigma=0.3),
    LinearRegression(rotated=False, dimension=1),
    SparseFeatures(samples=300, rarest=0.1, scales=1000.0),
]


def risk(problem: LeastSquares, theta: Tensor) -> Tensor:
    x, y = problem.train
    return Squared()(x @ theta, y).mean()


def slope(problem: LeastSquares, theta: Tensor) -> Tensor:
    theta = theta.clone().requires_grad_()
    return torch.autograd.grad(risk(problem, theta), theta)[0]


@pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
def test_the_optimum_is_numpys_least_squares_and_the_hessian_autograds(problem: LeastSquares) -> None:
    x, y = problem.train
    theta = problem.optimum()
    wanted = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(theta.numpy(), wanted, rtol=1e-9, atol=1e-10)
    gradient = slope(problem, theta)
    assert float(gradient.abs().max()) < 1e-12 * float(problem.eigenvalues[-1] + 1)
    assert problem.least() == pytest.approx(float(risk(problem, theta)), abs=1e-28)
    assert all(float(risk(problem, theta + 0.1 * torch.randn_like(theta))) >= problem.least() for _ in range(5))
    hessian = torch.autograd.functional.hessian(lambda t: risk(problem, t), theta)
    assert problem.eigenvalues.shape == theta.shape
    torch.testing.assert_close(problem.eigenvalues, torch.linalg.eigvalsh(hessian), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rotated", [True, False])
def test_eigenvalues_are_spread_from_one_over_kappa_to_one(rotated: bool) -> None:
    problem = LinearRegression(kappa=50.0, dimension=7, samples=40, rotated=rotated)
    wanted = 2 * torch.logspace(-np.log10(50.0), 0, 7, dtype=torch.float64)
    torch.testing.assert_close(problem.eigenvalues, wanted, rtol=1e-12, atol=0)
    x = problem.train.x
    covariance = x.T @ x / len(x)
    assert (float((covariance - covariance.diag().diag()).abs().max()) < 1e-12) != rotated
    assert problem.notes() == ["the model is linear: f(x) = theta . x, of 7 parameters; L = 2, mu = 0.04"]


def test_without_noise_every_sample_is_met_and_all_gradients_vanish_there() -> None:
    for problem in (LinearRegression(), LinearRegression(samples=10, dimension=30, sigma=1.0)):
        x, y = problem.train
        assert problem.least() < 1e-25
        gradients = 2 * (x @ problem.optimum() - y)[:, None] * x
        assert float(gradients.abs().max()) < 1e-12
    torch.testing.assert_close(LinearRegression().optimum(), LinearRegression().truth, rtol=1e-12, atol=1e-12)
    assert "20 directions of theta change nothing" in LinearRegression(samples=10, dimension=30).notes()[0]


def test_gradient_descent_from_zero_comes_to_the_optimum_that_is_named_also_of_few_samples() -> None:
    problem = LinearRegression(samples=8, dimension=12, kappa=2.0)
    network = problem.network(Settings(steps=1), ())
    assert network is not None
    theta = torch.cat([p.detach().flatten() for p in network.parameters()]).double()
    assert not theta.any()
    for _ in range(2000):
        theta = theta - slope(problem, theta) / problem.eigenvalues[-1]
    torch.testing.assert_close(theta, problem.optimum(), rtol=1e-9, atol=1e-9)


def test_features_are_on_as_often_and_as_large_as_is_said() -> None:
    problem = SparseFeatures(samples=20_000, dimension=6, rarest=0.02, scales=100.0)
    x = problem.train.x
    on = (x != 0).double().mean(0)
    torch.testing.assert_close(on, problem.frequencies, rtol=0.1, atol=0)
    assert float(on[-1]) == 1
    torch.testing.assert_close(x.abs().amax(0), problem.sizes, rtol=1e-12, atol=0)
    assert float(problem.sizes.max() / problem.sizes.min()) == pytest.approx(100)
    # Whatever its frequency and scale, a feature that is on moves y by 1.
    torch.testing.assert_close((problem.truth * problem.sizes).abs(), torch.ones(6).double(), rtol=1e-12, atol=0)
    wanted = (2 * problem.frequencies * problem.sizes**2).sort().values
    torch.testing.assert_close(problem.eigenvalues, wanted, rtol=0.15, atol=0)


def test_a_chosen_network_takes_the_place_and_nothing_is_known_of_it() -> None:
    for problem in (LinearRegression(linear=False), SparseFeatures(linear=False)):
        assert problem.network(Settings(steps=1), ()) is None
        assert not problem.solved(Squared()) and not problem.notes()
    assert LinearRegression().solved(Squared())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearRegression(kappa=0.5), r"^kappa = 0.5: must be at least 1, for example 10"),
        (lambda: LinearRegression(samples=0), r"^samples = 0: "),
        (lambda: LinearRegression(sigma=float("inf")), r"^sigma = inf: "),
        (lambda: SparseFeatures(rarest=1e-9), r"^rarest = 1e-09: .*for example 0.01"),
        (lambda: SparseFeatures(scales=0.1), r"^scales = 0.1: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
