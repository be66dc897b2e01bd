"""Noises: their distributions in closed form, and what a player does with them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    Constant,
    GaussianNoise,
    Langevin,
    Linear,
    Noise,
    OrnsteinUhlenbeckNoise,
    Player,
    PlayerSpec,
    Schedule,
    Sphere,
    adam,
    heavy_ball,
    perturbed_sgd,
    sgd,
    sgld,
)
from rlgan.optim.step.schedule import Piecewise
from tests.small import TASKS, build

CHAINS = 20_000
"""Independent copies in one vector: a sample variance of normal numbers is known to sqrt(2 / CHAINS) = 1 %."""

NOISES: dict[str, Noise] = {
    "gaussian": GaussianNoise(0.5),
    "sphere": Sphere(2.0),
    "langevin": Langevin(0.7),
    "ornstein_uhlenbeck": OrnsteinUhlenbeckNoise(0.4, 0.5, 0.8),
}


class Point(nn.Module):
    """A free vector, float64."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(start.clone())


def player(spec: PlayerSpec, start: Tensor, horizon: int = 0) -> Player:
    return Player("p", Point(start), spec, horizon, torch.Generator().manual_seed(0))


def move(p: Player, g: Tensor) -> None:
    p.step_in_place(g, p.scalars(p.steps + 1), p.draw())
    p.steps += 1


def draws(noise: Noise, d: int, n: int, seed: int = 0) -> Tensor:
    """n draws in a row (n, d)."""
    theta, generator = torch.zeros(d, dtype=torch.float64), torch.Generator().manual_seed(seed)
    state = noise.init(theta)
    return torch.stack([noise.draw(theta, generator, state) for _ in range(n)])


def within(estimate: float, expected: float, standard_error: float) -> bool:
    return abs(estimate - expected) <= 4 * standard_error


@pytest.mark.parametrize("d", [1, 2, 5, 1000])
def test_sphere_has_norm_one_over_all_parameters(d: int) -> None:
    torch.testing.assert_close(draws(Sphere(), d, 50).norm(dim=1), torch.ones(50).double(), rtol=1e-14, atol=0)
    p = Player(
        "p", nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double(), PlayerSpec(None, sgd(), noise=Sphere()), 0,
        torch.Generator(),
    )  # fmt: skip
    xi = p.draw()
    assert xi is not None and xi.shape == (26,) and xi.norm().item() == pytest.approx(1.0, rel=1e-14)


def test_sphere_is_isotropic() -> None:
    """E xi = 0, E xi xi^T = I / d, and E (u.xi)^4 = 3 / (d (d + 2)) along any unit vector u."""
    n, d = 40_000, 3
    xi = draws(Sphere(), d, n)
    fourth = 3 / (d * (d + 2))
    assert (xi.mean(0).abs() <= 4 * math.sqrt(1 / d / n)).all()
    second = xi.T @ xi / n - torch.eye(d, dtype=torch.float64) / d
    assert (second.abs() <= 4 * math.sqrt((fourth - 1 / d**2) / n)).all()
    # u.xi is uniform on [-1, 1] in three dimensions (Archimedes): moments 1/3, 1/5 and E (u.xi)^8 = 1/9.
    for u in ([1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, -2.0, 0.5]):
        along = xi @ torch.nn.functional.normalize(torch.tensor(u, dtype=torch.float64), dim=0)
        assert within((along**4).mean().item(), fourth, math.sqrt((1 / 9 - 1 / 25) / n))


@pytest.mark.parametrize("way", ["in_place", "pure"])
def test_perturbed_sgd_is_theta_minus_lr_times_g_plus_xi(way: str) -> None:
    """With xi on the sphere of radius sigma; -xi is the draw, as the sphere is symmetric."""
    start = torch.linspace(-1.0, 1.0, 7, dtype=torch.float64)
    p = player(PlayerSpec(None, perturbed_sgd(0.1, 3.0)), start)
    generator = torch.Generator().manual_seed(0)
    theta = start
    for t in range(1, 6):
        g = torch.cos(theta)
        normal = torch.randn(7, generator=generator, dtype=torch.float64)
        xi = -3.0 * normal / normal.norm()
        if way == "in_place":
            move(p, g)
        else:
            p.state = p.step(p.state, g, p.scalars(t), p.draw())
        theta = theta - 0.1 * (g + xi)
        torch.testing.assert_close(p.state["theta"], theta, rtol=1e-14, atol=1e-15)


