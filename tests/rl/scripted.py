"""Environments whose every value is known, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

#: How the episodes end, in turn: after so many steps, by termination or by truncation.
SCRIPT: tuple[tuple[int, str], ...] = ((3, "terminated"), (2, "truncated"), (1, "terminated"), (4, "truncated"))


class Scripted(gymnasium.Env):
    """Observation (seed, 100 episode + step) and reward 10 episode + step + seed, whatever the action.

    An environment with an odd seed starts one episode later in the script, so that neighbours end at different times.
    """

    def __init__(self, low: tuple[float, ...] = (-1.0,), high: tuple[float, ...] = (1.0,), bad: str = "") -> None:
        self.action_space = spaces.Box(np.array(low, np.float32), np.array(high, np.float32))
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.bad = bad
        self.number = 0
        self.episode = -1
        self.time = 0

    def _observe(self) -> np.ndarray:
        return np.array([self.number, 100 * self.episode + self.time], dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.number = seed
            self.episode = -1 + seed % 2
        self.episode += 1
        self.time = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action} is not within {self.action_space}"
        self.time += 1
        length, kind = SCRIPT[self.episode % len(SCRIPT)]
        ended = self.time == length
        observation, reward = self._observe(), 10.0 * self.episode + self.time + self.number
        if self.bad and self.episode == 1:
            observation[1] = {"observation": np.nan}.get(self.bad, observation[1])
            reward = {"reward": np.inf}.get(self.bad, reward)
        if self.bad == "raises" and self.episode == 1:
            raise ZeroDivisionError("scripted failure")
        return observation, reward, ended and kind == "terminated", ended and kind == "truncated", {"action": action}


def expected(seed: int, count: int) -> Iterator[tuple[float, float, float, bool, bool]]:
    """(obs, reward, next_obs, terminated, truncated) of the first `count` transitions, second components of obs."""
    episode, time = seed % 2, 0
    for _ in range(count):
        length, kind = SCRIPT[episode % len(SCRIPT)]
        time += 1
        ended = time == length
        first, last = 100 * episode + time - 1, 100 * episode + time
        yield first, 10 * episode + time + seed, last, ended and kind == "terminated", ended and kind == "truncated"
        if ended:
            episode, time = episode + 1, 0


class Hidden(gymnasium.Env):
    """A deterministic environment with its state in an object that is not plain data, as Box2D's worlds are."""

    class World:
        __slots__ = ("position",)
        position: np.ndarray

    def __init__(self, noisy: bool = False) -> None:
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.world = self.World()
        self.noisy = noisy
        self.time = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.world = self.World()
        self.world.position = self.np_random.normal(size=1)
        self.time = 0
        return self.world.position.copy(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        drift = np.random.default_rng().normal() if self.noisy else self.np_random.normal()
        self.world.position = np.sin(self.world.position + 0.1 * action.astype(np.float64) + 0.1 * drift)
        return self.world.position.copy(), float(self.world.position[0]), False, self.time == 23, {}


class Discrete(gymnasium.Env):
    """Spaces that a deterministic policy has no use for."""

    def __init__(self, fault: str) -> None:
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        actions: dict[str, spaces.Space] = {
            "discrete": spaces.Discrete(3),
            "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
            "integers": spaces.Box(0, 5, (2,), np.int64),
        }
        self.action_space = actions.get(fault, box)
        self.observation_space = spaces.Dict({"a": box}) if fault == "observation" else box


for name, kind in {"Scripted-v0": Scripted, "Hidden-v0": Hidden, "Unsuited-v0": Discrete}.items():
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=kind)  # type: ignore[arg-type]
