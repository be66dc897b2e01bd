"""Other libraries' agents, by their own defaults, on the same environments through gymnasium."""

from __future__ import annotations

import importlib
import time
from typing import Any

import gymnasium
import numpy as np

from scripts.studies.known_pendulum import optimum
from scripts.studies.known_tasks import KnownTask

EPISODES, FIRST = 20, 10_000
"""Episodes of the evaluation at the end, and the seed of the first."""
LIBRARIES = {"stable-baselines3": "stable_baselines3", "sbx": "sbx"}
"""A library's name here, and its module."""
PACKAGES = {"stable-baselines3": "stable-baselines3", "sbx": "sbx-rl"}
"""Its name on PyPI."""


def environment(task: KnownTask) -> Any:
    """gymnasium's environment of a task."""
    import rlgan.rl  # noqa: F401 - registers them

    limit = {} if task.limit is None else {"max_episode_steps": task.limit}
    return gymnasium.make(task.id, disable_env_checker=True, **limit, **task.kwargs)


def train_peer(library: str, agent: str, task: KnownTask, seed: int, steps: int) -> dict[str, str | float]:
    """Train one seed by `library`'s defaults, and evaluate it without noise: the figures of a row.

    Args:
        library: a key of `LIBRARIES`.
        agent: ddpg or td3.
        task: what on.
        seed: of the agent and the environment.
        steps: of training.
    """
    kind = getattr(importlib.import_module(LIBRARIES[library]), agent.upper())
    env = environment(task)
    wall, cpu = time.perf_counter(), time.process_time()
    model = kind("MlpPolicy", env, seed=seed, device="cpu")
    model.learn(steps)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    played = environment(task)
    known: Any = getattr(played.unwrapped, "known", None)
    returns, distances, lengths = [], [], []
    for episode in range(EPISODES):
        obs, _ = played.reset(seed=FIRST + episode)
        total, length, over = 0.0, 0, False
        while not over:
            action, _ = model.predict(obs, deterministic=True)
            if task.env == "bandit":
                off = np.reshape(action, -1) - known.action(np.asarray(obs)[None])[0]
                distances.append(float(np.abs(off).max()))
            obs, reward, terminated, truncated, _ = played.step(action)
            total, length, over = total + float(reward), length + 1, terminated or truncated
        returns.append(total)
        lengths.append(length)
    seeds = list(range(FIRST, FIRST + EPISODES))
    best = optimum(seeds) if known is None else known.optimum(seeds, max(lengths))
    return {
        "return": float(np.mean(returns)),
        "optimum": float(best.mean()),
        "distance": float(np.mean(distances)) if distances else float("nan"),
        "seconds": wall,
        "cpu_seconds": cpu,
    }
