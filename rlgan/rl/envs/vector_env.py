"""Several environments stepped together: flat float32 observations, actions in [-1, 1], true successors.

Every step yields the transition (obs, action, reward, next_obs, terminated, truncated) of each environment, the same in
all three of gymnasium's autoreset modes. What happens at an episode's end: in NEXT_STEP, the default, the next step
resets, ignores its action and is no transition; in SAME_STEP the step itself resets, and the true successor is its
`info["final_obs"]`; in DISABLED those that ended are reset here, by mask.
"""

import atexit
import math
import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from rlgan.rl.envs import env_state, workers
from rlgan.rl.envs.batched import BatchedEnv
from rlgan.task.errors import Diverged


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


class ActionMap:
    """The map of [-1, 1] to the bounds of a Box, per dimension: a -> centre + a * half, half = (high - low) / 2."""

    def __init__(self, space: spaces.Box) -> None:
        low, high = space.low.astype(np.float64).ravel(), space.high.astype(np.float64).ravel()
        self.shape = space.shape
        self.low, self.high = space.low.ravel(), space.high.ravel()
        self.centre, self.half = (0.5 * (low + high)).astype(space.dtype), (0.5 * (high - low)).astype(space.dtype)
        # Rounding is monotone: where the two ends stay within the bounds, everything between them does.
        ends = self.centre - self.half, self.centre + self.half
        self._rounds_out = bool((ends[0] < self.low).any() or (ends[1] > self.high).any())
        self._identity = bool((self.centre == 0).all() and (self.half == 1).all()) and space.dtype == np.float32

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """Actions (n, action_dim) in [-1, 1] -> (n, *shape) within the bounds to the last bit."""
        if not self._identity:
            action = action * self.half + self.centre
            if self._rounds_out:
                action = np.minimum(np.maximum(action, self.low), self.high)
        return action if len(self.shape) == 1 else action.reshape(len(action), *self.shape)


