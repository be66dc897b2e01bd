"""gymnasium environments as configured: which one, how many, how stepped; what cannot be used is refused by name."""

import difflib
import importlib.util
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from rlgan.rl.vector_env import AUTORESET, ActionMap, Episode, Step, VectorEnvironment

__all__ = ["ActionMap", "Environment", "Episode", "Step", "VectorEnvironment"]

Autoreset = Literal["next_step", "same_step", "disabled"]
Vectorization = Literal["sync", "async"]


@dataclass(frozen=True)
class Environment:
    """Which environment, how many of them, and how they are stepped.

    Args:
        id: a gymnasium id, also `module:Name-v0`; its actions must be a finite Box of floats, its observations a Box.
        kwargs: keyword arguments of the environment's constructor.
        num_envs: environments stepped together.
        autoreset: what happens at an episode's end. `next_step`: the next step resets and is no transition;
            `same_step`: the step itself resets; `disabled`: reset at once by mask. The transitions are the same.
        vectorization: `sync` in this process; `async` in worker processes, for slow environments (no exact resume).

    Raises:
        ValueError: an unknown id or option, a missing package, spaces that are not supported; the message begins with
            the field.
    """

    id: str = "Pendulum-v1"
    kwargs: dict[str, Any] = field(default_factory=dict)
    num_envs: int = 1
    autoreset: Autoreset = "next_step"
    vectorization: Vectorization = "sync"

    def __post_init__(self) -> None:
        if self.num_envs < 1:
            raise ValueError(f"num_envs = {self.num_envs}: must be at least 1")
        if self.autoreset not in AUTORESET:
            raise ValueError(f"autoreset = {self.autoreset}: unknown mode; choose one of {', '.join(AUTORESET)}")
        if self.vectorization not in ("sync", "async"):
            raise ValueError(f"vectorization = {self.vectorization}: unknown; choose sync or async")
        self._check_id()
        probe = self._probe()
        try:
            _check_spaces(self.id, probe)
        finally:
            probe.close()

    def _check_id(self) -> None:
        module, _, name = self.id.rpartition(":")
        if module:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ValueError(f"id = {self.id}: cannot import {module} ({error}); is it installed?") from error
        if name not in gymnasium.registry:
            close = difflib.get_close_matches(name, list(gymnasium.registry), n=1)
            remedy = f"did you mean {close[0]}?" if close else "import its package with env.id=package:Name-v0"
            raise ValueError(f"id = {self.id}: unknown environment; {remedy}")

    def _probe(self) -> gymnasium.Env:
        try:
            return self.make_one()
        except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
            reason = str(error).splitlines()[0]
            wanted = f"{self._entry_point} {reason}".lower()
            extra = next((name for name in ("mujoco", "box2d") if name in wanted), None)
            remedy = f'pip install "rlgan[{extra}]"' if extra else "install that package"
            raise ValueError(f"id = {self.id}: needs a package that is missing ({reason}); {remedy}") from error
        except TypeError as error:
            raise ValueError(f"kwargs = {self.kwargs}: {self.id} refuses them ({error})") from error
        except gymnasium.error.Error as error:
            raise ValueError(f"id = {self.id}: {str(error).splitlines()[0]}") from error

    @property
    def _entry_point(self) -> str:
        return str(gymnasium.spec(self.id.rpartition(":")[2]).entry_point)

    def make_one(self) -> gymnasium.Env:
        """A single gymnasium environment."""
        _route_mujoco_warnings(self._entry_point)
        # The checker would be one more layer to call and to save; spaces are checked above, values at every step.
        return gymnasium.make(self.id, disable_env_checker=True, **self.kwargs)

    def make(self, seed: int, *, num_envs: int | None = None, resumable: bool = True) -> VectorEnvironment:
        """The environments, reset: environment i with seed `seed + i`.

        Args:
            seed: of the environments; their action spaces get one of their own, derived from it.
            num_envs: in place of the field.
            resumable: find out how to save the environments (a fraction of a second, on throw-away copies).
        """
        return AUTORESET[self.autoreset](self, seed, self.num_envs if num_envs is None else num_envs, resumable)


def _route_mujoco_warnings(entry_point: str) -> None:
    # Left alone, MuJoCo prints a warning for every model it loads, and writes MUJOCO_LOG.TXT where the run was started.
    if "mujoco" in entry_point and importlib.util.find_spec("mujoco") is not None:
        mujoco: Any = importlib.import_module("mujoco")
        mujoco.set_mju_user_warning(lambda message: warnings.warn(message.strip(), RuntimeWarning, stacklevel=2))


def _check_spaces(id: str, env: gymnasium.Env) -> None:
    action, observation = env.action_space, env.observation_space
    if not isinstance(action, spaces.Box):
        raise ValueError(
            f"id = {id}: has {type(action).__name__} actions; "
            "deterministic policies need a Box of floats, as in Pendulum-v1"
        )
    if not np.issubdtype(action.dtype, np.floating):
        raise ValueError(f"id = {id}: has actions of dtype {action.dtype}; they must be floats")
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise ValueError(
            f"id = {id}: has infinite action bounds (low {action.low}, high {action.high}); "
            "wrap it in gymnasium.wrappers.RescaleAction or register it with finite bounds"
        )
    if not isinstance(observation, spaces.Box):
        raise ValueError(
            f"id = {id}: has {type(observation).__name__} observations; a Box is needed, "
            "for example by gymnasium.wrappers.FlattenObservation"
        )
