"""Averages as weights of the new point."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from rlgan.nets import DCGANSpec, MLPSpec, NetworkSpec
from rlgan.optim import (
    EMA,
    Alternating,
    Average,
    Game,
    Lookahead,
    Losses,
    Method,
    Metrics,
    Nets,
    NoAverage,
    Player,
    PlayerSpec,
    RunEMA,
    Stack,
    Update,
    adam,
    sgd,
)  # fmt: skip
from rlgan.optim.step.averaging import Periodic, Several, UniformAverage, WeightedAverage
from tests.small import TASKS, build


def run(average: Average, steps: int, horizon: int, method: Method | None = None) -> tuple[list[Tensor], Tensor]:
    torch.manual_seed(0)
    player = Player("p", nn.Linear(2, 1).double(), PlayerSpec(None, method or sgd(0.1), averaging=average), horizon)
    path: list[Tensor] = [player.state["theta"].clone()]
    for t in range(1, steps + 1):
        player.step_in_place(torch.randn(3, dtype=torch.float64), player.scalars(t), None)
        path.append(player.state["theta"].clone())
    return path, player.state["average"]["theta_bar"]


def test_ema_is_the_weighted_sum() -> None:
    path, theta_bar = run(EMA(0.1), 30, 30)
    expected = 0.9**30 * path[0] + sum(0.1 * 0.9 ** (30 - t) * path[t] for t in range(1, 31))
    assert torch.allclose(theta_bar, expected, rtol=1e-13)


def test_run_ema_begins_as_the_mean_and_ends_as_an_ema_of_the_runs_length() -> None:
    path, theta_bar = run(RunEMA(0.5), 10, 40)
    assert torch.allclose(theta_bar, torch.stack(path[1:]).mean(0), rtol=1e-13)
    assert RunEMA(0.5).weight(1000, 40) == 1 / 20
    assert RunEMA(0.5).weight(1000, 80) == 1 / 40


def accelegrad(k: int) -> float:
    """a_k of AcceleGrad, k = 0, 1, ..."""
    return max(1.0, (k + 1) / 4)


def delayed(s: int, t: int) -> float:
    """The weight at t of theta_s in an EMA of 0.3 that moves every third step."""
    return 0.3 * 0.7 ** (t // 3 - s // 3) if s % 3 == 0 else 0.0


#: Each average and the weights, not normalised, of theta_0, ..., theta_t in it.
DIRECT: dict[str, tuple[Average, Callable[[int], list[float]]]] = {
    "ema": (EMA(0.3), lambda t: [0.7**t] + [0.3 * 0.7 ** (t - s) for s in range(1, t + 1)]),
    "ema-every": (EMA(0.3, every=3), lambda t: [0.7 ** (t // 3)] + [delayed(s, t) for s in range(1, t + 1)]),
    "run_ema": (RunEMA(0.5), lambda t: [0.0] + [1.0] * t),  # as long as t is below half of the run
    "uniform": (UniformAverage(), lambda t: [0.0] + [1.0] * t),
    "uniform-start": (UniformAverage(start=7), lambda t: [float(s > 7 or s == t <= 7) for s in range(t + 1)]),
    "weighted": (WeightedAverage(), lambda t: [0.0] + [accelegrad(k) for k in range(t)]),
    "periodic": (Periodic(4), lambda t: [float(s == t // 4 * 4) for s in range(t + 1)]),
    "periodic-1": (Periodic(1), lambda t: [0.0] * t + [1.0]),
}


@pytest.mark.parametrize("method", [sgd(0.1), adam(0.1)], ids=["sgd", "adam"])
@pytest.mark.parametrize(("average", "weights"), DIRECT.values(), ids=DIRECT)
def test_recursion_is_the_weighted_mean_of_the_trajectory(
    average: Average, weights: Callable[[int], list[float]], method: Method
) -> None:
    for t in (1, 2, 3, 4, 5, 7, 8, 9, 31, 40):
        path, theta_bar = run(average, t, 80, method)
        a = torch.tensor(weights(t), dtype=torch.float64)
        expected = (a[:, None] * torch.stack(path)).sum(0) / a.sum()
        torch.testing.assert_close(theta_bar, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "average", [UniformAverage(), UniformAverage(3), WeightedAverage(), Periodic(1), RunEMA(0.1), NoAverage()]
)
def test_the_initial_point_is_forgotten_at_once(average: Average) -> None:
    assert average.weight(1, 1000) == 1.0


def test_weights_of_weighted_in_exact_fractions() -> None:
    total = Fraction(0)
    for t in range(1, 400):
        a = max(Fraction(1), Fraction(t, 4))
        total += a
        assert WeightedAverage().weight(t, 0) == pytest.approx(float(a / total), rel=1e-15)


def test_uniform_is_the_point_itself_until_it_starts() -> None:
    assert [UniformAverage(2).weight(t, 0) for t in range(1, 7)] == [1.0, 1.0, 1.0, 1 / 2, 1 / 3, 1 / 4]


def test_periodic_copies_every_so_many_steps() -> None:
    assert [Periodic(3).weight(t, 0) for t in range(1, 10)] == [0.0, 0.0, 1.0] * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMA(0.0), "tau = 0.0: "),
        (lambda: EMA(0.5, every=0), "every = 0: "),
        (lambda: RunEMA(1.5), "fraction = 1.5: "),
        (lambda: UniformAverage(-1), "start = -1: "),
        (lambda: Periodic(0), "every = 0: "),
        (lambda: Several({}), "averages = {}: "),
        (lambda: Several({"a/b": EMA()}), "averages.a/b = "),
        (lambda: Several({"both": Several({"ema": EMA()})}), "averages.both = "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Average], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message):
        make()


OPTIONS: dict[str, tuple[str, Average]] = {
    "uniform": ("start=5", UniformAverage(5)),
    "weighted": ("", WeightedAverage()),
    "periodic": ("every=2", Periodic(2)),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_built_and_kept_by_the_player(name: str) -> None:
    setting, expected = OPTIONS[name]
    words = [f"generator.averaging.{setting}"] if setting else []
    task = build(*TASKS["wgan"], f"averaging@generator.averaging={name}", *words)
    player: Player = task.generator  # type: ignore[attr-defined]
    assert player.spec.averaging == expected
    theta_0 = player.vector.theta.clone()
    for t in (1, 2):
        player.step_in_place(torch.ones_like(theta_0), player.scalars(t), None)
    theta_bar = player.state["average"]["theta_bar"]
    assert not torch.allclose(theta_bar, theta_0)
    if name == "weighted":
        assert not torch.allclose(theta_bar, player.vector.theta)
    else:  # until its start, and at a copy
        torch.testing.assert_close(theta_bar, player.vector.theta)
    task.close()


@pytest.mark.parametrize(
    "average", [EMA(0.5), UniformAverage(), WeightedAverage(), Periodic(1)], ids=lambda a: type(a).__name__
)
@pytest.mark.parametrize(
    ("spec", "shape"), [(MLPSpec(hidden=(8,), norm="batch"), (3,)), (DCGANSpec(width=2, norm="batch"), (1, 8, 8))]
)
def test_every_average_of_a_network_carries_its_running_statistics(
    average: Average, spec: NetworkSpec, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    module = spec.build(shape, ()).double()
    player = Player("p", module, PlayerSpec(None, sgd(0.1), averaging=average), 100)
    for t in (1, 2, 3):
        module(torch.randn(20, *shape, dtype=torch.float64) + 3.0)
        player.step_in_place(torch.randn_like(player.vector.theta), player.scalars(t), None)
    running = dict(module.named_buffers())
    assert running
    for name, kept in player.average.named_buffers():
        assert torch.equal(kept, running[name]) and kept.data_ptr() != running[name].data_ptr()
        assert name.endswith("num_batches_tracked") or not torch.allclose(kept, torch.zeros_like(kept))


def test_average_network_is_linked_carries_buffers_and_is_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    player = Player("p", module, PlayerSpec(None, sgd(0.1), averaging=EMA(1.0)))
    module(torch.randn(50, 2) + 3.0)
    assert not torch.equal(player.average.get_buffer("1.running_mean"), module.get_buffer("1.running_mean"))
    player.step_in_place(torch.randn_like(player.vector.theta), player.scalars(1), None)
    assert torch.equal(player.average.get_buffer("1.running_mean"), module.get_buffer("1.running_mean"))
    assert player.average.get_buffer("1.running_mean") is not module.get_buffer("1.running_mean")
    x = torch.randn(4, 2)
    module.eval()
    assert torch.equal(player.average(x), module(x)) and not player.average.training
    assert not any(p.requires_grad for p in player.average.parameters())


def test_without_an_average_the_networks_own_parameters_are_used() -> None:
    player = Player("p", nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), PlayerSpec(None, sgd(0.1)))
    assert not player.state["average"] and not player.average.training
    assert not any(p.requires_grad for p in player.average.parameters())
    x = torch.randn(5, 2)
    player.module(x)  # batch norm's statistics are shared too
    player.step_in_place(torch.ones_like(player.vector.theta), player.scalars(1), None)
    assert torch.equal(player.average(x), player.module.eval()(x))


# --- several averages of one run -----------------------------------------------------------------------------------

SEVERAL = Several({"ema": EMA(0.3), "uniform": UniformAverage(), "none": NoAverage(), "copy": Periodic(2)})


def first_loss(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
    return (nets.first(batch) - nets.second(batch)).square().mean(), {}


def second_loss(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
    return (nets.second(batch) * nets.first(batch)).mean() + nets.second(batch).square().mean(), {}


def game_of(averaging: Average, game: Game, compiled: bool = False, scale: float = 1.0) -> Update:
    torch.manual_seed(0)

    def net() -> nn.Module:
        # A bias before batch norm has a gradient of pure rounding noise, which Adam would scale up to full steps.
        return nn.Sequential(nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1)).double()

    players = [
        Player("first", net(), PlayerSpec(None, adam(0.05)), 20),
        Player("second", net(), PlayerSpec(None, adam(0.05), averaging=averaging), 20),
    ]
    for player in players:
        player.vector.theta.mul_(scale)
    return Update(players, Losses({"first": first_loss, "second": second_loss}), game, compiled=compiled)


def data(update: Update, moves: int) -> list[list[Tensor]]:
    g = torch.Generator().manual_seed(2)
    return [[torch.randn(8, 2, generator=g, dtype=torch.float64) for _ in range(update.batches)] for _ in range(moves)]


def averaged(player: Player, name: str) -> dict[str, Tensor]:
    """Parameters and buffers of an averaged network, copied."""
    return {key: value.clone() for key, value in player.averages[name].state_dict().items()}


@pytest.mark.parametrize("game", [Alternating(2), Lookahead(Alternating(1), k=3)], ids=lambda g: type(g).__name__)
@pytest.mark.parametrize("way", ["eager", "pure", "stacked"])
def test_several_averages_are_each_what_it_is_alone(game: Game, way: str) -> None:
    """Parameters and running statistics; eagerly, as a pure function, and stacked with another seed."""
    together = game_of(SEVERAL, game)
    if way == "pure":
        together.compiled = True  # the pure function, not compiled
    stack = Stack([together, game_of(SEVERAL, game, scale=0.7)]) if way == "stacked" else None
    for move in data(together, 7):
        if stack is not None:
            assert all(isinstance(report, dict) for report in stack([move, move]))
        else:
            together(move)
    several = together.players["second"]
    assert list(several.averages) == ["ema", "uniform", "none", "copy"]
    assert several.average is several.averages["ema"]
    for name, average in SEVERAL.averages.items():
        alone = game_of(average, game)
        for move in data(alone, 7):
            alone(move)
        expected = alone.players["second"].average.state_dict()
        for key, value in averaged(several, name).items():
            torch.testing.assert_close(value, expected[key], rtol=1e-10, atol=1e-12)
        assert not several.averages[name].training
    different = [averaged(several, name)["0.weight"] for name in several.averages]
    assert all(not torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])


def test_several_averages_survive_a_checkpoint_and_refuse_another_ones() -> None:
    whole, first, second = (game_of(SEVERAL, Alternating(1)) for _ in range(3))
    moves = data(whole, 6)
    for move in moves:
        whole(move)
    for move in moves[:3]:
        first(move)
    second.load_state_dict(first.state_dict())
    for move in moves[3:]:
        second(move)
    for name in SEVERAL.averages:
        a, b = averaged(whole.players["second"], name), averaged(second.players["second"], name)
        assert all(torch.equal(a[key], b[key]) for key in a)
    with pytest.raises(ValueError, match=r"saved with average \['theta_bar', 'theta_bar/copy', 'theta_bar/uniform'\]"):
        game_of(EMA(0.3), Alternating(1)).load_state_dict(first.state_dict())


def test_the_iterate_may_stand_first_among_several() -> None:
    update = game_of(Several({"none": NoAverage(), "uniform": UniformAverage()}), Alternating(1))
    for move in data(update, 3):
        update(move)
    player = update.players["second"]
    point = torch.cat([p.reshape(-1) for p in player.average.parameters()])
    assert torch.equal(point, player.vector.theta)
    assert not torch.equal(averaged(player, "uniform")["0.weight"], averaged(player, "none")["0.weight"])


def test_several_averages_are_an_option_of_every_player() -> None:
    task = build(
        *TASKS["wgan"], "averaging@generator.averaging=several", "generator.averaging.averages.ema.fraction=0.5"
    )
    generator: Player = task.generator  # type: ignore[attr-defined]
    assert generator.spec.averaging == Several({"ema": RunEMA(0.5), "uniform": UniformAverage(), "none": NoAverage()})
    task.close()
