"""Every optimizer and every game of conf/ trains both tasks, and goes on from a checkpoint as if nothing had been."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgan.runs.compose import options
from tests.small import OTHER, TASKS, build, builder, differences

GAMES = options()["game"]
OPTIMIZERS = options()["optimizer"]
#: Slots that carry state of their own through a checkpoint.
SLOTS = (
    "noise@critic.noise=ornstein_uhlenbeck",
    "averaging@critic.averaging=uniform",
    "projection@critic.projection=ball",
    "critic.projection.radius=5.0",
    "schedule@critic.projection_schedule=cosine",
)


def _round_trip(task: str, *overrides: str, steps: int) -> None:
    """A task that is saved half-way and restored into a new one ends where the uninterrupted one does."""
    arguments = (*TASKS[task], *overrides, *(("lipschitz=gradient_penalty",) if task == "wgan" else ()))
    make = builder(*arguments)
    whole, first = make(), make()
    for _ in range(steps):
        whole.advance()
        first.advance()
    second = make()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    start = copy.deepcopy(whole.state_dict())
    for _ in range(steps):
        whole.advance()
        second.advance()
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert any("theta" in where for where in differences(start, whole.state_dict()))
    for run in (whole, first, second):
        run.close()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("game", GAMES)
def test_every_game_trains_both_tasks_and_survives_a_checkpoint(task: str, game: str) -> None:
    optimizers = [f"optimizer@{player}.optimizer=adam" for player in ("critic", OTHER[task])]
    # Seven moves each: beyond a return of lookahead (k = 5), and not at one.
    _round_trip(task, f"game={game}", *optimizers, *SLOTS, steps=7 if task == "wgan" else 67)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_both_tasks_and_survives_a_checkpoint(task: str, optimizer: str) -> None:
    players = [f"optimizer@{player}.optimizer={optimizer}" for player in ("critic", OTHER[task])]
    _round_trip(task, *players, steps=3 if task == "wgan" else 64)


def test_a_clipped_critic_refuses_a_method_that_leaves_theta_unprojected() -> None:
    with pytest.raises(Exception, match=r"critic\.optimizer = AcceleGrad.*lipschitz=gradient_penalty"):
        build(*TASKS["wgan"], "optimizer@critic.optimizer=accelegrad", "lipschitz=clip")


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 11), max_size=4), data=st.data())
def test_a_trajectory_does_not_depend_on_how_parameters_are_split_into_tensors(
    cuts: list[int], data: st.DataObject
) -> None:
    """One vector of 12, in one tensor or in several: the same bits under every method."""
    import torch
    from torch import nn

    from rlgan.optim import Ball, NoProjection, Player, PlayerSpec
    from tests.optim.test_matrix import METHODS

    row = METHODS[data.draw(st.sampled_from(sorted(METHODS)))]
    start = torch.linspace(-1, 1, 12, dtype=torch.float64)
    places = sorted(set(cuts))
    pieces = torch.tensor_split(start, places)

    class Split(nn.Module):
        def __init__(self, parts: tuple[torch.Tensor, ...]) -> None:
            super().__init__()
            self.parts = nn.ParameterList([nn.Parameter(part.clone()) for part in parts])

    method = row.make(4.0)
    projection = Ball(1.5) if method.kind in Ball.metrics else NoProjection()
    spec = PlayerSpec(None, method, projection=projection)
    players = [Player("p", Split(parts), spec, 20, torch.Generator().manual_seed(3)) for parts in ((start,), pieces)]
    for t in range(1, 21):
        for player in players:
            s = player.scalars(t)
            point = player.point(player.state, s)
            player.step_in_place(point.pow(3) - point.roll(1), s, player.draw())
    assert torch.equal(players[0].vector.theta, players[1].vector.theta)
    assert not torch.equal(players[0].vector.theta, start)
