"""Projections: feasible, idempotent and nearest in the metric, against closed forms, bisection and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from torch import Tensor, nn

from rlgan.optim import Box, Linear, Player, PlayerSpec, adagrad_norm, adam, amsgrad, sgd
from rlgan.optim.step.projection import Ball, Projection, Simplex, SpectralBall
from tests.small import TASKS, build

SHAPES = [torch.Size((4, 3)), torch.Size((3,)), torch.Size((2, 3, 2, 2)), torch.Size(()), torch.Size((1, 5))]
SIZE = sum(math.prod(shape) for shape in SHAPES)

SETS: dict[str, Callable[[float], Projection]] = {
    "box": Box,
    "ball": Ball,
    "simplex": Simplex,
    "spectral": lambda radius: SpectralBall(radius).fit(SHAPES),
}
IN_A_METRIC = ("box", "ball", "simplex")
EPS = torch.finfo(torch.float64).eps


class Problem(NamedTuple):
    """A point, the size of K as a share of the point's, and a diagonal metric."""

    y: Tensor
    size: float
    h: Tensor


@st.composite
def problems(draw: st.DrawFn, d: int | None = None) -> Problem:
    """Of ordinary scale, or with entries of y and of h from 1e-6 to 1e6; K from far smaller than y to around it."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 40)) if d is None else d
    decades = [draw(st.sampled_from([0.0, 1.0, 6.0])) for _ in range(2)]
    a, b = (10 ** (k * (2 * torch.rand(n, generator=rng, dtype=torch.float64) - 1)) for k in decades)
    y = torch.randn(n, generator=rng, dtype=torch.float64) * a
    return Problem(y, draw(st.sampled_from([1e-6, 0.1, 0.9, 0.999999, 1.0, 1.1, 3.0])), b)


def set_for(name: str, problem: Problem) -> Projection:
    y = problem.y
    scale = {"box": y.abs().max(), "ball": y.norm(), "simplex": y.abs().sum(), "spectral": y.norm() / 2}[name]
    return SETS[name](problem.size * scale.item())


def size(projection: Projection) -> float:
    return projection.scalars(1.0)["radius"]


def matrices(x: Tensor) -> list[Tensor]:
    parts = x.split([math.prod(shape) for shape in SHAPES])
    return [part.view(shape[0], -1) for part, shape in zip(parts, SHAPES, strict=True) if len(shape) > 1]


def outside(name: str, projection: Projection, x: Tensor) -> float:
    """How far `x` is from K, relative to its size, computed in double precision."""
    radius = torch.tensor(size(projection), dtype=x.dtype).item()
    x = x.double()
    if name == "box":
        return max(x.abs().max().item() / radius - 1, 0.0)
    if name == "ball":
        return max(x.norm().item() / radius - 1, 0.0)
    if name == "simplex":
        return max(-x.min().item(), abs(math.fsum(x.tolist()) / radius - 1))
    return max(0.0, *(torch.linalg.matrix_norm(m, 2).item() / radius - 1 for m in matrices(x)))


def feasible(name: str, radius: float, d: int, seed: int) -> Tensor:
    """Points (64, d) of K: inside and on its boundary, without any projection of ours."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(64, d, generator=rng, dtype=torch.float64)
    shrink = torch.rand(64, 1, generator=rng, dtype=torch.float64).clamp(max=0.5) * 2
    if name == "box":
        return (z / z.abs().amax(1, keepdim=True)) * shrink * radius
    if name == "ball":
        return z / z.norm(dim=1, keepdim=True) * shrink * radius
    if name == "simplex":
        z = z.abs() * (torch.rand(64, d, generator=rng, dtype=torch.float64) < 0.6)
        z[:, 0] += 1e-3
        return z / z.sum(1, keepdim=True) * radius
    rows = []
    for row in z:
        for m in matrices(row):
            m.div_(torch.linalg.matrix_norm(m, 2) / radius)
        rows.append(row)
    return torch.stack(rows) * shrink


CASES = [(name, True) for name in IN_A_METRIC] + [(name, False) for name in SETS]


