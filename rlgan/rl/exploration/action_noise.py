"""Exploration by noise that is added to the action: Gaussian, Ornstein-Uhlenbeck, or none at all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from rlgan.optim.step.schedule import Constant, Schedule
from rlgan.rl.exploration.explorer import Answer, Exploration, Explorer, Rollout, check_scale, clip, spawn


class NoiseStreams:
    """Standard normal noise (n, action_dim), one stream an environment, each of which advances on its own.

    Drawn in blocks, one environment at a time, so that a step costs one indexing operation.
    """

    def __init__(self, num_envs: int, action_dim: int, generator: torch.Generator, block: int = 128) -> None:
        self.generators = spawn(generator, num_envs)
        self._block = np.empty((num_envs, block, action_dim), dtype=np.float32)
        self._cursor = np.zeros(num_envs, dtype=np.int64)
        self._who = np.arange(num_envs)
        for i in range(num_envs):
            self._draw(i)
        self._count_ahead()

    def _draw(self, i: int) -> None:
        self._block[i] = torch.randn(self._block.shape[1:], generator=self.generators[i]).numpy()

    def now(self) -> np.ndarray:
        """(n, action_dim): the present value of every stream."""
        return self._block[self._who, self._cursor]

    def advance(self, which: np.ndarray) -> None:
        """Move the streams where `which` (n,) is True on to their next value."""
        self._cursor += which
        self._calls += 1
        # No stream reaches the end of its block before as many calls as the foremost one had values left.
        if self._calls >= self._enough:
            for i in np.flatnonzero(self._cursor == self._block.shape[1]):
                self._draw(int(i))
                self._cursor[i] = 0
            self._count_ahead()

    def _count_ahead(self) -> None:
        self._calls = 0
        self._enough = int(self._block.shape[1] - self._cursor.max())

    @classmethod
    def joined(cls, parts: Sequence[NoiseStreams]) -> NoiseStreams:
        """The streams of all `parts`, whose arrays become parts of its own."""
        whole = cls.__new__(cls)
        whole.generators = [generator for part in parts for generator in part.generators]
        whole._block = np.concatenate([part._block for part in parts])
        whole._cursor = np.concatenate([part._cursor for part in parts])
        whole._who = np.arange(len(whole._cursor))
        whole._count_ahead()
        for rows, part in zip(whole._who.reshape(len(parts), -1), parts, strict=True):
            own = slice(int(rows[0]), int(rows[-1]) + 1)
            part._block, part._cursor = whole._block[own], whole._cursor[own]
        return whole

    def state_dict(self) -> dict[str, Any]:
        """The present block, the place in it, and the generators."""
        return {
            "block": torch.from_numpy(self._block.copy()),
            "cursor": self._cursor.tolist(),
            "generators": [generator.get_state() for generator in self.generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        self._block[...] = state["block"].numpy()
        self._cursor[...] = state["cursor"]
        self._count_ahead()
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved)


class ActionNoise(Explorer):
    """Adds noise to the actor's action: a = clip(mu(s) + noise, -1, 1)."""

    @abstractmethod
    def noise(self) -> np.ndarray:
        """The noise of the coming step, (n, action_dim) float32; `observe` moves on to the next."""

    def act(self, obs: np.ndarray | torch.Tensor) -> np.ndarray:
        return clip(self.policy(obs) + self.noise())


class _StreamedNoise(ActionNoise):
    """Noise made of one stream of standard normal draws an environment.

    Args:
        spec: the kind of noise, with its `sigma` and its `schedule`.
        rollout: the environments and the actor.
    """

    def __init__(self, spec: GaussianActionNoise | OrnsteinUhlenbeckActionNoise, rollout: Rollout) -> None:
        super().__init__(rollout, spec.schedule)
        self._sigma = spec.sigma
        self._streams = NoiseStreams(rollout.num_envs, rollout.action_dim, rollout.generator)
        self._used = np.zeros(rollout.num_envs, dtype=np.bool_)

    def observe(self, ended: np.ndarray, valid: np.ndarray) -> None:
        super().observe(ended, valid)
        # A step that was not acted by this explorer (uniform warm-up) takes nothing from the streams.
        self._streams.advance(valid & self._used)
        self._used[:] = False

    def forgo(self, rows: np.ndarray) -> None:
        self._used[rows] = False

    def joined(self, parts: Sequence[Explorer], answer: Answer) -> Explorer:
        own = cast(Sequence[_StreamedNoise], parts)
        whole = self._whole(parts, answer)
        whole._streams = NoiseStreams.joined([part._streams for part in own])
        whole._used = np.zeros(whole.num_envs, dtype=np.bool_)
        return whole

    def metrics(self) -> dict[str, float]:
        return {"exploration/sigma": self._sigma * self.factor}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "streams": self._streams.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._streams.load_state_dict(state["streams"])
        self._used[:] = False


