"""The best returns of Pendulum-v1 from given starts, by dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from gymnasium.utils import seeding
from scipy.ndimage import map_coordinates

from rlgan.rl.envs.classic import Pendulum

STEPS = 200
ANGLES, SPEEDS, TORQUES = 180, 161, 17
"""Points of the grid of states, and torques that are tried; twice as many of all gain 0.4 in the mean of 100 starts."""


def optimum(seeds: Sequence[int], sizes: tuple[int, int, int] = (ANGLES, SPEEDS, TORQUES)) -> np.ndarray:
    """The returns, (n,), of the best policy that was found, played from the starts of these seeds.

    V_t(s) = max_u r(s, u) + V_(t+1)(s') on a grid of angles and speeds, linear between its points (splines overshoot
    where the best direction changes). What is given is not V, which has the grid's error, but what its greedy policy
    gains from the very starts.
    """
    angles, speeds, torques = sizes
    values = _values(angles, speeds, torques)
    env = Pendulum(1)
    state = np.array([env.start(seeding.np_random(seed)[0])[:2] for seed in seeds])
    total = np.zeros(len(state))
    tried = np.linspace(-2.0, 2.0, 4 * torques - 3)
    for t in range(STEPS):
        every = state[:, None]
        reward, after = _step(every[..., 0], every[..., 1], tried)
        best = (reward + _between(values[t + 1], *after)).argmax(1)
        rows = np.arange(len(state))
        total += reward[rows, best]
        state = np.stack((after[0][rows, best], after[1][rows, best]), 1)
    return total


def _step(angle: np.ndarray, speed: np.ndarray, torque: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Pendulum-v1's reward and next state, broadcast."""
    off = (angle + np.pi) % (2 * np.pi) - np.pi
    reward = -(off**2 + 0.1 * speed**2 + 0.001 * torque**2)
    faster = np.clip(speed + (15.0 * np.sin(angle) + 3.0 * torque) * 0.05, -8.0, 8.0)
    return reward, (angle + 0.05 * faster, faster)


def _between(values: np.ndarray, angle: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Values at these states; the last angle is the first one."""
    angles, speeds = values.shape[0] - 1, values.shape[1]
    places = ((angle % (2 * np.pi)) * (angles / (2 * np.pi)), (speed + 8.0) * ((speeds - 1) / 16.0))
    found: np.ndarray = map_coordinates(values, np.stack(np.broadcast_arrays(*places)), order=1, mode="nearest")
    return found


@lru_cache(maxsize=2)
def _values(angles: int, speeds: int, torques: int) -> list[np.ndarray]:
    """V_0 to V_STEPS."""
    angle = np.arange(angles)[:, None] * (2 * np.pi / angles)
    speed = np.linspace(-8.0, 8.0, speeds)[None]
    found = [np.zeros((angles + 1, speeds))]
    for _ in range(STEPS):
        best = np.full((angles, speeds), -np.inf)
        for torque in np.linspace(-2.0, 2.0, torques):
            reward, after = _step(angle, speed, torque)
            np.maximum(best, reward + _between(found[-1], *after), out=best)
        found.append(np.concatenate((best, best[:1])))
    return found[::-1]
