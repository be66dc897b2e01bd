"""A gradient that is too long is shortened: by hand, eagerly, as a pure function and in a stack."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlgan.optim import (
    LBFGS,
    Alternating,
    Game,
    Losses,
    Metrics,
    Nets,
    Optimistic,
    Player,
    PlayerSpec,
    Simultaneous,
    Stack,
    Update,
    adam,
    from_torch,
    sgd,
)  # fmt: skip
from rlgan.optim.step.method import Method

START = [3.0, -4.0]  # of length 5
PLAIN = Simultaneous()


def loss(nets: Nets, batch: Tensor) -> tuple[Tensor, Metrics]:
    """w theta^2 / 2, whose gradient is w theta."""
    return (nets.model(batch) ** 2).sum() / 2, {}


class Point(nn.Module):
    def __init__(self, start: list[float]) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, weight: Tensor) -> Tensor:
        return weight.sqrt() * self.theta


def made(most: float | None, method: Method, game: Game = PLAIN, scale: float = 1.0) -> Update:
    start = [scale * x for x in START]
    player = Player("model", Point(start), PlayerSpec(None, method, max_grad_norm=most))
    return Update([player], Losses({"model": loss}), game)


def theta(update: Update) -> Tensor:
    return update.players["model"].vector.theta.clone()


ONE = torch.ones((), dtype=torch.float64)


@pytest.mark.parametrize("most", [0.5, 5.0, 7.0])
def test_a_step_is_along_the_gradient_and_no_longer_than_the_bound(most: float) -> None:
    for pure in (False, True):
        update = made(most, sgd(0.1))
        update.compiled = pure
        report = update([ONE])
        start = torch.tensor(START, dtype=torch.float64)
        assert torch.allclose(theta(update), start - 0.1 * min(1.0, most / 5) * start, atol=0, rtol=1e-15)
        assert float(report["model/grad_norm"]) == pytest.approx(5)  # as it was


def test_a_bound_that_is_never_reached_changes_no_bit() -> None:
    for pure in (False, True):
        with_bound, without = made(1e6, adam(0.1)), made(None, adam(0.1))
        for update in (with_bound, without):
            update.compiled = pure
            for _ in range(5):
                update([ONE])
        assert torch.equal(theta(with_bound), theta(without))


@pytest.mark.parametrize("game", [Alternating(2), Optimistic()], ids=str)
def test_what_a_game_remembers_is_the_gradient_that_it_saw(game: Game) -> None:
    eager, pure = made(0.7, sgd(0.1), game), made(0.7, sgd(0.1), game)
    pure.compiled = True
    for _ in range(6):
        eager([ONE] * eager.batches)
        pure([ONE] * pure.batches)
    assert torch.allclose(theta(eager), theta(pure), atol=0, rtol=1e-13)
    assert theta(eager).norm() > 5 - 12 * 0.07 * 1.01  # twelve steps of at most 0.07


def test_every_seed_of_a_stack_has_a_norm_of_its_own() -> None:
    alone, stacked = ([made(2.0, sgd(0.1), scale=s) for s in (0.1, 1.0, 40.0)] for _ in range(2))
    stack = Stack(stacked)
    for _ in range(3):
        for update in alone:
            update([ONE])
        stack([[ONE]] * 3)
    for one, other in zip(alone, stacked, strict=True):
        assert torch.allclose(theta(one), theta(other), atol=0, rtol=1e-14)


def test_a_method_of_torchs_is_given_the_short_gradient() -> None:
    update = made(0.5, from_torch("SGD", {"lr": 0.1}))
    update([ONE])
    start = torch.tensor(START, dtype=torch.float64)
    assert torch.allclose(theta(update), 0.99 * start, atol=0, rtol=1e-15)


@pytest.mark.parametrize("most", [0.0, -1.0, math.inf, math.nan])
def test_a_bound_that_is_none_is_refused(most: float) -> None:
    with pytest.raises(ValueError, match=r"max_grad_norm = .*: must be positive, for example 1\.0"):
        PlayerSpec(None, sgd(0.1), max_grad_norm=most)


def test_a_method_that_goes_by_the_loss_has_no_gradient_to_shorten() -> None:
    method: Any = LBFGS()
    with pytest.raises(ValueError, match=r"max_grad_norm = 1\.0: LBFGS goes by the loss"):
        PlayerSpec(None, method, max_grad_norm=1.0)
