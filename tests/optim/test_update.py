"""One definition, two ways to run it: eager modules and the (compiled) pure function of the vectors are held equal."""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.optim import (
    EMA,
    AcceleGrad,
    Alternating,
    Box,
    Consensus,
    Extragradient,
    Game,
    GaussianNoise,
    Linear,
    Lookahead,
    Losses,
    Method,
    Metrics,
    Nets,
    NoNoise,
    Optimistic,
    PastExtrapolation,
    Player,
    PlayerSpec,
    Report,
    Simultaneous,
    Symplectic,
    Update,
    adagrad_norm,
    adam,
    amsgrad,
    heavy_ball,
    nesterov,
    rmsprop,
    rmsprop_nesterov,
    sgd,
)  # fmt: skip
from rlgan.optim.compiled.graph import one_graph
from rlgan.optim.play.player import PlayerState, overwrite
from tests.optim.problems import linked


class Batch(NamedTuple):
    x: Tensor
    y: Tensor


def critic_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    """A regression on the averages, and a per-sample penalty: everything that a loss may do."""
    with torch.no_grad():
        target = batch.y + 0.9 * nets.average.critic(nets.average.actor(batch.x)).squeeze(-1)
    q = nets.critic(nets.actor(batch.x)).squeeze(-1)
    slope = nets.critic.input_gradient(batch.x[:, :2]).square().sum(-1)
    return F.mse_loss(q, target) + 0.1 * (slope - 1).square().mean(), {"critic/q": q.mean()}


def actor_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    return -nets.critic(nets.actor(batch.x)).mean(), {}


def network(inputs: int, outputs: int, norm: bool) -> nn.Module:
    middle = [nn.BatchNorm1d(8)] if norm else []
    # A bias before batch norm has a gradient of pure rounding noise, which Adam would scale up to full steps.
    return nn.Sequential(nn.Linear(inputs, 8, bias=not norm), *middle, nn.Tanh(), nn.Linear(8, outputs))


def make(
    game: Game,
    method: Method,
    dtype: torch.dtype,
    *,
    compiled: bool = False,
    norm: bool = True,
    joint: bool = False,
    noise: bool = True,
) -> Update:
    torch.manual_seed(0)
    critic, actor = network(2, 1, False).to(dtype), network(3, 2, norm).to(dtype)
    spec = PlayerSpec(None, method, Linear(0.1, 20), Box(0.8), GaussianNoise(1e-3), EMA(0.1))
    if not noise:
        spec = replace(spec, noise=NoNoise())
    players = [
        Player("critic", critic, spec, 40, torch.Generator().manual_seed(1)),
        Player("actor", actor, PlayerSpec(None, method, averaging=EMA(0.2)), 40),
    ]
    losses = Losses(
        {"critic": critic_loss, "actor": actor_loss},
        actor_loss if joint else None,
        {"critic": 1, "actor": -1} if joint else {},
    )
    return Update(players, losses, game, compiled=compiled)


def batches(update: Update, dtype: torch.dtype, moves: int) -> list[list[Batch]]:
    g = torch.Generator().manual_seed(2)

    def one() -> Batch:
        x, y = torch.randn(16, 3, generator=g, dtype=torch.float64), torch.randn(16, generator=g, dtype=torch.float64)
        return Batch(x.to(dtype), y.to(dtype))

    return [[one() for _ in range(update.batches)] for _ in range(moves)]


def difference(a: Update, b: Update) -> float:
    """Largest relative difference of all that the updates have changed."""

    def leaves(tree: object) -> list[Tensor]:
        if isinstance(tree, Tensor):
            return [tree.double()]
        return [leaf for item in tree.values() for leaf in leaves(item)] if isinstance(tree, dict) else []

    pairs = zip(leaves(a.state_dict()), leaves(b.state_dict()), strict=True)
    return max(((x - y).norm() / (x.norm() + 1e-12)).item() for x, y in pairs)


def run_pure(update: Update) -> Update:
    """Make an update run its pure function without compiling it."""
    update.compiled = True
    return update


CASES = [
    (Simultaneous(), sgd(0.05), False),
    (Alternating(3), heavy_ball(0.02), False),
    (Alternating(1), rmsprop(0.01), False),
    (Alternating(2), adam(0.01), False),
    (Simultaneous(), adam(0.01), True),
    (Alternating(2), nesterov(0.02), False),
    (Simultaneous(), rmsprop_nesterov(0.003), True),
    (Alternating(2), AcceleGrad(), False),
    (Simultaneous(), amsgrad(0.01), False),
    (Extragradient(), adam(0.01), False),
    (Extragradient(resample=False), adam(0.01), True),
    (PastExtrapolation(), adam(0.01), False),
    (Optimistic(), adam(0.01), False),
    (Lookahead(Alternating(2), k=3), adam(0.01), False),
    (Lookahead(PastExtrapolation(), k=3), sgd(0.05), True),
    (Consensus(0.1), adam(0.01), False),
    (Consensus(0.1), rmsprop(0.01), True),
    (Symplectic(0.5), adam(0.01), False),
    (Symplectic(0.5, align=False), sgd(0.05), True),
]