@pytest.mark.parametrize(("name", "weighted"), CASES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_feasible_idempotent_and_nearest(name: str, weighted: bool, data: st.DataObject) -> None:
    """The nearest point P of y is the one with <H (y - P), z - P> <= 0 for all z of K; then |y - P|_H <= |y - z|_H."""
    problem = data.draw(problems(SIZE if name == "spectral" else None))
    y, h = problem.y, problem.h if weighted else None
    projection = set_for(name, problem)
    s, metric = projection.scalars(1.0), torch.ones_like(y) if h is None else h
    x = projection(y, s, h)
    assert outside(name, projection, x) <= (0.0 if name == "box" else 17 * EPS)
    assert torch.equal(projection(x, s, h), x)
    anywhere = feasible(name, size(projection), len(y), data.draw(st.integers(0, 2**32 - 1)))
    # Towards any point of K the set is left nowhere: the points next to the result, where a mistake would show first.
    z = torch.cat([anywhere, x + 1e-3 * (anywhere - x), x + 1e-6 * (anywhere - x)])
    variational = (z - x) @ (metric * (y - x))
    # y, x and z are known to rounding in the metric.
    length = (metric * torch.stack([y, x]).square()).sum(1).sqrt()
    rounding = 32 * EPS * length.sum() * ((metric * (z - x) ** 2).sum(1).sqrt() + length[1])
    assert (variational <= rounding).all()
    distance, others = (metric * (x - y) ** 2).sum(), (metric * (z - y) ** 2).sum(1)
    assert (distance <= others * (1 + 64 * EPS) + 2 * rounding).all()


@pytest.mark.parametrize("name", SETS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_single_precision(name: str, data: st.DataObject) -> None:
    """Feasible to rounding of float32, a box to the last bit, and equal to the point in double precision."""
    problem = data.draw(problems(SIZE if name == "spectral" else None))
    y = problem.y.float()
    h = problem.h.float() if name in IN_A_METRIC else None
    projection = set_for(name, Problem(y.double(), problem.size, problem.h))
    s = projection.scalars(1.0)
    x = projection(y, s, h)
    eps = torch.finfo(torch.float32).eps
    assert x.dtype == torch.float32 and torch.equal(projection(x, s, h), x)
    assert outside(name, projection, x) <= (0.0 if name == "box" else 17 * eps)
    exact = projection(y.double(), s, None if h is None else h.double())
    metric = torch.ones_like(exact) if h is None else h.double()
    # As the projection in H is nonexpansive in H, rounding y moves it by no more than that.
    assert (metric * (x - exact) ** 2).sum().sqrt() <= 64 * eps * (metric * y.double() ** 2).sum().sqrt()


@pytest.mark.parametrize("name", SETS)
def test_points_of_the_set_are_returned_as_they_are(name: str) -> None:
    projection = SETS[name](2.0)
    s, h = projection.scalars(1.0), torch.linspace(0.1, 3.0, SIZE, dtype=torch.float64)
    for z in feasible(name, 2.0, SIZE, seed=1):
        assert torch.equal(projection(z, s), z)
        if name in IN_A_METRIC:
            assert torch.equal(projection(z, s, h), z)


@pytest.mark.parametrize("name", SETS)
def test_a_scalar_metric_is_the_plain_one(name: str) -> None:
    torch.manual_seed(0)
    y, projection = torch.randn(SIZE, dtype=torch.float64) * 3, SETS[name](0.5)
    s = projection.scalars(1.0)
    plain = projection(y, s)
    assert not torch.allclose(plain, y)
    assert torch.equal(projection(y, s, torch.tensor(7.0, dtype=torch.float64)), plain)
    if name in IN_A_METRIC:
        torch.testing.assert_close(projection(y, s, torch.full_like(y, 7.0)), plain, rtol=1e-14, atol=1e-15)
        other = projection(y, s, torch.linspace(0.1, 3.0, SIZE, dtype=torch.float64))
        assert torch.equal(other, plain) == (not projection.uses_metric), "what the metric changes, and a box is not"


def test_ball_in_closed_form() -> None:
    y = torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)
    ball = Ball(2.0)
    expected = torch.tensor([1.2, 0.0, -1.6], dtype=torch.float64)
    torch.testing.assert_close(ball(y, ball.scalars(1.0)), expected, rtol=1e-15, atol=0)
    # One coordinate alone: on the sphere whatever its weight. The centre stays.
    one = torch.tensor([-5.0], dtype=torch.float64)
    assert ball(one, ball.scalars(1.0), torch.tensor([1e-6], dtype=torch.float64)).item() == pytest.approx(-2.0, 1e-15)
    assert torch.equal(ball(0 * y, ball.scalars(1.0), y.abs() + 1), 0 * y)


@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_ball_in_a_metric_against_a_root_by_scipy(problem: Problem) -> None:
    y, h, radius = problem.y.numpy(), problem.h.numpy(), problem.size * problem.y.norm().item()
    x = Ball(radius)(problem.y, {"radius": radius}, problem.h).numpy()
    if problem.size >= 1:
        assert np.array_equal(x, y)
        return

    def length(log_mu: float) -> float:
        return float(np.linalg.norm(h * y / (h + math.exp(log_mu)))) / radius - 1

    top = math.log(1e3 * np.linalg.norm(h * y) / radius)
    mu = math.exp(brentq(length, top - 60, top, xtol=1e-15, rtol=1e-15, maxiter=500))
    error = np.sqrt(np.sum(h * (x - h * y / (h + mu)) ** 2))
    assert error <= 1e-9 * np.sqrt(np.sum(h * y**2))
    # |x| = radius and H (y - x) = mu x, with one mu for all coordinates.
    assert np.linalg.norm(x) == pytest.approx(radius, rel=8 * EPS)


@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_simplex_against_bisection(problem: Problem) -> None:
    y, h, total = problem.y, problem.h, problem.size * problem.y.abs().sum().item()

    def point(nu: float) -> Tensor:
        return (y - nu / h).clamp(min=0.0)

    # At the left end one coordinate alone is already `total` or more; at the right end none is positive.
    low, high = ((y - total) * h).max().item(), (y * h).max().item()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if point(middle).sum() > total else (low, middle)
    x = Simplex(total)(y, {"radius": total}, h)
    error = (h * (x - point(low)) ** 2).sum().sqrt()
    assert error <= 1e-9 * ((h * y * y).sum().sqrt() + h.max().sqrt() * total)


def test_simplex_in_closed_form() -> None:
    simplex = Simplex()
    for point, expected in [
        ([0.5, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]),
        ([2.0, 0.0, -1.0], [1.0, 0.0, 0.0]),
        ([0.9, 0.5, -3.0], [0.7, 0.3, 0.0]),
        ([-5.0, -5.0, -5.2], [0.4, 0.4, 0.2]),
    ]:
        x = simplex(torch.tensor(point, dtype=torch.float64), simplex.scalars(1.0))
        torch.testing.assert_close(x, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=1e-15)
    # In diag(1, 3): what is too much, 0.8, is taken 3 : 1.
    y, h = torch.tensor([0.9, 0.9], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
    x = simplex(y, simplex.scalars(1.0), h)
    torch.testing.assert_close(x, torch.tensor([0.3, 0.7], dtype=torch.float64), rtol=1e-14, atol=0)


def test_spectral_ball_against_numpy() -> None:
    torch.manual_seed(0)
    y = torch.randn(SIZE, dtype=torch.float64)
    projection = SpectralBall(1.1).fit(SHAPES)
    x = projection(y, projection.scalars(1.0))
    clipped = 0
    for mine, given_ in zip(matrices(x), matrices(y), strict=True):
        u, values, vh = np.linalg.svd(given_.numpy(), full_matrices=False)
        np.testing.assert_allclose(mine.numpy(), (u * np.minimum(values, 1.1)) @ vh, rtol=0, atol=1e-14)
        clipped += int((values > 1.1).sum())
    assert 3 <= clipped < 6 and projection.binding(x, projection.scalars(1.0)).item() == clipped / 6
    free = [slice(12, 15), slice(39, 40)]
    assert all(torch.equal(x[part], y[part]) for part in free)
    assert SpectralBall(1.1).fit([torch.Size((3,))]).binding(y[:3], {"radius": 1.1}) == 0


def by_scipy(name: str, y: np.ndarray, h: np.ndarray, radius: float) -> np.ndarray:
    """The quadratic program, by sequential least squares."""
    within = {"type": "ineq", "fun": lambda x: radius**2 - x @ x, "jac": lambda x: -2 * x}
    sums = {"type": "eq", "fun": lambda x: np.sum(x) - radius, "jac": lambda x: np.ones_like(x)}
    found = minimize(
        lambda x: float(h @ (x - y) ** 2),
        np.full_like(y, radius / len(y)),
        jac=lambda x: 2 * h * (x - y),
        method="SLSQP",
        bounds={"box": [(-radius, radius)] * len(y), "simplex": [(0, None)] * len(y), "ball": None}[name],
        constraints={"box": [], "simplex": [sums], "ball": [within]}[name],
        options={"ftol": 1e-11, "maxiter": 1000},
    )
    assert found.success
    return np.asarray(found.x)


@pytest.mark.parametrize("name", IN_A_METRIC)
def test_equals_the_quadratic_program_of_scipy(name: str) -> None:
    rng = np.random.default_rng(0)
    projection = SETS[name](0.7)
    s = projection.scalars(1.0)
    changed = 0
    for _ in range(12):
        y, h = rng.normal(size=5), np.exp(rng.normal(size=5))
        x = projection(torch.from_numpy(y), s, torch.from_numpy(h))
        np.testing.assert_allclose(x.numpy(), by_scipy(name, y, h, 0.7), rtol=0, atol=2e-5)
        changed += not torch.allclose(projection(torch.from_numpy(y), s), x, atol=1e-2)
    assert changed == 0 if name == "box" else changed >= 6, "the metric matters"


@pytest.mark.parametrize("name", SETS)
def test_binding_is_the_share_at_the_boundary(name: str) -> None:
    expected = {
        "box": ([2.0, -2.0, 1.0, 0.0], 0.5),
        "ball": ([0.0, -2.0, 0.0, 0.0], 1.0),
        "simplex": ([1.5, 0.5, 0.0, 0.0], 0.5),
        "spectral": ([2.0, 0.0, 0.0, 1.0], 0.5),
    }
    projection = SETS[name](2.0).fit([torch.Size((2, 2))])
    values, share = expected[name]
    x, s = torch.tensor(values, dtype=torch.float64), projection.scalars(1.0)
    assert projection.binding(x, s).item() == share
    assert torch.equal(projection(x, s), x)
    if name != "simplex":
        assert projection.binding(x * 0.9, s) == 0


@pytest.mark.parametrize(("name", "weighted"), CASES)
def test_stacked_over_seeds_equals_one_by_one(name: str, weighted: bool) -> None:
    torch.manual_seed(0)
    y = torch.randn(5, SIZE, dtype=torch.float64) * torch.tensor([0.01, 0.1, 1.0, 10.0, 100.0]).double()[:, None]
    h = torch.rand(5, SIZE, dtype=torch.float64) + 1e-3
    radius = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.3], dtype=torch.float64)
    projection = SETS[name](1.0)

    def one(y: Tensor, radius: Tensor, h: Tensor) -> Tensor:
        return projection(y, {"radius": radius}, h if weighted else None)

    stacked = torch.func.vmap(one)(y, radius, h)
    single = torch.stack([one(*case) for case in zip(y, radius, h, strict=True)])
    torch.testing.assert_close(stacked, single, rtol=1e-13, atol=1e-14)
    shares = torch.func.vmap(lambda x, radius: projection.binding(x, {"radius": radius}))(single, radius)
    each = [projection.binding(x, {"radius": r}) for x, r in zip(single, radius, strict=True)]
    assert torch.equal(shares, torch.stack(each))


