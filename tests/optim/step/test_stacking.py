"""Every method and every game as a pure function: compiled whole, and stacked over seeds by vmap, it does the same."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from rlgan.optim import (
    EMA,
    Alternating,
    Ball,
    Box,
    Consensus,
    Extragradient,
    Game,
    Lookahead,
    NoProjection,
    Optimistic,
    PastExtrapolation,
    Player,
    PlayerSpec,
    Position,
    Simplex,
    Simultaneous,
    Symplectic,
    adam,
)  # fmt: skip
from tests.optim.step.test_matrix import METHODS, Point
from tests.optim.test_update import batches, make

GAMES: list[Game] = [
    Simultaneous(),
    Alternating(2),
    Extragradient(),
    PastExtrapolation(),
    Optimistic(),
    Lookahead(Alternating(1), k=2),
    Consensus(),
    Symplectic(),
]
SEEDS = 2
#: Compiled as well; the others are parts of these, or compiled in test_tasks. The first two repeat the step that is
#: compiled there, so that the graph of their Python is enough; only the third differentiates otherwise.
COMPILED = {Extragradient: "eager", Lookahead: "eager", Symplectic: "aot_eager"}
#: Compiled each time; the derivative of a derivative takes longest and is compiled with the slow ones.
QUICK = (Extragradient, Lookahead)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Dynamo keeps graphs by code object, and every stacked function runs in vmap's own."""
    torch._dynamo.reset()


def stacked(trees: list[Any]) -> Any:
    """A tree of tensors with a leading axis over `trees`."""
    if isinstance(trees[0], Tensor):
        return torch.stack(trees)
    if isinstance(trees[0], dict):
        return {key: stacked([tree[key] for tree in trees]) for key in trees[0]}
    if isinstance(trees[0], tuple):
        return type(trees[0])(*(stacked([tree[i] for tree in trees]) for i in range(len(trees[0]))))
    return [stacked([tree[i] for tree in trees]) for i in range(len(trees[0]))]


def largest_difference(a: Any, b: Any) -> float:
    if isinstance(a, Tensor):
        return float((a.double() - b.double()).norm() / (b.double().norm() + 1e-12))
    return max((largest_difference(a[key], b[key]) for key in a), default=0.0)


@pytest.mark.parametrize(
    ("game", "backend"),
    [
        *(pytest.param(game, None, id=type(game).__name__) for game in GAMES if type(game) not in QUICK),
        *(
            pytest.param(
                game,
                backend,
                id=f"{type(game).__name__} compiled",
                marks=[] if type(game) in QUICK else pytest.mark.slow,
            )
            for game in GAMES
            if (backend := COMPILED.get(type(game)))
        ),
    ],
)
def test_a_move_of_every_game_compiles_and_stacks(game: Game, backend: str | None) -> None:
    """Two seeds under vmap, in one graph (fullgraph, static), against each seed alone and uncompiled, three moves."""
    updates = [make(game, adam(0.01), torch.float64, norm=game == Simultaneous(), noise=False) for _ in range(SEEDS)]
    for update in updates[1:]:
        for player in update.players.values():
            player.vector.theta.mul_(0.5)
            for slot in player.state["game"].values():
                slot.mul_(0.5)
    shape = updates[0]

    def move(states: Any, data: Any, numbers: Any, s: Any) -> Any:
        plan = {name: [(scalars, None) for scalars in steps] for name, steps in numbers.items()}
        field = shape.pure.at(Position(states, torch.ones((), dtype=torch.bool)))
        game.move(field, data, plan, s)
        return field.position.players

    many = torch.func.vmap(move, in_dims=(0, 0, None, None))
    if backend is not None:
        many = torch.compile(many, backend=backend, fullgraph=True, dynamic=False)
    singles = [{name: p.state for name, p in update.players.items()} for update in updates]
    together = stacked(singles)
    data = [batches(shape, torch.float64, 3), batches(shape, torch.float64, 6)[3:]]
    for i in range(3):
        numbers = {
            name: [player.scalars(i * shape.steps[name] + j + 1) for j in range(shape.steps[name])]
            for name, player in shape.players.items()
        }
        tensors = {n: [{k: torch.tensor(v, dtype=torch.float64) for k, v in s.items()} for s in steps]
                   for n, steps in numbers.items()}  # fmt: skip
        s = {k: torch.tensor(v, dtype=torch.float64) for k, v in game.scalars(i).items()}
        together = many(together, stacked([data[k][i] for k in range(SEEDS)]), tensors, s)
        for k in range(SEEDS):
            singles[k] = move(singles[k], data[k][i], tensors, s)
    for k in range(SEEDS):
        own = {n: {part: v for part, v in state.items() if part != "buffers"} for n, state in singles[k].items()}
        for name, state in own.items():
            for part, value in state.items():
                mine = together[name][part]
                mine = mine[k] if isinstance(mine, Tensor) else {key: v[k] for key, v in mine.items()}
                assert largest_difference(mine, value) < 1e-12, (name, part)
    assert largest_difference(singles[0]["critic"]["theta"], singles[1]["critic"]["theta"]) > 1e-3


