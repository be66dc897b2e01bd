"""Environments whose every value is known, for the tests of this folder."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from rlgan.rl.envs.environment import Environment

MODES = ("next_step", "same_step", "disabled")


def in_mode(mode: str) -> type[Environment]:
    """`Environment` in another of gymnasium's autoreset modes."""
    return type("Environment", (Environment,), {"autoreset": AutoresetMode[mode.upper()]})


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


class Worn(Hidden):
    """A deterministic environment that never forgets: its world moves the more slowly the longer it has been used."""

    class World(Hidden.World):
        __slots__ = ("used",)
        used: int

    def __init__(self) -> None:
        super().__init__()
        self._world = self.World()
        self._world.used = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        self._world.position = self.world.position
        self.world = self._world
        return observation, info

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._world.used += 1
        return super().step((action / self._world.used).astype(np.float32))


class Parts(gymnasium.Env):
    """Observations in parts of several kinds, drawn from their own space; the reward is the first component of `b`.

    Args:
        whole: whether they have a fixed length.
    """

    def __init__(self, whole: bool = True) -> None:
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        box = spaces.Box(-1.0, 1.0, (2, 2), np.float64)
        pair = spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2)))
        self.observation_space = spaces.Dict({"b": box, "a": pair, "c": spaces.Box(0, 9, (1,), np.uint8)})
        if not whole:
            self.observation_space = spaces.Dict({"ragged": spaces.Sequence(box)})
        self.time = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        observation = self.observation_space.sample()
        return observation, float(observation["b"][0, 0]), False, self.time == 7, {}


class Locked(Exception):
    """An exception that cannot be sent from one process to another."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class Doomed(gymnasium.Env):
    """Fails at its step `at`, counted over all of its episodes of 5 steps; where seeds are odd, if `odd`.

    Args:
        how: `raise`; `locked`, by an exception that cannot be sent; `reset`, in the next reset; `kill`, its process
            unless that is the one of the tests; `nan_reward`, `inf_reward`.
        at: the step.
        odd: leave environments of even seeds alone.
    """

    def __init__(self, how: str, at: int = 4, odd: bool = True) -> None:
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
        self.how, self.at, self.odd = how, at, odd
        self.count = 0
        self.doomed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.doomed = not self.odd or seed % 2 == 1
        if self.how == "reset" and self.doomed and self.count >= self.at:
            raise OSError("no reset left")
        return self.np_random.uniform(-1, 1, 1), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        reward = float(self.np_random.uniform())
        if self.doomed and self.count == self.at:
            if self.how == "raise":
                raise ZeroDivisionError("scripted failure")
            if self.how == "locked":
                raise Locked("scripted lock")
            if self.how == "kill" and os.getpid() != HOME:
                os.kill(os.getpid(), signal.SIGKILL)
            reward = {"nan_reward": np.nan, "inf_reward": np.inf}.get(self.how, reward)
        return self.np_random.uniform(-1, 1, 1), reward, False, self.count % 5 == 0, {}


HOME = os.getpid()


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
        self.observation_space = box


KINDS = {
    "Scripted-v0": Scripted,
    "Hidden-v0": Hidden,
    "Worn-v0": Worn,
    "Parts-v0": Parts,
    "Doomed-v0": Doomed,
    "Unsuited-v0": Discrete,
}
for name, kind in KINDS.items():
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=kind)  # type: ignore[arg-type]
