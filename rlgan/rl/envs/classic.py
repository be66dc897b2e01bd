"""gymnasium's classic control with continuous actions, batched: the same numbers to the last bit.

gymnasium computes with numpy's scalars, whose arithmetic is not in all places that of numpy's arrays.
"""

import math
from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from rlgan.rl.envs.batched import BatchedEnv

SINGLE = np.float32


class Pendulum(BatchedEnv):
    """Pendulum-v1. State: angle (0 is up), its velocity.

    Args:
        num_envs: n.
        max_episode_steps: steps after which an episode is truncated; None: never.
        g: gravity.
    """

    one_observation = spaces.Box(
        np.array([-1.0, -1.0, -8.0], dtype=SINGLE), np.array([1.0, 1.0, 8.0], dtype=SINGLE), dtype=SINGLE
    )
    one_action = spaces.Box(-2.0, 2.0, (1,), SINGLE)
    width = 2

    def __init__(self, num_envs: int, max_episode_steps: int | None = None, g: float = 10.0) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.g = g

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        high = np.array([math.pi, 1.0])
        angle, speed = generator.uniform(-high, high)
        return angle, speed

    def advance(self, state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        angle, speed = state.T
        torque = action[:, 0]
        off = (angle + math.pi) % (2.0 * math.pi) - math.pi
        # Squares by the C library's power, not by a product: `float_power` for doubles; for single precision only
        # the scalars have it.
        effort = np.fromiter([u**2 for u in torque], SINGLE, len(torque))
        cost = np.float_power(off, 2.0) + 0.1 * np.float_power(speed, 2.0) + 0.001 * effort
        faster = speed + (3.0 * self.g / 2.0 * np.sin(angle) + 3.0 * torque) * 0.05
        moved = np.empty_like(state)
        moved[:, 1] = np.minimum(np.maximum(faster, -8.0), 8.0)
        moved[:, 0] = angle + moved[:, 1] * 0.05
        return moved, -cost, np.zeros(len(state), dtype=np.bool_)

    def observe(self, state: np.ndarray) -> np.ndarray:
        angle, speed = state.T
        seen = np.empty((len(state), 3), dtype=SINGLE)
        seen[:, 0], seen[:, 1], seen[:, 2] = np.cos(angle), np.sin(angle), speed
        return seen


class MountainCarContinuous(BatchedEnv):
    """MountainCarContinuous-v0. State: position and velocity in single precision; whether the position is double.

    gymnasium rounds the state to single precision at every step, but not the start.
    """

    one_observation = spaces.Box(
        np.array([-1.2, -0.07], dtype=SINGLE), np.array([0.6, 0.07], dtype=SINGLE), dtype=SINGLE
    )
    one_action = spaces.Box(-1.0, 1.0, (1,), SINGLE)
    width = 3

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return generator.uniform(low=-0.6, high=-0.4), 0.0, 1.0

    def advance(self, state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position, velocity, starts = state.T
        phase = 3.0 * position
        phase = np.where(starts, phase, phase.astype(SINGLE))
        # math.cos, as there: numpy's own may differ in the last bit where it is vectorised.
        hill = np.fromiter(map(math.cos, phase.tolist()), np.float64, len(phase))
        force = action[:, 0]
        speed = velocity.astype(SINGLE) + (force * SINGLE(0.0015) - (0.0025 * hill).astype(SINGLE))
        speed = np.minimum(np.maximum(speed, SINGLE(-0.07)), SINGLE(0.07))
        # The sum in double precision, rounded once, is the sum in single precision.
        place = (position + speed).astype(SINGLE)
        place = np.minimum(np.maximum(place, SINGLE(-1.2)), SINGLE(0.6))
        speed[(place == SINGLE(-1.2)) & (speed < 0)] = 0.0
        arrived = (place >= SINGLE(0.45)) & (speed >= 0)
        strength = force.astype(np.float64)
        reward = np.where(arrived, 100.0, 0.0) - strength * strength * 0.1
        moved = np.zeros_like(state)
        moved[:, 0], moved[:, 1] = place, speed
        return moved, reward, arrived

    def observe(self, state: np.ndarray) -> np.ndarray:
        return state[:, :2].astype(SINGLE)