@pytest.mark.parametrize(
    ("dtype", "compiled"),
    [
        pytest.param(torch.float64, False, id="float64"),
        pytest.param(torch.float32, False, id="float32"),
        pytest.param(torch.float32, True, id="float32 compiled", marks=pytest.mark.slow),
    ],
)
def test_the_step_of_every_method_compiles_and_stacks(dtype: torch.dtype, compiled: bool) -> None:
    """All of them in one graph, or uncompiled, where vmap refuses what a graph would: a branch on a tensor's value.

    Numbers come in as 0-d float64 tensors, and nothing is promoted by them.
    """
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    start = torch.tensor([-0.5, 0.3, 0.8, -0.2], dtype=dtype)
    players = {}
    for (name, row), projection in zip(METHODS.items(), itertools.cycle((Box(0.4), Ball(0.6), Simplex(1.0)))):
        method = row.make(4.0)
        own = projection if method.kind in projection.metrics else NoProjection()
        spec = PlayerSpec(None, method, projection=own, averaging=EMA(0.1))
        players[name] = Player("p", Point(start), spec, 10, torch.Generator().manual_seed(0))

    def step(states: Any, g: Tensor, numbers: Any, xi: Tensor) -> Any:
        return {n: p.step(states[n], g, numbers[n], xi if p.spec.xi.active else None) for n, p in players.items()}

    many = torch.func.vmap(step, in_dims=(0, 0, None, 0))
    if compiled:
        many = torch.compile(many, backend="aot_eager", fullgraph=True, dynamic=False)
    singles = [{n: p.state for n, p in players.items()} for _ in range(SEEDS)]
    together = stacked(singles)
    g = torch.randn(SEEDS, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    xi = torch.randn(SEEDS, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    for t in range(3):
        numbers = {n: p.scalars(t + 1) for n, p in players.items()}
        tensors = {n: {k: torch.tensor(v, dtype=torch.float64) for k, v in s.items()} for n, s in numbers.items()}
        together = many(together, g[:, t], tensors, xi[:, t])
        singles = [step(singles[k], g[k, t], numbers, xi[k, t]) for k in range(SEEDS)]
    for name in players:
        for k in range(SEEDS):
            theta = together[name]["theta"][k]
            assert theta.dtype == dtype
            assert largest_difference(theta, singles[k][name]["theta"]) < tolerance, name
            for slot, value in singles[k][name]["slots"].items():
                stored = torch.float64 if slot == "sum_square" and not value.ndim else dtype
                assert together[name]["slots"][slot].dtype == value.dtype == stored, (name, slot)
                assert largest_difference(together[name]["slots"][slot][k], value) < 10 * tolerance, (name, slot)
