"""Seed k of a stack does what it does alone; a seed that fails or waits is left out, and each can go on by itself."""

import math

import pytest
import torch

from rlgan.optim import (
    Alternating,
    Extragradient,
    Game,
    Lookahead,
    NonFinite,
    Simultaneous,
    Stack,
    Symplectic,
    Update,
    adagrad_norm,
    adam,
    from_torch,
    nesterov,
    sgd,
)  # fmt: skip
from tests.optim.test_update import Batch, batches, difference, make

GAMES: list[Game] = [Simultaneous(), Alternating(2), Extragradient(), Lookahead(Alternating(1), k=3), Symplectic(0.3)]
SEEDS = 3


def seeds(game: Game, *, norm: bool = True) -> list[Update]:
    """Updates that differ in their weights and in their noise."""
    made = [make(game, adam(0.01), torch.float64, norm=norm) for _ in range(SEEDS)]
    for k, update in enumerate(made):
        for player in update.players.values():
            player.vector.theta.mul_(1 - 0.2 * k)
            for value in player.state["average"].values():
                value.mul_(1 - 0.2 * k)
            if player.generator is not None:
                player.generator.manual_seed(k)
            player.state["game"] = game.init(player.vector.theta)
    return made


def data(update: Update, moves: int) -> list[list[list[Batch]]]:
    flat = batches(update, torch.float64, moves * SEEDS)
    return [[flat[i * SEEDS + k] for k in range(SEEDS)] for i in range(moves)]


@pytest.mark.parametrize("game", GAMES, ids=lambda g: type(g).__name__)
def test_every_seed_follows_its_single_run(game: Game) -> None:
    """Noise, box, EMA, a batch-norm network and a per-sample penalty among it; 1e-12 in float64 after 12 moves."""
    single, stacked = seeds(game), seeds(game)
    stack = Stack(stacked)
    for move in data(single[0], 12):
        reports = stack(move)
        for k in range(SEEDS):
            alone = single[k](move[k])
            report = reports[k]
            assert isinstance(report, dict) and report.keys() == alone.keys()
            for tag, value in alone.items():
                assert float(report[tag]) == pytest.approx(float(value), rel=1e-9, abs=1e-12)
    for k in range(SEEDS):
        assert difference(single[k], stacked[k]) < 1e-12
        assert stacked[k].moves == single[k].moves == 12
    assert difference(stacked[0], stacked[1]) > 1e-3


def test_a_row_is_the_seeds_own_memory() -> None:
    updates = seeds(Simultaneous())
    modules = [u.players["actor"].module for u in updates]
    stack = Stack(updates)
    for k, update in enumerate(updates):
        actor = update.players["actor"]
        assert actor.module is modules[k] and actor.vector.linked
        assert actor.vector.theta.data_ptr() == stack.states["actor"]["theta"][k].data_ptr()
        before = actor.module(torch.ones(4, 3, dtype=torch.float64))
        stack.states["actor"]["theta"][k].mul_(2)
        assert not torch.equal(before, actor.module(torch.ones(4, 3, dtype=torch.float64)))
        bar = actor.average(torch.ones(4, 3, dtype=torch.float64))
        stack.states["actor"]["average"]["theta_bar"][k].mul_(2)
        assert not torch.equal(bar, actor.average(torch.ones(4, 3, dtype=torch.float64)))


def test_a_seed_lifted_out_goes_on_alone_and_comes_back() -> None:
    single, stacked = seeds(Alternating(2)), seeds(Alternating(2))
    stack = Stack(stacked)
    for i, move in enumerate(data(single[0], 9)):
        if i % 3 == 2:
            for k, update in enumerate(stacked):
                update(move[k])  # eagerly, in the same memory
        else:
            stack(move)
        for k in range(SEEDS):
            single[k](move[k])
    assert max(difference(a, b) for a, b in zip(single, stacked, strict=True)) < 1e-12


def test_a_seed_without_a_batch_stands_still() -> None:
    single, stacked = seeds(Extragradient()), seeds(Extragradient())
    stack = Stack(stacked)
    for i, move in enumerate(data(single[0], 8)):
        given = [None if (i + k) % 4 == 0 else own for k, own in enumerate(move)]
        reports = stack(given)
        for k, own in enumerate(given):
            assert (reports[k] is None) == (own is None)
            if own is not None:
                single[k](own)
    assert max(difference(a, b) for a, b in zip(single, stacked, strict=True)) < 1e-12
    assert [u.moves for u in stacked] == [6, 6, 6]


def test_a_seed_that_is_not_finite_writes_nothing_and_the_others_go_on() -> None:
    single, stacked = seeds(Simultaneous()), seeds(Simultaneous())
    stack = Stack(stacked)
    moves = data(single[0], 4)
    for i, move in enumerate(moves):
        if i == 2:
            broken = move[1][0]
            move[1][0] = Batch(broken.x, broken.y * math.nan)
            before = stacked[1].state_dict()
        reports = stack(move)
        if i == 2:
            failed = reports[1]
            assert isinstance(failed, NonFinite) and "critic/loss = nan" in str(failed)
            after = stacked[1].state_dict()
            for name in after:
                for part in ("slots", "buffers", "average"):
                    assert all(torch.equal(after[name][part][key], v) for key, v in before[name][part].items())
                assert torch.equal(after[name]["theta"], before[name]["theta"])
        for k in (0, 2):
            single[k](move[k])
    assert difference(single[0], stacked[0]) < 1e-12 and difference(single[2], stacked[2]) < 1e-12
    assert [u.moves for u in stacked] == [4, 3, 4]


def test_updates_that_differ_or_cannot_be_stacked_are_refused() -> None:
    with pytest.raises(ValueError, match="must not differ"):
        Stack([make(Simultaneous(), adam(0.01), torch.float64), make(Simultaneous(), adam(0.02), torch.float64)])
    with pytest.raises(ValueError, match="cannot be stacked"):
        Stack([make(Simultaneous(), from_torch("AdamW"), torch.float64)])


METHODS = {"adagrad_norm": adagrad_norm(0.1), "nesterov": nesterov(0.02), "sgd": sgd(0.05)}


@pytest.mark.parametrize("name", METHODS)
def test_methods_with_numbers_and_look_aheads_stack(name: str) -> None:
    """A number () of the state becomes a vector over seeds, and must stay one number for each."""
    method = METHODS[name]
    single, stacked = ([make(Alternating(1), method, torch.float64) for _ in range(SEEDS)] for _ in range(2))
    for updates in (single, stacked):
        for k, update in enumerate(updates):
            update.players["actor"].vector.theta.mul_(1 - 0.3 * k)
    stack = Stack(stacked)
    for move in data(single[0], 8):
        stack(move)
        for k in range(SEEDS):
            single[k](move[k])
    assert max(difference(a, b) for a, b in zip(single, stacked, strict=True)) < 1e-12
