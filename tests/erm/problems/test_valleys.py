"""Surfaces on which methods part: minima, curvature and sequences by their closed forms."""

import dataclasses

import pytest
import torch
from torch import Tensor

from rlgan.erm import AbsoluteDeviations, Crater, Ramp, RareLargeGradient, Rosenbrock, SteepThenFlat, Surface
from rlgan.optim.second_order.curvature import classify

KNOWN = (Rosenbrock(dimension=3), SteepThenFlat(dimension=2), AbsoluteDeviations(rows=9, dimension=4), Crater())


def gradient(surface: Surface, theta: Tensor) -> Tensor:
    found = torch.func.grad(surface.value)(theta)
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("surface", KNOWN, ids=lambda surface: type(surface).__name__)
def test_the_minimum_is_where_it_is_said_to_be(surface: Surface) -> None:
    optimum, least = surface.optimum(), surface.least()
    assert optimum is not None and least is not None
    assert float(surface.value(optimum)) == pytest.approx(least, abs=1e-15)
    around = optimum + 0.3 * torch.randn(200, len(optimum), generator=torch.Generator().manual_seed(0)).double()
    assert float(torch.func.vmap(surface.value)(around).min()) > least + 1e-4
    assert float(surface.value(surface.beginning)) > least + 0.05


def test_rosenbrock_is_the_function_of_two_variables_and_bends() -> None:
    f = Rosenbrock()
    assert float(f.value(f.beginning)) == pytest.approx((1 + 1.2) ** 2 + 100 * (1 - 1.44) ** 2)
    assert classify(f.value, torch.ones(2).double()).kind == "minimum"
    # The mean of two points on the floor theta_2 = theta_1^2 lies (a - b)^2 / 4 above it.
    a, b = -1.0, 0.6
    mean = torch.tensor([(a + b) / 2, (a * a + b * b) / 2]).double()
    assert float(f.value(mean)) == pytest.approx((1 - (a + b) / 2) ** 2 + 100 * (a - b) ** 4 / 16)


def test_steep_then_flat_has_two_curvatures_and_no_jump_of_the_slope() -> None:
    f = SteepThenFlat(flat=0.5, steep=40.0, width=1.5)
    second = torch.func.hessian(f.value)
    assert float(second(torch.tensor([1.4]).double()).squeeze()) == pytest.approx(0.5)
    assert float(second(torch.tensor([-1.6]).double()).squeeze()) == pytest.approx(40.5)
    before, after = (gradient(f, torch.tensor([1.5 + side]).double()) for side in (-1e-9, 1e-9))
    assert float(after - before) == pytest.approx(0, abs=1e-7)


def test_least_absolute_deviations_has_slope_one_at_most_and_one_minimum() -> None:
    f = AbsoluteDeviations()
    points = torch.randn(50, 20, generator=torch.Generator().manual_seed(1)).double()
    assert float(torch.func.vmap(torch.func.grad(f.value))(points).norm(dim=1).max()) <= 1
    assert float(f.optimum().norm()) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"^rows = 3: must be at least 4"):
        AbsoluteDeviations(rows=3, dimension=4)


def test_a_ramp_has_one_gradient() -> None:
    f = Ramp(slope=(2.0, -1.0, 0.5))
    assert gradient(f, torch.randn(3).double()).tolist() == [2.0, -1.0, 0.5]
    assert f.optimum() is None and f.least() is None
    with pytest.raises(ValueError, match=r"^slope = \[\]: the gradient"):
        Ramp(slope=())


def test_a_crater_has_curvature_between_minus_a_quarter_and_one_and_meets_its_inequality() -> None:
    f = Crater(kappa=50.0, dimension=6)
    assert torch.func.hessian(f.value)(f.optimum()).diagonal().tolist() == pytest.approx(f.eigenvalues.tolist())
    t = torch.linspace(-4, 4, 2001).double()[:, None]
    one = Crater(kappa=1.0, dimension=1)
    assert one.window[:2] == (-2.5, 2.5)
    second = torch.func.vmap(torch.func.hessian(one.value))(t).flatten()
    assert float(second.max()) == pytest.approx(1.0) and -0.26 < float(second.min()) < -0.24
    within = f.beginning * (2 * torch.rand(500, 6, generator=torch.Generator().manual_seed(2)).double() - 1)
    square = torch.func.vmap(torch.func.grad(f.value))(within).square().sum(1)
    assert (square >= 2 * torch.func.vmap(f.value)(within) / (8 * 50)).all()
    assert float(f.value(f.beginning)) == pytest.approx(6 / 4)


def test_relative_noise_is_strong_growth() -> None:
    f = Crater(relative_noise=0.6, dimension=3)
    noise = f.noise(4000, torch.Generator().manual_seed(0), 0).double()
    own = torch.func.jacrev(lambda theta: f.of_samples(theta, noise))(f.beginning)
    whole = gradient(f, f.beginning)
    growth = float(own.square().sum(1).mean() / whole.square().sum())
    assert growth == pytest.approx(1 + 0.6**2, rel=0.05)
    assert torch.allclose(own.mean(0), whole, rtol=0.05)
    assert torch.equal(f.of_samples(f.optimum(), noise), torch.zeros(4000).double())
    with pytest.raises(ValueError, match=r"^relative_noise = 0\.6: there is gradient_noise = 1\.0 as well"):
        dataclasses.replace(f, gradient_noise=1.0)


def test_of_a_sequence_every_third_slope_is_large() -> None:
    f = RareLargeGradient(large=4.0)
    assert f.slopes(7).tolist() == [4.0, -1.0, -1.0, 4.0, -1.0, -1.0, 4.0]
    theta, nothing = torch.tensor([0.5]).double(), torch.Generator()
    for count, slope in enumerate(f.slopes(7)):
        sample = f.of_samples(theta, f.noise(2, nothing, count))
        assert sample.tolist() == pytest.approx([0.5 * float(slope)] * 2)
    assert float(gradient(f, theta)) == pytest.approx(float(f.slopes(30).mean()))
    with pytest.raises(ValueError, match=r"^large = 2\.0: C must be above 2"):
        RareLargeGradient(large=2.0)
