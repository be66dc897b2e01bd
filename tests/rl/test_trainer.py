"""The trainer: what a step buys, what the replay holds, what exploration and evaluation leave alone."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from rlgan.nets import MLPSpec
from rlgan.optim import EMA, Alternating, Game, PlayerSpec, Simultaneous, adam
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.envs.environment import Environment
from rlgan.rl.exploration.action_noise import GaussianActionNoise, NoExploration, OrnsteinUhlenbeckActionNoise
from rlgan.rl.exploration.explorer import Exploration
from rlgan.rl.exploration.parameter_noise import ParameterNoise, PerturbedActors
from rlgan.rl.trainer import Trainer
from rlgan.task.settings import Settings
from rlgan.task.task import Play
from tests.optim.problems import linked
from tests.rl import scripted
from tests.rl.scripted import MODES, in_mode
from tests.small import TASKS, build


class Modest(scripted.Scripted):
    """The scripted environment with numbers from 0 to 3 for seeds, at which a network can look."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.number %= 4
        return self._observe(), {}


if "Modest-v0" not in gymnasium.registry:
    gymnasium.register("Modest-v0", entry_point=Modest)  # type: ignore[arg-type]


def trainer(
    env: Environment | None = None, exploration: Exploration | None = None, game: Game | None = None, **given: Any
) -> Trainer:
    """A small run; `agent`, `seed`, `steps`, `norm` and `precision` beside the trainer's own arguments."""
    seed, steps = given.pop("seed", 0), given.pop("steps", 1000)
    spec = PlayerSpec(MLPSpec((16,), norm=given.pop("norm", "none")), adam(1e-2), averaging=EMA(0.1))
    return Trainer(
        Settings(steps=steps, seed=seed, device="cpu", compile=False, precision=given.pop("precision", "float32")),
        given.pop("agent", DDPG(0.9)),
        env or Environment("Modest-v0"),
        exploration or GaussianActionNoise(),
        spec,
        spec,
        game or Alternating(),
        **{"batch_size": 4, "capacity": 500, "learning_starts": 10, "eval_episodes": 2, **given},
    )


