"""Averages of a player's iterates: target networks, EMA generators, Polyak-Ruppert averages.

Every average is a sequence of weights w_t for the new point,

    theta_bar_t = theta_bar_{t-1} + w_t (theta_t - theta_bar_{t-1}),      t = 1, 2, ...,

so one formula serves all of them. Buffers (batch-norm statistics) are copied along.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


class Average(ABC):
    """A sequence of weights of the new point."""

    active: bool = True

    @abstractmethod
    def weight(self, t: int, horizon: int) -> float:
        """w_t in [0, 1] after the `t`-th step (t = 1, 2, ...) of a run planned to take `horizon` steps."""


@dataclass(frozen=True)
class EMA(Average):
    """w_t = tau: the exponential moving average, starting at theta_0 (Lillicrap et al. 2016, target networks).

    Args:
        tau: weight of the new point, in (0, 1].

    Raises:
        ValueError: if `tau` is outside of (0, 1].
    """

    tau: float = 0.005

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 1:
            raise ValueError(f"tau = {self.tau}: the weight of the new point lies in (0, 1], for example 0.005")

    def weight(self, t: int, horizon: int) -> float:
        return self.tau


@dataclass(frozen=True)
class RunEMA(Average):
    """w_t = max(1 / (fraction * horizon), 1 / t): an EMA whose memory is a fraction of the run's length.

    A fixed tau of 0.001 is useless in a run of 2,000 steps and needlessly short in one of a million; here the memory
    grows with the run, and while t is small the average is the plain mean, so the initial point is forgotten at once.

    Args:
        fraction: length of the memory as a share of the run, in (0, 1].

    Raises:
        ValueError: if `fraction` is outside of (0, 1].
    """

    fraction: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction = {self.fraction}: a share of the run's length, in (0, 1], for example 0.02")

    def weight(self, t: int, horizon: int) -> float:
        return max(1.0 / max(self.fraction * horizon, 1.0), 1.0 / t)


@dataclass(frozen=True)
class NoAverage(Average):
    """No average is kept: w_t = 1, theta_bar is theta."""

    active = False

    def weight(self, t: int, horizon: int) -> float:
        return 1.0
