"""Every method against torch.optim and against closed forms, through the player that everybody uses."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    AMS,
    EMA,
    RMS,
    AdaGrad,
    AdaGradFull,
    Box,
    Descent,
    GaussianNoise,
    GradientEMA,
    Linear,
    Player,
    PlayerSpec,
    adagrad,
    adam,
    adamw,
    amsgrad,
    heavy_ball,
    rmsprop,
    sgd,
)  # fmt: skip

STEPS = 100


class Point(nn.Module):
    """A free vector, float64."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(start.clone())

    def forward(self) -> Tensor:
        return self.x


METHODS: dict[str, tuple[Descent, Callable[[list[nn.Parameter]], torch.optim.Optimizer]]] = {
    "sgd": (sgd(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "sgd+l2": (sgd(0.05, weight_decay=0.1), lambda p: torch.optim.SGD(p, 0.05, weight_decay=0.1)),
    "heavy_ball": (heavy_ball(0.02, 0.9), lambda p: torch.optim.SGD(p, 0.02, momentum=0.9)),
    "rmsprop": (rmsprop(0.01, 0.9, 1e-8), lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=1e-8)),
    "rmsprop+l2": (
        rmsprop(0.01, 0.9, 1e-8, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=1e-8, weight_decay=0.1),
    ),
    "adam": (adam(0.01, 0.9, 0.99, 1e-8), lambda p: torch.optim.Adam(p, 0.01, (0.9, 0.99), 1e-8)),
    "adam+l2": (
        adam(0.01, 0.9, 0.99, 1e-8, 0.1),
        lambda p: torch.optim.Adam(p, 0.01, (0.9, 0.99), 1e-8, weight_decay=0.1),
    ),
    "adagrad": (adagrad(0.1), lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-10)),
    "adagrad+l2": (adagrad(0.1, weight_decay=0.1), lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-10, weight_decay=0.1)),
    "adamw": (adamw(0.01, 0.9, 0.99), lambda p: torch.optim.AdamW(p, 0.01, (0.9, 0.99))),
    "amsgrad as torch's": (
        amsgrad(0.01, 0.9, 0.99, bias_correction=True),
        lambda p: torch.optim.Adam(p, 0.01, (0.9, 0.99), amsgrad=True),
    ),
    "adam beta1=0": (adam(0.01, 0.0, 0.99), lambda p: torch.optim.Adam(p, 0.01, (0.0, 0.99))),
}


