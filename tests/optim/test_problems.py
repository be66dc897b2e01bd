"""Every number that the table of problems states, against autograd, finite differences and scipy."""

import math

import pytest
import scipy.optimize
import torch
from torch import Tensor
from torch.func import grad, hessian

from tests.optim.problems import PROBLEMS, Loss, Problem, vector

LOSSES = {name: p for name, p in PROBLEMS.items() if p.kind != "game"}
SADDLES = {name: p for name, p in PROBLEMS.items() if p.saddle is not None}
GAMES = {name: p for name, p in PROBLEMS.items() if p.kind == "game"}


def loss_of(p: Problem) -> Loss:
    assert p.loss is not None
    return p.loss


def nearby(p: Problem, count: int = 5) -> list[Tensor]:
    noise = torch.randn(count, len(p.start), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return [p.start, *(p.start + noise)]


def differences(f: Loss, at: Tensor, h: float = 1e-5) -> Tensor:
    """Central finite differences, error of order h^2."""
    return torch.stack([(f(at + h * e) - f(at - h * e)) / (2 * h) for e in torch.eye(len(at), dtype=at.dtype)])


def test_rows_are_named_by_their_key_and_complete() -> None:
    assert len(PROBLEMS) == 10
    for name, p in PROBLEMS.items():
        assert p.name == name and p.start.dtype == torch.float64 and p.start.ndim == 1
        if p.kind == "game":
            assert p.loss is None and p.field is not None and p.equilibrium is not None
            assert len(p.costs) == len(p.players)
            covered = [i for _, part in p.players for i in range(len(p.start))[part]]
            assert covered == list(range(len(p.start)))
        else:
            assert p.loss is not None and p.minimum is not None and p.optimal is not None
        assert (p.kind == "saddle") == (p.saddle is not None) == (p.signature is not None) == (p.ridge is not None)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_finite_differences(name: str) -> None:
    f = loss_of(LOSSES[name])
    for at in nearby(LOSSES[name]):
        g = grad(f)(at)
        assert torch.allclose(g, differences(f, at), rtol=1e-6, atol=1e-6 * max(1.0, f(at).item()))
        assert g.norm() > 1e-4


@pytest.mark.parametrize("name", LOSSES)
def test_the_minimum_is_stationary_and_has_the_stated_value(name: str) -> None:
    p = LOSSES[name]
    assert p.minimum is not None and p.optimal is not None
    f = loss_of(p)
    assert grad(f)(p.minimum).norm() <= 1e-12
    assert f(p.minimum).item() == pytest.approx(p.optimal, abs=1e-14)
    assert torch.linalg.eigvalsh(hessian(f)(p.minimum))[0] >= -1e-12
    # Nothing nearby or at the start is lower.
    around = [p.minimum + 0.1 * (x - p.start) for x in nearby(p, 50)]
    assert min(f(x).item() for x in [*around, *nearby(p, 50)]) >= p.optimal - 1e-14


@pytest.mark.parametrize("name", LOSSES)
def test_scipy_finds_no_lower_point(name: str) -> None:
    p = LOSSES[name]
    assert p.optimal is not None and p.minimum is not None
    f = loss_of(p)
    found = scipy.optimize.minimize(
        lambda x: f(torch.from_numpy(x)).item(), p.start.numpy(), jac=lambda x: grad(f)(torch.from_numpy(x)).numpy()
    )
    assert found.fun == pytest.approx(p.optimal, abs=1e-8)
    if p.kind != "saddle":
        assert torch.from_numpy(found.x) == pytest.approx(p.minimum, abs=1e-4)


def test_the_logistic_minimum_is_the_unique_root_of_the_gradient() -> None:
    p = PROBLEMS["logistic_regression"]
    f = loss_of(p)
    for start in nearby(p):
        root = scipy.optimize.root(lambda x: grad(f)(torch.from_numpy(x)).numpy(), start.numpy(), tol=1e-15)
        assert torch.from_numpy(root.x) == pytest.approx(p.minimum, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "logistic_regression"])
def test_smoothness_and_strong_convexity_are_the_extreme_eigenvalues(name: str) -> None:
    p = LOSSES[name]
    assert p.minimum is not None
    quadratic = name in ("bowl", "ill_conditioned")
    for at in nearby(p) if quadratic else [p.minimum]:
        values = torch.linalg.eigvalsh(hessian(loss_of(p))(at))
        assert values[-1].item() == pytest.approx(p.smoothness, rel=1e-12)
        assert values[0].item() == pytest.approx(p.strong_convexity, rel=1e-10, abs=1e-13)