@pytest.mark.parametrize("name", SETS)
def test_a_scheduled_size_as_a_tensor_keeps_the_dtype(name: str) -> None:
    torch.manual_seed(0)
    projection, y = SETS[name](2.0), torch.randn(SIZE) * 9
    h = torch.rand(SIZE) + 0.1 if name in IN_A_METRIC else None
    assert projection.scalars(0.25) == {"radius": 0.5}
    x = projection(y, {"radius": torch.tensor(0.5, dtype=torch.float64)}, h)
    assert x.dtype == projection.binding(x, {"radius": torch.tensor(0.5, dtype=torch.float64)}).dtype == torch.float32
    assert torch.equal(x, projection(y, projection.scalars(0.25), h))
    assert outside(name, replace(projection, **{"total" if name == "simplex" else "radius": 0.5}), x) < 1e-6  # type: ignore[type-var]


@pytest.mark.parametrize("name", SETS)
def test_a_schedule_that_ends_at_zero_ends_at_zero(name: str) -> None:
    projection, y = SETS[name](1.0), torch.linspace(-3.0, 5.0, SIZE, dtype=torch.float64)
    h = torch.linspace(1.0, 2.0, SIZE, dtype=torch.float64) if name in IN_A_METRIC else None
    x = projection(y, projection.scalars(0.0), h)
    constrained = matrices(x) if name == "spectral" else [x]
    assert not x.isnan().any() and all((part == 0).all() for part in constrained)