def rosenbrock(x: Tensor) -> Tensor:
    return (2.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def gradient(x: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(rosenbrock(x), x)
    return g


def start() -> Tensor:
    return torch.tensor([-0.5, 0.3, 0.8, -0.2], dtype=torch.float64)


def player(spec: PlayerSpec, x0: Tensor | None = None, horizon: int = STEPS) -> Player:
    return Player("p", Point(start() if x0 is None else x0), spec, horizon, torch.Generator().manual_seed(0))


def in_place(p: Player, g: Tensor) -> None:
    p.step_in_place(g, p.scalars(p.steps + 1), p.draw())
    p.steps += 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("way", ["in_place", "pure"])
def test_equals_torch_optim_in_float64(name: str, way: str) -> None:
    method, reference = METHODS[name]
    mine = player(PlayerSpec(None, method))
    theirs = nn.Parameter(start())
    optimizer = reference([theirs])
    for t in range(1, STEPS + 1):
        # The same gradient for both: RMSProp's near-sign steps would blow rounding up along a trajectory of its own.
        g = gradient(theirs)
        if way == "in_place":
            in_place(mine, g)
        else:
            mine.state = mine.step(mine.state, g, mine.scalars(t), None)
        theirs.grad = g.clone()
        optimizer.step()
    assert torch.allclose(mine.state["theta"], theirs, rtol=1e-12, atol=1e-13)
    assert not torch.allclose(theirs, start(), atol=1e-2)


@pytest.mark.parametrize("name", METHODS)
def test_pure_step_writes_nothing_and_takes_tensor_scalars(name: str) -> None:
    p = player(PlayerSpec(None, METHODS[name][0], averaging=EMA(0.1), projection=Box(5.0)))
    before = p.state_dict()
    g = gradient(p.state["theta"])
    numbers = p.scalars(1)
    a = p.step(p.state, g, numbers, None)
    b = p.step(p.state, g, {k: torch.tensor(v, dtype=torch.float64) for k, v in numbers.items()}, None)
    assert torch.equal(a["theta"], b["theta"]) and a["theta"].dtype == torch.float64
    after = p.state_dict()
    assert torch.equal(before["theta"], after["theta"])
    assert all(torch.equal(before["slots"][k], after["slots"][k]) for k in before["slots"])


def test_scalars_do_not_promote_single_precision() -> None:
    p = Player("p", Point(start().float()), PlayerSpec(None, adam(), averaging=EMA(0.1)))
    numbers = {k: torch.tensor(v, dtype=torch.float64) for k, v in p.scalars(1).items()}
    new = p.step(p.state, torch.ones(4), numbers, None)
    assert new["theta"].dtype == new["slots"]["mean"].dtype == new["average"]["theta_bar"].dtype == torch.float32


def test_adam_first_step_is_minus_lr_times_sign() -> None:
    p = player(PlayerSpec(None, adam(0.1, eps=1e-30)))
    g = torch.tensor([3.0, -1e-4, 7.0, -2.0], dtype=torch.float64)
    in_place(p, g)
    assert torch.allclose(p.state["theta"], start() - 0.1 * g.sign(), rtol=1e-14)


def test_heavy_ball_reaches_its_terminal_speed() -> None:
    """With a constant gradient the speed is lr |g| / (1 - rho)."""
    p = player(PlayerSpec(None, heavy_ball(0.01, 0.9)))
    g = torch.full((4,), 2.0, dtype=torch.float64)
    for _ in range(400):
        before = p.state["theta"].clone()
        in_place(p, g)
    assert torch.allclose(before - p.state["theta"], 0.01 * g / (1 - 0.9), rtol=1e-12)


def test_gradient_descent_converges_at_the_rate_of_the_quadratic() -> None:
    """GD with step 2 / (L + mu): the distance shrinks by (kappa - 1) / (kappa + 1) a step."""
    h = torch.tensor([1.0, 4.0, 10.0, 25.0], dtype=torch.float64)
    p = player(PlayerSpec(None, sgd(2 / 26)), torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64))
    for _ in range(50):
        in_place(p, h * p.state["theta"])
    assert torch.allclose(p.state["theta"].norm(), torch.tensor(2.0, dtype=torch.float64).sqrt() * (24 / 26) ** 50)


def test_heavy_ball_converges_at_the_accelerated_rate() -> None:
    """lr = 4 / (sqrt L + sqrt mu)^2 and rho = ((sqrt kappa - 1) / (sqrt kappa + 1))^2: that root a step, times t."""
    mu, big = 1.0, 100.0
    root = (big**0.5 - 1) / (big**0.5 + 1)
    h = torch.tensor([mu, 10.0, 50.0, big], dtype=torch.float64)
    p = player(PlayerSpec(None, heavy_ball(4 / (big**0.5 + 1) ** 2, root**2)), torch.ones(4, dtype=torch.float64))
    steps = 200
    for _ in range(steps):
        in_place(p, h * p.state["theta"])
    assert p.state["theta"].norm() < 10 * steps * root**steps
    assert p.state["theta"].norm() > root ** (1.3 * steps)


def test_a_schedule_changes_the_learning_rate_of_every_step() -> None:
    p = player(PlayerSpec(None, sgd(1.0), schedule=Linear(end=0.5, end_step=4)), horizon=100)
    g = torch.ones(4, dtype=torch.float64)
    moved = []
    for _ in range(6):
        before = p.state["theta"].clone()
        in_place(p, g)
        moved.append((before - p.state["theta"])[0].item())
    assert moved == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5, 0.5], rel=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_projection_is_part_of_every_step(name: str) -> None:
    p = player(PlayerSpec(None, replace(METHODS[name][0], lr=1.0), projection=Box(0.1)))
    assert p.state["theta"].abs().max() == 0.1, "the initial point is projected too"
    for _ in range(5):
        in_place(p, gradient(p.state["theta"]))
        assert p.state["theta"].abs().max() <= 0.1


