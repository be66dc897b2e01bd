"""Deterministic evaluation of an actor on environments of its own, and the statistics of its returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

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

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the returns over episodes, with n - 1; 0 for one episode."""
        return float(self.returns.std(ddof=1)) if len(self.returns) > 1 else 0.0

    @property
    def iqm(self) -> float:
        """Interquartile mean: the mean of the middle half (Agarwal et al. 2021)."""
        return interquartile_mean(self.returns)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Bootstrap interval of the mean return at `level`."""
        return bootstrap_interval(self.returns, level)

    def metrics(self) -> dict[str, float]:
        """`return/eval` (the mean) and its companions, under their tags."""
        low, high = self.interval()
        return {
            "return/eval": self.mean,
            "return/eval_std": self.std,
            "return/eval_iqm": self.iqm,
            "return/eval_low": low,
            "return/eval_high": high,
            "return/eval_length": float(self.lengths.mean()),
            **({} if self.q_bias is None else {"critic/q_bias": self.q_bias}),
        }


def evaluate(
    actor: nn.Module,
    environment: Environment,
    episodes: int = 20,
    seed: int = 0,
    max_steps: int = 100_000,
    judge: Judge | None = None,
) -> EpisodeStatistics:
    """Play `episodes` episodes with a = mu(s), without noise, all at once, each in an environment of its own.

    Every environment plays exactly one episode: taking the first n to end of a running set would favour short ones. The
    environments are new ones, so that training sees nothing of an evaluation and equal seeds mean equal start states.

    Args:
        actor: obs (B, obs_dim) -> action (B, action_dim) in [-1, 1]; evaluated in eval mode, its own mode is left as it
            was.
        environment: which environment; `num_envs`, `autoreset` and `vectorization` play no part.
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
    envs = [Guard(environment.make_one(), i) for i in range(episodes)]
    try:
        with in_evaluation_mode(actor, *(() if judge is None else (judge.critic,))):
            return _play(actor, envs, environment, seed, max_steps, judge)
    except EnvironmentFailed as error:
        episode, reason = error.index_and_reason
        raise RuntimeError(f"evaluation episode {episode} ({environment.id}) raised {reason}") from error
    finally:
        for env in envs:
            env.close()


def _play(
    actor: nn.Module, envs: list, environment: Environment, seed: int, max_steps: int, judge: Judge | None
) -> EpisodeStatistics:
    id = environment.id
    scale = ActionMap(envs[0].action_space)
    parameter = next(iter(actor.parameters()))
    obs = np.stack([environment.start(env, seed + i).reshape(-1) for i, env in enumerate(envs)]).astype(np.float32)
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), dtype=np.int64)
    running = list(range(len(envs)))
    promised: list[np.ndarray] = []
    rewards: list[list[float]] = [[] for _ in envs]
    open_end = np.ones(len(envs), dtype=np.bool_)

    def answer() -> np.ndarray:
        # All rows pass through the networks, also those that have ended: one shape, whatever the number still running.
        seen = torch.from_numpy(obs).to(parameter)
        with torch.no_grad():
            chosen = actor(seen).detach()
        if judge is not None:
            promised.append(judge.q(seen, chosen.clamp(-1.0, 1.0)))
        actions: np.ndarray = chosen.cpu().numpy().astype(np.float32, copy=False)
        return actions

    while running and lengths[running[0]] < max_steps:
        action = answer()
        _check("action", action, lengths, id)
        scaled = scale(np.minimum(np.maximum(action, -1.0), 1.0))
        still = []
        for i in running:
            raw, reward, terminated, truncated, _ = envs[i].step(scaled[i])
            obs[i] = np.asarray(raw).reshape(-1)
            returns[i] += float(reward)
            lengths[i] += 1
            rewards[i].append(float(reward))
            open_end[i] = not terminated
            if not (terminated or truncated):
                still.append(i)
        running = still
        _check("observation", obs, lengths, id)
        _check("return", returns[:, None], lengths, id)
    if judge is None:
        return EpisodeStatistics(returns, lengths)
    answer()  # for the values of the last observations
    promises = np.stack(promised, 1)
    errors = [q_errors(promises[i], np.array(rewards[i]), judge.discount, bool(open_end[i])) for i in range(len(envs))]
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
    """Play one deterministic episode in an environment of its own and keep it, with the critic's values.

    Args:
        actor: obs (B, obs_dim) -> action (B, action_dim) in [-1, 1].
        judge: the critic.
        environment: which environment.
        seed: of its start state.
        max_steps: length at which an episode without a time limit is cut.
    """
    env = environment.make_one()
    scale = ActionMap(cast(spaces.Box, env.action_space))
    parameter = next(iter(actor.parameters()))
    rewards: list[float] = []
    actions: list[np.ndarray] = []
    values: list[float] = []
    try:
        with in_evaluation_mode(actor, judge.critic):
            raw, ended = environment.start(env, seed), False
            while not ended and len(rewards) < max_steps:
                obs = torch.from_numpy(np.asarray(raw, dtype=np.float32).reshape(1, -1)).to(parameter)
                with torch.no_grad():
                    chosen = actor(obs)
                values.append(float(judge.q(obs, chosen)[0]))
                action = np.clip(chosen.cpu().numpy().astype(np.float32), -1.0, 1.0)
                raw, reward, terminated, truncated, _ = env.step(scale(action)[0])
                rewards.append(float(reward))
                actions.append(action[0])
                ended = bool(terminated or truncated)
    finally:
        env.close()
    return EpisodeTrace(np.array(rewards), np.stack(actions), np.array(values))
