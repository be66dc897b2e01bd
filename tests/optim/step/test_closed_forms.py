"""Answers that are known exactly: rates on quadratics, the AMSGrad example, AcceleGrad's gaps, edges of metrics."""

import math

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    AcceleGrad,
    Average,
    Ball,
    Box,
    Cosine,
    Descent,
    Method,
    NoAverage,
    NoProjection,
    Player,
    PlayerSpec,
    Power,
    Projection,
    Schedule,
    VariableMetric,
    WeightedAverage,
    adagrad,
    adagrad_full,
    adagrad_norm,
    adam,
    adamw,
    amsgrad,
    heavy_ball,
    nesterov,
    rmsprop_nesterov,
    sgd,
    variable_metric,
)  # fmt: skip
from rlgan.optim.step.schedule import Constant
from rlgan.optim.step.vector import sum_of_squares
from tests.optim.step.test_method import Point, gradient, in_place, start


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def player(
    method: Method,
    x0: Tensor,
    projection: Projection = NoProjection(),  # noqa: B008
    schedule: Schedule = Constant(),  # noqa: B008
    averaging: Average = NoAverage(),  # noqa: B008
    momentum_schedule: Schedule = Constant(),  # noqa: B008
) -> Player:
    spec = PlayerSpec(
        None, method, schedule=schedule, projection=projection, averaging=averaging, momentum_schedule=momentum_schedule
    )
    return Player("p", Point(x0), spec, 100, torch.Generator().manual_seed(0))


def descend(p: Player, h: Tensor) -> None:
    """A step on f = x'Hx / 2, H diagonal, the gradient where the method wants it."""
    s = p.scalars(p.steps + 1)
    p.step_in_place(h * p.point(p.state, s), s, p.draw())
    p.steps += 1


def test_nesterov_equals_its_recursion_and_torch_at_the_look_ahead_point() -> None:
    """g at theta + rho v; torch.optim.SGD(nesterov=True) stores theta + rho v."""
    lr, rho, x, v = 0.02, 0.9, start(), torch.zeros(4, dtype=torch.float64)
    p = player(nesterov(lr, rho), x)
    theirs = nn.Parameter(start())
    optimizer = torch.optim.SGD([theirs], lr, momentum=rho, nesterov=True)
    for _ in range(100):
        s = p.scalars(p.steps + 1)
        point = p.point(p.state, s)
        torch.testing.assert_close(point, theirs.data, rtol=1e-12, atol=1e-13)
        in_place(p, gradient(point))
        v = rho * v - lr * gradient(x + rho * v)
        x = x + v
        theirs.grad = gradient(theirs.data)
        optimizer.step()
        torch.testing.assert_close(p.state["theta"], x, rtol=1e-12, atol=1e-13)
    assert (x - start()).norm() > 0.1


def test_nesterov_converges_at_its_rate() -> None:
    """lr = 1/L, rho = (sqrt kappa - 1) / (sqrt kappa + 1): f falls by 1 - 1/sqrt kappa a step, up to a constant."""
    mu, big = 1.0, 100.0
    h, root = double(mu, 10.0, 50.0, big), math.sqrt(big / mu)
    p = player(nesterov(1 / big, (root - 1) / (root + 1)), torch.ones(4, dtype=torch.float64))
    f0 = 0.5 * h.sum().item()
    for t in range(1, 201):
        descend(p, h)
        f = 0.5 * (h * p.state["theta"].square()).sum().item()
        assert f <= 2 * f0 * (1 - 1 / root) ** t
    plain = 0.5 * (h * (1 - h / big) ** 400).sum().item()  # 200 steps of gradient descent at 1/L
    assert f < 1e-6 * plain


