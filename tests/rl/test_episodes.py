"""Evaluation: one episode an environment, equal starts for equal seeds, no trace in training."""

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from rlgan.rl.envs.environment import Environment
from rlgan.rl.episodes import (
    EpisodeStatistics,
    Judge,
    bootstrap_interval,
    evaluate,
    evaluate_together,
    interquartile_mean,
    q_errors,
    record,
)
from rlgan.task.errors import Diverged
from tests.rl import scripted


class Constant(nn.Module):
    def __init__(self, value: float, width: int = 1) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((width,), value))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(obs), -1)


def test_every_environment_plays_its_first_episode_whatever_its_length() -> None:
    # Seed s starts the script at episode s % 2, of 3 or 2 steps; reward 10 episode + t + s.
    found = evaluate(Constant(0.0), Environment("Scripted-v0"), episodes=5, seed=4)
    wanted = [
        (3, sum(t + s for t in (1, 2, 3))) if s % 2 == 0 else (2, sum(10 + t + s for t in (1, 2))) for s in range(4, 9)
    ]
    assert list(zip(found.lengths.tolist(), found.returns.tolist(), strict=True)) == wanted
    assert scripted.SCRIPT[0][0] == 3 and scripted.SCRIPT[1][0] == 2


def test_returns_are_those_of_gymnasium_stepped_by_hand() -> None:
    import gymnasium

    torch.manual_seed(0)
    actor = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Tanh())
    found = evaluate(actor, Environment(), episodes=3, seed=10)
    for i in range(3):
        env, total = gymnasium.make("Pendulum-v1"), 0.0
        obs, _ = env.reset(seed=10 + i)
        for _ in range(200):
            action = actor(torch.as_tensor(obs)[None]).detach().numpy()[0]
            obs, reward, _, truncated, _ = env.step(2.0 * action)
            total += float(reward)
        assert truncated and found.lengths[i] == 200 and found.returns[i] == pytest.approx(total, rel=1e-4)


def test_equal_seeds_repeat_and_the_global_generators_stay_where_they_are() -> None:
    actor = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1), nn.Dropout(0.5), nn.Tanh())
    actor[2].eval()
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    one, two, other = (evaluate(actor, Environment(), 2, seed) for seed in (3, 3, 4))
    assert np.array_equal(one.returns, two.returns) and not np.array_equal(one.returns, other.returns)
    assert torch.equal(torch.get_rng_state(), torch_before) and np.array_equal(np.random.get_state()[1], numpy_before)  # type: ignore[index]
    assert [module.training for module in actor] == [True, True, False, True] and actor.training


def test_evaluations_start_where_their_options_say_and_training_does_not() -> None:
    near_the_top = {"x_init": 0.01, "y_init": 1e-3}  # bounds of Pendulum's angle and velocity
    from_the_top = Environment(eval_options=near_the_top)
    still = nn.Linear(3, 1)
    nn.init.zeros_(still.weight)
    nn.init.zeros_(still.bias)
    played = evaluate(still, from_the_top, episodes=4, seed=3)
    env = gymnasium.make("Pendulum-v1")
    for i, total in enumerate(played.returns):
        env.reset(seed=3 + i, options=near_the_top)
        expected = sum(float(env.step(np.zeros(1, dtype=np.float32))[1]) for _ in range(200))
        assert total == pytest.approx(expected, rel=1e-6)
    assert not np.allclose(played.returns, evaluate(still, Environment(), episodes=4, seed=3).returns)
    assert np.array_equal(from_the_top.make(5).obs, Environment().make(5).obs)
    with pytest.raises(ValueError, match=r"eval_options = \{'x_init': 'up'\}: the reset of Pendulum-v1 refuses them"):
        evaluate(still, Environment(eval_options={"x_init": "up"}), episodes=1)


def test_an_episode_without_a_limit_is_cut() -> None:
    spec = Environment("Pendulum-v1", {"max_episode_steps": -1})
    assert evaluate(Constant(0.0), spec, 2, max_steps=230).lengths.tolist() == [230, 230]


