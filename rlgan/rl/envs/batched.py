"""Batched environments: the physics written once, for the numbers of one state and for arrays of n, in one call.

An id of gymnasium's has one where `registered` finds it: by the class that makes its single environments, or by the
`vector_entry_point` of its registration.
"""

import copy
import functools
import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, cast

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, VectorEnvCreator, load_env_creator
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


class Floats:
    """The operations on one state, whose components are Python's floats: quicker than arrays of one."""

    sin, cos, sqrt, log, double, single = math.sin, math.cos, math.sqrt, math.log, float, np.float32

    @staticmethod
    def power(x: Any, exponent: int) -> Any:
        return x**exponent

    @staticmethod
    def clip(x: Any, low: Any, high: Any) -> Any:
        return min(max(x, low), high)

    @staticmethod
    def where(condition: Any, yes: Any, no: Any) -> Any:
        return yes if condition else no


class Arrays:
    """The same on arrays (n,), with the same results to the last bit.

    Sines and powers are the C library's, one after another: numpy's own may differ where the processor vectorises them.
    """

    sqrt = np.sqrt
    where = np.where

    @staticmethod
    def sin(x: Any) -> np.ndarray:
        return _of_all(math.sin, x)

    @staticmethod
    def cos(x: Any) -> np.ndarray:
        return _of_all(math.cos, x)

    @staticmethod
    def log(x: Any) -> np.ndarray:
        return _of_all(math.log, x)

    @staticmethod
    def power(x: Any, exponent: int) -> np.ndarray:
        if x.dtype == np.float64:
            return np.float_power(x, exponent)
        return np.fromiter([value**exponent for value in x], x.dtype, len(x))

    @staticmethod
    def double(x: Any) -> np.ndarray:
        return x.astype(np.float64)

    @staticmethod
    def single(x: Any) -> np.ndarray:
        return x.astype(np.float32)

    @staticmethod
    def clip(x: Any, low: Any, high: Any) -> np.ndarray:
        return np.minimum(np.maximum(x, low), high)


def _of_all(function: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    try:
        return np.fromiter(map(function, x.tolist()), np.float64, len(x))
    except ValueError:  # there is no sine of infinity
        return _of_all(function, np.where(np.isfinite(x), x, np.nan))


def of_one(function: Callable[..., Any], *arguments: Sequence[Any]) -> Any:
    """`advance` or `observe` of one state by `Floats`; what raises there, as 1 / 0 does, is not finite instead."""
    try:
        return function(*arguments, Floats)
    except (ArithmeticError, ValueError):
        with np.errstate(all="ignore"):
            found = function(*(tuple(np.array([value]) for value in argument) for argument in arguments), Arrays)
        return _numbers(found)


def _numbers(found: Any) -> Any:
    return [_numbers(each) for each in found] if isinstance(found, tuple | list) else np.asarray(found).item()


Maths = type[Floats] | type[Arrays]


class BatchedEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """n environments of one make, each of them a row of `state`; an episode that ended restarts at its next step.

    A subclass says the spaces of one environment, the width of its state, how an episode starts, and how n states move
    and are seen. All that changes of an environment is its row: `joined` lets several of these share one memory.

    Args:
        num_envs: n.
        max_episode_steps: steps after which an episode is truncated; None: never.
    """

    #: Spaces of one environment, and numbers in its state; where arguments decide, set them before `super().__init__`.
    one_observation: spaces.Box[Any]
    one_action: spaces.Box[Any]
    width: int
    #: Up to so many environments it is quicker to step each by `Floats`.
    few: ClassVar[int] = 1

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
        """The first state of an episode, `width` numbers."""

    @abstractmethod
    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        """The state one step later, the reward, and whether that terminates the episode.

        Args:
            state: the `width` components, each a float or, of n states, an array (n,) float64; to be left as they are.
            action: the components, within the bounds of the space, each a scalar or an array (n,) of its dtype.
            maths: the functions for these: `Floats` or `Arrays`, which must give the same numbers. What is the same
                for all states may be a number in both.
        """

    @abstractmethod
    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        """The components of the observation of a state, as in `advance`."""

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
        return self._seen(), {}

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
        actions = np.asarray(actions, dtype=self.one_action.dtype).reshape(self.num_envs, -1)
        restarts = np.flatnonzero(self.over if mask is None else self.over & mask).tolist()
        moves = None
        if restarts or mask is not None:
            moves = ~self.over if mask is None else mask & ~self.over
        reward, terminated = self._advance(actions, moves)
        self.elapsed += 1 if moves is None else moves
        for i in restarts:
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
        return self._seen(), reward, terminated, truncated, {}

    def _advance(self, actions: np.ndarray, moves: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Move the rows in `moves` (n,), or all; their rewards and terminations, 0 and False elsewhere."""
        reward, terminated = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.bool_)
        # Rows that stay are left out, not thrown away afterwards: some may hold what is not finite.
        rows: Any = slice(None) if moves is None else np.flatnonzero(moves)
        if (self.num_envs if moves is None else len(rows)) > self.few:
            columns = tuple(self.state[rows].T.copy())
            state, reward[rows], terminated[rows] = self.advance(columns, tuple(actions[rows].T), Arrays)
            for k, column in enumerate(state):
                self.state[rows, k] = column
        else:
            for i in range(self.num_envs) if moves is None else rows:
                now = self.state[i].tolist()
                self.state[i], reward[i], terminated[i] = of_one(self.advance, now, tuple(actions[i]))
        return reward, terminated

    def _seen(self) -> np.ndarray:
        """(n, obs_dim), a new array."""
        seen = np.empty((self.num_envs, *self.one_observation.shape), dtype=self.one_observation.dtype)
        if self.num_envs > self.few:
            for k, column in enumerate(self.observe(tuple(self.state.T.copy()), Arrays)):
                seen[:, k] = column
        else:
            for i, row in enumerate(self.state.tolist()):
                seen[i] = of_one(self.observe, row)
        return seen

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


class Unsuitable(ValueError):
    """An argument of an environment that will not do: ``name = value: what is wrong; remedy``."""


class One(gymnasium.Env[np.ndarray, np.ndarray]):
    """A single environment by the physics of a batched one: the same numbers, for wrappers, films and workers.

    Args:
        kind: the batched environment.
        kwargs: of its constructor.
    """

    def __init__(self, kind: type[BatchedEnv], **kwargs: Any) -> None:
        from rlgan.rl.contract.physics import check_declared, check_physics

        check_declared(kind)
        self._physics = kind(1, **kwargs)
        check_physics(self._physics)
        self.observation_space = copy.copy(self._physics.one_observation)
        self.action_space = copy.copy(self._physics.one_action)
        self.state: list[float] = []

    @property
    def known(self) -> Any:
        """The best that can be done in it, where its physics knows that (`rlgan.rl.known`)."""
        return getattr(self._physics, "known", None)

    def _seen(self) -> np.ndarray:
        return np.array(of_one(self._physics.observe, self.state), dtype=self._physics.one_observation.dtype)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = [float(value) for value in self._physics.start(self.np_random)]
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        state, reward, terminated = of_one(self._physics.advance, self.state, tuple(action))
        self.state = [float(value) for value in state]
        return self._seen(), float(reward), bool(terminated), False, {}


def register(id: str, kind: type[BatchedEnv], max_episode_steps: int | None = None) -> None:
    """Register `kind` with gymnasium under `id`, batched and as single environments."""
    batched = cast(VectorEnvCreator, kind)
    gymnasium.register(
        id, functools.partial(One, kind), max_episode_steps=max_episode_steps, vector_entry_point=batched
    )


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