def test_rmsprop_with_nesterov_equals_its_recursion() -> None:
    lr, decay, rho, eps = 0.01, 0.9, 0.8, 1e-8
    p = player(rmsprop_nesterov(lr, decay, rho, eps), start())
    x, v, r = start(), torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for _ in range(60):
        in_place(p, gradient(p.point(p.state, p.scalars(p.steps + 1))))
        g = gradient(x + rho * v)
        r = decay * r + (1 - decay) * g * g
        v = rho * v - lr * g / (eps + r.sqrt())
        x = x + v
        torch.testing.assert_close(p.state["theta"], x, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "method", [adagrad_norm(0.1), adagrad(0.1), adagrad_full(0.1), rmsprop_nesterov(0.1), adam(0.1)]
)
def test_a_zero_first_gradient_moves_nothing(method: Descent) -> None:
    p = player(method, start())
    in_place(p, torch.zeros(4, dtype=torch.float64))
    assert torch.equal(p.state["theta"], start())
    in_place(p, gradient(start()))
    assert torch.isfinite(p.state["theta"]).all() and not torch.equal(p.state["theta"], start())


def test_adagrad_norm_has_one_norm_over_all_parameters() -> None:
    p, x, total = player(adagrad_norm(0.3), start()), start(), 0.0
    for _ in range(40):
        g = gradient(x)
        total += g.square().sum().item()
        x = x - 0.3 * g / math.sqrt(total)
        in_place(p, gradient(p.state["theta"]))
        torch.testing.assert_close(p.state["theta"], x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("d", [0, 5, 2**20 - 1, 2**20, 2**20 + 13])
def test_a_sum_of_squares_is_accurate_at_any_size(d: int) -> None:
    g = torch.randn(d, generator=torch.Generator().manual_seed(0))
    assert float(sum_of_squares(g)) == pytest.approx(float(g.double().square().sum()), rel=2e-5)


def test_full_matrix_adagrad_equals_the_matrix_root_and_turns_with_the_coordinates() -> None:
    """theta - lr (delta I + G^(1/2))^-1 g; rotating the problem rotates the trajectory, which the diagonal cannot."""
    q, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    plain, turned = player(adagrad_full(0.2, 1e-6), start()), player(adagrad_full(0.2, 1e-6), q @ start())
    total, x = torch.zeros(4, 4, dtype=torch.float64), start()
    for _ in range(30):
        g = gradient(x)
        total = total + torch.outer(g, g)
        w, u = torch.linalg.eigh(total)
        x = x - 0.2 * torch.linalg.solve(
            1e-6 * torch.eye(4, dtype=torch.float64) + (u * w.clamp(min=0).sqrt()) @ u.T, g
        )
        in_place(plain, gradient(plain.state["theta"]))
        in_place(turned, q @ gradient(q.T @ turned.state["theta"]))
        torch.testing.assert_close(plain.state["theta"], x, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(q @ plain.state["theta"], turned.state["theta"], rtol=1e-6, atol=1e-8)


def test_full_matrix_adagrad_refuses_a_large_player() -> None:
    with pytest.raises(ValueError, match=r"p\.optimizer\.max_size = 3: .* d = 4 parameters; use adagrad, the diagonal"):
        player(adagrad_full(0.1, max_size=3), start())


@pytest.mark.parametrize("form", ["scalar", "diagonal", "full"])
def test_a_metric_of_the_users_own(form: str) -> None:
    """With H the Hessian one unit step of the variable metric is Newton's: it ends at the minimum."""
    h = torch.diag(double(1.0, 4.0, 10.0, 25.0)) + 0.5
    given = {"scalar": double(25.0)[0], "diagonal": h.diagonal().clone(), "full": h}[form]
    method = variable_metric(VariableMetric(lambda theta: given + 0 * theta.sum(), form), 1.0)  # type: ignore[arg-type]
    p = player(method, start())
    in_place(p, h @ start())
    solved = torch.linalg.solve(given, h @ start()) if form == "full" else (h @ start()) / given
    torch.testing.assert_close(p.state["theta"], start() - solved, rtol=1e-12, atol=1e-12)
    if form == "full":
        assert p.state["theta"].abs().max() < 1e-12
    with pytest.raises(ValueError, match="kind = "):
        player(variable_metric(VariableMetric(lambda theta: theta[:2])), start())


def test_amsgrad_converges_where_adam_does_not() -> None:
    """Reddi et al. 2018, section 3: f_t = C x if t mod 3 = 1 else -x on [-1, 1], C = 3, beta1 = 0, beta2 = 1/(1 + C^2).

    The best point is -1. Adam ends at +1 with an average regret of 0.655, AMSGrad near -1 with 0.032.
    """
    big, beta2, steps = 3.0, 1 / (1 + 9.0), 6000
    lr = Power(kappa=0.5, offset=1.0)  # 0.1 / sqrt t, t = 1, 2, ...
    found: dict[str, tuple[float, float]] = {}
    methods = {"adam": adam(0.1, 0.0, beta2), "amsgrad": amsgrad(0.1, 0.0, beta2, initial=1e-16)}
    for name, method in methods.items():
        p, regret = player(method, double(0.0), Box(1.0), lr), 0.0
        for t in range(1, steps + 1):
            slope = big if t % 3 == 1 else -1.0
            regret += slope * (p.state["theta"].item() + 1.0)
            in_place(p, double(slope))
        found[name] = (p.state["theta"].item(), regret / steps)
    assert found["adam"] == pytest.approx((1.0, 0.655), abs=1e-3)
    assert found["amsgrad"] == pytest.approx((-0.9991, 0.032), abs=3e-4)


def test_amsgrads_denominator_never_shrinks_and_torchs_can() -> None:
    plain, torchs = player(amsgrad(1e-3), start()), player(amsgrad(1e-3, bias_correction=True), start())
    shrank = False
    former: dict[str, Tensor] = {}
    for t in range(1, 40):
        g = torch.full((4,), 1.0 if t < 5 else 1e-3, dtype=torch.float64)
        for name, p in (("plain", plain), ("torch", torchs)):
            in_place(p, g)
            h = p.spec.optimizer.diagonal(p.state["slots"], p.scalars(t))
            assert h is not None
            if name in former:
                if name == "plain":
                    assert (h >= former[name]).all()
                else:
                    shrank |= bool((h < former[name]).any())
            former[name] = h.clone()
    assert shrank


def test_accelegrads_gaps() -> None:
    """d = 20, eigenvalues from 1 to 1e-3, unit ball, D = 2, G = 1: the gaps at k = 10, 100, 1000 of equations.md."""
    h = torch.logspace(0, -3, 20, dtype=torch.float64)
    x0 = torch.full((20,), 1 / math.sqrt(20), dtype=torch.float64)
    p = player(AcceleGrad(2.0, 1.0), x0, Ball(1.0), averaging=WeightedAverage())
    plain, gaps, descents = player(sgd(1.0), x0), [], []
    for k in range(1, 1001):
        descend(p, h)
        descend(plain, h)
        if k in (10, 100, 1000):
            gaps.append(0.5 * (h * p.average().square()).sum().item())
            descents.append(0.5 * (h * plain.state["theta"].square()).sum().item())
    assert gaps == pytest.approx([4.09e-4, 1.553e-6, 1.561e-10], rel=2e-3)
    assert descents == pytest.approx([3.22e-3, 2.90e-4, 6.43e-6], rel=2e-3)
    scaled = [k * k * gap for k, gap in zip((10, 100, 1000), gaps, strict=True)]
    assert scaled == sorted(scaled, reverse=True)


def test_accelegrad_equals_its_recursion_with_a_projection_and_a_schedule() -> None:
    d, bound = 0.5, 2.0
    schedule = Cosine(0.1, 50)
    p = player(AcceleGrad(d, bound), start(), Box(0.6), schedule)
    y = z = start().clamp(-0.6, 0.6)
    total = 0.0
    for k in range(60):
        in_place(p, gradient(p.point(p.state, p.scalars(p.steps + 1))))
        a = max(1.0, (k + 1) / 4)
        x = z / a + (1 - 1 / a) * y
        g = gradient(x)
        total += a * a * g.square().sum().item()
        eta = 2 * d * schedule(k) / math.sqrt(bound**2 + total)
        z = (z - a * eta * g).clamp(-0.6, 0.6)
        y = x - eta * g
        torch.testing.assert_close(p.state["theta"], y, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(p.state["slots"]["z"], z, rtol=1e-11, atol=1e-12)


def test_decoupled_weight_decay_does_not_pass_through_the_metric() -> None:
    g, theta = gradient(start()), start()
    l2, decoupled = player(adam(0.1, weight_decay=0.5), theta), player(adamw(0.1, weight_decay=0.5), theta)
    in_place(l2, g)
    in_place(decoupled, g)
    # The first step is -lr sign, whatever the size of the gradient is.
    torch.testing.assert_close(l2.state["theta"], theta - 0.1 * (g + 0.5 * theta).sign(), rtol=0, atol=1e-8)
    torch.testing.assert_close(decoupled.state["theta"], theta * (1 - 0.05) - 0.1 * g.sign(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_a_momentum_schedule_keeps_adams_correction_exact(beta1: float) -> None:
    """m^ is a weighted mean of the gradients: with all of them equal it is that gradient, whatever beta_t does."""
    p = player(adam(0.01, beta1, 0.99), start(), momentum_schedule=Cosine(0.1, 30))
    g = double(1.0, -2.0, 3.0, 0.5)
    for t in range(1, 41):
        in_place(p, g)
        m = p.state["slots"]["mean"] / p.scalars(t)["momentum_bias"]
        torch.testing.assert_close(m, g, rtol=1e-12, atol=1e-13)


def test_a_momentum_schedule_of_the_heavy_ball() -> None:
    p = player(heavy_ball(0.01, 0.9), start(), momentum_schedule=Cosine(0.0, 20))
    x, v = start(), torch.zeros(4, dtype=torch.float64)
    for t in range(30):
        g = gradient(x)
        v = 0.9 * Cosine(0.0, 20)(t) * v - 0.01 * g
        x = x + v
        in_place(p, gradient(p.state["theta"]))
        torch.testing.assert_close(p.state["theta"], x, rtol=1e-11, atol=1e-12)


def test_a_schedule_of_the_projections_size() -> None:
    spec = PlayerSpec(None, sgd(5.0), projection=Box(0.4), projection_schedule=Cosine(0.25, 10))
    p = Player("p", Point(start()), spec, 10)
    for t in range(12):
        in_place(p, gradient(p.state["theta"]))
        assert p.state["theta"].abs().max().item() == pytest.approx(0.4 * Cosine(0.25, 10)(t), rel=1e-14)


def test_projecting_in_the_methods_own_metric_finds_the_constrained_minimum() -> None:
    """min (x - c)'A(x - c)/2 over the ball: AMSGrad's step comes to rest there in its metric, and elsewhere without."""
    a, c, radius = double(1.0, 20.0), double(1.0, 1.0), 0.5
    low, high = 0.0, 100.0
    for _ in range(200):  # the multiplier: |(A + nu)^-1 A c| = radius
        nu = (low + high) / 2
        low, high = (nu, high) if (a * c / (a + nu)).norm() > radius else (low, nu)
    best = a * c / (a + nu)
    ends = {}
    for project_in in ("own", "euclidean"):
        p = player(amsgrad(0.02, 0.0, 0.9, project_in=project_in), double(0.1, 0.1), Ball(radius))
        for _ in range(3000):
            in_place(p, a * (p.state["theta"] - c))
        ends[project_in] = (p.state["theta"] - best).norm().item()
    assert ends["own"] < 1e-6 < 1e-2 < ends["euclidean"]
