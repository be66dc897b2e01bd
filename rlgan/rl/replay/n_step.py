"""Windows of n steps, one stream an environment: discounted rewards, and what the last step led to.

    G_t = r_t + gamma r_{t+1} + ... + gamma^(m-1) r_{t+m-1},    y = G_t + gamma^m (1 - terminated) Q'(s_{t+m}, .)

m = n, and less where the episode ends earlier: by termination without a value of its own, by truncation (a time limit)
with that of the true last observation. Sutton 1988; in deterministic policy gradients Barth-Maron et al. 2018 (D4PG).
The rewards after the first are those of the behaviour of then: off-policy a bias, which n = 1 does not have.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from rlgan.rl.border.rows import Step


class Windows(NamedTuple):
    """k complete windows, as the replay stores them: the fields of `Step`, and `discount` (k,), gamma^m."""

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    valid: np.ndarray
    discount: np.ndarray


class NStep:
    """Turns the steps of e environments into windows of n steps; a step comes out when its window is complete.

    Args:
        n: steps in a window, at least 1.
        discount: gamma.
        num_envs: e.
        obs_dim: length of an observation.
        action_dim: length of an action.

    Raises:
        ValueError: n below 1.
    """

    def __init__(self, n: int, discount: float, num_envs: int, obs_dim: int, action_dim: int) -> None:
        if n < 1:
            raise ValueError(f"n_step = {n}: must be at least 1, for example 3")
        self.n = n
        self.discount = discount
        # Slot j < count[i] is the j-th oldest window of environment i that is open; and where its last step led.
        self._obs = np.zeros((num_envs, n, obs_dim), dtype=np.float32)
        self._action = np.zeros((num_envs, n, action_dim), dtype=np.float32)
        self._reward = np.zeros((num_envs, n))
        self._factor = np.zeros((num_envs, n))
        self._reached = np.zeros((num_envs, obs_dim), dtype=np.float32)
        self._count = np.zeros(num_envs, dtype=np.int64)

    def push(self, step: Step) -> Windows:
        """The windows that `step` completes: at an episode's end all that are open, of m = n, ..., 1 steps."""
        parts: list[tuple[np.ndarray, ...]] = []
        source: list[int] = []
        for i in np.flatnonzero(step.valid):
            last = int(self._count[i])
            self._obs[i, last], self._action[i, last] = step.obs[i], step.action[i]
            self._reward[i, last], self._factor[i, last] = 0.0, 1.0
            count = last + 1
            self._reward[i, :count] += self._factor[i, :count] * step.reward[i]
            self._factor[i, :count] *= self.discount
            self._reached[i] = step.next_obs[i]
            done = count if step.terminated[i] or step.truncated[i] else count // self.n
            own = (self._obs, self._action, self._reward, self._factor)
            if done:
                parts.append(tuple(array[i, :done].copy() for array in own))
                source.extend([int(i)] * done)
                for array in own:
                    array[i, : count - done] = array[i, done:count].copy()
            self._count[i] = count - done
        if not parts:
            obs, action, reward, factor = (
                array[0, :0] for array in (self._obs, self._action, self._reward, self._factor)
            )
        else:
            obs, action, reward, factor = (np.concatenate(column) for column in zip(*parts, strict=True))
        valid = np.ones(len(source), dtype=np.bool_)
        return Windows(obs, action, reward, step.next_obs[source], step.terminated[source], valid, factor)

    def state_dict(self) -> dict[str, Any]:
        """The windows that are open."""
        arrays = {name: torch.from_numpy(value.copy()) for name, value in self._arrays().items()}
        return {"n": self.n, **arrays}

    def load_state_dict(self, state: dict[str, Any], obs: np.ndarray) -> None:
        """Restore what `state_dict` saved; windows of an environment that does not stand where it stood are dropped.

        Args:
            state: of as many environments.
            obs: their present observations (e, obs_dim): an environment that could not be restored starts anew.

        Raises:
            ValueError: saved with another n.
        """
        if state["n"] != self.n:
            raise ValueError(f"n_step = {self.n}: the saved run has {state['n']}; resume with that")
        for name, value in self._arrays().items():
            value[...] = state[name].numpy()
        self._count[~np.all(self._reached == obs, axis=1)] = 0

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "obs": self._obs,
            "action": self._action,
            "reward": self._reward,
            "factor": self._factor,
            "reached": self._reached,
            "count": self._count,
        }