def test_logistic_smoothness_is_reached_at_zero_and_its_strong_convexity_far_away() -> None:
    p = PROBLEMS["logistic_regression"]
    assert p.smoothness is not None and p.strong_convexity is not None
    curvature = hessian(loss_of(p))
    assert torch.linalg.eigvalsh(curvature(torch.zeros_like(p.start)))[-1].item() == pytest.approx(
        p.smoothness, rel=1e-12
    )
    far = 1e6 * vector(1.0, 2.0, -1.0, 3.0)
    assert torch.linalg.eigvalsh(curvature(far))[0].item() == pytest.approx(p.strong_convexity, rel=1e-12)
    for at in nearby(p):
        values = torch.linalg.eigvalsh(curvature(at))
        assert p.strong_convexity < values[0] and values[-1] <= p.smoothness * (1 + 1e-12)


@pytest.mark.parametrize("name", SADDLES)
def test_saddles_have_their_signature_and_descent_from_the_ridge_ends_there(name: str) -> None:
    p = SADDLES[name]
    assert p.saddle is not None and p.ridge is not None and p.optimal is not None
    f = loss_of(p)
    assert not grad(f)(p.saddle).any()
    values = torch.linalg.eigvalsh(hessian(f)(p.saddle))
    signs = [(values < -1e-9).sum(), (values.abs() <= 1e-9).sum(), (values > 1e-9).sum()]
    assert tuple(int(s) for s in signs) == p.signature
    # The point is no minimum: some direction leads below it.
    assert any(f(p.saddle + x).item() < f(p.saddle).item() - 1e-6 for x in nearby(p, 50))
    x, reached = p.ridge.clone(), p.start.clone()
    for _ in range(20_000):
        x = x - 0.05 * grad(f)(x)
        if (x - p.saddle).norm() < 0.02:
            break
    assert (x - p.saddle).norm() < 0.02
    # ... and slightly off the ridge it passes the saddle and ends in a minimum.
    for _ in range(2_000):
        reached = reached - 0.05 * grad(f)(reached)
        if f(reached) < p.optimal + 1e-6:
            break
    assert f(reached).item() == pytest.approx(p.optimal, abs=1e-6)


@pytest.mark.parametrize("name", GAMES)
def test_the_field_is_each_players_gradient_of_its_own_cost(name: str) -> None:
    p = GAMES[name]
    assert p.field is not None and p.equilibrium is not None
    for z in nearby(p, 20):
        expected = torch.cat([grad(cost)(z)[part] for cost, (_, part) in zip(p.costs, p.players, strict=True)])
        assert torch.allclose(p.field(z), expected, rtol=1e-13, atol=1e-14)
        assert expected.norm() > 1e-3
    assert not p.field(p.equilibrium).any()


@pytest.mark.parametrize("name", ["bilinear", "dirac_wgan"])
def test_simultaneous_play_of_the_rotation_grows_by_its_rate(name: str) -> None:
    p, h = GAMES[name], 0.2
    assert p.field is not None
    z = p.start
    for _ in range(100):
        z = z - h * p.field(z)
    assert z.norm().item() == pytest.approx(math.sqrt(2) * (1 + h * h) ** 50, rel=1e-12)


def test_r1_stabilises_the_dirac_gan() -> None:
    """h = 0.2, 500 simultaneous steps from (1, 1): the distance over the last 100 lies in 3e-6 - 4e-5.

    The linearised field [[0, -1/2], [1/2, 0.3]] gives the rate: |1 - h lambda|^2 = det(I - h J) = 1 - 0.3 h + h^2/4.
    """
    p, h = GAMES["dirac_r1"], 0.2
    assert p.field is not None
    z, radii = p.start, []
    for _ in range(500):
        z = z - h * p.field(z)
        radii.append(z.norm().item())
    assert (f"{min(radii[-100:]):.0e}", f"{max(radii[-100:]):.0e}") == ("3e-06", "4e-05")
    # Over 250 steps, so that the swing of the spiral's radius within a turn weighs little.
    assert (radii[-1] / radii[-251]) ** (1 / 250) == pytest.approx(math.sqrt(1 - 0.3 * h + h * h / 4), abs=2e-3)
