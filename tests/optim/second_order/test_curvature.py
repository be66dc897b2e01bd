"""Curvature against dense matrices, double autograd and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets import DCGANSpec, MLPSpec
from rlgan.optim.play.pure_field import PureNet
from rlgan.optim.second_order.curvature import (
    Extremes,
    classify,
    extremes,
    gradient_mapping,
    hessian,
    hvp,
    keskar_sharpness,
    lanczos,
    optimal_step,
    strict_saddle,
)
from rlgan.optim.step.vector import Vector

Loss = Callable[[Tensor], Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bound(module: nn.Module) -> tuple[Vector, Callable[[Tensor], PureNet]]:
    vector = Vector(module.double())
    return vector, lambda theta: PureNet(vector, module, theta, vector.buffers())


def network(**options: Any) -> nn.Module:
    torch.manual_seed(1)
    return MLPSpec(hidden=(6, 5), **options).build((3,), ())


def mse() -> tuple[Loss, Tensor]:
    vector, net = bound(network(activation="tanh"))
    x, y = normal(16, 3), normal(16, seed=1)
    return lambda theta: F.mse_loss(net(theta)(x), y), vector.theta


def gradient_penalty() -> tuple[Loss, Tensor]:
    vector, net = bound(network(activation="silu"))
    x, y = normal(16, 3), normal(16, 3, seed=1)

    def loss(theta: Tensor) -> Tensor:
        critic = net(theta)
        slope = critic.input_gradient((x + y) / 2).square().sum(-1).sqrt()
        return critic(y).mean() - critic(x).mean() + (slope - 1).square().mean()

    return loss, vector.theta


def batch_norm() -> tuple[Loss, Tensor]:
    vector, net = bound(network(activation="tanh", norm="batch"))
    x = normal(16, 3)
    return lambda theta: F.softplus(net(theta)(x)).mean(), vector.theta


def rectified() -> tuple[Loss, Tensor]:
    """Activations in place, as the default networks have them."""
    vector, net = bound(network(activation="leaky_relu"))
    x = normal(16, 3)
    return lambda theta: net(theta)(x).square().mean(), vector.theta


def convolution() -> tuple[Loss, Tensor]:
    torch.manual_seed(1)
    vector, net = bound(DCGANSpec(width=2, norm="none").build((1, 8, 8), ()))
    x = normal(4, 1, 8, 8)
    return lambda theta: torch.sigmoid(net(theta)(x)).mean(), vector.theta


@pytest.mark.parametrize("problem", [mse, gradient_penalty, batch_norm, rectified, convolution])
def test_products_equal_double_autograd_and_the_dense_hessian(problem: Callable[[], tuple[Loss, Tensor]]) -> None:
    loss, theta = problem()
    theta = theta.clone()
    v = normal(len(theta), seed=2)
    found = hvp(loss, theta, v)
    leaf = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    (twice,) = torch.autograd.grad(g, leaf, v)
    assert twice.norm() > 1e-3
    torch.testing.assert_close(found, twice, rtol=1e-10, atol=1e-12)
    dense = torch.func.jacrev(torch.func.grad(loss))(theta)
    torch.testing.assert_close(found, dense @ v, rtol=1e-10, atol=1e-11)
    if problem is not batch_norm:  # through which torch.func.hessian, forward over reverse, is wrong
        torch.testing.assert_close(dense, torch.func.hessian(loss)(theta), rtol=1e-10, atol=1e-11)
    slope: Loss = torch.func.grad(loss)
    central = (slope(theta + 1e-5 * v) - slope(theta - 1e-5 * v)) / 2e-5
    assert (found - central).norm() < 1e-6 * central.norm()
    many = normal(3, len(theta), seed=3)
    torch.testing.assert_close(torch.func.vmap(hessian(loss, theta))(many), many @ dense, rtol=1e-10, atol=1e-11)
    ends = extremes(loss, theta, steps=len(theta), tolerance=0.0)
    exact = torch.linalg.eigvalsh(dense)
    assert ends.smallest.value == pytest.approx(exact[0].item(), abs=1e-10)
    assert ends.largest.value == pytest.approx(exact[-1].item(), abs=1e-10)


def test_products_stack_over_points() -> None:
    loss, theta = mse()
    points = theta + 0.1 * normal(3, len(theta))
    v = normal(len(theta), seed=2)
    stacked = torch.func.vmap(lambda t: hvp(loss, t, v))(points)
    alone = torch.stack([hvp(loss, t, v) for t in points])
    torch.testing.assert_close(stacked, alone, rtol=1e-12, atol=1e-13)


def test_a_linear_loss_has_no_curvature() -> None:
    c = normal(4)
    theta = normal(4, seed=1)
    assert torch.equal(hvp(lambda t: t @ c, theta, normal(4, seed=2)), torch.zeros(4, dtype=torch.float64))
    ends = extremes(lambda t: t @ c, theta)
    assert ends.smallest.value == ends.largest.value == ends.largest.error == 0 and ends.steps == 1


def spectrum(values: Tensor) -> Tensor:
    """A dense symmetric matrix with these eigenvalues."""
    q, _ = torch.linalg.qr(normal(len(values), len(values)))
    return q @ torch.diag(values) @ q.t()


SPECTRA = {
    "spread": torch.linspace(-3, 7, 30, dtype=torch.float64),
    "negative": -torch.logspace(0, 3, 30, dtype=torch.float64),
    "clustered": torch.tensor([1e-8] * 10 + [1.0] * 10 + [1.0 + 1e-6] * 10, dtype=torch.float64),
    "low rank": torch.tensor([0.0] * 27 + [-1.0, 2.0, 3.0], dtype=torch.float64),
    "identity": torch.ones(30, dtype=torch.float64),
    "one number": torch.tensor([-2.5], dtype=torch.float64),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_lanczos_finds_both_ends(name: str) -> None:
    matrix = spectrum(SPECTRA[name])
    ends = lanczos(lambda v: matrix @ v, len(matrix), steps=30, tolerance=0.0)
    exact = torch.linalg.eigvalsh(matrix)
    scale = exact.abs().max().item()
    for pair, value in ((ends.smallest, exact[0]), (ends.largest, exact[-1])):
        assert pair.value == pytest.approx(value.item(), abs=1e-11 * scale)
        assert pair.vector.norm().item() == pytest.approx(1.0, abs=1e-14)
        assert pair.error == pytest.approx((matrix @ pair.vector - pair.value * pair.vector).norm().item(), abs=1e-15)
        assert pair.error <= 1e-10 * scale


def test_lanczos_stops_when_the_krylov_space_closes_or_both_ends_have_converged() -> None:
    low_rank = spectrum(SPECTRA["low rank"])
    assert lanczos(lambda v: low_rank @ v, 30, steps=30, tolerance=0.0).steps <= 5
    spread = spectrum(SPECTRA["spread"])
    early, whole = (lanczos(lambda v: spread @ v, 30, steps=30, tolerance=t) for t in (1e-2, 0.0))
    assert early.steps < whole.steps == 30
    assert early.largest.error <= 1e-2 * 7 and early.smallest.error <= 1e-2 * 7


def test_lanczos_in_ten_thousand_dimensions() -> None:
    diagonal = torch.linspace(0, 1, 10_000, dtype=torch.float64)
    diagonal[3], diagonal[7] = -2.0, 5.0
    ends = lanczos(lambda v: diagonal * v, 10_000, steps=40)
    assert ends.steps < 40
    assert ends.smallest.value == pytest.approx(-2.0, abs=1e-10) and ends.smallest.error < 1e-6
    assert ends.largest.value == pytest.approx(5.0, abs=1e-10) and ends.largest.error < 1e-6
    assert ends.smallest.vector.abs().argmax() == 3 and ends.largest.vector.abs().argmax() == 7


def test_unconverged_ends_lie_inside_of_the_spectrum_and_within_their_error_of_an_eigenvalue() -> None:
    diagonal = torch.linspace(-1, 1, 1000, dtype=torch.float64)
    for seed in range(5):
        ends = lanczos(lambda v: diagonal * v, 1000, steps=12, seed=seed)
        assert -1 < ends.smallest.value < -0.8 and 0.8 < ends.largest.value < 1
        for pair in (ends.smallest, ends.largest):
            assert (diagonal - pair.value).abs().min() <= pair.error < 0.5
    again = lanczos(lambda v: diagonal * v, 1000, steps=12, seed=4)
    assert again.largest.value == ends.largest.value and torch.equal(again.largest.vector, ends.largest.vector)


def test_lanczos_refuses_nothing_to_do() -> None:
    with pytest.raises(ValueError, match=r"^dim = 0: .*; |^dim = 0: must be at least 1"):
        lanczos(lambda v: v, 0)
    with pytest.raises(ValueError, match=r"^steps = 0: must be at least 1"):
        lanczos(lambda v: v, 3, steps=0)


def point(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


CRITICAL: dict[str, tuple[Loss, str]] = {
    "bowl": (lambda t: t[0] ** 2 + 2 * t[1] ** 2, "minimum"),
    "hill": (lambda t: -(t[0] ** 2) - 2 * t[1] ** 2, "maximum"),
    "pass": (lambda t: t[0] ** 2 - t[1] ** 2 + t[0] * t[1], "strict_saddle"),
    "monkey saddle": (lambda t: t[0] ** 3 - 3 * t[0] * t[1] ** 2, "inconclusive"),
    "valley": (lambda t: t[0] ** 2 + t[1] ** 4, "inconclusive"),
    "ridge": (lambda t: -(t[0] ** 2) + t[1] ** 4, "inconclusive"),
    "slope": (lambda t: t[0] + t[1] ** 2, "not_critical"),
}


@pytest.mark.parametrize("name", CRITICAL)
def test_critical_points_of_the_decks(name: str) -> None:
    loss, kind = CRITICAL[name]
    found = classify(loss, point(0, 0))
    assert found.kind == kind
    assert found.gradient_norm == (1.0 if kind == "not_critical" else 0.0)
    known: Extremes = found.extremes
    assert classify(loss, point(0, 0), known=known).extremes is known


def test_eigenvalues_that_count_as_zero_and_gradients_that_do_not() -> None:
    def loss(t: Tensor) -> Tensor:
        return t[0] ** 2 + 1e-4 * t[1] ** 2

    assert classify(loss, point(0, 0), flat=1e-6).kind == "minimum"
    assert classify(loss, point(0, 0), flat=1e-3).kind == "inconclusive"
    assert classify(loss, point(1e-3, 0)).kind == "not_critical"
    assert classify(loss, point(1e-3, 0), tolerance=1e-2).kind == "minimum"


def test_an_eigenvalue_that_is_not_known_well_enough_proves_no_minimum() -> None:
    weights = torch.logspace(-5, 0, 200, dtype=torch.float64)
    theta = torch.zeros(200, dtype=torch.float64)

    def loss(t: Tensor) -> Tensor:
        return (weights * t.square()).sum() / 2

    few = classify(loss, theta, flat=1e-6, steps=8)
    assert few.extremes.smallest.value > 1e-6 and few.kind == "inconclusive"
    assert classify(loss, theta, flat=1e-6, steps=200).kind == "minimum"


def well(t: Tensor) -> Tensor:
    """Minima at (+-1, 0) with H = diag(2, 1), a strict saddle at 0 with H = diag(-1, 1)."""
    return (t[0] ** 2 - 1) ** 2 / 4 + t[1] ** 2 / 2


@pytest.mark.parametrize(
    ("loss", "at", "expected"),
    [
        (well, (3.0, 1.0), "gradient"),
        (well, (0.0, 0.0), "negative_curvature"),
        (well, (1.0, 0.0), "near_minimum"),
        (well, (1.005, -0.01), "near_minimum"),
        (well, (1.0, 0.08), "undecided"),  # |grad| = 0.08 < eps, and alpha delta = 0.05: x* may be further than delta
        (CRITICAL["monkey saddle"][0], (0.0, 0.0), "violated"),
        (lambda t: (t**4).sum(), (0.0, 0.0), "violated"),  # a minimum, and not strongly convex
    ],
)
def test_the_alternatives_of_a_strict_saddle(loss: Loss, at: tuple[float, ...], expected: str) -> None:
    found = strict_saddle(loss, point(*at), alpha=0.5, beta=0.5, eps=0.1, delta=0.1)
    assert found.alternative == expected
    gradient: Tensor = torch.func.grad(loss)(point(*at))
    assert found.gradient_norm == pytest.approx(gradient.norm().item(), abs=1e-15)
    dense = torch.func.hessian(loss)(point(*at))
    assert found.smallest == pytest.approx(torch.linalg.eigvalsh(dense)[0].item(), abs=1e-12)


def test_strong_convexity_is_looked_for_in_the_whole_ball() -> None:
    found = strict_saddle(well, point(1.0, 0.0), alpha=0.5, beta=0.5, eps=0.1, delta=1.0, samples=20)
    assert found.alternative == "violated"  # 3 x^2 - 1 < 0.5 for x < 0.71
    alone = strict_saddle(well, point(1.0, 0.0), alpha=0.5, beta=0.5, eps=0.1, delta=1.0, samples=0)
    assert alone.alternative == "near_minimum"
    with pytest.raises(ValueError, match=r"^beta = 0: must be positive, for example"):
        strict_saddle(well, point(1.0, 0.0), alpha=0.5, beta=0, eps=0.1, delta=1.0)


def clip(x: Tensor) -> Tensor:
    return x.clamp(-0.5, 0.5)


def test_the_gradient_mapping_without_a_projection_is_the_scaled_gradient() -> None:
    theta, g, h = normal(6), normal(6, seed=1), normal(6, seed=2).square() + 0.1
    for lam in (1e-2, 1.0, 30.0):
        assert torch.allclose(gradient_mapping(theta, g, lambda x: x, lam=lam), g, rtol=0, atol=1e-13)
        mapped = gradient_mapping(theta, g, lambda x: x, h, lam)
        assert torch.allclose(mapped, g / h.sqrt(), rtol=0, atol=1e-12)
        mapped = gradient_mapping(theta, g, lambda x: x, 4.0, lam)
        assert torch.allclose(mapped, g / 2, rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match=r"^lam = 0: the step lambda must be positive"):
        gradient_mapping(theta, g, lambda x: x, lam=0)


@pytest.mark.parametrize("h", [None, 3.0, "diagonal"])
def test_the_gradient_mapping_is_zero_exactly_where_a_box_holds_a_quadratic_back(h: Any) -> None:
    weights, centre = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64), point(2.0, -0.25, -3.0, 0.5)
    scale = normal(4).square() + 0.1 if h == "diagonal" else h
    solution = clip(centre)
    gradient = weights * (solution - centre)
    assert gradient.norm() > 10
    for lam in (1e-3, 1.0):
        assert torch.equal(gradient_mapping(solution, gradient, clip, scale, lam), torch.zeros(4, dtype=torch.float64))
        inside = solution + point(0, 0.125, 0, 0)
        moved = gradient_mapping(inside, weights * (inside - centre), clip, scale, lam)
        assert moved[1] > 0.1 and moved[[0, 2, 3]].eq(0).all()
        # At the bound of the first coordinate, and pushed inwards there: not stationary.
        wrong = gradient_mapping(point(-0.5, -0.25, -0.5, 0.5), point(-3.0, 0, 0, 0), clip, scale, lam)
        assert wrong[0] < -0.1


def test_the_gradient_mapping_wants_the_projection_in_its_own_metric() -> None:
    """On the half-space a'x <= b with -grad f normal to its wall: stationary, whatever the metric."""
    a, b, h = point(1.0, 2.0, -1.0), 0.3, point(0.1, 1.0, 7.0)
    x = point(1.0, -0.35, 0.0)
    assert a @ x == pytest.approx(b, abs=1e-15)
    gradient = -2.0 * a

    def project(y: Tensor, metric: Tensor) -> Tensor:
        return y - (a / metric) * ((a @ y - b).clamp(min=0) / (a @ (a / metric)))

    right = gradient_mapping(x, gradient, lambda y: project(y, h), h, 0.5)
    wrong = gradient_mapping(x, gradient, lambda y: project(y, torch.ones_like(h)), h, 0.5)
    assert right.norm() < 1e-14 and wrong.norm() > 1


