"""Surfaces whose critical points are known: closed forms agree with derivatives, and with what curvature says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, vmap

from rlgan.erm import MinmaxSaddle, MonkeySaddle, Plateaus, Product
from rlgan.erm.problems.critical import Critical
from rlgan.optim.second_order.curvature import classify, strict_saddle

Surface = Product | MinmaxSaddle | MonkeySaddle | Plateaus
SURFACES: list[Surface] = [Product(), MinmaxSaddle(), MonkeySaddle(), Plateaus()]
POINTS = [(surface, point) for surface in SURFACES for point in surface.critical]
IDS = [f"{type(surface).__name__}-{[round(x, 2) for x in point.point.tolist()]}" for surface, point in POINTS]


def at(*theta: float) -> Tensor:
    return torch.tensor(theta, dtype=torch.float64)


@pytest.mark.parametrize(("surface", "point"), POINTS, ids=IDS)
def test_critical_points_have_the_value_slope_and_curvature_that_are_said(surface: Surface, point: Critical) -> None:
    assert surface.value(point.point).item() == pytest.approx(point.value, abs=1e-15)
    assert grad(surface.value)(point.point).norm() < 1e-15
    eigenvalues = torch.linalg.eigvalsh(hessian(surface.value)(point.point))
    assert torch.allclose(eigenvalues, point.eigenvalues, atol=1e-14)
    signs = set(point.eigenvalues.sign().tolist())
    kinds = {(1.0,): "minimum", (-1.0,): "maximum", (-1.0, 1.0): "strict_saddle", (0.0,): "inconclusive"}
    assert classify(surface.value, point.point).kind == kinds[tuple(sorted(signs))]


@pytest.mark.parametrize("surface", [MinmaxSaddle(), MonkeySaddle()])
def test_there_is_no_other_critical_point_and_nothing_lower(surface: MinmaxSaddle | MonkeySaddle) -> None:
    line = torch.linspace(-2, 2, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    far = torch.stack([(grid - point.point).norm(dim=1) for point in surface.critical]).amin(0) > 0.15
    slopes = vmap(grad(surface.value))(grid).norm(dim=1)
    # Near a point of no curvature the slope is of second order: 3 r^2 at r = 0.15 and more.
    assert slopes[far].min() > 0.05
    assert vmap(surface.value)(grid).min() >= surface.least() - 1e-12
    assert min(point.value for point in surface.critical) == surface.least()


def test_the_minmax_saddle_is_a_strict_saddle_function_and_the_monkey_saddle_is_none() -> None:
    line = torch.linspace(-1.4, 1.4, 15, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    found = {strict_saddle(MinmaxSaddle().value, theta, 1.0, 1.0, 0.1, 0.1, samples=4).alternative for theta in grid}
    assert found == {"gradient", "negative_curvature", "near_minimum"}
    assert strict_saddle(MonkeySaddle().value, at(0.0, 0.0), 0.1, 0.1, 0.1, 0.1).alternative == "violated"


def test_minima_of_the_product_are_a_hyperbola_with_one_flat_direction() -> None:
    surface = Product()
    for w1 in (0.5, -1.0, 2.0):
        theta = at(w1, 1 / w1)
        assert surface.value(theta) == 0 and grad(surface.value)(theta).norm() == 0
        eigenvalues = torch.linalg.eigvalsh(hessian(surface.value)(theta))
        assert eigenvalues.tolist() == pytest.approx([0.0, 2 * (w1**2 + w1**-2)], abs=1e-14)


@pytest.mark.parametrize("start", [(2.0, -0.5), (-0.3, 2.0), (-2.0, 0.5), (0.1, -0.2), (2.0, 1.5), (1e4, -1.0)])
def test_the_end_of_the_flow_lies_on_the_minima_on_the_side_of_the_start_and_keeps_what_the_flow_keeps(
    start: tuple[float, float],
) -> None:
    w1, w2 = Product.limit(start)
    assert w1 * w2 == pytest.approx(1) and (w1 + w2) * (start[0] + start[1]) > 0
    assert (w1 - w2) * (w1 + w2) == pytest.approx(start[0] ** 2 - start[1] ** 2, rel=1e-12)


def test_descent_on_the_product_comes_nearer_to_the_end_of_the_flow_with_the_step_and_ends_where_its_own_law_says() -> (
    None
):
    errors = []
    for lr in (0.02, 0.01):
        theta, kept = np.array([2.0, -0.5]), 1.0
        for _ in range(int(8 / lr)):
            risk = 1 - theta.prod()
            kept *= 1 - 4 * lr**2 * risk**2
            theta = theta + 2 * lr * risk * theta[::-1]
        assert theta == pytest.approx(Product.limit((2.0, -0.5), kept * 3.75), abs=1e-8)
        errors.append(np.linalg.norm(theta - Product.limit((2.0, -0.5))))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert Product.limit((1.5, -1.5)) == (0.0, 0.0)


def test_the_curve_is_smooth_and_flat_where_it_is_said_to_be() -> None:
    curve = Plateaus()
    x = torch.linspace(-1.2, 9.2, 20801, dtype=torch.float64)[:, None]
    value, slope = vmap(curve.value)(x), vmap(grad(curve.value))(x)[:, 0]
    h = 5e-4
    assert (value.diff() / h - (slope[1:] + slope[:-1]) / 2).abs().max() < 1e-6
    bend = slope.diff() / h
    assert bend.diff().abs().max() < 0.03 and bend.abs().max() < 4.001  # no jump in f''
    flat = torch.zeros(len(x), dtype=torch.bool)
    for place in curve.places.values():
        flat |= (x[:, 0] >= place.left) & (x[:, 0] <= place.right)
    still = slope == 0
    assert torch.equal(flat, still) and int(still.sum()) > 3900
    assert value.min() >= 0


def test_the_basins_of_the_curve_are_where_gradient_flow_goes() -> None:
    curve = Plateaus()
    starts = torch.linspace(-0.7, 8.9, 97, dtype=torch.float64)[:, None]
    theta = starts.clone()
    for _ in range(2000):
        theta = theta - 0.1 * vmap(grad(curve.value))(theta)
    for start, end in zip(starts[:, 0].tolist(), theta[:, 0].tolist(), strict=True):
        place = curve.places[curve.basin(start)]
        assert place.left - 0.02 <= end <= place.right + 0.02
    assert {curve.basin(place.left) for place in curve.places.values()} == set("abcdefgh")
    with pytest.raises(ValueError, match="x = nan"):
        curve.basin(math.nan)
