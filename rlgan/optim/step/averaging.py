"""Averages of a player's iterates: target networks, EMA generators, Polyak-Ruppert averages.

Every average is a sequence of weights w_t for the new point,

    theta_bar_t = theta_bar_{t-1} + w_t (theta_t - theta_bar_{t-1}),      t = 1, 2, ...,

so one formula serves all of them. theta_bar_0 is theta_0; an average that must not remember it has w_1 = 1.
With weights a_1, a_2, ... of the points themselves, theta_bar_t = sum_{s<=t} a_s theta_s / sum_{s<=t} a_s, it is
w_t = a_t / sum_{s<=t} a_s. Buffers (batch-norm statistics) are copied along; an average that is measured is first
given those of its own activations (`rlgan.nets.layers.estimate_statistics`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Average(ABC):
    """A sequence of weights of the new point."""

    active: bool = True

    @property
    def parts(self) -> Mapping[str, Average]:
        """All the averages of a player by name, the one that stands for the player first."""
        return {"average": self}

    @abstractmethod
    def weight(self, t: int, horizon: int) -> float:
        """w_t in [0, 1] after the `t`-th step (t = 1, 2, ...) of a run planned to take `horizon` steps."""


@dataclass(frozen=True)
class EMA(Average):
    """The exponential moving average from theta_0 on: w_t = tau (Lillicrap et al. 2016, target networks).

    With `every` = d it is w_t = tau if t is a multiple of d, else 0: the target of TD3's critic moves when the actor
    does, after each second step of the critic (Fujimoto et al. 2018, Algorithm 1).

    Args:
        tau: weight of the new point, in (0, 1].
        every: steps between two moves of the average, at least 1.

    Raises:
        ValueError: if `tau` is outside of (0, 1], or `every` is not positive.
    """

    tau: float = 0.005
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 1:
            raise ValueError(f"tau = {self.tau}: the weight of the new point lies in (0, 1], for example 0.005")
        if self.every < 1:
            raise ValueError(f"every = {self.every}: steps between two moves of the average, at least 1")

    def weight(self, t: int, horizon: int) -> float:
        return self.tau if t % self.every == 0 else 0.0


@dataclass(frozen=True)
class RunEMA(Average):
    """An exponential moving average over a fraction of the run: w_t = max(1 / (fraction * horizon), 1 / t).

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
class UniformAverage(Average):
    """The mean of theta_{start+1}, ..., theta_t, up to `start` the point itself: w_t = 1 / (t - start).

    Ruppert 1988, Polyak & Juditsky 1992: with steps larger than 1/k the mean of the iterates has the best asymptotic
    variance. It is meant for convex problems; in others the mean of points in two basins may lie in neither.

    Args:
        start: step after which averaging begins; the mean forgets the initial point at a rate of 1/t only.

    Raises:
        ValueError: if `start` is negative.
    """

    start: int = 0

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ValueError(f"start = {self.start}: the step after which averaging begins, at least 0")

    def weight(self, t: int, horizon: int) -> float:
        return 1.0 / max(t - self.start, 1)


@dataclass(frozen=True)
class WeightedAverage(Average):
    """The mean that AcceleGrad gives: w_t = a_{t-1} / sum_{k<t} a_k, a_k = max(1, (k + 1) / 4) (Levy et al. 2018).

    theta_bar_t = sum_{k<t} a_k theta_{k+1} / sum_{k<t} a_k: the later a point, the more it counts.
    The sum is t for t <= 4 and 3/2 + t (t + 1) / 8 from there on.
    """

    def weight(self, t: int, horizon: int) -> float:
        if t <= 4:
            return 1.0 / t
        return (t / 4.0) / (1.5 + t * (t + 1) / 8.0)


@dataclass(frozen=True)
class Periodic(Average):
    """A copy that is taken anew each `every` steps: w_t = 1 if t is a multiple of `every`, else 0.

    The hard update of a target network (Mnih et al. 2015, DQN). The first copy is theta_0.

    Args:
        every: steps between two copies, at least 1.

    Raises:
        ValueError: if `every` is not positive.
    """

    every: int = 1000

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every = {self.every}: steps between two copies, at least 1, for example 1000")

    def weight(self, t: int, horizon: int) -> float:
        return 1.0 if t % self.every == 0 else 0.0


@dataclass(frozen=True)
class NoAverage(Average):
    """No average is kept: w_t = 1, theta_bar is theta."""

    active = False

    def weight(self, t: int, horizon: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Several(Average):
    """Averages of one and the same run, side by side: none, uniform and EMA are compared without training thrice.

    Averaging does not act on the iterates, so that each of them is what it would be alone. The first stands for
    the player wherever one average is asked for (samples, ranking, target networks); `Player.averages` has all.

    Args:
        averages: by name, the first first; `NoAverage` is the iterate itself and costs nothing.

    Raises:
        ValueError: if there is none, a name has a slash in it, or an average is itself several.
    """

    averages: Mapping[str, Average]

    def __post_init__(self) -> None:
        if not self.averages:
            raise ValueError("averages = {}: name at least one, for example {ema: {_target_: rlgan.optim.RunEMA}}")
        for name, average in self.averages.items():
            if "/" in name or isinstance(average, Several):
                raise ValueError(f"averages.{name} = {average}: one average each, under a name without a slash")

    @property
    def active(self) -> bool:  # type: ignore[override]
        return any(average.active for average in self.averages.values())

    @property
    def parts(self) -> Mapping[str, Average]:
        return self.averages

    def weight(self, t: int, horizon: int) -> float:
        return next(iter(self.averages.values())).weight(t, horizon)


class Kept(NamedTuple):
    """Where one average of a player is kept: its key in the state, in a step's numbers, and before its buffers' names.

    They are "theta_bar", "average" and "" of the average that stands for the player.
    """

    slot: str
    number: str
    prefix: str
    average: Average

    @staticmethod
    def of(averaging: Average) -> dict[str, Kept]:
        """What is kept for `averaging`, by the average's name; of `NoAverage` nothing is."""
        found = {}
        for i, (name, average) in enumerate(averaging.parts.items()):
            if average.active:
                tail = f"/{name}" if i else ""
                found[name] = Kept(f"theta_bar{tail}", f"average{tail}", f"{name}/" if i else "", average)
        return found
