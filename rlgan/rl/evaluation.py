"""Deterministic evaluation of an actor on environments of its own, and the statistics of its returns."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rlgan.rl.envs import ActionMap, Environment
from rlgan.runs.errors import Diverged
from rlgan.runs.statistics import bootstrap_interval, interquartile_mean


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths, both (episodes,); their spread is over episodes, not over seeds."""

    returns: np.ndarray
    lengths: np.ndarray

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
        }


def evaluate(
    actor: nn.Module,
    environment: Environment,
    episodes: int = 20,
    seed: int = 0,
    max_steps: int = 100_000,
) -> Evaluation:
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

    Raises:
        ValueError: episodes below 1.
        Diverged: an action, an observation or a reward is not finite.
    """
    if episodes < 1:
        raise ValueError(f"episodes = {episodes}: must be at least 1, for example 20")
    envs = [environment.make_one() for _ in range(episodes)]
    modes = [(module, module.training) for module in actor.modules()]
    actor.eval()
    try:
        return _play(actor, envs, environment.id, seed, max_steps)
    finally:
        for module, training in modes:
            module.training = training
        for env in envs:
            env.close()


def _play(actor: nn.Module, envs: list, id: str, seed: int, max_steps: int) -> Evaluation:
    scale = ActionMap(envs[0].action_space)
    parameter = next(iter(actor.parameters()))
    obs = np.stack([np.asarray(env.reset(seed=seed + i)[0]).reshape(-1) for i, env in enumerate(envs)]).astype(
        np.float32
    )
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), dtype=np.int64)
    running = list(range(len(envs)))
    while running and lengths[running[0]] < max_steps:
        # All rows pass through the actor, also those that have ended: one shape, whatever the number still running.
        with torch.no_grad():
            action = actor(torch.from_numpy(obs).to(parameter)).detach().cpu().numpy().astype(np.float32, copy=False)
        _check("action", action, lengths, id)
        scaled = scale(np.minimum(np.maximum(action, -1.0), 1.0))
        still = []
        for i in running:
            raw, reward, terminated, truncated, _ = envs[i].step(scaled[i])
            obs[i] = np.asarray(raw).reshape(-1)
            returns[i] += float(reward)
            lengths[i] += 1
            if not (terminated or truncated):
                still.append(i)
        running = still
        _check("observation", obs, lengths, id)
        _check("return", returns[:, None], lengths, id)
    return Evaluation(returns, lengths)


def _check(what: str, values: np.ndarray, lengths: np.ndarray, id: str) -> None:
    if not np.isfinite(values).all():
        i = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise Diverged(f"{what} of evaluation episode {i} ({id}) is {values[i]} at its step {lengths[i]}")


@dataclass(frozen=True)
class Trace:
    """One episode of T steps: reward (T,), action (T, action_dim) in [-1, 1], q (T,) = Q(s_t, mu(s_t))."""

    reward: np.ndarray
    action: np.ndarray
    q: np.ndarray


def discounted_returns(reward: np.ndarray, discount: float) -> np.ndarray:
    """Z_t = sum_k discount^k r_{t+k} of the rewards (T,) of one episode; (T,)."""
    returns = np.empty(len(reward))
    following = 0.0
    for t in range(len(reward) - 1, -1, -1):
        following = returns[t] = float(reward[t]) + discount * following
    return returns


def record(
    actor: nn.Module, critic: nn.Module, environment: Environment, seed: int = 0, max_steps: int = 10_000
) -> Trace:
    """Play one deterministic episode in an environment of its own and keep it, with the critic's values.

    Args:
        actor: obs (B, obs_dim) -> action (B, action_dim) in [-1, 1].
        critic: Q, (B, obs_dim), (B, action_dim) -> (B,).
        environment: which environment.
        seed: of its start state.
        max_steps: length at which an episode without a time limit is cut.
    """
    env = environment.make_one()
    scale = ActionMap(cast(spaces.Box, env.action_space))
    parameter = next(iter(actor.parameters()))
    modes = [(module, module.training) for net in (actor, critic) for module in net.modules()]
    for module, _ in modes:
        module.training = False
    rewards: list[float] = []
    actions: list[np.ndarray] = []
    values: list[float] = []
    try:
        raw, ended = env.reset(seed=seed)[0], False
        while not ended and len(rewards) < max_steps:
            obs = torch.from_numpy(np.asarray(raw, dtype=np.float32).reshape(1, -1)).to(parameter)
            with torch.no_grad():
                chosen = actor(obs)
                values.append(float(critic(obs, chosen)))
            action = np.clip(chosen.cpu().numpy().astype(np.float32), -1.0, 1.0)
            raw, reward, terminated, truncated, _ = env.step(scale(action)[0])
            rewards.append(float(reward))
            actions.append(action[0])
            ended = bool(terminated or truncated)
    finally:
        for module, training in modes:
            module.training = training
        env.close()
    return Trace(np.array(rewards), np.stack(actions), np.array(values))
