"""Exploration against exploitation, on a task of one step whose reward has two hills; registered on import as

    rlgan/TwoHills-v0

The near hill is low and broad. The far one is high and narrow, and is not felt from where an actor begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rlgan.rl.envs.batched import BatchedEnv, Maths, register

LOW, HIGH = (0.6, -0.4, 0.25), (1.0, 0.7, 0.12)
"""Height, place and half width at half height of the near hill and of the far one."""


def reward(action: Any) -> Any:
    """r(a) = sum over both hills of height / (1 + ((a - place) / width)^2), for numbers and arrays."""
    return sum(height / (1.0 + ((action - place) / width) ** 2) for height, place, width in (LOW, HIGH))


class TwoHills(BatchedEnv):
    """A bandit: one action in [-1, 1], its reward r(a), and the episode ends. The observation is always 1."""

    one_observation = spaces.Box(-1.0, 1.0, (1,), np.float64)
    one_action = spaces.Box(-1.0, 1.0, (1,), np.float32)
    width = 1

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        return (1.0,)

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        return state, reward(maths.double(action[0])), True

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return state


register("rlgan/TwoHills-v0", TwoHills)
