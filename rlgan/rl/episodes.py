"""Episodes without exploration: play them, measure their returns, keep one with what the critic promised."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rlgan.nets.layers import in_evaluation_mode
from rlgan.rl.envs.environment import Environment
from rlgan.rl.envs.vector_env import ActionMap
from rlgan.rl.envs.workers import EnvironmentFailed, Guard
from rlgan.task.errors import Diverged
from rlgan.task.statistics import bootstrap_interval, interquartile_mean

UNSEEN = 0.1
"""Of the return after a state of an episode that was cut off, the share that may be unseen for `q_bias`."""


@dataclass(frozen=True)
class Judge:
    """A critic to be compared with the returns that followed.

    Args:
        critic: the network.
        value: `value(critic, obs, action)` is Q, (B,): an agent's `value`.
        discount: gamma.
    """

    critic: nn.Module
    value: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
    discount: float

    def q(self, obs: torch.Tensor, action: torch.Tensor) -> np.ndarray:
        """Q(s, a), (B,), for (B, obs_dim) and (B, action_dim)."""
        with torch.no_grad():
            return self.value(self.critic, obs, action).double().cpu().numpy()


@dataclass(frozen=True)
class EpisodeStatistics:
    """Undiscounted returns and lengths, both (episodes,); their spread is over episodes, not over seeds.

    `q_bias` is the critic's, where one was judged: the mean over the states that the episodes visited of
    Q(s_t, mu(s_t)) - Z_t, Z_t the discounted return that followed; positive where the critic promises too much. An
    episode that was cut off (a time limit) lacks its tail: in its place Z_t has gamma^(T-t) Q(s_T, mu(s_T)), the
    critic's own word, and states where this weighs more than `UNSEEN`, gamma^(T-t) > 0.1, are left out. None where that
    leaves no state: at gamma = 0.99 cut-off episodes must have 230 steps.
    """

    returns: np.ndarray
    lengths: np.ndarray
    q_bias: float | None = None

    def metrics(self) -> dict[str, float]:
        """`return/eval`, the mean, and its companions, under their tags.

        `_std` is the standard deviation with n - 1 (0 for one episode), `_iqm` the interquartile mean (Agarwal et al.
        2021), `_low` and `_high` a 95 % bootstrap interval of the mean.
        """
        low, high = bootstrap_interval(self.returns)
        return {
            "return/eval": float(self.returns.mean()),
            "return/eval_std": float(self.returns.std(ddof=1)) if len(self.returns) > 1 else 0.0,
            "return/eval_iqm": interquartile_mean(self.returns),
            "return/eval_low": low,
            "return/eval_high": high,
            "return/eval_length": float(self.lengths.mean()),
            **({} if self.q_bias is None else {"critic/q_bias": self.q_bias}),
        }


class Moment(NamedTuple):
    """What n episodes that are played side by side look like at one time, t = 0, 1, ...

    The arrays are overwritten when the next moment is asked for.

    Args:
        obs: s_t (n, obs_dim), of an episode that is over its last one.
        action: mu(s_t) (n, action_dim), within [-1, 1].
        played: the episodes that made the step from t - 1; none at t = 0.
        reward: of that step, (n,).
        terminated: whether that step ended the episode by termination, (n,).
        envs: the environments, as they stand.
    """

    obs: torch.Tensor
    action: torch.Tensor
    played: list[int]
    reward: np.ndarray
    terminated: np.ndarray
    envs: list[Guard]


def play(actor: nn.Module, environment: Environment, episodes: int, seed: int, max_steps: int) -> Iterator[Moment]:
    """Play episodes with a = mu(s), without noise, all at once, each in a new environment of its own.

    Args:
        actor: obs (B, obs_dim) -> action (B, action_dim) in [-1, 1], in eval mode.
        environment: which environment; `num_envs` and `vectorization` play no part.
        episodes: how many.
        seed: episode i starts from `seed + i`.
        max_steps: length at which an episode without a time limit is cut.

    Raises:
        Diverged: an action, an observation or a reward is not finite.
        RuntimeError: an environment raised.
    """
    envs = [Guard(environment.make_one(), i) for i in range(episodes)]
    try:
        yield from _moments(actor, environment, envs, seed, max_steps)
    except EnvironmentFailed as error:
        episode, reason = error.index_and_reason
        raise RuntimeError(f"evaluation episode {episode} ({environment.id}) raised {reason}") from error
    finally:
        for env in envs:
            env.close()


def _moments(
    actor: nn.Module, environment: Environment, envs: list[Guard], seed: int, max_steps: int
) -> Iterator[Moment]:
    scale = ActionMap(cast(spaces.Box, envs[0].action_space))
    parameter = next(iter(actor.parameters()))
    obs = np.stack([environment.start(env, seed + i).reshape(-1) for i, env in enumerate(envs)]).astype(np.float32)
    reward, terminated = np.zeros(len(envs)), np.zeros(len(envs), dtype=np.bool_)
    lengths = np.zeros(len(envs), dtype=np.int64)
    running, played = list(range(len(envs))), list[int]()
    while True:
        # All rows pass through the networks, also those that have ended: one shape, whatever the number still running.
        seen = torch.from_numpy(obs).to(parameter)
        with torch.no_grad():
            chosen = actor(seen).detach()
        yield Moment(seen, chosen.clamp(-1.0, 1.0), played, reward, terminated, envs)
        if not running or lengths[running[0]] >= max_steps:
            return
        action = chosen.cpu().numpy().astype(np.float32, copy=False)
        _check("action", action, lengths, environment.id)
        scaled = scale(np.minimum(np.maximum(action, -1.0), 1.0))
        played, running = running, []
        for i in played:
            raw, paid, terminated[i], truncated, _ = envs[i].step(scaled[i])
            obs[i], reward[i] = np.asarray(raw).reshape(-1), float(paid)
            lengths[i] += 1
            if not (terminated[i] or truncated):
                running.append(i)
        _check("observation", obs, lengths, environment.id)
        _check("reward", reward[:, None], lengths, environment.id)


def evaluate(
    actor: nn.Module,
    environment: Environment,
    episodes: int = 20,
    seed: int = 0,
    max_steps: int = 100_000,
    judge: Judge | None = None,
) -> EpisodeStatistics:
    """Play `episodes` episodes (see `play`) and measure their returns.

    Every environment plays exactly one episode: taking the first n to end of a running set would favour short ones. The
    environments are new ones, so that training sees nothing of an evaluation and equal seeds mean equal start states.

    Args:
        actor: as in `play`; its own mode is left as it was.
        environment: as in `play`.
        episodes: how many.
        seed: episode i starts from `seed + i`.
        max_steps: length at which an episode without a time limit is cut.
        judge: the critic whose bias is measured on the way.

    Raises:
        ValueError: episodes below 1.
        Diverged: an action, an observation or a reward is not finite.
        RuntimeError: an environment raised.
    """
    if episodes < 1:
        raise ValueError(f"episodes = {episodes}: must be at least 1, for example 20")
    promised: list[np.ndarray] = []
    rewards: list[list[float]] = [[] for _ in range(episodes)]
    returns, cut = np.zeros(episodes), np.ones(episodes, dtype=np.bool_)
    with in_evaluation_mode(actor, *(() if judge is None else (judge.critic,))):
        for moment in play(actor, environment, episodes, seed, max_steps):
            for i in moment.played:
                returns[i] += moment.reward[i]
                rewards[i].append(float(moment.reward[i]))
                cut[i] = not moment.terminated[i]
            if judge is not None:
                promised.append(judge.q(moment.obs, moment.action))
    lengths = np.array([len(each) for each in rewards])
    if judge is None:
        return EpisodeStatistics(returns, lengths)
    promises = np.stack(promised, 1)
    errors = [q_errors(promises[i], np.array(rewards[i]), judge.discount, bool(cut[i])) for i in range(episodes)]
    every = np.concatenate(errors)
    return EpisodeStatistics(returns, lengths, float(every.mean()) if len(every) else None)


def q_errors(promised: np.ndarray, reward: np.ndarray, discount: float, cut: bool) -> np.ndarray:
    """Q(s_t, mu(s_t)) - Z_t of the states of one episode for which Z_t is known well enough (see `q_bias`).

    Args:
        promised: Q(s_t, mu(s_t)) at t = 0, ..., T, of the last observation too (T + 1,); what follows is ignored.
        reward: (T,).
        discount: gamma.
        cut: whether the episode could have gone on.
    """
    steps = len(reward)
    tail = float(promised[steps]) if cut else 0.0
    unseen = discount ** np.arange(steps, 0, -1.0) if cut else np.zeros(steps)
    errors: np.ndarray = promised[:steps] - discounted_returns(reward, discount, tail)
    return errors[unseen <= UNSEEN]


def _check(what: str, values: np.ndarray, lengths: np.ndarray, id: str) -> None:
    if not np.isfinite(values).all():
        i = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise Diverged(f"{what} of evaluation episode {i} ({id}) is {values[i]} at its step {lengths[i]}")


@dataclass(frozen=True)
class EpisodeTrace:
    """One episode of T steps: reward (T,), action (T, action_dim) in [-1, 1], q (T,) = Q(s_t, mu(s_t))."""

    reward: np.ndarray
    action: np.ndarray
    q: np.ndarray


def discounted_returns(reward: np.ndarray, discount: float, tail: float = 0.0) -> np.ndarray:
    """Z_t = sum_k discount^k r_{t+k} of the rewards (T,) of one episode, and `tail` after the last; (T,)."""
    returns = np.empty(len(reward))
    following = tail
    for t in range(len(reward) - 1, -1, -1):
        following = returns[t] = float(reward[t]) + discount * following
    return returns


def record(
    actor: nn.Module, judge: Judge, environment: Environment, seed: int = 0, max_steps: int = 10_000
) -> EpisodeTrace:
    """Play one episode (see `play`) and keep it, with the critic's values."""
    rewards: list[float] = []
    actions: list[np.ndarray] = []
    values: list[float] = []
    with in_evaluation_mode(actor, judge.critic):
        for moment in play(actor, environment, 1, seed, max_steps):
            rewards.extend(moment.reward[moment.played].tolist())
            actions.append(moment.action[0].cpu().numpy().astype(np.float32))
            values.append(float(judge.q(moment.obs, moment.action)[0]))
    return EpisodeTrace(np.array(rewards), np.stack(actions[:-1]), np.array(values[:-1]))
