"""bfloat16 products: rounded as torch rounds them, the same eagerly, purely and stacked, and float32 elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    EMA,
    Alternating,
    Extragradient,
    Game,
    Losses,
    Metrics,
    Nets,
    Player,
    PlayerSpec,
    Simultaneous,
    Stack,
    Update,
    sgd,
)
from rlgan.optim.compiled import quickest
from rlgan.optim.compiled.quickest import Figures
from rlgan.optim.play.precision import bfloat16, bfloat16_note
from tests.optim.compiled.test_kernel import runs_bfloat16

SEEN: list[Tensor] = []


def value(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
    """Everything that a loss may ask of a network: a score, an average's score, an input gradient."""
    score = nets.critic(nets.generator(batch)).squeeze(-1)
    SEEN.append(score)
    slope = nets.critic.input_gradient(batch).square().sum(1)
    with torch.no_grad():
        bar = nets.average.critic(batch).squeeze(-1)
    return (score - bar).square().mean() + 0.1 * (slope - 1).square().mean(), {"critic/score": score.mean()}


def generator_loss(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
    return -nets.critic(nets.generator(batch)).mean(), {}


LOSSES = Losses({"critic": value, "generator": generator_loss})


def make(game: Game, losses: Losses, seed: int = 0) -> Update:
    torch.manual_seed(seed)
    critic = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    players = [
        Player("critic", critic, PlayerSpec(None, sgd(0.1), averaging=EMA(0.1))),
        Player("generator", nn.Linear(3, 3), PlayerSpec(None, sgd(0.1))),
    ]
    return Update(players, losses, game)


def batches(update: Update) -> list[Tensor]:
    return [torch.randn(32, 3, generator=torch.Generator().manual_seed(i)) for i in range(update.batches)]


def test_a_network_in_a_loss_is_rounded_as_torch_rounds_it_and_its_vector_is_not() -> None:
    update = make(Simultaneous(), bfloat16(LOSSES))
    x = batches(update)[0]
    critic, generator = (copy.deepcopy(update.players[name].module).bfloat16() for name in ("critic", "generator"))
    with torch.no_grad():
        expected = critic(generator(x.bfloat16())).float().squeeze(-1)
    SEEN.clear()
    update([x])
    assert SEEN[0].dtype == torch.float32 and torch.equal(SEEN[0].detach(), expected)
    for player in update.players.values():
        assert all(v.dtype == torch.float32 for v in player.state["average"].values())
        assert player.vector.theta.dtype == torch.float32


@pytest.mark.parametrize("game", [Simultaneous(), Alternating(2), Extragradient()], ids=lambda g: type(g).__name__)
def test_ten_moves_stay_within_rounding_of_float32_in_every_form(game: Game) -> None:
    """Eagerly, as a pure function, and as a stack of two."""
    exact, eager, pure = make(game, LOSSES), make(game, bfloat16(LOSSES)), make(game, bfloat16(LOSSES))
    pure.compiled = True  # its function is pure and not compiled
    rows = [make(game, bfloat16(LOSSES)), make(game, bfloat16(LOSSES), seed=1)]
    stack = Stack(rows)
    for _ in range(10):
        own = batches(exact)
        for update in (exact, eager, pure):
            update(own)
        stack([own, own])

    def theta(update: Update) -> Tensor:
        return torch.cat([player.vector.theta for player in update.players.values()])

    start = theta(make(game, LOSSES))
    moved = (theta(exact) - start).norm()
    for update in (eager, pure, rows[0]):
        off = float((theta(update) - theta(exact)).norm() / moved)
        assert 1e-5 < off < 0.03
    assert (theta(rows[1]) - theta(exact)).norm() > moved / 10


def test_a_joint_loss_stays_the_critics_own() -> None:
    losses = bfloat16(Losses({"critic": value, "generator": generator_loss}, value, {"critic": 1, "generator": -1}))
    assert losses.joint is losses.of["critic"]
    assert "critic/loss" in make(Simultaneous(), losses)([torch.randn(8, 3)])


def wide(bfloat16: bool, compiled: bool = True) -> Update:
    """One player whose middle layer is 256 wide."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 1))
    player = Player("critic", network, PlayerSpec(None, sgd(0.1)))

    def loss(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
        return (nets.critic(batch).squeeze(-1) - 1).square().mean(), {}

    return Update([player], Losses({"critic": loss}), Simultaneous(), compiled, bfloat16=bfloat16)


def figures(rounded: float) -> Figures:
    """Of a machine where the kernel is quick, also at products in bfloat16, which take so many microseconds."""
    sizes = ("64", "128", "256")
    return {
        "library": dict.fromkeys(sizes, (10.0, 1e-07)),
        "kernel": dict.fromkeys(sizes, (5.0, 1e-07)),
        "rounded": dict.fromkeys(sizes, (rounded, 0.002)),
    }


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Figures], None]]:
    """Has the products of this machine measure as one says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def are(found: Figures) -> None:
        quickest.measured_once.cache_clear()
        (tmp_path / "rlgan" / "products.json").unlink(missing_ok=True)
        monkeypatch.setattr(quickest, "measured", lambda ways: found)

    yield are
    quickest.measured_once.cache_clear()


def test_a_compiled_update_rounds_large_products_where_that_is_quicker(measured: Callable[[Figures], None]) -> None:
    """The middle layer's: rounded by 8 bits, and so by 1e-3; all else in float32."""
    runs = runs_bfloat16()
    x = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    measured(figures(rounded=2.0))
    exact, rounded = wide(False), wide(True)
    assert exact.products == "kernel" and rounded.products == "kernel, bfloat16 from 64" and rounded.rounds_from == 64
    measured(figures(rounded=4.9))
    useless = wide(True)
    assert useless.products == "kernel" and useless.rounds_from == 0
    start = exact.players["critic"].vector.theta.clone()
    for update in (exact, useless, *([rounded] if runs else ())):
        update([x])
        assert update.players["critic"].vector.theta.dtype == torch.float32
    moved, near, same = (u.players["critic"].vector.theta - start for u in (exact, rounded, useless))
    if runs:  # else the kernel is never measured, let alone chosen: it says that it cannot
        assert 1e-5 < float((near - moved).norm() / moved.norm()) < 0.03
    assert torch.equal(same, moved)


def test_an_eager_update_stays_float32_where_nothing_is_gained(measured: Callable[[Figures], None]) -> None:
    x = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
    measured(figures(rounded=2.0))
    exact, other = wide(False, compiled=False), wide(True, compiled=False)
    for update in (exact, other):
        update([x])
    assert other.products == "library" and other.rounds_from == 0
    assert torch.equal(*(u.players["critic"].vector.theta for u in (exact, other)))


def test_the_note_says_what_is_rounded_on_this_machine() -> None:
    cpu = torch.device("cpu")
    assert "128 x 128" in bfloat16_note(cpu, 128)
    assert "stays float32" in bfloat16_note(cpu, 0)