@pytest.mark.parametrize("name", ["ball", "simplex"])
def test_weights_of_any_size(name: str) -> None:
    """Coordinates that the metric barely sees give way first; the result stays in K, and in order."""
    y = torch.tensor([1.0, 1.0, 1.0, 1.0])
    for h in ([1e-30, 1e-8, 1.0, 1e30], [0.0, 0.0, 1.0, 1.0], [1e-38, 2e-38, 3e-38, 4e-38]):
        projection = SETS[name](0.6)
        x = projection(y, projection.scalars(1.0), torch.tensor(h))
        assert outside(name, projection, x) < 1e-6 and (x.diff() >= -1e-7).all()


def test_not_a_number_passes_through_for_the_update_to_report() -> None:
    for name in SETS:
        projection, y = SETS[name](1.0), torch.ones(SIZE)
        y[0] = math.nan
        assert projection(y, projection.scalars(1.0))[0].isnan()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64])
@pytest.mark.parametrize("projection", [Ball(1.0), Simplex(1.0)], ids=str)
def test_what_is_no_real_number_is_refused(projection: Projection, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"^x = of {dtype}: a projection is of real"):
        projection(torch.ones(3).to(dtype), projection.scalars(1.0))


def test_the_ball_in_a_metric_compiles_as_one_graph() -> None:
    torch.manual_seed(0)
    y, h, radius = torch.randn(50).double() * 3, torch.rand(50).double() + 1e-3, torch.tensor(0.7, dtype=torch.float64)

    def call(y: Tensor, radius: Tensor, h: Tensor) -> Tensor:
        return Ball()(y, {"radius": radius}, h)

    compiled = torch.compile(call, fullgraph=True, dynamic=False, backend="aot_eager")
    torch.testing.assert_close(compiled(y, radius, h), call(y, radius, h), rtol=1e-13, atol=1e-15)