def test_box_is_idempotent_and_feasible_to_the_last_bit() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3
    box, s = Box(0.01), Box(0.01).scalars(1.0)
    y = box(x, s)
    assert y.abs().max().item() <= torch.tensor(0.01).item() and torch.equal(box(y, s), y)
    inside = x.abs() < 0.01
    assert torch.equal(y[inside], x[inside])


def test_noise_is_added_from_the_players_generator() -> None:
    spec = PlayerSpec(None, sgd(0.1), noise=GaussianNoise(0.5))
    a, b = player(spec), player(spec)
    g = torch.zeros(4, dtype=torch.float64)
    in_place(a, g)
    xi = torch.randn(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(a.state["theta"], start() + xi * 0.5)
    in_place(b, g)
    assert torch.equal(a.state["theta"], b.state["theta"])
    with pytest.raises(ValueError, match="needs a generator"):
        Player("p", Point(start()), spec)


@pytest.mark.parametrize("name", METHODS)
def test_state_round_trip_in_mid_trajectory_continues_bit_exactly(name: str) -> None:
    spec = PlayerSpec(None, METHODS[name][0], averaging=EMA(0.05))
    whole, first = player(spec), player(spec)
    for i in range(20):
        in_place(whole, gradient(whole.state["theta"]))
        if i < 10:
            in_place(first, gradient(first.state["theta"]))
    second = player(spec, torch.zeros(4, dtype=torch.float64))
    second.load_state_dict(first.state_dict())
    for _ in range(10):
        in_place(second, gradient(second.state["theta"]))
    assert torch.equal(second.state["theta"], whole.state["theta"])
    assert torch.equal(second.state["average"]["theta_bar"], whole.state["average"]["theta_bar"])


def test_a_state_of_another_method_or_size_is_refused() -> None:
    saved = player(PlayerSpec(None, adam())).state_dict()
    with pytest.raises(ValueError, match="slots"):
        player(PlayerSpec(None, sgd())).load_state_dict(saved)
    with pytest.raises(ValueError, match="shape"):
        player(PlayerSpec(None, adam()), torch.zeros(3, dtype=torch.float64)).load_state_dict(saved)


@pytest.mark.parametrize(
    ("make", "begins"),
    [
        (lambda: sgd(-1.0), "lr = -1.0: "),
        (lambda: sgd(0.1, weight_decay=-1.0), "weight_decay = -1.0: "),
        (lambda: heavy_ball(0.1, rho=1.5), "rho = 1.5: "),
        (lambda: rmsprop(0.1, decay=1.0), "decay = 1.0: "),
        (lambda: adam(0.1, beta1=-0.1), "beta1 = -0.1: "),
        (lambda: adam(0.1, eps=0.0), "eps = 0.0: "),
        (lambda: adamw(0.1, beta2=1.0), "beta2 = 1.0: "),
        (lambda: amsgrad(0.1, beta2=1.0), "beta2 = 1.0: "),
        (lambda: amsgrad(0.1, initial=0.0), "initial = 0.0: "),
        (lambda: RMS(1.0, 1e-8, bias_correction=False), "decay = 1.0: "),
        (lambda: AMS(0.9, 0.0, 0.0, bias_correction=True), "initial = 0.0: "),
        (lambda: AdaGrad(0.0), "eps = 0.0: "),
        (lambda: AdaGradFull(0.0), "eps = 0.0: "),
        (lambda: GradientEMA(1.0), "beta = 1.0: "),
        (lambda: EMA(1.5), "tau = 1.5: "),
        (lambda: Box(0.0), "radius = 0.0: "),
        (lambda: Linear(end=-1.0), "end = -1.0: "),
        (lambda: Linear(end_step=0), "end_step = 0: "),
        (lambda: GaussianNoise(0.0), "sigma = 0.0: "),
    ],
)
def test_impossible_values_are_named(make: Callable[[], object], begins: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(begins)