def test_sharpness_of_separable_quadratics() -> None:
    weights, centre, x = normal(5).square() + 0.1, normal(5, seed=1), normal(5, seed=2)

    def loss(t: Tensor) -> Tensor:
        return (weights * (t - centre).square()).sum()

    eps = 0.05
    width = eps * (x.abs() + 1)
    corner = (weights * ((x - centre).abs() + width).square()).sum().item()
    expected = corner - loss(x).item()
    found = keskar_sharpness(loss, x, eps)
    assert found.rise == pytest.approx(expected, rel=1e-13)
    assert found.sharpness == pytest.approx(100 * expected / (1 + loss(x).item()), rel=1e-13)
    # At its minimum the gradient says nothing; every corner is the maximum.
    at_minimum = keskar_sharpness(loss, centre, eps)
    assert at_minimum.rise == pytest.approx((weights * (eps * (centre.abs() + 1)).square()).sum().item(), rel=1e-12)


def test_sharpness_of_a_peak_inside_of_the_box_and_of_a_negative_loss() -> None:
    def peak(t: Tensor) -> Tensor:
        return 2 - (t - 0.05).square().sum()

    found = keskar_sharpness(peak, point(0.0), 0.1, steps=40)
    assert found.rise == pytest.approx(0.0025, abs=1e-6) and found.sharpness == pytest.approx(
        100 * 0.0025 / 2.9975, abs=1e-4
    )

    def negative(t: Tensor) -> Tensor:
        return peak(t) - 4

    assert math.isnan(keskar_sharpness(negative, point(0.0), 0.1).sharpness)
    assert keskar_sharpness(negative, point(0.0), 0.1, steps=40).rise == pytest.approx(0.0025, abs=1e-6)
    assert keskar_sharpness(peak, point(0.05), 0.1).rise == 0
    for field, value in (("eps", 0.0), ("steps", 0)):
        with pytest.raises(ValueError, match=rf"^{field} = {value}: "):
            keskar_sharpness(peak, point(0.0), **{field: value})  # type: ignore[arg-type]


def test_the_optimal_step_lowers_a_quadratic_as_much_as_a_line_search_can() -> None:
    matrix, b, x = spectrum(torch.logspace(-1, 1, 6, dtype=torch.float64)), normal(6), normal(6, seed=1)

    def loss(t: Tensor) -> Tensor:
        return t @ matrix @ t / 2 - b @ t

    g = matrix @ x - b
    step = optimal_step(loss, x)
    assert step == pytest.approx((g @ g / (g @ matrix @ g)).item(), rel=1e-12)
    drop = (loss(x) - loss(x - step * g)).item()
    assert drop == pytest.approx(((g @ g) ** 2 / (2 * g @ matrix @ g)).item(), rel=1e-11)
    for other in (0.9 * step, 1.1 * step):
        assert loss(x - other * g) > loss(x - step * g)
    assert optimal_step(lambda t: -t @ t, x) == math.inf
    assert optimal_step(lambda t: t @ t, torch.zeros(3, dtype=torch.float64)) == 0