def test_the_simplex_in_a_metric_compiles_stacked() -> None:
    torch.manual_seed(0)
    y, h, total = torch.randn(2, 50).double(), torch.rand(2, 50).double() + 1e-3, torch.tensor(0.7, dtype=torch.float64)

    def call(y: Tensor, total: Tensor, h: Tensor) -> Tensor:
        return torch.func.vmap(lambda y, h: Simplex()(y, {"radius": total}, h))(y, h)

    compiled = torch.compile(call, fullgraph=True, dynamic=False, backend="aot_eager")
    torch.testing.assert_close(compiled(y, total, h), call(y, total, h), rtol=1e-13, atol=1e-15)


def test_the_spectral_ball_compiles_as_one_graph() -> None:
    torch.manual_seed(0)
    projection, y = SETS["spectral"](1.0), torch.randn(SIZE, dtype=torch.float64)
    call = torch.compile(lambda y: projection(y, {"radius": 1.0}), fullgraph=True, dynamic=False, backend="aot_eager")
    torch.testing.assert_close(call(y), projection(y, {"radius": 1.0}), rtol=1e-13, atol=1e-14)


class Quadratic(nn.Module):
    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(start.clone())


@pytest.mark.parametrize("name", ["ball", "simplex"])
@pytest.mark.parametrize("project_in", ["own", "euclidean"])
def test_a_preconditioned_step_rests_at_the_minimum_only_if_projected_in_its_metric(
    name: str, project_in: Literal["own", "euclidean"]
) -> None:
    """min sum_i c_i (x_i - a_i)^2 / 2 over K by AMSGrad; the minimum is a itself, projected in diag(c)."""
    c = torch.tensor([1.0, 30.0, 3.0], dtype=torch.float64)
    a = torch.tensor([2.0, 1.0, -0.5], dtype=torch.float64)
    minimum = SETS[name](1.0)(a, {"radius": 1.0}, c)
    method = replace(amsgrad(0.2, beta1=0.0, beta2=0.9), project_in=project_in)
    p = Player("p", Quadratic(torch.full((3,), 0.3).double()), PlayerSpec(None, method, projection=SETS[name](1.0)))
    for t in range(1, 401):
        p.step_in_place(c * (p.state["theta"] - a), p.scalars(t), None)
    distance = (p.state["theta"] - minimum).norm().item()
    assert (distance < 1e-9) if project_in == "own" else (distance > 1e-2)


