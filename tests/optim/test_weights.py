"""Weights by name: written, read back, and begun at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import Ball, Losses, Nets, NoAverage, PlayerSpec, RunEMA, Several, Simultaneous, TwoPlayers, adam
from rlgan.optim.weights import Unlike, beginning, load_weights, stilled, weights_of

AVERAGES = Several({"ema": RunEMA(), "last": NoAverage(), "slow": RunEMA(0.5)})


def network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def learner(seed: int, width: int = 3, **spec: Any) -> TwoPlayers:
    torch.manual_seed(seed)

    def loss(nets: Nets, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return nets.model(batch).square().mean(), {}

    spec = {"averaging": AVERAGES, **spec}
    return TwoPlayers(
        {"model": network(width)},
        {"model": PlayerSpec(None, adam(0.1), **spec)},
        Losses({"model": loss}),
        Simultaneous(),
        moves=10,
        noise=lambda name: torch.Generator(),
        compile=False,
    )


def moved(seed: int) -> TwoPlayers:
    made = learner(seed)
    for _ in range(3):
        made.update([torch.randn(8, 2)])
    return made


class Statistics:
    """A part beside the players."""

    def __init__(self, count: int = 0) -> None:
        self.count, self.mean = count, torch.full((2,), float(count))

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.mean = state["count"], state["mean"]


def test_the_names_are_those_of_the_module_its_averages_and_the_parts() -> None:
    found = weights_of(moved(0).players, {"statistics": Statistics(3)})
    assert {"model/0.weight", "model/average/ema/0.weight", "model/average/slow/1.running_mean"} <= found.keys()
    assert {"parts/statistics/count", "parts/statistics/mean"} <= found.keys()
    assert not [key for key in found if "last" in key]  # no average of its own
    assert int(found["parts/statistics/count"]) == 3


def test_what_was_written_is_read_back_into_equal_players_and_the_optimizer_stays() -> None:
    first, second = moved(0), moved(1)
    slots = {key: value.clone() for key, value in second.players["model"].state["slots"].items()}
    wanted = {key: value.clone() for key, value in weights_of(first.players, {"s": Statistics(4)}).items()}
    part = Statistics()
    load_weights(wanted, second.players, {"s": part})
    found = weights_of(second.players, {"s": part})
    assert wanted.keys() == found.keys() and all(torch.equal(wanted[key], found[key]) for key in wanted)
    assert type(part.count) is int
    x = torch.randn(4, 2)
    for name, average in first.players["model"].averages.items():
        assert torch.equal(average(x), second.players["model"].averages[name](x))
    assert all(torch.equal(slots[key], value) for key, value in second.players["model"].state["slots"].items())


def test_a_network_begins_there_with_its_averages_and_everything_else_is_new() -> None:
    given = {key: value.detach().clone() for key, value in weights_of(moved(0).players).items()}
    with beginning(given) as start:
        new = learner(5)
    player = new.players["model"]
    assert start.taken == {"model"} and player.steps == 0
    for key, tensor in weights_of(new.players).items():
        own = key.replace("average/ema/", "").replace("average/slow/", "")
        assert torch.equal(tensor, given[own]), key  # averages begin where the network does, not where theirs were
    assert not torch.equal(given["model/0.weight"], given["model/average/slow/0.weight"])
    assert all(not value.any() for value in player.state["slots"].values())
    new.update([torch.randn(8, 2)])
    assert not torch.equal(weights_of(new.players)["model/0.weight"], given["model/0.weight"])
    assert torch.equal(
        weights_of(learner(5).players)["model/0.weight"], weights_of(learner(5).players)["model/0.weight"]
    )


def test_it_begins_within_its_set() -> None:
    with beginning(weights_of(moved(0).players)):
        theta = learner(5, projection=Ball(0.1)).players["model"].vector.theta
    assert float(theta.detach().norm()) <= 0.1 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model/0.weight": torch.zeros(4, 2)}, r"model/0.weight: is of shape \(4, 2\) there and \(3, 2\) here"),
        ({"model/0.weight": None}, "model: is another network: model/0.weight is not there"),
        ({"model/9.weight": torch.zeros(1)}, "model/9.weight is there and not here"),
    ],
)
def test_another_network_is_refused_by_its_tensor(change: dict[str, Tensor | None], words: str) -> None:
    given = {**weights_of(moved(0).players), **change}
    with pytest.raises(Unlike, match=words), beginning({k: v for k, v in given.items() if v is not None}):
        learner(5)


def test_a_player_that_is_missing_is_named_with_those_that_are_there() -> None:
    given = dict.fromkeys(("critic/w", "actor/w", "parts/n/mean"), torch.zeros(1))
    with pytest.raises(Unlike, match="has no player model; it has actor, critic"), beginning(given):
        learner(5)


def test_nothing_is_read_where_a_tensor_does_not_fit() -> None:
    first, second = moved(0), moved(1)
    before = second.players["model"].vector.theta.detach().clone()
    given = weights_of(first.players)
    del given["model/average/slow/2.bias"]
    with pytest.raises(Unlike, match=r"model/average/slow/2\.bias: is missing"):
        load_weights(given, second.players)
    assert torch.equal(before, second.players["model"].vector.theta.detach())


class Computing(nn.Module):
    """A layer that computes its weight, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.randn(2, 2)), 0

    def effective_weight(self) -> Tensor:
        self.calls += 1
        return self.weight / self.weight.norm()

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.effective_weight().t()


def test_a_still_copy_is_moved_by_nobody_and_computes_its_weights_once() -> None:
    layer, x = Computing(), torch.randn(3, 2)
    first = nn.Sequential(layer, nn.Dropout())
    still = stilled(first)
    wanted = first.eval()(x)
    assert torch.equal(still(x), wanted) and torch.equal(still(x), wanted) and still[0].calls == 1  # type: ignore[index]
    with torch.no_grad():
        layer.weight.mul_(-1)
    assert torch.equal(still(x), wanted) and not torch.equal(first(x), wanted)
    assert not still.training and not still(x).requires_grad
