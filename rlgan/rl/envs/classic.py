"""gymnasium's classic control with continuous actions, batched: the same numbers to the last bit.

gymnasium computes with numpy's scalars, whose arithmetic is not in all places that of numpy's arrays.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rlgan.rl.envs.batched import BatchedEnv, Maths

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
    few = 5

    def __init__(self, num_envs: int, max_episode_steps: int | None = None, g: float = 10.0) -> None:
        super().__init__(num_envs, max_episode_steps)
        self.g = g

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        high = np.array([math.pi, 1.0])
        angle, speed = generator.uniform(-high, high)
        return angle, speed

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        angle, speed = state
        (torque,) = action
        off = (angle + math.pi) % (2.0 * math.pi) - math.pi
        # Squares are powers there, which a product is not in the last bit; the sine is numpy's.
        effort = maths.double(SINGLE(0.001) * maths.power(torque, 2))
        cost = maths.power(off, 2) + 0.1 * maths.power(speed, 2) + effort
        faster = speed + (3.0 * self.g / 2.0 * np.sin(angle) + 3.0 * torque) * 0.05
        faster = maths.clip(faster, -8.0, 8.0)
        return (angle + faster * 0.05, faster), -cost, False

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        angle, speed = state
        return np.cos(angle), np.sin(angle), speed


class MountainCarContinuous(BatchedEnv):
    """MountainCarContinuous-v0. State: position and velocity in single precision; whether the position is double.

    gymnasium rounds the state to single precision at every step, but not the start.
    """

    one_observation = spaces.Box(
        np.array([-1.2, -0.07], dtype=SINGLE), np.array([0.6, 0.07], dtype=SINGLE), dtype=SINGLE
    )
    one_action = spaces.Box(-1.0, 1.0, (1,), SINGLE)
    width = 3
    few = 4

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return generator.uniform(low=-0.6, high=-0.4), 0.0, 1.0

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        position, velocity, starts = state
        (force,) = action
        phase = 3.0 * position
        hill = maths.cos(maths.where(starts, phase, maths.double(maths.single(phase))))
        speed = maths.single(velocity) + (force * SINGLE(0.0015) - maths.single(0.0025 * hill))
        speed = maths.clip(speed, SINGLE(-0.07), SINGLE(0.07))
        # The sum in double precision, rounded once, is the sum in single precision.
        place = maths.clip(maths.single(position + maths.double(speed)), SINGLE(-1.2), SINGLE(0.6))
        speed = maths.where((place == SINGLE(-1.2)) & (speed < 0), SINGLE(0.0), speed)
        arrived = (place >= SINGLE(0.45)) & (speed >= 0)
        strength = maths.double(force)
        reward = maths.where(arrived, 100.0, 0.0) - strength * strength * 0.1
        return (maths.double(place), maths.double(speed), 0.0 * position), reward, arrived

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return state[:2]