class Promise(nn.Module):
    """Q(s, a) = offset + rate * time, the time of a scripted observation."""

    def __init__(self, offset: float, rate: float = 0.0) -> None:
        super().__init__()
        self.offset, self.rate = offset, rate

    def forward(self, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return self.offset + self.rate * (obs[:, 1] % 100)


def judge(critic: nn.Module, discount: float = 0.5) -> Judge:
    return Judge(critic, lambda critic, obs, action: critic(obs, action), discount)


def test_the_critics_bias_is_what_it_promised_less_what_came() -> None:
    """Of the script's first episodes: one of 3 steps that terminates (seed 4), one of 2 that is cut off (seed 5)."""
    found = evaluate(Constant(0.0), Environment("Scripted-v0"), 2, seed=4, judge=judge(Promise(7.0, 0.5)))
    # gamma = 0.5: after 2 steps a quarter of the return is unseen, more than a fifth; so that episode does not count.
    z = [5 + 0.5 * 6 + 0.25 * 7, 6 + 0.5 * 7, 7]
    wanted = np.mean([7.0 + 0.5 * t - z[t] for t in range(3)])
    assert found.q_bias == pytest.approx(wanted) and found.metrics()["critic/q_bias"] == found.q_bias
    alone = evaluate(Constant(0.0), Environment("Scripted-v0"), 1, seed=5, judge=judge(Promise(7.0)))
    assert alone.q_bias is None and "critic/q_bias" not in alone.metrics()
    # With gamma = 0.3 its first step does: 0.09 of the return is the critic's own word.
    cut = evaluate(Constant(0.0), Environment("Scripted-v0"), 1, seed=5, judge=judge(Promise(7.0, 0.5), 0.3))
    assert cut.q_bias == pytest.approx(7.0 - (16 + 0.3 * 17 + 0.09 * (7.0 + 0.5 * 2)))
    assert evaluate(Constant(0.0), Environment("Scripted-v0"), 2, seed=4).q_bias is None


def test_the_errors_of_a_true_critic_are_none_cut_or_not() -> None:
    rewards, gamma = np.random.default_rng(0).normal(size=60), 0.8
    true = np.array([sum(gamma**k * r for k, r in enumerate(rewards[t:])) for t in range(61)])
    assert np.abs(q_errors(true, rewards, gamma, cut=False)).max() < 1e-12
    assert len(q_errors(true, rewards, gamma, cut=False)) == 60
    for steps in (7, 30):
        errors = q_errors(true, rewards[:steps], gamma, cut=True)
        # 0.8^8 = 0.168 is the first power below a fifth.
        assert len(errors) == max(steps - 7, 0) and (not len(errors) or np.abs(errors).max() < 1e-12)
    assert np.allclose(q_errors(true + 1.0, rewards, gamma, cut=False), 1.0)


def test_a_judged_evaluation_is_the_evaluation_and_leaves_the_critics_mode_alone() -> None:
    critic = nn.Sequential(nn.BatchNorm1d(1))
    actor = nn.Sequential(nn.Linear(3, 1), nn.Tanh())
    of = Judge(critic, lambda critic, obs, action: critic(action)[:, 0], 0.9)
    plain, judged = evaluate(actor, Environment(), 2, 3), evaluate(actor, Environment(), 2, 3, judge=of)
    assert np.array_equal(plain.returns, judged.returns) and judged.q_bias is not None
    assert all(module.training for module in critic.modules()) and critic[0].num_batches_tracked == 0
    trace = record(actor, of, Environment(), 3)
    assert len(trace.q) == 200 and trace.reward.sum() == pytest.approx(plain.returns[0], rel=1e-5)


def test_statistics_are_those_of_the_definition() -> None:
    values = np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0])
    evaluation = EpisodeStatistics(values, np.full(8, 7))
    metrics = evaluation.metrics()
    assert metrics["return/eval_iqm"] == interquartile_mean(values) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert metrics["return/eval_std"] == pytest.approx(np.std(values, ddof=1))
    assert metrics["return/eval"] == values.mean() and metrics["return/eval_length"] == 7
    assert metrics["return/eval_low"] < metrics["return/eval"] < metrics["return/eval_high"]
    assert metrics == evaluation.metrics()


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        low, high = bootstrap_interval(generator.normal(size=40), resamples=400)
        covered += low < 0.0 < high
        assert 0.35 < high - low < 0.95  # 2 * 1.96 / sqrt(40) = 0.62
    # Binomial(100, 0.94) lies within 86..99 but once in some thousand draws.
    assert 86 <= covered <= 99
    assert bootstrap_interval(np.array([3.0])) == bootstrap_interval(np.array([3.0, 3.0])) == (3.0, 3.0)


def test_what_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^episodes = 0: must be at least 1"):
        evaluate(Constant(0.0), Environment(), 0)
    with pytest.raises(Diverged, match=r"^action of evaluation episode 0 \(Pendulum-v1\) is nan in component 0 at"):
        evaluate(Constant(float("nan")), Environment(), 2)
    with pytest.raises(Diverged, match=r"^reward of evaluation episode 1 \(Scripted-v0\) is inf in component 0 at"):
        evaluate(Constant(0.0), Environment("Scripted-v0", {"bad": "reward"}), 2, seed=0)
    with pytest.raises(RuntimeError, match=r"^evaluation episode 1 \(Scripted-v0\) raised ZeroDivisionError: scripted"):
        evaluate(Constant(0.0), Environment("Scripted-v0", {"bad": "raises"}), 2, seed=0)