class VectorEnvironment:
    """n environments of one make. `obs` (n, obs_dim) float32 is the current observation, the one to act upon.

    Args:
        vector: steps the environments; in which of gymnasium's autoreset modes, its metadata says.
        seed: environment i is reset with `seed + i`; the vector's spaces get seeds of their own, derived from it.
        name: of the environment, for messages.
        made: all that determines the environments' behaviour, in words: a saved state fits only what was made alike.
        adapter: saves the state of a synchronous vector's environments. Without one they restart at resume, but for
            a batched vector, which saves its own.
        notes: what a user must know about these environments.
    """

    def __init__(
        self,
        vector: VectorEnv,
        seed: int,
        name: str,
        made: str,
        adapter: env_state.Adapter | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.vector: Any = vector
        self._mode = AutoresetMode(vector.metadata["autoreset_mode"])
        self.seed, self.name, self.made = seed, name, made
        self._adapter = adapter
        self._notes = list(notes)
        self.num_envs = num_envs = vector.num_envs
        if isinstance(vector, workers.Workers):
            # Before multiprocessing's own exit, which asks the workers by a signal that they ignore, and waits.
            atexit.register(self.close)
        self._map = ActionMap(cast(spaces.Box, vector.single_action_space))
        self.obs_dim = math.prod(cast(spaces.Box, vector.single_observation_space).shape)
        self.action_dim = len(self._map.low)
        # A product with zero is zero for finite values and NaN otherwise: one fast look at all of them.
        self._zero_obs = np.zeros(num_envs * self.obs_dim, dtype=np.float32)
        self._zero_action = np.zeros(num_envs * self.action_dim, dtype=np.float32)
        self.rows = Rows(num_envs, self.obs_dim)
        try:
            self.reset()
        except BaseException:
            self.close()
            raise

    def notes(self) -> list[str]:
        """What a user must know about these environments."""
        return list(self._notes)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Start anew from `seed` (default: the seed of construction); the first observations (n, obs_dim)."""
        seed = self.seed if seed is None else seed
        for i, space in enumerate((self.vector.action_space, self.vector.observation_space)):
            space.seed(int(np.random.SeedSequence([seed, 1, i]).generate_state(1)[0]))
        raw, _ = self._ask(self.vector.reset, seed=[seed + i for i in range(self.num_envs)])
        obs = self._flat(raw)
        self._check("observation", obs, self._zero_obs)
        self.rows.begin(obs)
        return self.obs

    @property
    def obs(self) -> np.ndarray:
        """(n, obs_dim) float32, the observations to act upon; the next step overwrites them."""
        return self.rows.obs

    @property
    def steps(self) -> int:
        """Transitions so far, over all environments."""
        return int(self.rows.steps.sum())

    @property
    def valid(self) -> np.ndarray:
        """(n,) bool: False where the next step is a reset (gymnasium's mode NEXT_STEP): its action is ignored."""
        return self.rows.valid

    def step(self, action: np.ndarray | torch.Tensor) -> Step:
        """Step all environments.

        Args:
            action: (n, action_dim), clipped to [-1, 1] here and scaled to the bounds of the environment.

        Raises:
            Diverged: an action, reward or observation is NaN or infinite; names environment, step and value.
            RuntimeError: an environment has raised, or a worker process has ended; names which one, and when.
        """
        unit = self.unit(action)
        self._check("action", unit, self._zero_action)
        raw, reward, terminated, truncated, info = self._ask(self.vector.step, self._map(unit))
        observation = self._flat(raw)
        self._check("observation", observation, self._zero_obs)
        if not math.isfinite(reward.sum()):
            self._raise_diverged("reward", reward[:, None])
        if self._mode is AutoresetMode.NEXT_STEP:
            return self.rows.move(unit, reward, observation, terminated, truncated)
        return self._settle(unit, reward, observation, terminated, truncated, info)

    def unit(self, action: np.ndarray | torch.Tensor) -> np.ndarray:
        """The actions (n, action_dim) as float32 within [-1, 1].

        Raises:
            ValueError: another shape.
        """
        chosen = action.detach().cpu().numpy() if isinstance(action, torch.Tensor) else action
        if chosen.shape != (self.num_envs, self.action_dim):
            raise ValueError(f"action = shape {chosen.shape}: must be ({self.num_envs}, {self.action_dim})")
        return np.minimum(np.maximum(chosen, -1.0), 1.0).astype(np.float32, copy=False)

    def _ask(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except workers.EnvironmentFailed as error:
            index, reason = error.index_and_reason
            raise RuntimeError(
                f"environment {index} ({self.name}) raised {reason} after {self.steps} environment steps, "
                f"{self.rows.length[index]} of them in its present episode"
            ) from error
        except multiprocessing.TimeoutError as error:
            raise RuntimeError(
                f"no answer of {workers.describe_silent(self.vector)} ({self.name}) within "
                f"{self.vector.timeout:g} s, after {self.steps} environment steps; env.timeout allows longer"
            ) from error
        except (EOFError, ConnectionError) as error:
            if not isinstance(self.vector, workers.Workers):
                raise
            raise RuntimeError(
                f"the worker process of {workers.describe_dead(self.vector)} of {self.name} has ended after "
                f"{self.steps} environment steps; it was killed or ran out of memory: env.vectorization=sync needs no "
                "workers"
            ) from error

    def _settle(
        self,
        unit: np.ndarray,
        reward: np.ndarray,
        observation: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        info: dict[str, Any],
    ) -> Step:
        """Take note of a step in the modes in which it, or a reset after it, begins the next episode."""
        ended = terminated | truncated
        successor = observation
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            successor = observation.copy()
            for i in np.flatnonzero(ended):
                successor[i] = np.asarray(info["final_obs"][i]).reshape(-1)
            self._check("observation", successor, self._zero_obs)
        step = self.rows.move(unit, reward, successor, terminated, truncated)
        if self._mode is AutoresetMode.DISABLED and ended.any():
            observation = self._flat(self._ask(self.vector.reset, options={"reset_mask": ended})[0])
            self._check("observation", observation, self._zero_obs)
        self.rows.obs[...] = observation
        self.rows.valid[...] = True
        return step

    def random_actions(self, generator: torch.Generator) -> np.ndarray:
        """Actions (n, action_dim), uniform in [-1, 1]: uniform within the bounds of every dimension."""
        uniform = torch.rand((self.num_envs, self.action_dim), generator=generator)
        return uniform.mul_(2.0).sub_(1.0).numpy()

    def state_dict(self) -> dict[str, Any]:
        """Exact state as plain containers and tensors; the number of steps alone where the state cannot be saved."""
        state: dict[str, Any] = {
            "steps": self.steps,
            "made": self.made,
            "num_envs": self.num_envs,
            "environments": None,
        }
        if isinstance(self.vector, BatchedEnv):
            state["environments"] = {"batched": self.vector.state_dict()}
        elif self._adapter is not None:
            state["environments"] = env_state.save_vector(self.vector, self._adapter, self._own())
        if state["environments"] is not None:
            state["obs"] = torch.from_numpy(self.obs.copy())
            state["totals"] = self.rows.total.tolist()
            state["lengths"] = self.rows.length.tolist()
            state["valid"] = self.valid.tolist()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, also in a new process.

        With new episodes where there is no exact state, or where the environment has changed: its state holds what its
        constructor was given, and would undo the change.

        Raises:
            ValueError: the state is that of another number of environments.
        """
        if state["num_envs"] != self.num_envs:
            raise ValueError(
                f"num_envs = {self.num_envs}: the saved state holds {state['num_envs']} environments; "
                "resume with the same number"
            )
        saved, why = state["environments"], ""
        batched = isinstance(self.vector, BatchedEnv)
        if state["made"] != self.made:
            why = f"the environment was {state['made']} and is {self.made}"
        elif saved is not None and batched != ("batched" in saved):
            then, now = ("sync", "batched") if batched else ("batched", "sync or async")
            why = f"the environments were saved with env.vectorization={then}, which goes on exactly, and are {now}"
        if why:
            self._notes.append(f"resume will not be bit-exact: {why}; its episodes restart")
        if why or saved is None or not (batched or self._adapter):
            # Another seed than at the start, or the same episodes would be seen twice.
            self.reset(int(np.random.SeedSequence([self.seed, state["steps"]]).generate_state(1)[0]))
        else:
            if batched:
                self.vector.load_state_dict(saved["batched"])
            else:
                assert self._adapter is not None
                env_state.restore_vector(self.vector, self._adapter, saved, self._own())
            self.rows.obs[...] = state["obs"].numpy()
            self.rows.total[...] = state["totals"]
            self.rows.length[...] = state["lengths"]
            self.rows.valid[...] = state["valid"]
        # How they are shared out among the environments does not matter: it is their sum that counts.
        self.rows.steps[...] = 0
        self.rows.steps[0] = state["steps"]

    def close(self) -> None:
        """Close the environments and end their worker processes, also dead, stopped or busy ones."""
        if isinstance(self.vector, workers.Workers):
            atexit.unregister(self.close)
            workers.end(self.vector)
        else:
            self.vector.close()

    def _own(self) -> list[gymnasium.Env]:
        """The environments as their adapter made them, in this process."""
        return [guard.env for guard in self.vector.envs]

    def _flat(self, raw: np.ndarray) -> np.ndarray:
        return raw.reshape(self.num_envs, -1).astype(np.float32)

    def _check(self, what: str, values: np.ndarray, zeros: np.ndarray) -> None:
        if np.dot(values.reshape(-1), zeros) != 0.0:
            self._raise_diverged(what, values)

    def _raise_diverged(self, what: str, values: np.ndarray) -> None:
        error = self.diverged(what, values)
        if error is not None:
            raise error

    def diverged(self, what: str, values: np.ndarray) -> Diverged | None:
        """What to raise if the action, observation or reward (n, k) of some environment is not finite; or None."""
        for i, row in enumerate(values):
            bad = np.flatnonzero(~np.isfinite(row))
            if len(bad):
                return Diverged(
                    f"{what} of environment {i} ({self.name}) is {row[bad[0]]} in component {bad[0]} "
                    f"after {self.steps} environment steps, step {self.rows.length[i]} of its episode"
                )
        return None
