"""Actions on their way to an environment."""

import numpy as np
from gymnasium import spaces


class ActionMap:
    """The map of [-1, 1] to the bounds of a Box, per dimension: a -> centre + a * half, half = (high - low) / 2."""

    def __init__(self, space: spaces.Box) -> None:
        low, high = space.low.astype(np.float64).ravel(), space.high.astype(np.float64).ravel()
        self.shape, self._dtype = space.shape, space.dtype
        self.low, self.high = space.low.ravel(), space.high.ravel()
        self.centre, self.half = (0.5 * (low + high)).astype(space.dtype), (0.5 * (high - low)).astype(space.dtype)
        # Rounding is monotone: where the two ends stay within the bounds, everything between them does.
        ends = self.centre - self.half, self.centre + self.half
        self._rounds_out = bool((ends[0] < self.low).any() or (ends[1] > self.high).any())
        self._identity = bool((self.centre == 0).all() and (self.half == 1).all()) and space.dtype == np.float32

    def notes(self, name: str) -> list[str]:
        """What a user of the environment `name` has to know."""
        idle = np.flatnonzero(self.low == self.high).tolist()
        if not idle:
            return []
        return [
            f"of the {len(self.low)} components of {name}'s actions {len(idle)} cannot be chosen, as low = high: "
            f"{', '.join(map(str, idle[:5]))}{', ...' if len(idle) > 5 else ''}; what is learnt for them has no effect"
        ]

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """Actions (n, action_dim) in [-1, 1] -> (n, *shape) within the bounds to the last bit."""
        if not self._identity:
            action = (action * self.half + self.centre).astype(self._dtype, copy=False)
            if self._rounds_out:
                action = np.minimum(np.maximum(action, self.low), self.high)
        else:
            action = action.copy()  # an environment may write into what it is given
        return action if len(self.shape) == 1 else action.reshape(len(action), *self.shape)