def acting(seed: int, obs_dim: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(obs_dim, 64), nn.ReLU(), nn.Linear(64, 1), nn.Tanh())


def equal(one: EpisodeStatistics | Exception, other: EpisodeStatistics) -> bool:
    assert isinstance(one, EpisodeStatistics)
    same = np.array_equal(one.returns, other.returns) and np.array_equal(one.lengths, other.lengths)
    return same and one.q_bias == other.q_bias


BATCHED = {"Pendulum-v1": 3, "MountainCarContinuous-v0": 2, "rlgan/SparseCartPoleSwingUp-v0": 5}


@pytest.mark.parametrize("id", BATCHED)
def test_episodes_in_a_batched_environment_are_those_in_single_ones(id: str) -> None:
    actor, of = acting(0, BATCHED[id]), judge(Promise(1.0), 0.9)
    single, batched = (Environment(id, max_episode_steps=90, vectorization=kind) for kind in ("sync", "batched"))
    found = [evaluate(actor, env, 7, seed=3, judge=of) for env in (single, batched)]
    assert equal(found[1], found[0]) and found[0].q_bias is not None
    traces = [record(actor, of, env, 5) for env in (single, batched)]
    assert all(np.array_equal(getattr(traces[0], k), getattr(traces[1], k)) for k in ("reward", "action", "q"))


@pytest.mark.parametrize("id", [*BATCHED, "Scripted-v0"])
def test_policies_that_are_evaluated_together_are_evaluated_as_alone(id: str) -> None:
    env = Environment(id, max_episode_steps=60)
    policies = [acting(k, BATCHED.get(id, 2)) for k in range(3)]
    judges = [judge(Promise(1.0), 0.9), None, judge(Promise(-1.0, 0.5), 0.8)]
    found = evaluate_together(policies, env, 5, [4, 90, 7], judges)
    for one, policy, seed, of in zip(found, policies, [4, 90, 7], judges, strict=True):
        assert equal(one, evaluate(policy, env, 5, seed, judge=of))
    assert all(policy.training for policy in policies)


def test_a_policy_that_diverges_says_so_and_the_others_go_on() -> None:
    for env in (Environment(max_episode_steps=30), Environment(vectorization="sync", max_episode_steps=30)):
        policies = [acting(0, 3), Constant(float("nan")), acting(1, 3)]
        found = evaluate_together(policies, env, 4, [0, 0, 5], [None, None, None])
        assert isinstance(found[1], Diverged)
        assert str(found[1]) == "action of evaluation episode 0 (Pendulum-v1) is nan in component 0 at its step 0"
        for k, seed in ((0, 0), (2, 5)):
            assert equal(found[k], evaluate(policies[k], env, 4, seed))
    with pytest.raises(ValueError, match=r"^episodes = 0: must be at least 1"):
        evaluate_together(policies, env, 0, [0, 0, 5], [None, None, None])


@pytest.mark.parametrize("push", [1.0, -1.0])
def test_what_an_environment_gives_that_is_not_finite_stops_its_policy_alone(push: float) -> None:
    from tests.rl.envs.test_joined import Fragile

    assert Fragile.width == 1
    env = Environment("Fragile-v0")
    policies = [Constant(0.0), Constant(push), Constant(0.1)]
    found = evaluate_together(policies, env, 9, [0, 10, 20], [None] * 3)
    with pytest.raises(Diverged) as alone:
        evaluate(policies[1], env, 9, 10)
    assert str(found[1]) == str(alone.value) and ("reward" if push > 0 else "observation") in str(found[1])
    assert all(equal(found[k], evaluate(policies[k], env, 9, 10 * k)) for k in (0, 2))


def test_options_of_the_reset_want_single_environments() -> None:
    env = Environment(eval_options={"x_init": 0.01, "y_init": 1e-3}, max_episode_steps=20)
    actors = [acting(k, 3) for k in range(2)]
    found = evaluate_together(actors, env, 3, [1, 2], [None, None])
    assert all(
        equal(one, evaluate(actor, env, 3, k + 1)) for k, (one, actor) in enumerate(zip(found, actors, strict=True))
    )
    assert not np.allclose(found[0].returns, evaluate(actors[0], Environment(max_episode_steps=20), 3, 1).returns)  # type: ignore[union-attr]
