"""What an agent is told of its distance from the optimum: against policies and critics whose distance is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from rlgan.rl.agents.meanings import EXPLAINED
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.sparse import SparseWalk
from rlgan.rl.episodes import EpisodeStatistics, Judge, evaluate, evaluate_together
from rlgan.rl.known.lqr import LQR
from rlgan.rl.known.measure import KEY, Best
from rlgan.task.hooks.function import Function

PLANT: dict[str, Any] = {"low": -50.0, "high": 50.0, "scale": 2.0}
KNOWN = LQR(1, **PLANT).known
DISCOUNT = 0.9


class Gain(nn.Module):
    """u = -(K* + off) x, as the actor has it (in [-1, 1]) or in the environment's units."""

    def __init__(self, off: float, half: float = 1.0) -> None:
        super().__init__()
        K = torch.from_numpy(KNOWN.gain(DISCOUNT)).float()
        self.K, self._half = nn.Parameter(K + off * K.norm() / K.numel() ** 0.5), half

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return -(obs @ self.K.T) / self._half


class Times(nn.Module):
    """`factor` times Q*."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return self.factor * torch.from_numpy(KNOWN.q(obs.numpy(), action.numpy(), DISCOUNT)).float()


def played(environment: Environment, actor: nn.Module, keep: bool = True) -> EpisodeStatistics:
    judge = Judge(nn.Linear(1, 1), lambda critic, obs, action: obs[:, 0], DISCOUNT, keep)
    return evaluate(actor, environment, 6, 40, judge=judge)


def measured(environment: Environment, actor: nn.Module, made: Mapping[str, nn.Module], seed: int = 40) -> Any:
    functions = {name: Function(module, lambda n, g: {}, "", "") for name, module in made.items()}
    best = Best(environment.make(0), environment)
    return best.metrics(played(environment, actor), seed, DISCOUNT, lambda: functions)


@pytest.mark.parametrize("vectorization", ["batched", "sync"])
def test_distances_are_those_of_the_policy_and_the_critic(vectorization: Any) -> None:
    environment = Environment("rlgan/LQR-v0", PLANT, vectorization=vectorization)
    for off, factor in ((0.0, 1.0), (0.1, 1.5)):
        found = measured(environment, Gain(off, 50.0), {"policy": Gain(off), "critic": Times(factor)})
        assert set(found) == {"return/optimum", "return/regret", "actor/gain_distance", "critic/q_distance"}
        assert set(found) <= set(EXPLAINED)
        assert found["actor/gain_distance"] == pytest.approx(off, abs=1e-5)
        assert found["critic/q_distance"] == pytest.approx(factor - 1.0, abs=1e-5)
        assert found["return/optimum"] == pytest.approx(KNOWN.optimum(list(range(40, 46)), 50).mean())
        # The discounted gain is a little worse without discount than the best one of 50 steps.
        assert 0.0 < found["return/regret"] < 0.2 * abs(found["return/optimum"])


class Level(nn.Module):
    def __init__(self, *levels: float) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels))

    def forward(self, obs: torch.Tensor, action: torch.Tensor | None = None) -> torch.Tensor:
        return self.levels.expand(len(obs), -1) if action is None else 0.0 * action.sum(1)


def test_the_action_of_a_bandit_has_a_distance_and_a_critic_of_nothing_is_all_wrong() -> None:
    kwargs = {"best": [1.5, -0.5], "low": [-2.0, -1.0], "high": [2.0, 3.0]}
    environment = Environment("rlgan/Bandit-v0", kwargs)
    # In [-1, 1] these are 1.0 and -0.8 in the bandit's units.
    found = measured(environment, Level(0.5, -0.9), {"policy": Level(0.5, -0.9), "critic": Level(0.0)})
    assert found == pytest.approx(
        {"return/optimum": 0.0, "return/regret": 0.34, "actor/action_distance": 0.5, "critic/q_distance": 1.0}, rel=1e-5
    )


def test_visited_states_are_those_in_which_an_action_was_taken() -> None:
    environment = Environment("rlgan/LQR-v0", PLANT, max_episode_steps=3)
    statistics = played(environment, Gain(0.0, 50.0))
    assert statistics.visited is not None
    obs, action = statistics.visited
    assert obs.shape == (18, 2) and action.shape == (18, 1)
    assert action == pytest.approx(Gain(0.0, 50.0)(torch.from_numpy(obs)).detach().numpy(), abs=1e-6)
    starts = environment.batched(6)
    assert starts is not None and np.array_equal(obs[:6], starts.reset(seed=40)[0].astype(np.float32))
    judge = Judge(nn.Linear(1, 1), lambda critic, o, a: o[:, 0], DISCOUNT, True)
    several = evaluate_together([Gain(0.3), Gain(0.0, 50.0)], environment, 6, [3, 40], [judge, judge])[1]
    assert isinstance(several, EpisodeStatistics) and several.visited is not None
    assert all(np.array_equal(one, other) for one, other in zip(several.visited, statistics.visited, strict=True))
    assert played(environment, Gain(0.0, 50.0), keep=False).visited is None


def test_wrappers_leave_the_optimum_and_other_starts_nothing() -> None:
    module = Gain(0.0, 50.0)
    made: dict[str, nn.Module] = {"policy": module, "critic": Times(1.0)}
    scaled = Environment(
        "rlgan/LQR-v0", PLANT, (lambda env: gymnasium.wrappers.TransformReward(env, lambda r: 3 * float(r)),)
    )
    found = measured(scaled, module, made)
    assert set(found) == {"return/optimum", "return/regret"} and 0.0 < found["return/regret"] < 1.0
    chosen = Environment("rlgan/LQR-v0", PLANT, eval_options={"far": True})
    assert not Best(chosen.make(0), chosen)
    assert not Best(Environment().make(0), Environment())


def test_the_walk_knows_its_optimum() -> None:
    environment = Environment("rlgan/SparseWalk-v0")
    found = measured(environment, Level(1.0), {})
    assert found == {"return/optimum": pytest.approx(23.0), "return/regret": pytest.approx(0.0, abs=1e-9)}
    assert SparseWalk(1).optimum([0, 1], 8) == pytest.approx([1.2, 1.2])


class Told:
    """What somebody's environment says of itself."""

    def __init__(self, **answers: Any) -> None:
        for method, answer in answers.items():
            setattr(self, method, answer)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"optimum": lambda seeds, steps: 0.0}, r"optimum returned .*; return numbers of shape \(1,\)"),
        (
            {"q": lambda obs, action, discount: np.zeros((3, 1))},
            r"q returned an array of shape \(3, 1\); return numbers",
        ),
        ({"gain": lambda discount: "much"}, r"gain returned .*; return numbers of shape \(1, 3\)"),
        ({"action": lambda obs: obs @ np.eye(2)}, r"action raised ValueError: "),
    ],
)
def test_a_mistake_of_somebodys_own_is_one_line_before_the_first_step(answers: dict[str, Any], message: str) -> None:
    environment = Environment(vectorization="sync")
    envs = environment.make(0)
    assert envs.first is not None
    cast(Any, envs.first.unwrapped).known = Told(**answers)
    with pytest.raises(ValueError, match=rf"^{KEY} = Told: {message}") as caught:
        Best(envs, environment)
    assert "\n" not in str(caught.value)


def test_an_environment_of_ones_own_says_what_it_knows_and_other_attributes_are_nothing() -> None:
    environment = Environment(vectorization="sync")
    envs = environment.make(0)
    assert envs.first is not None
    cast(Any, envs.first.unwrapped).known = {"optimum": 3.0}
    assert not Best(envs, environment)
    cast(Any, envs.first.unwrapped).known = Told(optimum=lambda seeds, steps: [-float(steps)] * len(seeds))
    best = Best(envs, environment)
    statistics = EpisodeStatistics(np.array([-300.0, -100.0]), np.array([200, 200]))
    assert best and best.metrics(statistics, 7, DISCOUNT, dict) == {"return/optimum": -200.0, "return/regret": 0.0}
