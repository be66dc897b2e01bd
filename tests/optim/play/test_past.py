"""What belongs to a game and what to its players: a game begins with itself, and norms of any gradient are numbers."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    AcceleGrad,
    Alternating,
    Consensus,
    Extragradient,
    Game,
    Lookahead,
    Losses,
    NonFinite,
    Optimistic,
    PastExtrapolation,
    Player,
    PlayerSpec,
    Simultaneous,
    Symplectic,
    Update,
    adagrad_norm,
    adam,
    heavy_ball,
    sgd,
    variable_metric,
)  # fmt: skip
from rlgan.optim.step.method import Method
from rlgan.optim.step.metric import Identity

from .test_game import ONE, Scalar, bilinear  # isort: skip

GAMES: list[Game] = [
    Simultaneous(), Alternating(2), Extragradient(), PastExtrapolation(), Optimistic(), Lookahead(Simultaneous(), 3),
    Lookahead(Optimistic(), 2), Consensus(), Symplectic(),
]  # fmt: skip


def players(x: float = 1.0, y: float = 1.0) -> list[Player]:
    spec = PlayerSpec(None, sgd(0.1))
    return [Player("critic", Scalar(y), spec), Player("generator", Scalar(x), spec)]


def moves(update: Update, n: int) -> list[float]:
    found = []
    for _ in range(n):
        update([ONE] * update.batches)
        found += [p.vector.theta.item() for p in update.players.values()]
    return found


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "pure"])
@pytest.mark.parametrize("game", GAMES, ids=str)
def test_a_game_on_players_that_have_moved_is_that_of_players_that_have_not(game: Game, compiled: bool) -> None:
    """Its memory begins with it, whatever was played before: gradient descent itself has no past."""
    moved = players()
    for before in (Simultaneous(), Optimistic()):
        moves(Update(moved, bilinear("critic"), before), 3)
    y, x = (p.vector.theta.item() for p in moved)
    a, b = (Update(own, bilinear("critic"), game) for own in (moved, players(x, y)))
    a.compiled = b.compiled = compiled  # `_run` is the pure move as it stands
    assert moves(a, 7) == moves(b, 7)
    assert a.moves == b.moves == 7 and moved[0].steps == 6 + 7 * a.steps["critic"]


@pytest.mark.parametrize("game", GAMES, ids=str)
def test_a_game_is_saved_and_loaded_where_it_is(game: Game) -> None:
    moved = players()
    moves(Update(moved, bilinear("critic"), Simultaneous()), 2)
    update = Update(moved, bilinear("critic"), game)
    moves(update, 3)
    other = Update(players(), bilinear("critic"), game)
    other.load_state_dict(update.state_dict())
    assert moves(other, 5) == moves(update, 5)


def test_players_play_one_game_at_a_time() -> None:
    own = players()
    first = Update(own, bilinear("critic"), Optimistic())
    moves(first, 2)
    second = Update(own, bilinear("critic"), Simultaneous())
    moves(second, 1)
    with pytest.raises(ValueError, match=r"^players = critic: plays another game by now"):
        first([ONE])


def test_a_state_that_does_not_fit_is_refused_and_nothing_of_it_is_loaded() -> None:
    update = Update(players(), bilinear("critic"), Optimistic())
    moves(update, 2)
    before = update.state_dict()
    own = before["generator"]
    wrong: list[tuple[Any, str]] = [
        (torch.optim.Adam([nn.Parameter(torch.ones(1))]).state_dict(), "^state = of state, param_groups: this update"),
        ({"critic": before["critic"]}, "^state = of critic: this update has the players critic, generator"),
        ({**before, "generator": {"theta": before["critic"]["theta"]}}, "^generator = a state without average"),
        ({**before, "generator": {**own, "theta": torch.ones(3)}}, r"^generator = vector of shape \(3,\)"),
        ({**before, "generator": {**own, "game": {}}}, r"^generator = saved with game \[\]"),
        ({**before, "generator": {**own, "theta": torch.ones(1) * 1j}}, "complex64: this network needs"),
    ]
    for state, says in wrong:
        damaged = copy.deepcopy(state)
        if "critic" in damaged:
            damaged["critic"]["theta"] = damaged["critic"]["theta"] + 5.0
        with pytest.raises(ValueError, match=says):
            update.load_state_dict(damaged)
        assert all(torch.equal(p.vector.theta, before[n]["theta"]) for n, p in update.players.items())


# What is finite.


def loss(nets: Any, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    return nets.p(batch).mean(), {}


def single(method: Method, dtype: torch.dtype, compiled: bool) -> Update:
    module = nn.Linear(4, 1, bias=False, dtype=dtype)
    nn.init.ones_(module.weight)
    update = Update([Player("p", module, PlayerSpec(None, method))], Losses({"p": loss}), Simultaneous())
    update.compiled = compiled
    return update


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "pure"])
@pytest.mark.parametrize(("dtype", "large"), [(torch.float32, 2e19), (torch.float32, 8e37), (torch.float64, 1e200)])
def test_a_large_gradient_is_a_gradient(dtype: torch.dtype, large: float, compiled: bool) -> None:
    batch = torch.full((1, 4), large, dtype=dtype)
    method: Method
    for method in (sgd(0.5 / large), heavy_ball(0.5 / large), variable_metric(Identity(), 0.5 / large)):
        update = single(method, dtype, compiled)
        assert update([batch])["p/grad_norm"] == pytest.approx(2 * large, rel=1e-6)
        assert update.players["p"].vector.theta.tolist() == pytest.approx([0.5] * 4, rel=1e-6)
    for method in (adagrad_norm(0.1), AcceleGrad()):
        update = single(method, dtype, compiled)
        if dtype == torch.float64:
            with pytest.raises(NonFinite, match=r"finite, but its squares are beyond the largest number"):
                update([batch])
            continue
        update([batch])
        moved = 1 - update.players["p"].vector.theta
        assert moved.norm().item() == pytest.approx(0.1 if method == adagrad_norm(0.1) else 2.0, rel=1e-6)
    update = single(adam(0.1), dtype, compiled)
    with pytest.raises(NonFinite, match=r"its squares are beyond the largest number; use precision=float64"):
        update([batch])
    assert update.players["p"].vector.theta.tolist() == [1.0] * 4 and update.moves == 0


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "pure"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_entry_that_is_not_finite_stops_the_move(bad: float, compiled: bool) -> None:
    def spoilt(nets: Any, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Finite as a loss, its gradient by one entry is not: sqrt at 0.
        weight = nets.p(batch)
        return (weight - weight.detach()).abs().sqrt().sum() * 0 + weight.sum() * (1 if bad == math.inf else 0), {}

    for method in (sgd(0.1), adam(0.1), adagrad_norm(0.1), AcceleGrad()):
        update = single(method, torch.float32, compiled)
        update = Update(list(update.players.values()), Losses({"p": spoilt}), Simultaneous())
        update.compiled = compiled
        with pytest.raises(NonFinite):
            update([torch.ones(1, 4)])
        assert update.players["p"].vector.theta.tolist() == [1.0] * 4


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "pure"])
@pytest.mark.parametrize("game", GAMES, ids=str)
def test_after_a_gradient_that_was_refused_a_game_goes_on_as_without_it(game: Game, compiled: bool) -> None:
    """A finite loss with a gradient of NaN: nothing of it is remembered. The optimistic past was NaN for ever."""
    losses, bad = bilinear("critic"), [False]

    def at_times(loss: Any) -> Any:
        def spoilt(nets: Any, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            value, metrics = loss(nets, batch)
            return value + (value - value.detach()).abs().sqrt() if bad[0] else value, metrics  # sqrt at 0

        return spoilt

    of = {name: at_times(loss) for name, loss in losses.of.items()}
    update = Update(players(), Losses(of), game)
    update.compiled = compiled
    moves(update, 3)
    before = update.state_dict()
    bad[0] = True
    with pytest.raises(NonFinite):
        moves(update, 1)
    bad[0] = False
    for name, state in update.state_dict().items():
        assert torch.equal(state["theta"], before[name]["theta"])
        assert all(torch.equal(value, before[name]["game"][key]) for key, value in state["game"].items())
    other = Update(players(), Losses(of), game)
    other.compiled = compiled
    assert moves(other, 5)[6:] == moves(update, 2)


def test_a_small_gradient_has_a_norm() -> None:
    update = single(sgd(1.0), torch.float32, False)
    assert update([torch.full((1, 4), 1e-30)])["p/grad_norm"] == pytest.approx(2e-30, rel=1e-6)