@pytest.mark.parametrize("name", SETS)
def test_no_step_of_a_player_leaves_the_set(name: str) -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()
    module = nn.Sequential(first, second)
    shapes = [p.shape for p in module.parameters()]
    schedule = Linear(end=0.5, end_step=10)
    own = SpectralBall(0.3) if name == "spectral" else SETS[name](0.3)
    method = adagrad_norm(0.5) if name == "spectral" else adam(0.1)
    p = Player("p", module, PlayerSpec(None, method, projection=own, projection_schedule=schedule))
    fitted = own.fit(shapes)
    for t in range(1, 15):
        if t > 1:
            p.step_in_place(torch.randn_like(p.state["theta"]), s := p.scalars(t - 1), None)
        else:
            s = fitted.scalars(1.0)
        assert torch.equal(fitted(p.state["theta"], s), p.state["theta"])
    assert s["radius"] == pytest.approx(0.15)
    if name == "spectral":
        for weight in (first.weight, second.weight):
            assert torch.linalg.matrix_norm(weight.detach(), 2) <= 0.15 * (1 + 8 * EPS)
        assert p.projection.binding(p.state["theta"], s) > 0


def test_a_spectral_ball_needs_a_scalar_metric_and_says_what_to_do() -> None:
    with pytest.raises(ValueError) as error:
        PlayerSpec(None, adam(), projection=SpectralBall())
    message = str(error.value)
    assert message.startswith("projection = SpectralBall(radius=1.0): ") and "\n" not in message
    assert "optimizer.project_in=euclidean" in message and "sgd" in message
    PlayerSpec(None, replace(adam(), project_in="euclidean"), projection=SpectralBall())
    for method in (sgd(), adagrad_norm()):
        PlayerSpec(None, method, projection=SpectralBall())
    with pytest.raises(ValueError, match=r"^projection = SpectralBall: .* diagonal metric"):
        SETS["spectral"](1.0)(torch.ones(SIZE), {"radius": 1.0}, torch.ones(SIZE))
    with pytest.raises(ValueError, match=r"^projection = SpectralBall: .* fit\(shapes\)"):
        SpectralBall()(torch.ones(SIZE), {"radius": 1.0})


@pytest.mark.parametrize(("make", "field"), [(Box, "radius"), (Ball, "radius"), (SpectralBall, "radius"),
                                             (Simplex, "total")])  # fmt: skip
def test_impossible_sizes_name_themselves(make: Callable[[float], Projection], field: str) -> None:
    for value in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"^{field} = {value}: must be .*positive.*for example"):
            make(value)


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("ball", ["critic.projection.radius=0.4"], Ball(0.4)),
        ("simplex", ["critic.projection.total=2"], Simplex(2.0)),
        ("spectral", ["critic.projection.radius=0.4", "optimizer@critic.optimizer=sgd"], SpectralBall(0.4)),
    ],
)
def test_every_option_is_built_and_kept_by_the_critic(name: str, words: list[str], expected: Projection) -> None:
    task = build(*TASKS["wgan"], "lipschitz=none", f"projection@critic.projection={name}", *words)
    player: Player = task.critic  # type: ignore[attr-defined]
    assert player.spec.projection == expected
    assert torch.equal(player.projection(player.vector.theta, expected.scalars(1.0)), player.vector.theta)
    task.close()
