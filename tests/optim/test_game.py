"""Orders of play against ten-line scalar loops and closed forms, eager and pure alike."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    EMA,
    Alternating,
    Box,
    Game,
    Losses,
    Metrics,
    Nets,
    NonFinite,
    Player,
    PlayerSpec,
    Position,
    Simultaneous,
    Update,
    adam,
    sgd,
)  # fmt: skip


class Scalar(nn.Module):
    def __init__(self, start: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([start], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x


class Batch(NamedTuple):
    one: Tensor


ONE = Batch(torch.ones((), dtype=torch.float64))


def value(nets: Nets, batch: Batch) -> Tensor:
    """V(theta, psi) = psi theta: the bilinear game; the generator descends, the critic ascends."""
    product: Tensor = nets.critic(nets.generator(batch.one))
    return product.sum()


def critic_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    return -value(nets, batch), {}


def generator_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    return value(nets, batch), {}


def bilinear(first: str, joint: bool = False) -> Losses:
    of = {"critic": critic_loss, "generator": generator_loss}
    if first == "generator":
        of = dict(reversed(of.items()))
    return Losses(of, critic_loss if joint else None, {"critic": 1, "generator": -1} if joint else {})


def make(game: Game, losses: Losses, spec: PlayerSpec) -> Update:
    return Update([Player("critic", Scalar(1.0), spec), Player("generator", Scalar(1.0), spec)], losses, game)


def where(update: Update) -> tuple[float, float]:
    """(x, y) = (generator, critic)."""
    return tuple(update.players[n].vector.theta.item() for n in ("generator", "critic"))  # type: ignore[return-value]


@pytest.mark.parametrize("joint", [False, True])
def test_simultaneous_play_of_the_bilinear_game_spirals_outwards(joint: bool) -> None:
    h = 0.1
    update = make(Simultaneous(), bilinear("critic", joint), PlayerSpec(None, sgd(h)))
    for t in range(1, 51):
        update([ONE])
        assert math.hypot(*where(update)) == pytest.approx(math.sqrt(2) * (1 + h * h) ** (t / 2), rel=1e-12)


@pytest.mark.parametrize(("first", "sign"), [("generator", -1.0), ("critic", 1.0)])
def test_alternating_play_conserves_its_quadratic_form(first: str, sign: float) -> None:
    """x^2 + y^2 -+ h x y is kept exactly, with - where the minimiser moves first and + where the maximiser does."""
    h = 0.3
    update = make(Alternating(), bilinear(first), PlayerSpec(None, sgd(h)))
    energies = []
    for _ in range(200):
        update([ONE] * update.batches)
        x, y = where(update)
        energies.append(x * x + y * y + sign * h * x * y)
    assert energies == pytest.approx([2 + sign * h] * 200, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_alternating_play_equals_the_loop_written_out(k: int) -> None:
    h, x, y = 0.2, 1.0, 1.0
    update = make(Alternating(k), bilinear("critic"), PlayerSpec(None, sgd(h), projection=Box(1.0)))
    assert update.batches == k + 1
    for _ in range(100):
        update([ONE] * update.batches)
        for _ in range(k):
            y = max(-1.0, min(1.0, y + h * x))
        x = max(-1.0, min(1.0, x - h * y))
        assert where(update) == pytest.approx((x, y), abs=1e-14)
    assert update.players["critic"].steps == 100 * k and update.players["generator"].steps == 100


def test_clipped_wgan_on_dirac_data() -> None:
    """Mescheder et al.'s Dirac-GAN, f(x) = psi x clipped to [-1, 1]: the published behaviour by order of play.

    Sizes of |(theta, psi)| over the last 100 of 500 steps at h = 0.2, generator first: simultaneous 1.0 - 1.27,
    alternating 0.95 - 1.05; neither converges.
    """
    for game, low, high in ((Simultaneous(), 1.0, 1.27), (Alternating(), 0.95, 1.05)):
        spec = {"critic": PlayerSpec(None, sgd(0.2), projection=Box(1.0)), "generator": PlayerSpec(None, sgd(0.2))}
        players = [Player(name, Scalar(1.0), spec[name]) for name in ("critic", "generator")]
        update = Update(players, bilinear("generator"), game)
        radii = []
        for _ in range(500):
            update([ONE] * update.batches)
            radii.append(math.hypot(*where(update)))
        assert min(radii[-100:]) == pytest.approx(low, abs=0.02)
        assert max(radii[-100:]) == pytest.approx(high, abs=0.02)


def test_no_gradient_is_taken_after_a_write_of_the_same_simultaneous_move() -> None:
    seen: list[tuple[float, float]] = []

    def spy(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        seen.append((nets.critic(batch.one).item(), nets.generator(batch.one).item()))
        return value(nets, batch), {}

    spec = PlayerSpec(None, sgd(0.5))
    make(Simultaneous(), Losses({"critic": spy, "generator": spy}), spec)([ONE])
    assert seen == [(1.0, 1.0), (1.0, 1.0)]


def test_the_other_player_never_sees_a_point_outside_of_the_projections_set() -> None:
    seen: list[float] = []

    def watching(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        seen.append(abs(nets.critic(batch.one).item()))
        return generator_loss(nets, batch)

    spec = PlayerSpec(None, sgd(5.0), projection=Box(0.25))
    for game in (Simultaneous(), Alternating(2)):
        update = make(game, Losses({"critic": critic_loss, "generator": watching}), spec)
        for _ in range(10):
            update([ONE] * update.batches)
    assert len(seen) == 20 and max(seen) <= 0.25


@pytest.mark.parametrize("game", [Simultaneous(), Alternating(2)], ids=["simultaneous", "alternating"])
def test_nothing_is_written_when_a_gradient_is_not_finite(game: Game) -> None:
    def broken(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        return value(nets, batch) * batch.one.log(), {}

    update = make(
        game, Losses(dict.fromkeys(("critic", "generator"), broken)), PlayerSpec(None, adam(0.1), averaging=EMA(0.5))
    )
    before = update.state_dict()
    with pytest.raises(NonFinite, match="loss of critic is"):
        update([Batch(-torch.ones((), dtype=torch.float64))] * update.batches)
    pure, _ = game.move(
        update.pure,
        Position({n: p.state for n, p in update.players.items()}, None),
        [Batch(-torch.ones((), dtype=torch.float64))] * update.batches,
        {n: [(p.scalars(i + 1), None) for i in range(update.steps[n])] for n, p in update.players.items()},
        game.scalars(0),
    )
    assert pure.finite is not None and not pure.finite
    for name, player in update.players.items():
        assert player.steps == 0
        assert torch.equal(player.vector.theta, before[name]["theta"])
        assert torch.equal(pure.players[name]["theta"], before[name]["theta"])
        assert torch.equal(pure.players[name]["slots"]["mean"], before[name]["slots"]["mean"])


def test_losses_must_name_the_players() -> None:
    with pytest.raises(ValueError, match="losses = "):
        make(Simultaneous(), Losses({"critic": critic_loss}), PlayerSpec(None, sgd()))


def test_k_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="k = 0"):
        Alternating(0)