def test_perturbed_sgd_leaves_a_strict_saddle_where_gradient_descent_stays() -> None:
    """f = (|z|^2 - gamma |x|^2) / 2 from x = 0: E |x_t|^2 is a geometric sum, and |x| grows by 1 + lr gamma a step."""
    half, lr, gamma = 1000, 0.1, 0.5
    unstable = torch.arange(2 * half) < half
    start = torch.where(unstable, 0.0, 1.0).double()
    h = torch.where(unstable, -gamma, 1.0).double()
    stays, leaves = (player(PlayerSpec(None, method), start) for method in (sgd(lr), perturbed_sgd(lr)))
    growth = (1 + lr * gamma) ** 2
    lengths = []
    for t in range(1, 201):
        for p in (stays, leaves):
            move(p, h * p.state["theta"])
        x = leaves.state["theta"][unstable]
        lengths.append(x.norm().item())
        if t in (1, 5, 50, 200):
            # Every coordinate of xi has second moment 1 / d, and lr xi is what a step adds.
            expected = lr**2 / (2 * half) * (growth**t - 1) / (growth - 1)
            assert within(x.square().mean().item(), expected, expected * math.sqrt(2 / half))
    assert (stays.state["theta"][unstable] == 0).all(), "the ridge is never left"
    assert stays.state["theta"][~unstable].abs().max() < 1e-9
    assert (lengths[-1] / lengths[-101]) ** (1 / 100) == pytest.approx(1 + lr * gamma, rel=1e-4)
    assert lengths[-1] > 100


@pytest.mark.parametrize("method", ["sgld", "sgd+langevin"])
@pytest.mark.parametrize(("lr", "temperature"), [(0.5, 1.0), (0.2, 0.3)])
def test_sgld_has_its_stationary_variance(method: str, lr: float, temperature: float) -> None:
    """On lambda x^2 / 2: T / (lambda (1 - lr lambda / 2)), a third above T / lambda at lr lambda = 1/2."""
    curvature = 1.0 if lr == 0.5 else 4.0
    spec = (
        PlayerSpec(None, sgld(lr, temperature))
        if method == "sgld"
        else PlayerSpec(None, sgd(lr), noise=Langevin(temperature))
    )
    p = player(spec, torch.full((CHAINS,), 3.0, dtype=torch.float64))
    for _ in range(60):
        move(p, curvature * p.state["theta"])
    expected = temperature / (curvature * (1 - lr * curvature / 2))
    x = p.state["theta"]
    assert within(x.var().item(), expected, expected * math.sqrt(2 / CHAINS))
    assert within(x.mean().item(), 0.0, math.sqrt(expected / CHAINS))
    assert expected > 1.2 * temperature / curvature, "the step's own share is visible"


@pytest.mark.parametrize(("sigma", "rate", "dt"), [(0.4, 0.5, 0.8), (1.0, 2.0, 0.6), (0.2, 0.15, 1.0)])
def test_ornstein_uhlenbeck_has_its_stationary_moments(sigma: float, rate: float, dt: float) -> None:
    xi = draws(OrnsteinUhlenbeckNoise(sigma, rate, dt), CHAINS, 80)
    keep, variance = 1 - rate * dt, sigma**2 / (rate * (2 - rate * dt))
    previous, last = xi[-2], xi[-1]
    assert within(last.var().item(), variance, variance * math.sqrt(2 / CHAINS))
    assert within(last.mean().item(), 0.0, math.sqrt(variance / CHAINS))
    correlation = torch.corrcoef(torch.stack([previous, last]))[0, 1].item()
    assert within(correlation, keep, (1 - keep**2) / math.sqrt(CHAINS))
    # From xi = 0: after n draws the variance is short of the stationary one by keep^(2 n).
    early = variance * (1 - keep**2)
    assert within(xi[0].var().item(), early, early * math.sqrt(2 / CHAINS))


def test_ornstein_uhlenbeck_by_a_scalar_loop() -> None:
    xi = draws(OrnsteinUhlenbeckNoise(0.4, 0.5, 0.8), 3, 20, seed=5)
    generator = torch.Generator().manual_seed(5)
    value = [0.0] * 3
    for row in xi:
        normal = torch.randn(3, generator=generator, dtype=torch.float64).tolist()
        value = [v - 0.5 * v * 0.8 + 0.4 * math.sqrt(0.8) * n for v, n in zip(value, normal, strict=True)]
        assert row.tolist() == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("name", NOISES)
