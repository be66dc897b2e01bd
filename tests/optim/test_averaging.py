"""Averages as weights of the new point."""

import torch
from torch import nn

from rlgan.optim import EMA, Average, Player, PlayerSpec, RunEMA, sgd


def run(average: Average, steps: int, horizon: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    torch.manual_seed(0)
    player = Player("p", nn.Linear(2, 1).double(), PlayerSpec(None, sgd(0.1), averaging=average), horizon)
    path = [player.state["theta"].clone()]
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


def test_without_an_average_the_network_itself_is_used() -> None:
    player = Player("p", nn.Linear(2, 1), PlayerSpec(None, sgd(0.1)))
    assert player.average is player.module and not player.state["average"]