@pytest.mark.parametrize("noise", [True, False], ids=["noise", "still"])
@pytest.mark.parametrize(("game", "method", "joint"), CASES)
def test_eager_and_pure_are_equal(game: Game, method: Method, joint: bool, noise: bool) -> None:
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 5e-6)):
        eager = make(game, method, dtype, joint=joint, noise=noise)
        pure = run_pure(make(game, method, dtype, joint=joint, noise=noise))
        start = eager.state_dict()
        for batch in batches(eager, dtype, 20):
            a, b = eager(batch), pure(batch)
            assert set(a) == set(b)
        assert difference(eager, pure) < tolerance
        assert float(a["critic/grad_norm"]) == pytest.approx(float(b["critic/grad_norm"]), rel=1e-4)
        moved = [(eager.players[n].vector.theta - start[n]["theta"]).norm() for n in eager.players]
        assert min(moved) > 1e-2, "a test that could not fail"
        # Batch norm's statistics are part of what must agree.
        assert any("running_mean" in k for k in eager.players["actor"].state["buffers"])


def test_compiled_equals_eager_and_runs_two_updates_without_mixing_them_up() -> None:
    """float64 to 1e-12 over 50 moves; a second compiled update of the same shapes has graphs of its own."""
    game, dtype = Alternating(1), torch.float64
    eager, compiled = (make(game, adam(0.01), dtype, compiled=c) for c in (False, True))
    other_eager, other = (make(game, adam(0.003), dtype, compiled=c) for c in (False, True))
    for batch in batches(eager, dtype, 50):
        for update in (eager, compiled, other_eager, other):
            update(batch)
    assert difference(eager, compiled) < 1e-12
    assert difference(other_eager, other) < 1e-12
    assert difference(compiled, other) > 1e-3
    # The modules are views of the vectors that the graph has written.
    x = torch.randn(5, 3, dtype=dtype)
    for update in (eager, compiled):
        assert linked(update.players["actor"].vector)
    assert torch.allclose(compiled.players["actor"].module.eval()(x), eager.players["actor"].module.eval()(x))


def test_state_continues_bit_exactly() -> None:
    game, dtype = Alternating(2), torch.float32
    whole, first, second = (make(game, adam(0.01), dtype) for _ in range(3))
    for i, batch in enumerate(batches(whole, dtype, 20)):
        whole(batch)
        if i < 10:
            first(batch)
        else:
            if i == 10:
                second.load_state_dict(first.state_dict())
                generator, saved = second.players["critic"].generator, first.players["critic"].generator
                assert generator is not None and saved is not None
                generator.set_state(saved.get_state())
            second(batch)
    assert difference(whole, second) == 0.0


def test_a_zero_sum_loss_costs_one_forward_and_one_backward_pass() -> None:
    calls: list[str] = []

    def joint(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        calls.append("joint")
        return actor_loss(nets, batch)

    update = make(Simultaneous(), sgd(0.05), torch.float64)
    losses = Losses({"critic": critic_loss, "actor": actor_loss}, joint, {"critic": 1, "actor": -1})
    once = Update(list(update.players.values()), losses, Simultaneous())
    once(batches(once, torch.float64, 1)[0])
    assert calls == ["joint"]


@pytest.mark.parametrize("method", [adagrad_norm(0.1), AcceleGrad()], ids=["adagrad_norm", "accelegrad"])
def test_a_number_in_a_methods_state_is_written_by_the_compiled_step(method: Method) -> None:
    """torch 2.13 drops writes to 0-d float64 tensors in a graph; AdaGrad's sum would stay 0 in silence."""

    def player() -> Player:
        module = nn.Linear(3, 1).double()
        with torch.no_grad():
            module.weight.fill_(0.5)
            module.bias.fill_(-0.5)
        return Player("p", module, PlayerSpec(None, method), 10)

    eager, compiled = player(), player()
    keys = tuple(compiled.scalars(1))

    def step(state: PlayerState, g: Tensor, numbers: Tensor) -> Report:
        new = compiled.step(state, g, dict(zip(keys, numbers.unbind(), strict=True)), None)
        with torch.no_grad():
            overwrite(state, new)
        return {}

    run = one_graph(step, torch.device("cpu"))
    for t in range(1, 6):
        g = torch.linspace(0.1, 1.0, 4, dtype=torch.float64) * t
        eager.step_in_place(g, eager.scalars(t), None)
        run(compiled.state, g, torch.tensor(list(compiled.scalars(t).values()), dtype=torch.float64))
        assert float(compiled.state["slots"]["sum_square"]) > 0
        torch.testing.assert_close(compiled.state["theta"], eager.state["theta"], rtol=1e-12, atol=1e-13)