@dataclass(frozen=True)
class NoExploration(Exploration):
    """a = mu(s): the actor's own action. Only for environments that explore by themselves; the run warns."""

    def make(self, rollout: Rollout) -> Explorer:
        return _Greedy(rollout)


class _Greedy(Explorer):
    def act(self, obs: np.ndarray | torch.Tensor) -> np.ndarray:
        return self.policy(obs)

    def joined(self, parts: Sequence[Explorer], answer: Answer) -> Explorer:
        return self._whole(parts, answer)

    def metrics(self) -> dict[str, float]:
        return {"exploration/sigma": 0.0}

    def notes(self) -> list[str]:
        return [
            "exploration is none: a deterministic actor sees only its own actions and often stays where it starts; "
            "exploration=gaussian, ornstein_uhlenbeck or parameter explores"
        ]


@dataclass(frozen=True)
class GaussianActionNoise(Exploration):
    """a = clip(mu(s) + N(0, sigma^2 I), -1, 1), independent from step to step (Fujimoto et al. 2018: sigma 0.1).

    Args:
        sigma: standard deviation, in the action space [-1, 1].
        schedule: multiplies sigma, as a function of the environment steps taken.

    Raises:
        ValueError: a negative sigma.
    """

    sigma: float = 0.1
    schedule: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        check_scale("sigma", self.sigma, "0.1")

    def make(self, rollout: Rollout) -> Explorer:
        return _GaussianNoise(self, rollout)


class _GaussianNoise(_StreamedNoise):
    def noise(self) -> np.ndarray:
        self._used[:] = True
        return np.float32(self._sigma * self.factors) * self._streams.now()


@dataclass(frozen=True)
class OrnsteinUhlenbeckActionNoise(Exploration):
    """a = clip(mu(s) + x, -1, 1) with x <- x - theta x dt + sigma sqrt(dt) N(0, I), x = 0 at an episode's start.

    Noise that drifts: it is correlated over about 1 / (theta dt) steps, and its stationary variance is
    sigma^2 / (theta (2 - theta dt)), which tends to sigma^2 / (2 theta) as dt -> 0 (Uhlenbeck and Ornstein 1930;
    Lillicrap et al. 2016: theta 0.15, sigma 0.2).

    Args:
        theta: rate of return to zero, per unit of time.
        sigma: standard deviation of what one unit of time adds.
        dt: units of time in one environment step. 1: correlated over 7 steps at theta = 0.15. 0.01, the constant of
            several libraries: over 667 steps, often longer than an episode, and x takes as long to reach its stationary
            size.
        schedule: multiplies sigma, as a function of the environment steps taken.

    Raises:
        ValueError: a value that is not positive, or theta dt >= 2, where the process is unstable.
    """

    theta: float = 0.15
    sigma: float = 0.2
    dt: float = 1.0
    schedule: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        check_scale("sigma", self.sigma, "0.2")
        if not self.theta > 0:
            raise ValueError(f"theta = {self.theta}: must be positive, for example 0.15")
        if not 0 < self.dt < 2 / self.theta:
            raise ValueError(
                f"dt = {self.dt}: must be positive and below 2 / theta = {2 / self.theta:g}, for example 1.0"
            )

    def make(self, rollout: Rollout) -> Explorer:
        return _OrnsteinUhlenbeckNoise(self, rollout)


class _OrnsteinUhlenbeckNoise(_StreamedNoise):
    def __init__(self, spec: OrnsteinUhlenbeckActionNoise, rollout: Rollout) -> None:
        super().__init__(spec, rollout)
        self._decay, self._root = np.float32(1.0 - spec.theta * spec.dt), spec.dt**0.5
        self._x, self._next = np.zeros_like(self._streams.now()), np.zeros_like(self._streams.now())

    def noise(self) -> np.ndarray:
        self._used[:] = True
        scale = np.float32(self._sigma * self.factors * self._root)
        self._next = self._decay * self._x + scale * self._streams.now()
        return self._next

    def observe(self, ended: np.ndarray, valid: np.ndarray) -> None:
        moved = valid & self._used
        self._x[moved] = self._next[moved]
        super().observe(ended, valid)
        self._x[ended] = 0.0

    def joined(self, parts: Sequence[Explorer], answer: Answer) -> Explorer:
        own = cast(Sequence[_OrnsteinUhlenbeckNoise], parts)
        whole = cast(_OrnsteinUhlenbeckNoise, super().joined(parts, answer))
        whole._x = np.concatenate([part._x for part in own])
        whole._next = np.zeros_like(whole._x)
        for part, rows in zip(own, np.split(whole._x, len(own)), strict=True):
            part._x = rows
        return whole

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "x": torch.from_numpy(self._x.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._x[...] = state["x"].numpy()