def test_state_round_trip_in_mid_trajectory_continues_bit_exactly(name: str) -> None:
    spec = PlayerSpec(None, heavy_ball(0.1), noise=NOISES[name], noise_schedule=Linear(0.5, 30))
    start = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64)
    whole, first, second = (player(spec, start) for _ in range(3))
    for i in range(20):
        move(whole, whole.state["theta"])
        if i < 9:
            move(first, first.state["theta"])
    saved = first.state_dict()
    assert first.generator is not None and second.generator is not None
    position = first.generator.get_state()
    # What is saved are copies: the first player goes on.
    move(first, first.state["theta"])
    second.load_state_dict(saved)
    second.generator.set_state(position)
    for _ in range(11):
        move(second, second.state["theta"])
    assert torch.equal(second.state["theta"], whole.state["theta"])
    assert all(torch.equal(second.noise_state[k], v) for k, v in whole.noise_state.items())
    assert set(whole.noise_state) == ({"xi"} if name == "ornstein_uhlenbeck" else set())
    if name == "ornstein_uhlenbeck":
        assert saved["noise"]["xi"].abs().max() > 0
        with pytest.raises(ValueError, match="noise"):
            player(PlayerSpec(None, heavy_ball(0.1)), start).load_state_dict(saved)


SCHEDULES: dict[str, Schedule] = {"constant": Constant(), "steps": Piecewise((2, 4), (1.0, 0.25, 3.0))}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("method", ["sgd", "adam"])
@pytest.mark.parametrize("name", NOISES)
def test_its_schedule_multiplies_sigma(name: str, method: str, schedule: str) -> None:
    """With no gradient a step is sigma xi and nothing else; sigma follows lr's schedule where it should."""
    lr = Linear(0.5, 4)
    scale = {
        "gaussian": lambda lr: 0.5,
        "sphere": lambda lr: 2.0 * lr,
        "langevin": lambda lr: math.sqrt(2 * lr * 0.7),
        "ornstein_uhlenbeck": lambda lr: 1.0,
    }[name]
    optimizer = {"sgd": sgd(0.1), "adam": adam(0.1)}[method]
    noise = NOISES[name]
    spec = PlayerSpec(None, optimizer, schedule=lr, noise=noise, noise_schedule=SCHEDULES[schedule])
    p = player(spec, torch.zeros(5, dtype=torch.float64))
    for t, xi in enumerate(draws(noise, 5, 7)):
        before = p.state["theta"].clone()
        move(p, torch.zeros(5, dtype=torch.float64))
        expected = scale(0.1 * lr(t)) * SCHEDULES[schedule](t) * xi
        torch.testing.assert_close(p.state["theta"] - before, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NOISES)
def test_draws_keep_dtype_and_are_their_owners(name: str) -> None:
    noise, theta, generator = NOISES[name], torch.zeros(9), torch.Generator().manual_seed(0)
    state = noise.init(theta)
    first = noise.draw(theta, generator, state)
    kept = first.clone()
    second = noise.draw(theta, generator, state)
    assert first.dtype == torch.float32 and first.shape == (9,)
    assert torch.equal(first, kept) and not torch.equal(first, second)
    assert (theta == 0).all()


def test_noise_of_its_own_and_of_the_player_exclude_each_other() -> None:
    for method in (perturbed_sgd(), sgld()):
        with pytest.raises(ValueError, match=r"^noise = GaussianNoise\(sigma=0.001\): .*; use noise=none$"):
            PlayerSpec(None, method, noise=GaussianNoise())


@pytest.mark.parametrize(
    ("make", "begins"),
    [
        (lambda: GaussianNoise(0.0), "sigma = 0.0: "),
        (lambda: Sphere(-1.0), "sigma = -1.0: "),
        (lambda: Langevin(0.0), "temperature = 0.0: "),
        (lambda: OrnsteinUhlenbeckNoise(sigma=math.nan), "sigma = nan: "),
        (lambda: OrnsteinUhlenbeckNoise(rate=0.0), "rate = 0.0: "),
        (lambda: OrnsteinUhlenbeckNoise(dt=-1.0), "dt = -1.0: "),
        (lambda: OrnsteinUhlenbeckNoise(rate=4.0, dt=0.5), "dt = 0.5: the process explodes"),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Noise], begins: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(begins)


@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        ("sphere", "sigma=0.5", Sphere(0.5)),
        ("langevin", "temperature=0.1", Langevin(0.1)),
        ("ornstein_uhlenbeck", "rate=0.3", OrnsteinUhlenbeckNoise(rate=0.3)),
    ],
)
def test_every_option_is_built_and_moves_the_generator(name: str, setting: str, expected: Noise) -> None:
    task = build(*TASKS["wgan"], f"noise@generator.noise={name}", f"generator.noise.{setting}")
    p: Player = task.generator  # type: ignore[attr-defined]
    assert p.spec.noise == expected
    xi = p.draw()
    assert xi is not None and xi.shape == p.vector.theta.shape and xi.abs().max() > 0
    task.close()
