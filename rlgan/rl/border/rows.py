"""What a step of n environments yields, and where they stand."""

from typing import NamedTuple

import numpy as np


class Episode(NamedTuple):
    """A finished episode: index of its environment, undiscounted return, number of steps."""

    env: int
    total: float
    length: int


class Step(NamedTuple):
    """One step of n environments; rows where `valid` is False are resets, not transitions: store none, count none.

    Shapes: obs and next_obs (n, obs_dim) float32, action (n, action_dim) float32 in [-1, 1], the others (n,). `obs` is
    what the action answered and `next_obs` its true successor, at an episode's end the last observation and never that
    of a reset. `terminated` masks bootstrapping, `truncated` never does. `episodes` are those that this step finished.
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    episodes: tuple[Episode, ...]

    @property
    def ended(self) -> np.ndarray:
        """(n,) bool: the environments whose episode this step finished."""
        return self.terminated | self.truncated


class Rows:
    """Where n environments stand: what is seen of each, and its episode so far. Written in place.

    `obs` (n, obs_dim) float32 is the observation to act upon, `valid` (n,) bool False where the next step is a reset,
    `total` and `length` (n,) are those of the present episode, `steps` (n,) the transitions of all episodes.
    """

    names = ("obs", "valid", "total", "length", "steps")

    def __init__(self, num_envs: int, obs_dim: int) -> None:
        self.obs = np.zeros((num_envs, obs_dim), dtype=np.float32)
        self.valid = np.ones(num_envs, dtype=np.bool_)
        self.total = np.zeros(num_envs)
        self.length = np.zeros(num_envs, dtype=np.int64)
        self.steps = np.zeros(num_envs, dtype=np.int64)

    def begin(self, obs: np.ndarray) -> None:
        """New episodes everywhere, seen as `obs`; none of their steps has been made."""
        self.obs[...] = obs
        self.valid[...] = True
        for counter in (self.total, self.length, self.steps):
            counter[...] = 0

    def move(
        self,
        action: np.ndarray,
        reward: np.ndarray,
        next_obs: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        moved: np.ndarray | None = None,
    ) -> Step:
        """Take note of a step in mode NEXT_STEP.

        Args:
            action, reward, next_obs, terminated, truncated: as in `Step`, which keeps them.
            moved: (n,) bool, the environments that were stepped; in the others nothing ended, at reward 0. All, where
                none is given.
        """
        obs, valid = self.obs.copy(), self.valid.copy()
        if moved is None:
            self.obs[...] = next_obs
            self.valid[...] = True
        else:
            np.copyto(self.obs, next_obs, where=moved[:, None])
            self.valid |= moved
            valid &= moved
        self.total += reward
        self.length += valid
        self.steps += valid
        episodes: tuple[Episode, ...] = ()
        ended = terminated | truncated
        if np.count_nonzero(ended):
            who = np.flatnonzero(ended)
            episodes = tuple(Episode(int(i), float(self.total[i]), int(self.length[i])) for i in who)
            self.total[who] = 0.0
            self.length[who] = 0
            self.valid[who] = False
        return Step(obs, action, reward, next_obs, terminated, truncated, valid, episodes)