def vectors(task: Trainer) -> torch.Tensor:
    """All that training has made: both players and their averages."""
    players = (task.critic, task.actor)
    return torch.cat([v for p in players for v in (p.vector.theta, p.state["average"]["theta_bar"])]).clone()


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("game", [Simultaneous(), Alternating(1), Alternating(2), Alternating(3)], ids=str)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 2.0])
def test_steps_buy_exactly_their_updates(ratio: float, game: Game, num_envs: int) -> None:
    """Critic updates = k floor(ratio (steps - learning_starts) / k), and every k-th moves the actor."""
    task = trainer(Environment("Modest-v0", num_envs=num_envs), game=game, updates_per_step=ratio)
    k = game.steps(("critic", "actor"))["critic"]
    while task.steps_done < 51:
        task.advance()
        # A tenth of a step is no floating-point number: the bill is in whole numbers.
        bought = max(task.steps_done - 10, 0) * round(10 * ratio) // 10
        assert task.actor.steps == bought // k
        assert task.critic.steps == k * (bought // k)


@pytest.mark.parametrize("num_envs", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_steps_count_transitions_in_every_autoreset_mode(mode: Any, num_envs: int) -> None:
    task = trainer(in_mode(mode)("Modest-v0", num_envs=num_envs))
    for _ in range(40):
        before = task.steps_done
        task.advance()
        assert 1 <= task.steps_done - before <= num_envs
        assert task.steps_done == len(task.replay) == task.envs.steps
    if mode != "next_step":
        assert task.steps_done == 40 * num_envs
    # With one environment the step that resets is skipped; with more it is a shorter step.
    assert task.steps_done == 40 or num_envs > 1


@pytest.mark.parametrize("mode", MODES)
def test_the_replay_holds_true_successors(mode: Any) -> None:
    """At an episode's end too: the last observation, not the first of the next; `terminated` is 0 at a truncation."""
    task = trainer(in_mode(mode)("Modest-v0", num_envs=2))
    while task.steps_done < 60:
        task.advance()
    rows = task.replay.split(task.replay.rows[: len(task.replay)])
    ends = 0
    for number in rows.obs[:, 0].unique():
        mine = rows.obs[:, 0] == number
        seen = list(
            zip(rows.obs[mine, 1], rows.reward[mine], rows.next_obs[mine, 1], rows.terminated[mine], strict=True)
        )
        script = list(scripted.expected(int(number), len(seen)))
        ends += sum(truncated for *_, truncated in script)
        wanted = [(o, r, n, float(terminated)) for o, r, n, terminated, _ in script]
        assert [tuple(map(float, row)) for row in seen] == wanted
    assert ends > 4


def test_the_first_actions_are_uniform_and_the_actor_is_not_asked() -> None:
    task = trainer(Environment("Pendulum-v1", num_envs=2), learning_starts=400, steps=500)
    with torch.no_grad():
        task.actor.vector.theta.fill_(float("nan"))
    while task.steps_done < 400:
        task.advance()
    actions = task.replay.split(task.replay.rows[:400]).action.flatten()
    assert actions.min() < -0.95 and actions.max() > 0.95
    # Kolmogorov-Smirnov against U(-1, 1): 1.63 / sqrt(n) is the 1 % point.
    ordered = (actions.sort().values + 1) / 2
    assert (ordered - torch.arange(1, 401) / 400).abs().max() < 1.63 / 20
    assert task.critic.steps == 0


def test_no_update_before_the_replay_holds_a_batch() -> None:
    task = trainer(learning_starts=0, batch_size=25)
    while task.steps_done < 25:
        task.advance()
        assert task.critic.steps == 0
    task.advance()
    assert task.critic.steps == 1


def test_actions_after_the_warm_up_are_the_actors_plus_noise() -> None:
    task = trainer(Environment("Pendulum-v1"), NoExploration(), updates_per_step=1e-6, learning_starts=10)
    for _ in range(30):
        task.advance()
    rows = task.replay.split(task.replay.rows[10:30])
    with torch.no_grad():
        torch.testing.assert_close(rows.action, task.actor.module(rows.obs))


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("num_envs", [1, 2, 7])
def test_exploration_perturbs_copies_and_never_the_vector_that_is_trained(num_envs: int, norm: str) -> None:
    env = Environment("Modest-v0", num_envs=num_envs)
    task = trainer(env, ParameterNoise(sigma=0.5, adapt_every=3), norm=norm, steps=200)
    copies = task.explorer._actors  # type: ignore[attr-defined]
    assert isinstance(copies, PerturbedActors) and copies.vectors.shape == (num_envs, len(task.actor.vector.theta))
    assert copies.vectors.untyped_storage().data_ptr() != task.actor.vector.theta.untyped_storage().data_ptr()
    learn, explored = task._learn, []

    def learning(watch: bool) -> Play[None]:
        explored.append(task.actor.vector.theta.clone())
        yield from learn(watch)
        explored.append(task.actor.vector.theta.clone())

    task._learn = learning  # type: ignore[method-assign]
    while task.steps_done < 120:
        task.advance()
        assert not (copies.vectors == task.actor.vector.theta).all(1).any()
        assert not torch.equal(copies.vectors, task.actor.vector.theta.expand_as(copies.vectors))
    assert linked(task.actor.vector) and len(explored) == 2 * task.actor.steps
    # Between one update's end and the next one's start nothing else has written to the vector.
    assert all(torch.equal(*explored[i : i + 2]) for i in range(1, len(explored) - 1, 2))
    assert not torch.equal(explored[0], explored[-1])


def test_parameter_noise_adapts_every_so_many_updates() -> None:
    noise = ParameterNoise(sigma=0.2, delta=0.3, factor=1.1, adapt_every=5)
    task = trainer(Environment("Pendulum-v1"), noise, steps=200)
    sigmas = []
    while task.actor.steps < 40:
        task.advance()
        sigmas.append(task.metrics()["exploration/sigma"])
    steps = np.log(np.array(sigmas[1:]) / np.array(sigmas[:-1])) / math.log(1.1)
    assert np.allclose(np.abs(steps[steps != 0]), 1) and np.count_nonzero(steps) == 8
    assert task.metrics()["exploration/distance"] > 0


@pytest.mark.parametrize(
    "exploration",
    [GaussianActionNoise(0.2), OrnsteinUhlenbeckActionNoise(), ParameterNoise()],
    ids=lambda e: type(e).__name__,
)
def test_evaluation_and_pictures_do_not_disturb_training(exploration: Exploration) -> None:
    env = Environment("Pendulum-v1", num_envs=2)
    quiet, looked_at = (trainer(env, exploration, steps=300, norm="layer") for _ in range(2))
    first = None
    for step in range(60):
        quiet.advance()
        looked_at.advance()
        if step % 20 == 0:
            first = looked_at.evaluate()
            looked_at.metrics()
            if step == 20:
                looked_at.pictures()
    assert first is not None and first != looked_at.evaluate()
    assert torch.equal(vectors(quiet), vectors(looked_at))
    assert torch.equal(quiet.replay.rows, looked_at.replay.rows)
    # An evaluation is a function of the actor alone.
    assert quiet.evaluate() == looked_at.evaluate()


def test_tags() -> None:
    task = trainer(exploration=ParameterNoise(adapt_every=1))
    assert set(task.metrics()) == {"exploration/sigma"}
    while task.steps_done < 40:
        task.advance()
    assert set(task.metrics()) == {
        "critic/loss", "critic/q", "critic/grad_norm", "actor/loss", "actor/grad_norm", "return/train",
        "exploration/sigma", "exploration/distance",
    }  # fmt: skip
    assert set(task.evaluate()) == {
        "return/eval", "return/eval_std", "return/eval_iqm", "return/eval_low", "return/eval_high",
        "return/eval_length", "critic/q_bias",
    }  # fmt: skip
    assert task.best == ("return/eval", "max")
    assert all(isinstance(value, float) for value in (task.metrics() | task.evaluate()).values())
    task.close()


def test_return_train_is_the_mean_of_the_last_ten_episodes() -> None:
    task = trainer(steps=200)
    totals: list[float] = []
    step = task.envs.step

    def noting(action: Any) -> Any:
        result = step(action)
        totals.extend(episode.total for episode in result.episodes)
        return result

    task.envs.step = noting  # type: ignore[method-assign]
    while task.steps_done < 80:
        task.advance()
    assert len(totals) > 20
    assert task.metrics()["return/train"] == pytest.approx(sum(totals[-10:]) / 10)


@pytest.mark.parametrize("game", [Simultaneous(), Alternating(2)], ids=str)
@pytest.mark.parametrize(
    "exploration", [NoExploration(), OrnsteinUhlenbeckActionNoise(), ParameterNoise()], ids=lambda e: type(e).__name__
)
def test_a_restored_trainer_goes_on_bit_for_bit(exploration: Exploration, game: Game) -> None:
    env = Environment("Modest-v0", num_envs=2)
    task = trainer(env, exploration, game, updates_per_step=0.7)
    while task.steps_done < 37:
        task.advance()
    again = trainer(env, exploration, game, updates_per_step=0.7)
    again.load_state_dict(task.state_dict())
    assert again.metrics() == task.metrics()
    for _ in range(25):
        task.advance()
        again.advance()
    assert torch.equal(vectors(again), vectors(task)) and torch.equal(again.replay.rows, task.replay.rows)
    assert again.metrics() == task.metrics()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0: must be at least 1"),
        ({"batch_size": 600}, r"batch_size = 600: larger than the replay \(capacity 500\)"),
        ({"learning_starts": -1}, "learning_starts = -1: must be at least 0"),
        ({"updates_per_step": 0.0}, "updates_per_step = 0.0: must be positive"),
        ({"updates_per_step": float("nan")}, "updates_per_step = nan: must be positive"),
        ({"eval_episodes": 0}, "eval_episodes = 0: must be at least 1"),
        ({"capacity": 0}, "batch_size = 4: larger than the replay|capacity = 0"),
    ],
)
def test_impossible_values_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^({message})"):
        trainer(**given)


def test_a_look_that_is_due_when_a_run_is_saved_is_taken_when_it_goes_on() -> None:
    """A log falls between two moves of a game that moves every second step: the next move is looked at, after a resume
    too."""
    words = (*TASKS["ddpg"], "game.k=2", "log_every=63")
    first, second = build(*words), build(*words)
    assert isinstance(first, Trainer) and isinstance(second, Trainer)
    while first.steps_done < 63:
        first.advance()
    assert first._watch and "optim/critic/update_norm" not in first.metrics()
    second.load_state_dict(first.state_dict())
    second.advance()
    assert "optim/critic/update_norm" in second.metrics()
    for task in (first, second):
        task.close()
