"""Projections of single and double precision against exact arithmetic: any scale, ties, far from the set or near."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlgan.optim import Ball, Box, Projection, Simplex, SpectralBall


class Problem(NamedTuple):
    """A point, the size of K, and a diagonal metric or None."""

    y: Tensor
    size: float
    h: Tensor | None

    @property
    def eps(self) -> float:
        return torch.finfo(self.y.dtype).eps


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Points from 1e-38 to 1e37, K from 1e-30 to 1e37, h over up to 74 decades."""
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.sampled_from([1, 2, 3, 20, 60]))

    def normal() -> Tensor:
        return torch.randn(d, generator=rng, dtype=torch.float64)

    def decades(n: float) -> Tensor:
        return 10 ** (n * (2 * torch.rand(d, generator=rng, dtype=torch.float64) - 1))

    shape = draw(st.sampled_from(["plain", "ties", "near", "decades"]))
    y = {
        "plain": normal(),
        "ties": normal().round(),
        "near": 1 + normal() * 10.0 ** draw(st.sampled_from([-9, -5, -1])),
        "decades": normal() * decades(10),
    }[shape]
    scale = draw(st.floats(-38, 26 if shape == "decades" else 36))
    size = draw(st.one_of(st.floats(scale - 12, scale + 3), st.floats(-30, 37)))
    h = draw(st.sampled_from(["none", "whole", 1.0, 6.0, 37.0]))
    if h == "none":
        metric = None
    elif h == "whole":
        metric = torch.randint(1, 4, (d,), generator=rng).to(dtype)
    else:
        metric = decades(h).to(dtype)  # type: ignore[arg-type]
    size = torch.tensor(10 ** min(max(size, -30.0), 37.0), dtype=dtype).item()
    return Problem((y * 10**scale).to(dtype), size, metric)


def exact_simplex(problem: Problem) -> list[Fraction]:
    y = [Fraction(v) for v in problem.y.tolist()]
    w = [1 / Fraction(v) for v in (torch.ones_like(problem.y) if problem.h is None else problem.h).tolist()]
    above, weight, roots = -Fraction(problem.size), Fraction(0), []
    for i in sorted(range(len(y)), key=lambda i: -y[i] / w[i]):
        above, weight = above + y[i], weight + w[i]
        roots.append(above / weight)
    return [max(Fraction(0), a - max(roots) * b) for a, b in zip(y, w, strict=True)]


@given(problem=problems())
@settings(max_examples=150, deadline=None)
def test_simplex(problem: Problem) -> None:
    simplex = Simplex(problem.size)
    x = simplex(problem.y, simplex.scalars(1.0), problem.h)
    exact, mine = exact_simplex(problem), [Fraction(v) for v in x.tolist()]
    untouched = torch.equal(x, problem.y)  # what lies on the set up to a few roundings of a sum stays as it is
    assert min(mine) >= 0
    assert abs(sum(mine) / Fraction(problem.size) - 1) <= (16 if untouched else 4) * problem.eps
    error = sum((abs(a - b) for a, b in zip(mine, exact, strict=True)), Fraction(0))
    assert error <= (16 if untouched else 8) * problem.eps * Fraction(problem.size)
    assert torch.equal(simplex(x, simplex.scalars(1.0), problem.h), x)


@given(problem=problems())
@settings(max_examples=150, deadline=None)
def test_ball(problem: Problem) -> None:
    """x is on the sphere or y itself, and s_i (y_i / x_i - 1) is one mu >= 0: what the nearest point alone has."""
    y, size, h = problem
    ball = Ball(size)
    x = ball(y, ball.scalars(1.0), h)
    assert torch.equal(ball(x, ball.scalars(1.0), h), x)
    inside = sum(Fraction(v) ** 2 for v in y.tolist()) <= Fraction(size) ** 2
    if inside:
        assert torch.equal(x, y)
        return
    square = sum((Fraction(v) ** 2 for v in x.tolist()), Fraction(0)) / Fraction(size) ** 2
    assert abs(square - 1) <= 40 * problem.eps
    metric = [1.0] * len(y) if h is None else h.tolist()
    # Where a last bit of y or x is nothing beside mu and the coordinate counts.
    least = torch.finfo(y.dtype).tiny / problem.eps
    parts = [
        (Fraction(s) * (Fraction(a) / Fraction(b) - 1), Fraction(s) * Fraction(a) / Fraction(b))
        for s, a, b in zip(metric, y.tolist(), x.tolist(), strict=True)
        if abs(b) > least
    ]
    mu, scale = max(parts, key=lambda p: p[0] / p[1])
    assert mu >= -64 * problem.eps * scale
    for own, size_ in parts:
        assert abs(own - mu) <= 1e3 * problem.eps * max(size_, mu)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [1000, 100_000])
def test_a_long_vector_far_away(dtype: torch.dtype, d: int) -> None:
    rng = torch.Generator().manual_seed(0)
    y = (1000 + 0.02 * torch.rand(d, generator=rng, dtype=torch.float64) - 0.01).to(dtype)
    x = Simplex(1.0)(y, {"radius": 1.0})
    eps = torch.finfo(dtype).eps
    assert x.min() >= 0 and abs(math.fsum(x.tolist()) - 1) <= eps
    exact = exact_simplex(Problem(y[y > y.max() - 1], 1.0, None)) if d == 1000 else []
    assert sum(abs(Fraction(a) - b) for a, b in zip(x.tolist(), exact, strict=False)) <= eps
    ball = Ball(1.0)(y, {"radius": 1.0}, torch.rand(d, generator=rng).to(dtype) + 0.01)
    assert abs(math.fsum(v * v for v in ball.tolist()) - 1) <= 4 * eps


@pytest.mark.parametrize("projection", [Ball(), Simplex(), Box(1.0)], ids=["ball", "simplex", "box"])
def test_the_largest_and_smallest_numbers(projection: Projection) -> None:
    least = torch.tensor([1e-45, 1e-45, 0.0])
    s = projection.scalars(1.0)
    for y in (torch.tensor([3e38, 3e38, -3e38]), torch.tensor([3e38, 0.0, 0.0]), least):
        for h in (None, torch.tensor([1.0, 2.0, 3e38]), torch.tensor([1e-38, 1.0, 1.0])):
            x = projection(y, s, h)
            assert x.isfinite().all() and torch.equal(projection(x, s, h), x)
            if y is not least and not isinstance(projection, Box):
                assert abs((x.double().square().sum() if isinstance(projection, Ball) else x.sum()) - 1) < 1e-6


def test_singular_values_far_apart_keep_their_digits() -> None:
    """In single precision 0.5 beside 1e6 would be rounding."""
    q, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    m = ((q * torch.tensor([1e6, 0.5, 0.5, 0.25, 2.0, 3.0]).double()) @ q.T).float()
    x = SpectralBall(1.0).fit([m.shape])(m.reshape(-1), {"radius": 1.0}).view(6, 6).double()
    u, sigma, vh = torch.linalg.svd(m.double())
    torch.testing.assert_close(x, (u * sigma.clamp(max=1.0)) @ vh, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("projection", [Ball(), Simplex()], ids=["ball", "simplex"])
def test_what_is_not_finite_is_not_hidden(projection: Projection, bad: float) -> None:
    for h in (None, torch.tensor([1.0, 2.0, 3.0])):
        if projection == Simplex() and bad == -math.inf:
            continue  # the limit is 0
        assert projection(torch.tensor([0.5, bad, 0.1]), {"radius": 1.0}, h).isnan().any()
