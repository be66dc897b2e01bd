"""Seeds of an off-policy run that act, step, store and learn together: each is what it is alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlgan.optim import Stack
from rlgan.rl.envs.joined import Joined
from rlgan.rl.together import InTurn, Trainers
from rlgan.rl.trainer import Trainer
from rlgan.runs.training.seeds import drive_together
from rlgan.task.errors import Diverged
from rlgan.task.task import Play, drive
from tests.small import TASKS, builder

SMALL = (*TASKS["ddpg"], "precision=float64", "steps=400", "env.max_episode_steps=20")
CAR = ("env=mountain_car", "env.max_episode_steps=15")
CASES: dict[str, tuple[str, ...]] = {
    "Gaussian noise that falls": ("schedule@exploration.schedule=linear",),
    "Ornstein-Uhlenbeck": ("exploration=ornstein_uhlenbeck", *CAR),
    "parameter noise": ("exploration=parameter", "exploration.adapt_every=7"),
    "both, layer norm": ("exploration=mixed", "actor.network.norm=layer"),
    "several environments": ("env.num_envs=3", "exploration=ornstein_uhlenbeck", *CAR),
    "several copies": ("env.num_envs=3", "exploration=parameter", "exploration.adapt_every=5"),
    "environments one after another": ("env.vectorization=sync", "env.num_envs=2"),
    "no noise, wide layers": ("exploration=none", "actor.network.hidden=[128,128]"),
    "windows and statistics": ("n_step=3", "normalise_obs=true", "env.num_envs=2"),
    "statistics and smoothing": ("normalise_obs=true", "agent=td3", "game=alternating", "game.k=2"),
    "prioritised": ("replay=prioritised",),
    "scaled returns": ("normalise_returns=scale", "env.num_envs=2", "agent.bounding=inverting", "agent.values=linear"),
    "targets of spread 1": ("agent=td3_plain", "normalise_returns=popart", "critic.max_grad_norm=1"),
    "a gain that is the unit": ("env=sparse_walk", "env.max_episode_steps=40", "learning_starts=40"),
    "batch norm": ("actor.network.norm=batch",),
    "a ring that wraps": ("capacity=90", "env.num_envs=4"),
    "more updates than steps": ("updates_per_step=2",),
}


@pytest.fixture(autouse=True)
def _stacked_also_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is compiled, without the compiler."""
    monkeypatch.setattr(Stack, "pays", True)


def tasks(words: tuple[str, ...], seeds: tuple[int, ...]) -> list[Trainer]:
    """One for each seed."""
    made = [builder(*SMALL, *words, f"seed={seed}")() for seed in seeds]
    return [task for task in made if isinstance(task, Trainer)]


def to(task: Trainer, steps: int) -> Play[None]:
    while task.steps_done < steps:
        yield from task.play()


def apart(one: Any, other: Any, path: str = "state") -> list[str]:
    """Where two states differ by more than rounding."""
    if isinstance(one, torch.Tensor):
        same = one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=1e-5, atol=1e-6)
        return [] if same else [path]
    if isinstance(one, dict):
        assert list(one) == list(other), path
        return [item for key in one for item in apart(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other), path
        return [item for i, (a, b) in enumerate(zip(one, other, strict=True)) for item in apart(a, b, f"{path}[{i}]")]
    if isinstance(one, float):
        return [] if other == pytest.approx(one, rel=1e-5, abs=1e-6) else [path]
    return [] if one == other else [path]


@pytest.mark.parametrize("case", CASES)
def test_a_seed_is_in_every_part_the_run_that_it_would_be_alone(case: str) -> None:
    """Vectors to 1e-10 in float64, and the whole state: replay, environments, noise, statistics, random streams."""
    alone, together = (tasks(CASES[case], (0, 5, 9)) for _ in range(2))
    try:
        for task in alone:
            drive(to(task, 120), task.answer)
        # In every other case the second is ahead at first, as after a resume; and then all go on together.
        drive(to(together[1], 75 * (list(CASES).index(case) % 2)), together[1].answer)
        group = Trainer.together(together)
        assert drive_together([to(task, 120) for task in together], group) == [None] * 3
        for one, other in zip(alone, together, strict=True):
            assert one.critic.steps == other.critic.steps > 50
            for mine, theirs in ((one.critic, other.critic), (one.actor, other.actor)):
                assert (mine.vector.theta - theirs.vector.theta).abs().max() < 1e-10
            assert apart(one.state_dict(), other.state_dict()) == []
        evaluated = group.serve("evaluate", [(), None, ()])
        assert evaluated[0] == pytest.approx(alone[0].evaluate(), rel=1e-6) and evaluated[1] is None
        assert evaluated[2] != evaluated[0]
    finally:
        for task in (*alone, *together):
            task.close()


def test_what_can_be_done_at_once_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """No seed acts, steps, stores or draws by itself."""
    group = Trainers(tasks((), (0, 1)))
    assert isinstance(group._envs, Joined)
    for name in ("collect", "learn", "store", "draw", "evaluate"):
        monkeypatch.setattr(Trainer, name, None)
    assert drive_together([to(task, 100) for task in group.tasks], group) == [None, None]
    assert isinstance(Trainers(tasks(("env.vectorization=sync",), (0, 1)))._envs, InTurn)


@pytest.mark.parametrize("vectorization", ["batched", "sync"])
def test_a_seed_that_fails_fails_alone(vectorization: str) -> None:
    """An actor that says NaN is refused by its own environment, with the others in the middle of their run."""
    words = (f"env.vectorization={vectorization}",)
    (alone,), together = tasks(words, (4,)), tasks(words, (3, 4))
    drive(to(alone, 150), alone.answer)
    group = Trainer.together(together)

    def spoilt(task: Trainer) -> Play[None]:
        yield from to(task, 100)
        task.actor.vector.theta.fill_(float("nan"))
        yield from to(task, 150)

    first, second = drive_together([spoilt(together[0]), to(together[1], 150)], group)
    assert isinstance(first, Diverged) and "action" in str(first) and "environment 0" in str(first)
    assert second is None and together[0].steps_done == 100
    assert (alone.critic.vector.theta - together[1].critic.vector.theta).abs().max() < 1e-10
    assert apart(alone.state_dict(), together[1].state_dict()) == []


def test_seeds_whose_updates_are_eager_make_them_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "pays", False)
    monkeypatch.setattr(Stack, "move", None)
    (alone,), together = tasks((), (1,)), tasks((), (0, 1))
    drive(to(alone, 120), alone.answer)
    assert drive_together([to(task, 120) for task in together], Trainer.together(together)) == [None, None]
    assert apart(alone.state_dict(), together[1].state_dict()) == []
