"""Exploration: what is added to the actor's action, or to a copy of the actor, while it collects experience.

All scales live in the actor's action space, [-1, 1] per dimension. Every environment has noise of its own, drawn from a
stream of its own and started afresh at that environment's own episode end: its t-th action sees the same noise whatever
the others do.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import torch
from torch import nn

from rlgan.nets import Single
from rlgan.optim.step.schedule import Constant, Schedule


class Rollout(NamedTuple):
    """What an explorer is made for: the environments it acts in, and the actor that it varies.

    Args:
        num_envs: n, environments stepped together.
        obs_dim: length of an observation.
        action_dim: length of an action.
        generator: a CPU generator; an explorer seeds its own from it, once, when it is made.
        actor: obs (B, obs_dim) -> action (B, action_dim) in [-1, 1]. Its parameters are read at every use, so that
            training them in place is seen. Batch norm acts by its running averages.
        horizon: environment steps that the run is planned to take, for the schedules.
    """

    num_envs: int
    obs_dim: int
    action_dim: int
    generator: torch.Generator
    actor: nn.Module
    horizon: int = 0


Answer: TypeAlias = Callable[[np.ndarray | torch.Tensor], np.ndarray]


class Exploration(ABC):
    """A kind of exploration, as configured; `make` builds it for one run."""

    @abstractmethod
    def make(self, rollout: Rollout) -> Explorer:
        """The explorer of all environments of `rollout`."""


class Explorer(ABC):
    """Chooses the actions of n environments. Call `act`, step the environments, call `observe`, in this order.

    Args:
        rollout: the environments and the actor.
        schedule: the factor of sigma, of the environment steps taken; 1 where none is given.
    """

    #: Updates between two calls of `adapt`; None where nothing adapts.
    adapt_every: int | None = None

    def __init__(self, rollout: Rollout, schedule: Schedule | None = None) -> None:
        self.actor, self.num_envs = rollout.actor, rollout.num_envs
        self.steps = 0
        self._schedule, self._horizon = schedule or Constant(), rollout.horizon
        self._parts: Sequence[Explorer] = ()
        like = next(iter(self.actor.parameters()))
        self._dtype, self._device = like.dtype, like.device
        self._batch_norms = [
            module for module in self.actor.modules() if isinstance(module, nn.modules.batchnorm._NormBase)
        ]

    @property
    def factor(self) -> float:
        """The schedule's factor at the present step."""
        return self._schedule(self.steps, self._horizon)

    def laid_out(self, horizon: int, ahead: int) -> dict[str, float]:
        """What goes by the planned length, `ahead` steps from here, were that `horizon`; by its key."""
        return {"exploration.schedule": self._schedule(self.steps + ahead, horizon)}

    @property
    def factors(self) -> float | np.ndarray:
        """That of every environment, (n, 1), or one for all."""
        if not self._parts or isinstance(self._schedule, Constant):
            return self.factor
        own = [part.factor for part in self._parts]
        return np.repeat(own, self.num_envs // len(own))[:, None]

    @abstractmethod
    def act(self, obs: np.ndarray | torch.Tensor) -> np.ndarray:
        """Actions (n, action_dim) float32 in [-1, 1] for the observations (n, obs_dim)."""

    def observe(self, ended: np.ndarray, valid: np.ndarray) -> None:
        """Take note of the environments' step.

        Args:
            ended: (n,) bool, the environments whose episode ended: their noise starts afresh.
            valid: (n,) bool, False where the step was a reset and no transition: their noise does not advance.
        """
        for part, own in zip(self._parts, valid.reshape(len(self._parts), -1), strict=True) if self._parts else ():
            part.steps += int(np.count_nonzero(own))
        self.steps += int(np.count_nonzero(valid))

    def adapt(self, obs: torch.Tensor) -> None:  # noqa: B027
        """Adapt the scale on observations (B, obs_dim) from the replay; to be called every `adapt_every` updates."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """`exploration/...` scalars."""

    def forgo(self, rows: np.ndarray) -> None:  # noqa: B027
        """Take note that the actions of the environments `rows` (n,) bool were chosen by somebody else this time."""

    def joined(self, parts: Sequence[Explorer], answer: Answer) -> Explorer | None:
        """One explorer of the environments of all `parts`, of which this is the first; None where there is none.

        The parts stay what they are, to be saved and measured: their state is a part of the whole's.

        Args:
            parts: explorers of one configuration, each with an actor and streams of its own.
            answer: all actors' own actions (S * n, action_dim) for observations (S * n, obs_dim).
        """
        return None

    def notes(self) -> list[str]:
        """What a user must know about this exploration."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """State as plain containers and tensors."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved; the actor's weights are restored by their owner."""
        self.steps = state["steps"]

    def _input(self, obs: np.ndarray | torch.Tensor) -> torch.Tensor:
        tensor = torch.from_numpy(obs) if isinstance(obs, np.ndarray) else obs
        return tensor.to(self._device, self._dtype)

    def _answer(self, obs: torch.Tensor) -> torch.Tensor:
        """The actor's own actions (B, action_dim) for obs (B, obs_dim)."""
        training = [module.training for module in self._batch_norms]
        for module in self._batch_norms:
            module.training = False
        with torch.no_grad():
            action: torch.Tensor = self.actor(obs)
        for module, mode in zip(self._batch_norms, training, strict=True):
            module.training = mode
        return action.detach()

    @cached_property
    def _single(self) -> Single | None:
        return Single(self.actor) if self.num_envs == 1 and Single.possible(self.actor) else None

    def _whole(self, parts: Sequence[Explorer], answer: Answer) -> Self:
        """A copy of this explorer that acts for all of `parts`."""
        whole = copy.copy(self)
        whole._parts = parts
        whole.num_envs = sum(part.num_envs for part in parts)
        whole.policy = answer  # type: ignore[method-assign, assignment]
        return whole

    def policy(self, obs: np.ndarray | torch.Tensor) -> np.ndarray:
        """The actor's own actions (n, action_dim) float32, without exploration."""
        if self._single is not None:
            (row,) = obs if isinstance(obs, np.ndarray) else self._input(obs).detach().numpy()
            action = self._single(row)[None]
        else:
            action = self._answer(self._input(obs)).cpu().numpy()
        return action.astype(np.float32, copy=False)


def spawn(generator: torch.Generator, count: int) -> list[torch.Generator]:
    """`count` CPU generators with seeds drawn from `generator`."""
    seeds = torch.randint(2**62, (count,), generator=generator)
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def clip(action: np.ndarray) -> np.ndarray:
    """Actions within [-1, 1]."""
    return np.minimum(np.maximum(action, -1.0), 1.0)


def check_scale(name: str, value: float, example: str) -> None:
    """Raise ValueError unless `value`, a standard deviation, is positive and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(
            f"{name} = {value}: must be positive, for example {example}; for no noise take exploration=none"
        )
