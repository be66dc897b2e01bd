"""Seed k of a stack does what it does alone; a seed that fails or waits is left out, and each can go on by itself."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

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
from rlgan.optim import stack as module
from rlgan.optim.compiled.graph import keep_graphs
from rlgan.optim.compiled.products import Products
from tests.optim.problems import linked
from tests.optim.test_update import Batch, batches, difference, make, run_pure

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
        assert actor.module is modules[k] and linked(actor.vector)
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


def poisoned(move: list[list[Batch]], k: int) -> list[list[Batch]]:
    """The same minibatches, seed k's with NaN."""
    return [[Batch(b.x, b.y * math.nan) for b in own] if i == k else own for i, own in enumerate(move)]


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_of_seeds_move_as_all_at_once(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two and one, with one moved by the block before standing still in the second; one waits, one fails."""
    whole, cut = seeds(Alternating(2)), seeds(Alternating(2))
    together, apart = Stack(whole), Stack(cut)
    apart._blocked = True
    monkeypatch.setattr(module, "LARGEST_BLOCK", block)
    calls: list[int] = []
    run = apart._run

    def counted(states: Any, active: Tensor, *rest: Any) -> Any:
        calls.append(len(active))
        return run(states, active, *rest)

    apart._run = counted  # type: ignore[assignment]
    for i, move in enumerate(data(whole[0], 6)):
        sound = poisoned(move, 2) if i == 4 else move
        given = [None if (i + k) % 3 == 0 and i != 4 else own for k, own in enumerate(sound)]
        a, b = together(given), apart(given)
        for mine, theirs in zip(a, b, strict=True):
            assert type(mine) is type(theirs)
            if isinstance(mine, dict) and isinstance(theirs, dict):
                assert mine == pytest.approx(theirs, rel=1e-12)
    assert calls == [min(block, 2) if block < 3 else 3] * (6 * math.ceil(SEEDS / block))
    assert max(difference(x, y) for x, y in zip(whole, cut, strict=True)) < 1e-12
    assert [u.moves for u in whole] == [u.moves for u in cut] == [4, 4, 4]


def test_seeds_at_different_steps_have_numbers_of_their_own() -> None:
    """Their bias corrections and schedules differ; together with a seed that has made two moves alone."""
    single, stacked = seeds(Simultaneous()), seeds(Simultaneous())
    stack = Stack(stacked)
    for i, move in enumerate(data(single[0], 5)):
        for k in range(SEEDS):
            if i > 1 or k == 1:
                single[k](move[k])
        if i > 1:
            stack(move)
        else:
            stacked[1](move[1])
    assert [u.moves for u in stacked] == [3, 5, 3]
    assert max(difference(a, b) for a, b in zip(single, stacked, strict=True)) < 1e-12


def test_a_seed_that_failed_stays_frozen_until_somebody_looks() -> None:
    """check_every = 5: a NaN in the third move; that move and the two after it are not made, and then not counted."""
    single, stacked = seeds(Simultaneous()), seeds(Simultaneous())
    stack = Stack(stacked, check_every=5)
    moves = data(single[0], 7)
    found, frozen = [], []
    for i, move in enumerate(moves):
        found.append(stack(poisoned(move, 1) if i == 2 else move))
        for k in range(SEEDS):
            if k != 1 or i < 2 or i > 4:
                single[k](move[k])
            else:
                single[k].draws()  # noise is drawn on the host, which does not know
        if i in (1, 2, 3, 4):
            frozen.append(stacked[1].players["critic"].vector.theta.clone())
    for i, reports in enumerate(found):
        assert all(isinstance(own, dict) for k, own in enumerate(reports) if (i, k) != (4, 1))
    assert all(torch.equal(theta, frozen[0]) for theta in frozen)
    error = found[4][1]
    assert isinstance(error, NonFinite) and "critic/loss = nan" in str(error), "the metrics of the move that failed"
    assert [u.moves for u in stacked] == [7, 4, 7] and stack.check() == [None] * SEEDS
    assert max(difference(a, b) for a, b in zip(single, stacked, strict=True)) < 1e-12


@pytest.mark.parametrize("how", ["fifth", "watch", "check", "state_dict"])
def test_an_update_looks_at_its_flag_every_fifth_move_or_when_asked(how: str) -> None:
    update = make(Simultaneous(), adam(0.01), torch.float64, noise=False)
    lazy = run_pure(Update(list(update.players.values()), update.pure.losses, update.game, check_every=5))
    plain = make(Simultaneous(), adam(0.01), torch.float64, noise=False)
    flat = batches(update, torch.float64, 5)
    for i in range(2):
        report, own = lazy(flat[i]), plain(flat[i])
        assert isinstance(report["critic/loss"], Tensor), "not read"
        assert float(report["critic/loss"]) == pytest.approx(float(own["critic/loss"]), rel=1e-12)
    lazy([Batch(b.x, b.y * math.nan) for b in flat[2]])
    lazy(flat[3])
    assert lazy.moves == 4
    with pytest.raises(NonFinite, match=r"critic/loss = nan.*largest parameter: critic"):
        if how == "check":
            lazy.check()
        elif how == "state_dict":
            lazy.state_dict()
        else:
            lazy(flat[4], watch=how == "watch")
    assert lazy.moves == 2 and difference(lazy, plain) < 1e-12
    lazy(flat[3])
    plain(flat[3])
    lazy.check()
    assert lazy.moves == 3 and difference(lazy, plain) < 1e-12


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="check_every = 0"):
        Stack(seeds(Simultaneous()), check_every=0)


def test_products_are_rewritten_to_the_same_values() -> None:
    """The pass on the graph of two layers: no bias within a product, no product by one number alone, and none left
    with 2 to 15 columns and more rows."""

    def products(x: Tensor, g: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        layer = torch.addmm(b, x, w.mT) if x.ndim == 2 else x @ w.mT + b
        return g.mT @ x, g @ w, layer, (g * 2).mT @ g, layer[..., :1] @ w.mT[..., :1, :]

    generator = torch.Generator().manual_seed(0)
    for lead in ((), (3,)):
        x, g, w = (
            torch.randn(*lead, *shape, dtype=torch.float64, generator=generator)
            for shape in ((32, 4), (32, 24), (24, 4))
        )
        b = torch.randn(24, dtype=torch.float64, generator=generator)
        traced = make_fx(products, tracing_mode="fake")(x, g, w, b)
        Products()(traced.graph)
        traced.recompile()
        for ours, wanted in zip(traced(x, g, w, b), products(x, g, w, b), strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
        targets = [n.target for n in traced.graph.nodes]
        assert torch.ops.aten.addmm.default not in targets
        kinds = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default)
        shapes = [n.meta["val"].shape[-2:] for n in traced.graph.nodes if n.target in kinds]
        assert sorted(map(tuple, shapes)) == [(4, 24), (4, 32), (24, 24), (32, 24)]


def test_compiled_graphs_are_kept_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    keep_graphs()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere" and not list(tmp_path.iterdir())
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_graphs()
    path = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert path == tmp_path / "rlgan" / "inductor" and path.is_dir()
