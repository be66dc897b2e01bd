"""Observation normalisation by the statistics of what has been collected, applied when an observation is used.

Stored observations stay as they were seen, so that the statistics of now apply to old ones too: to minibatches, to what
the actor and its perturbed copies act upon, and to evaluation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlgan.rl.replay.uniform import Transition

EPSILON = 1e-8
"""Added to the variance."""


class Normaliser:
    """Normalises observations: x -> clip((x - mean) / sqrt(variance + EPSILON), -c, c), per component.

    Mean and variance (over n, not n - 1) are those of all observations shown to `observe`, each counted once, in
    float64: a batch's mean and sum of squared deviations are merged with the former ones (Chan, Golub and LeVeque
    1979), which for a batch of one is Welford's update. Before the first observation x is only clipped.

    Args:
        obs_dim: length of an observation.
        clip: c; 5 is that of OpenAI's baselines, with which parameter noise was published.
        dtype: of the observations to be normalised.
        device: of the observations to be normalised.
    """

    def __init__(
        self, obs_dim: int, clip: float, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        self.clip = clip
        self.count = 0
        self.mean = np.zeros(obs_dim)
        self._squares = np.zeros(obs_dim)  # the sum of squared deviations from the mean
        self._shift = torch.zeros(obs_dim, dtype=dtype, device=device)
        self._scale = torch.ones(obs_dim, dtype=dtype, device=device)
        self._current = True

    @property
    def variance(self) -> np.ndarray:
        """(obs_dim,) float64; 1 before the first observation."""
        return self._squares / self.count if self.count else np.ones_like(self._squares)

    def observe(self, obs: np.ndarray) -> None:
        """Count observations (n, obs_dim)."""
        count = len(obs)
        if not count:
            return
        batch = obs.astype(np.float64)
        centre = batch[0]
        if count > 1:
            centre = batch.mean(0)
            self._squares += np.square(batch - centre).sum(0)
        total = self.count + count
        apart = centre - self.mean
        self._squares += apart * apart * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total
        self._current = False

    def __call__(self, obs: Tensor) -> Tensor:
        """The normalised observations, for (..., obs_dim) of the dtype and the device named at construction."""
        shift, scale = self.numbers()
        return ((obs - shift) * scale).clamp_(-self.clip, self.clip)

    def normalise_(self, batch: Transition) -> Transition:
        """The batch, both of its observations normalised in place: it must not be a view of the replay's own rows."""
        shift, scale = self.numbers()
        for obs in (batch.obs, batch.next_obs):
            obs.sub_(shift).mul_(scale).clamp_(-self.clip, self.clip)
        return batch

    def numbers(self) -> tuple[Tensor, Tensor]:
        """The mean and 1 / standard deviation, (obs_dim,) each, that are applied now."""
        if not self._current:
            self._shift.copy_(torch.from_numpy(self.mean))
            self._scale.copy_(torch.from_numpy(1.0 / np.sqrt(self.variance + EPSILON)))
            self._current = True
        return self._shift, self._scale

    def state_dict(self) -> dict[str, Any]:
        """The statistics."""
        return {
            "count": self.count,
            "mean": torch.from_numpy(self.mean.copy()),
            "squares": torch.from_numpy(self._squares.copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        self.count = state["count"]
        self.mean = state["mean"].numpy().copy()
        self._squares = state["squares"].numpy().copy()
        self._current = False


class NormalisedActor(nn.Module):
    """The actor as a policy on observations as they are seen: mu(normalise(s)). Its parameters are the actor's own."""

    def __init__(self, actor: nn.Module, normalise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.actor = actor
        self._normalise = normalise

    def forward(self, obs: Tensor) -> Tensor:
        """obs (B, obs_dim) -> action (B, action_dim) in [-1, 1]."""
        action: Tensor = self.actor(self._normalise(obs))
        return action
