"""The uniform frame: it reproduces the unprojected step of every method, and its coefficients are what is logged."""

import math

import pytest
import torch
from torch import Tensor

from rlgan.optim import (
    AcceleGrad,
    Alternating,
    Box,
    Cosine,
    Descent,
    GaussianNoise,
    Losses,
    Metrics,
    Nets,
    Player,
    PlayerSpec,
    Simultaneous,
    Update,
    adagrad,
    adagrad_norm,
    adam,
    amsgrad,
    heavy_ball,
    rmsprop,
    sgd,
)  # fmt: skip
from rlgan.optim.play.introspection import before, introspect
from tests.optim.step.test_method import Point, gradient, in_place, start

METHODS = {
    "sgd": sgd(0.05),
    "heavy_ball": heavy_ball(0.02, 0.9),
    "adagrad": adagrad(0.1),
    "adagrad_norm": adagrad_norm(0.3),
    "rmsprop": rmsprop(0.01),
    "adam": adam(0.01, 0.9, 0.99),
    "amsgrad": amsgrad(0.01, 0.8, 0.9, initial=1e-3),
    "amsgrad torch": amsgrad(0.01, 0.8, 0.9, bias_correction=True),
}


def player(spec: PlayerSpec) -> Player:
    return Player("p", Point(start()), spec, 100, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_the_uniform_frame_is_the_unprojected_step(name: str, scheduled: bool) -> None:
    """theta+ = theta - alpha_t H_t^-1 g + beta_t R (theta - theta_prev), whatever the method stores."""
    method: Descent = METHODS[name]
    cosine = Cosine(0.1, 60)
    p = player(PlayerSpec(None, method, schedule=cosine) if scheduled else PlayerSpec(None, method))
    one = torch.ones((), dtype=torch.float64)
    previous, theta, h_before = start(), start(), one
    for t in range(1, 81):
        g = gradient(theta)
        in_place(p, g)
        s = p.scalars(t)
        h = method.diagonal(p.state["slots"], s)
        h = one if h is None else h.clone()
        frame = method.frame(t, p.momentum)
        beta: Tensor | float = frame.beta
        if frame.in_metric and t > 1:
            beta = beta * s["lr"] / p.scalars(t - 1)["lr"] * h_before / h
        expected = theta - s["lr"] * frame.alpha * g / h + beta * (theta - previous)
        torch.testing.assert_close(p.state["theta"], expected, rtol=1e-12, atol=1e-13)
        previous, theta, h_before = theta, p.state["theta"].clone(), h
    assert (theta - start()).norm() > 0.1


@pytest.mark.parametrize("name", METHODS)
def test_what_is_reported_are_the_coefficients_of_the_frame(name: str) -> None:
    p = player(PlayerSpec(None, METHODS[name]))
    for _ in range(5):
        in_place(p, gradient(p.state["theta"]))
    earlier = before(p)
    h_before = METHODS[name].diagonal(p.state["slots"], p.scalars(5))
    h_before = None if h_before is None else h_before.clone()
    in_place(p, gradient(p.state["theta"]))
    found = {k: float(v) for k, v in introspect(p, earlier, None).items()}
    assert found["optim/p/update_norm"] == pytest.approx((p.state["theta"] - earlier.theta).norm().item(), rel=1e-14)
    frame, h = METHODS[name].frame(6, p.momentum), METHODS[name].diagonal(p.state["slots"], p.scalars(6))
    lr = METHODS[name].lr * frame.alpha
    if h is None or h.ndim == 0:
        assert found["optim/p/effective_lr"] == pytest.approx(lr / (1.0 if h is None else float(h)), rel=1e-14)
        assert "optim/p/effective_lr_p10" not in found
    else:
        ordered = (lr / h).sort().values
        low, median, high = (found[f"optim/p/effective_lr{end}"] for end in ("_p10", "", "_p90"))
        assert low == pytest.approx(ordered[0].item()) and high == pytest.approx(ordered[3].item())
        assert median in (pytest.approx(ordered[1].item()), pytest.approx(ordered[2].item()))
    if frame.in_metric and h is not None and h_before is not None:
        wanted = frame.beta * (h_before / h).median().item()
    else:
        wanted = frame.beta
    assert found["optim/p/effective_momentum"] == pytest.approx(wanted, rel=1e-12)


def test_adams_effective_momentum_starts_at_zero_and_tends_to_beta1() -> None:
    p = player(PlayerSpec(None, adam(1e-3, 0.9, 0.99)))
    g = torch.full((4,), 2.0, dtype=torch.float64)
    seen = []
    for _ in range(200):
        earlier = before(p)
        in_place(p, g)
        seen.append(float(introspect(p, earlier, None)["optim/p/effective_momentum"]))
    # Constant gradients: H_t is constant, so that beta_t is b1 (1 - b1^(t-1)) / (1 - b1^t) alone.
    closed = [0.9 * (1 - 0.9 ** (t - 1)) / (1 - 0.9**t) for t in range(1, 201)]
    assert seen == pytest.approx(closed, rel=1e-6) and seen[0] == 0.0


def test_noise_and_projection_are_reported_where_there_are_any() -> None:
    p = player(PlayerSpec(None, sgd(0.5), projection=Box(0.25), noise=GaussianNoise(0.5)))
    earlier, xi = before(p), p.draw()
    assert xi is not None
    p.step_in_place(gradient(p.state["theta"]), p.scalars(1), xi)
    p.steps += 1
    found = introspect(p, earlier, xi)
    assert float(found["optim/p/noise_norm"]) == pytest.approx(0.5 * xi.norm().item(), rel=1e-14)
    at_bound = (p.state["theta"].abs() == 0.25).double().mean().item()
    assert float(found["optim/p/projected_fraction"]) == at_bound and at_bound > 0
    plain = player(PlayerSpec(None, sgd(0.5)))
    earlier = before(plain)
    in_place(plain, gradient(plain.state["theta"]))
    assert set(introspect(plain, earlier, None)) == {
        "optim/p/update_norm", "optim/p/effective_lr", "optim/p/effective_momentum"
    }  # fmt: skip


def test_accelegrad_reports_its_step_size_and_no_momentum() -> None:
    p = player(PlayerSpec(None, AcceleGrad(diameter=0.5)))
    earlier = before(p)
    g = gradient(p.point(p.state, p.scalars(1)))
    in_place(p, g)
    found = introspect(p, earlier, None)
    eta = 2 * 0.5 / math.sqrt(1 + g.square().sum().item())
    assert float(found["optim/p/effective_lr"]) == pytest.approx(eta, rel=1e-12)
    assert "optim/p/effective_momentum" not in found


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "pure"])
@pytest.mark.parametrize("game", [Simultaneous(), Alternating(3)], ids=["simultaneous", "alternating"])
def test_a_watched_move_reports_and_does_what_any_other_does(game: Alternating | Simultaneous, compiled: bool) -> None:
    def critic(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
        return (nets.critic() * nets.actor()).sum() * batch + nets.critic().square().sum(), {}

    def actor(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
        return -(nets.critic() * nets.actor()).sum() * batch + nets.actor().pow(4).sum(), {}

    def make() -> Update:
        spec = PlayerSpec(None, adam(0.01), noise=GaussianNoise(1e-3))
        players = [
            Player(n, Point(start()), spec, 20, torch.Generator().manual_seed(i))
            for i, n in enumerate(("critic", "actor"))
        ]
        update = Update(players, Losses({"critic": critic, "actor": actor}), game)
        update.compiled = compiled  # the pure function, without compiling it
        return update

    watched, plain = make(), make()
    batch = torch.ones((), dtype=torch.float64)
    for i in range(6):
        seen, unseen = watched([batch] * watched.batches, watch=i % 2 == 1), plain([batch] * plain.batches)
        assert any(k.startswith("optim/") for k in seen) == (i % 2 == 1)
        assert {k: float(v) for k, v in unseen.items()}.items() <= {k: float(v) for k, v in seen.items()}.items()
    assert seen.keys() >= {"optim/critic/effective_lr", "optim/actor/effective_momentum", "optim/critic/noise_norm"}
    for name in ("critic", "actor"):
        assert torch.equal(watched.players[name].vector.theta, plain.players[name].vector.theta)
