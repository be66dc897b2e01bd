"""Batched environments: the physics written once for n states in numpy, stepped by one call.

An id of gymnasium's has one where `registered` finds it: by the class that makes its single environments, or by the
`vector_entry_point` of its registration.
"""

import copy
import inspect
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlgan.rl.envs.plain import decode, encode

CLASSIC = {
    "gymnasium.envs.classic_control.pendulum:PendulumEnv": "rlgan.rl.envs.classic:Pendulum",
    "gymnasium.envs.classic_control.continuous_mountain_car:Continuous_MountainCarEnv": (
        "rlgan.rl.envs.classic:MountainCarContinuous"
    ),
}
"""gymnasium's single environments, and ours that give the same numbers."""


class BatchedEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """n environments of one make, each of them a row of `state`; an episode that ended restarts at its next step.

    A subclass says the spaces of one environment, the width of its state, how an episode starts, and how n states move
    and are seen. All that changes of an environment is its row: `joined` lets several of these share one memory.

    Args:
        num_envs: n.
        max_episode_steps: steps after which an episode is truncated; None: never.
    """

    #: Spaces of one environment, and numbers in its state.
    one_observation: ClassVar[spaces.Box]
    one_action: ClassVar[spaces.Box]
    width: ClassVar[int]

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, num_envs: int, max_episode_steps: int | None = None) -> None:
        self.max_episode_steps = max_episode_steps
        self.single_observation_space, self.single_action_space = self.one_observation, self.one_action
        self._allocate(num_envs)
        self.generators = [seeding.np_random()[0] for _ in range(num_envs)]

    def _allocate(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.state = np.zeros((num_envs, self.width))
        self.elapsed = np.zeros(num_envs, dtype=np.int64)
        self.over = np.zeros(num_envs, dtype=np.bool_)

    @abstractmethod
    def start(self, generator: np.random.Generator) -> Sequence[float]:
        """The first state (width,) of an episode."""

    @abstractmethod
    def advance(self, state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The states (n, width) one step later, the rewards (n,) and whether that terminates (n,) bool.

        A row must not depend on the others, nor on how many there are; `state` stays as it is.

        Args:
            state: (n, width) float64.
            action: (n, action_dim), within the bounds of the space and of its dtype.
        """

    @abstractmethod
    def observe(self, state: np.ndarray) -> np.ndarray:
        """What is seen of the states (n, width), in an array of its own: (n, obs_dim)."""

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes; environment i's generator is made from `seed + i`, or from `seed[i]`, or goes on (None).

        Raises:
            ValueError: `options` has more than `reset_mask`, (n,) bool: the environments to reset.
        """
        others = set(options or {}) - {"reset_mask"}
        if others:
            raise ValueError(f"options = {options}: a batched environment takes none; use vectorization=sync")
        mask = (options or {}).get("reset_mask")
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        for i in range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist():
            value = None if seeds is None else seeds[i]
            if value is not None:
                # The generators are shared with those that this was joined from, and stay the same objects.
                self.generators[i].bit_generator.state = seeding.np_random(value)[0].bit_generator.state
            self._restart(i)
        return self.observe(self.state), {}

    def _restart(self, i: int) -> None:
        self.state[i] = self.start(self.generators[i])
        self.elapsed[i] = 0
        self.over[i] = False

    def step(
        self, actions: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Observations (n, obs_dim), rewards, terminations and truncations (n,), all in new arrays; and no info.

        An environment whose episode had ended restarts instead, with reward 0.

        Args:
            actions: (n, action_dim), within the bounds of the space.
            mask: (n,) bool, the environments to step; the others stay, with reward 0. All, where none is given.
        """
        actions = np.asarray(actions, dtype=self.one_action.dtype)
        state, reward, terminated = self.advance(self.state, actions)
        if mask is None and not self.over.any():
            self.state[...] = state
            self.elapsed += 1
        else:
            chosen = np.ones(self.num_envs, dtype=np.bool_) if mask is None else mask
            moves = chosen & ~self.over
            np.copyto(self.state, state, where=moves[:, None])
            self.elapsed += moves
            reward, terminated = np.where(moves, reward, 0.0), terminated & moves
            for i in np.flatnonzero(chosen & self.over).tolist():
                self._restart(i)
        if self.max_episode_steps is None:
            truncated = np.zeros(self.num_envs, dtype=np.bool_)
        else:
            truncated = self.elapsed >= self.max_episode_steps
        if mask is None:
            np.logical_or(terminated, truncated, out=self.over)
        else:
            truncated &= mask
            np.copyto(self.over, terminated | truncated, where=mask)
        return self.observe(self.state), reward, terminated, truncated, {}

    @staticmethod
    def joined(envs: Sequence["BatchedEnv"]) -> "BatchedEnv":
        """One environment of all rows, whose memory and generators those of `envs` are from now on.

        Either the whole or the parts may be stepped, reset, saved and restored: each sees what was done to the other.

        Args:
            envs: at least one, made alike.
        """
        whole = copy.copy(envs[0])
        whole._allocate(sum(env.num_envs for env in envs))
        whole.generators = [generator for env in envs for generator in env.generators]
        share(whole, envs, ("state", "elapsed", "over"))
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Exact state, as plain containers and tensors."""
        return {
            "state": torch.from_numpy(self.state.copy()),
            "elapsed": self.elapsed.tolist(),
            "over": self.over.tolist(),
            "generators": [encode(generator.bit_generator.state) for generator in self.generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved of as many environments of the same make, in place."""
        self.state[...] = state["state"].numpy()
        self.elapsed[...] = state["elapsed"]
        self.over[...] = state["over"]
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.bit_generator.state = decode(saved)

    @classmethod
    def options(cls) -> set[str]:
        """The keyword arguments that it takes beside those of every batched environment."""
        return set(inspect.signature(cls).parameters) - set(inspect.signature(BatchedEnv).parameters)

    @classmethod
    def registered(cls, spec: EnvSpec) -> type[Self] | None:
        """The batched environment that gives the numbers of the environments of `spec`, if there is one."""
        entry = spec.vector_entry_point or (isinstance(spec.entry_point, str) and CLASSIC.get(spec.entry_point)) or None
        if entry is None or spec.additional_wrappers:
            return None
        kind = load_env_creator(entry) if isinstance(entry, str) else entry
        return cast(type[Self], kind) if isinstance(kind, type) and issubclass(kind, cls) else None


def share(whole: Any, parts: Sequence[Any], names: Sequence[str]) -> None:
    """Copy the arrays of these names into the rows of the whole's, and let the parts have these rows for their own."""
    for name in names:
        array, first = getattr(whole, name), 0
        for part in parts:
            own = getattr(part, name)
            rows = array[first : first + len(own)]
            rows[...] = own
            setattr(part, name, rows)
            first += len(own)
