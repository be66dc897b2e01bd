"""Every optimizer and every game of conf/ trains both tasks, and goes on from a checkpoint as if nothing had been."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlgan.gan.wgan import WGAN
from rlgan.optim import Extragradient, Lookahead
from rlgan.runs.options import options
from tests.small import OTHER, TASKS, build, builder, differences, summary, train

GAMES = options()["game"]
#: What needs a loss that nobody else changes.
FULL_BATCH = {
    "newton": "Newton",
    "bfgs": "BFGS",
    "lbfgs": "LBFGS",
    "conjugate_gradient": "ConjugateGradient",
    "steepest_descent": "SteepestDescent",
}
OPTIMIZERS = [name for name in options()["optimizer"] if name not in FULL_BATCH]
#: Slots that carry state of their own through a checkpoint.
SLOTS = (
    "noise@critic.noise=ornstein_uhlenbeck",
    "averaging@critic.averaging=uniform",
    "projection@critic.projection=ball",
    "critic.projection.radius=5.0",
    "schedule@critic.projection_schedule=cosine",
    "critic.projection_schedule.end=0.5",
)


def _round_trip(task: str, *overrides: str, steps: int) -> None:
    """A task that is saved half-way and restored into a new one ends where the uninterrupted one does."""
    arguments = (*TASKS[task], *overrides, *(("lipschitz=gradient_penalty",) if task == "wgan" else ()))
    make = builder(*arguments)
    whole, second = make(), make()
    for _ in range(steps):
        whole.advance()
    start = copy.deepcopy(whole.state_dict())
    second.load_state_dict(copy.deepcopy(start))
    for _ in range(steps):
        whole.advance()
        second.advance()
    assert differences(whole.state_dict(), second.state_dict()) == []
    assert any("theta" in where for where in differences(start, whole.state_dict()))
    for run in (whole, second):
        run.close()


def once_each(options: Iterable[str]) -> list[Any]:
    """Every option with either task, in turns; with the other one among the slow tests."""
    return [
        pytest.param(option, task, marks=[] if (i + k) % 2 == 0 else pytest.mark.slow)
        for i, option in enumerate(options)
        for k, task in enumerate(TASKS)
    ]


@pytest.mark.parametrize(("game", "task"), once_each(GAMES))
def test_every_game_trains_both_tasks_and_survives_a_checkpoint(task: str, game: str) -> None:
    optimizers = [f"optimizer@{player}.optimizer=adam" for player in ("critic", OTHER[task])]
    # Seven moves each: beyond a return of lookahead (k = 5), and not at one.
    _round_trip(task, f"game={game}", *optimizers, *SLOTS, steps=7 if task == "wgan" else 67)


@pytest.mark.parametrize(("optimizer", "task"), once_each(OPTIMIZERS))
def test_every_optimizer_trains_both_tasks_and_survives_a_checkpoint(task: str, optimizer: str) -> None:
    players = [f"optimizer@{player}.optimizer={optimizer}" for player in ("critic", OTHER[task])]
    _round_trip(task, *players, steps=3 if task == "wgan" else 64)


@pytest.mark.parametrize(
    ("task", "overrides", "message"),
    [
        ("wgan", ["schedule@critic.noise_schedule=cosine"], r"critic\.noise_schedule = Cosine.*no noise to schedule"),
        ("wgan", ["schedule@critic.momentum_schedule=cosine"], r"critic\.momentum_schedule = .*no momentum"),
        ("ddpg", ["schedule@actor.projection_schedule=cosine"], r"actor\.projection_schedule = .*no projection"),
        ("wgan", ["schedule@critic.projection_schedule=cosine"], r"critic\.projection_schedule = .*shrinks the set"),
        (
            "ddpg",
            ["schedule@critic.momentum_schedule=linear", "critic.momentum_schedule.end=2.0"],
            r"critic\.momentum_schedule = .*leads beta to",
        ),
        ("wgan", ["optimizer@critic.optimizer=nesterov", "game=consensus"], r"critic\.optimizer = Descent.*Consensus"),
        ("ddpg", ["critic.optimizer.lr=inf"], r"lr = inf: the learning rate must be positive"),
        (
            "wgan",
            ["optimizer@critic.optimizer=adagrad_full", "lipschitz=none"],
            r"critic\.optimizer\.max_size = 1000: .*use adagrad, the diagonal",
        ),
        ("wgan", ["optimizer@critic.optimizer=adagrad_full"], r"critic\.projection = Box.*lipschitz = Clip"),
    ],
)
def test_what_would_do_nothing_or_harm_is_refused(task: str, overrides: list[str], message: str) -> None:
    wide = ["critic.network.hidden=[64,64]"]
    with pytest.raises(Exception, match=message):
        build(*TASKS[task], *wide, *overrides)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("optimizer", FULL_BATCH)
def test_a_method_of_the_whole_loss_has_none_in_a_game_of_two(task: str, optimizer: str) -> None:
    with pytest.raises(
        Exception, match=rf"critic\.optimizer = {FULL_BATCH[optimizer]}: .*use task=erm batch_size=null"
    ):
        build(*TASKS[task], f"optimizer@critic.optimizer={optimizer}")


@pytest.mark.parametrize("optimizer", ["adam", "amsgrad", "accelegrad", "rmsprop"])
def test_a_learning_rate_that_ends_at_zero_is_no_divergence(optimizer: str, tmp_path: Path) -> None:
    end = ("schedule@critic.schedule=linear", "critic.schedule.end=0.0", "critic.schedule.end_step=5")
    run = ("lipschitz=gradient_penalty", f"optimizer@critic.optimizer={optimizer}", *end, f"run_dir={tmp_path}/run")
    last = summary(train(*TASKS["wgan"], *run, "log_every=1", "steps=12"))
    # AcceleGrad's y goes on towards its z.
    assert (last["optim/critic/update_norm"] == 0.0) == (optimizer != "accelegrad")
    assert "optim/critic/effective_lr" in last


@pytest.mark.parametrize("player", ["critic", "actor"])
def test_ddpg_without_a_target_network_learns_from_the_network_itself(player: str) -> None:
    task = build(*TASKS["ddpg"], f"averaging@{player}.averaging=none")
    for _ in range(70):
        task.advance()
    assert "critic/loss" in task.metrics()
    task.close()


def test_the_game_within_lookahead_is_chosen_like_any_other() -> None:
    task = build(*TASKS["wgan"], "game=lookahead", "game@game.inner=extragradient", "lipschitz=gradient_penalty")
    assert isinstance(task, WGAN) and task.update.game == Lookahead(Extragradient())


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
    from tests.optim.step.test_matrix import METHODS

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
