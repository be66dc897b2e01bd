"""An environment: physics written for floats and arrays of n alike, so that n of them are stepped at once."""

from typing import Any

import numpy as np
from gymnasium import spaces

from rlgan.rl.envs.batched import BatchedEnv, register


class Mine(BatchedEnv):
    """A cart on a line, pushed to the left or to the right; the reward is the greater the nearer it is to 0."""

    one_observation = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    one_action = spaces.Box(-1.0, 1.0, (1,), np.float32)
    width = 2  # numbers in a state: place and speed

    def start(self, generator: np.random.Generator) -> list[float]:
        """A first state, `width` numbers."""
        return [generator.uniform(-1.0, 1.0), generator.uniform(-1.0, 1.0)]

    def advance(self, state: Any, action: Any, maths: Any) -> tuple[Any, Any, Any]:
        """The next state, the reward, and whether the episode terminates; `maths` has sin, cos, where, ..."""
        place, speed = state
        speed = 0.98 * speed + 0.1 * maths.double(action[0])
        place = place + 0.1 * speed
        return (place, speed), maths.cos(place), abs(place) > 3.0

    def observe(self, state: Any, maths: Any) -> Any:
        """What is seen of a state."""
        return state


register("Mine-v0", Mine, max_episode_steps=100)
