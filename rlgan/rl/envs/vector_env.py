"""Several environments stepped together: flat float32 observations, actions in [-1, 1], true successors.

Every step yields the transition (obs, action, reward, next_obs, terminated, truncated) of each environment, the same in
all three of gymnasium's autoreset modes. What happens at an episode's end: in NEXT_STEP, the default, the next step
resets, ignores its action and is no transition; in SAME_STEP the step itself resets, and the true successor is its
`info["final_obs"]`; in DISABLED those that ended are reset here, by mask.
"""

import atexit
import contextlib
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlgan.rl.border.actions import ActionMap
from rlgan.rl.border.border import Found
from rlgan.rl.border.rows import Rows, Step
from rlgan.rl.envs import env_state, workers
from rlgan.rl.envs.batched import BatchedEnv
from rlgan.task.errors import Diverged, InputError

SINGLE = float(np.finfo(np.float32).max)
"""The largest number of float32, in which observations are seen and, at that precision, rewards are stored."""


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
        found: what comes out about them as they are used.
    """

    def __init__(
        self,
        vector: VectorEnv,
        seed: int,
        name: str,
        made: str,
        adapter: env_state.Adapter | None = None,
        notes: Sequence[str] = (),
        found: Found | None = None,
    ) -> None:
        self.vector: Any = vector
        self._found = found or Found()
        self._ours = isinstance(vector, BatchedEnv | SyncVectorEnv | workers.Workers)
        self._failed = False
        self._mode = AutoresetMode(vector.metadata["autoreset_mode"])
        self.seed, self.name, self.made = seed, name, made
        self._map = ActionMap(cast(spaces.Box, vector.single_action_space))
        self._adapter = adapter
        self._notes = [*notes, *self._map.notes(name)]
        #: The largest reward that can be stored; larger ones end a run.
        self.largest = SINGLE
        self.num_envs = num_envs = vector.num_envs
        if isinstance(vector, workers.Workers):
            # Before multiprocessing's own exit, which asks the workers by a signal that they ignore, and waits.
            atexit.register(self.close)
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
        """What a user must know about these environments; some of it comes out as they are used."""
        drawn = (
            f"{self.name} draws from the global random generators of Python, numpy or torch: each environment has "
            "these to itself, seeded by its seed"
        )
        return [*self._notes, *([drawn] if self._found.draws else [])]

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
            InputError: an environment has raised or given what it may not, or a worker process has ended; names which
                one, and when. The episodes of all of them restart when a state that is saved then goes on.
        """
        unit = self.unit(action)
        self._check("action", unit, self._zero_action)
        raw, reward, terminated, truncated, info = self._ask(self.vector.step, self._map(unit))
        if not self._ours:
            reward, terminated, truncated = (
                self._column(values, kind)
                for values, kind in ((reward, np.float64), (terminated, np.bool_), (truncated, np.bool_))
            )
        observation = self._flat(raw)
        self._check("observation", observation, self._zero_obs)
        if not np.abs(reward).max() <= SINGLE:
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
        except Exception as error:
            self._failed = True
            raise InputError(self._described(error), intact=True) from error

    def _described(self, error: Exception) -> str:
        steps = f"after {self.steps} environment steps"
        if isinstance(error, workers.EnvironmentFailed):
            index, reason = error.index_and_reason
            return (
                f"environment {index} ({self.name}) {reason} {steps}, {self.rows.length[index]} of them in its present "
                "episode"
            )
        if isinstance(error, multiprocessing.TimeoutError):
            return (
                f"no answer of {workers.describe_silent(self.vector)} ({self.name}) within {self.vector.timeout:g} s, "
                f"{steps}; env.timeout allows longer"
            )
        if isinstance(error, EOFError | ConnectionError) and isinstance(self.vector, workers.Workers):
            return (
                f"the worker process of {workers.describe_dead(self.vector)} of {self.name} has ended {steps}; it was "
                "killed or ran out of memory: env.vectorization=sync needs no workers"
            )
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return f"the environments ({self.name}) raised {said}{workers.place(error)} {steps}"

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
            self._given = successor = observation.copy()
            for i in np.flatnonzero(ended):
                if info.get("final_obs") is None:
                    raise InputError(
                        f"the environments ({self.name}) restarted without info['final_obs'], the last observation of "
                        "the episode, which gymnasium's SAME_STEP autoreset has"
                    )
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
        if isinstance(self.vector, BatchedEnv) and not self._failed:
            state["environments"] = {"batched": self.vector.state_dict()}
        elif self._adapter is not None and not self._failed:
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
        elif saved is None and (batched or self._adapter is not None):
            why = "the state of its environments was not saved"
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

    @property
    def first(self) -> gymnasium.Env | None:
        """Environment 0, where it is in this process and by itself."""
        return self.vector.envs[0] if isinstance(self.vector, SyncVectorEnv) else None

    @contextlib.contextmanager
    def lent(self) -> Iterator[gymnasium.Env]:
        """Environment 0, for other episodes; afterwards it stands as before or, if that cannot be, at a new start.

        Raises:
            InputError: it is not in this process.
        """
        if not isinstance(self.vector, SyncVectorEnv):
            raise InputError(
                f"no second {self.name} can be made for evaluations ({self._found.reason}), and that of training "
                "cannot be lent by its worker; use env.vectorization=sync env.num_envs=1",
                intact=True,
            )
        guard = cast(workers.Guard, self.vector.envs[0])
        state = None if self._adapter is None else self._adapter.save(guard.env)
        yield guard
        if self._adapter is not None:
            self._adapter.restore(guard.env, state)
            return
        self.rows.obs[0] = np.asarray(self._ask(guard.reset)[0]).reshape(-1)
        self.rows.valid[0], self.rows.total[0], self.rows.length[0] = True, 0.0, 0
        self.vector._autoreset_envs[0] = False

    def _own(self) -> list[gymnasium.Env]:
        """The environments as their adapter made them, in this process."""
        return [guard.env for guard in self.vector.envs]

    def _flat(self, raw: Any) -> np.ndarray:
        """Observations (n, obs_dim) in memory of our own."""
        if not self._ours and np.shape(raw)[:1] != (self.num_envs,):
            raise InputError(
                f"the environments ({self.name}) gave observations of shape {np.shape(raw)}, {self.num_envs} due"
            )
        self._given = given = np.asarray(raw).reshape(self.num_envs, -1)
        if given.dtype == np.float32:
            return given.copy()
        with np.errstate(over="ignore"):  # what becomes infinite is refused as what it was
            return given.astype(np.float32)

    def _column(self, values: Any, kind: type[np.generic]) -> np.ndarray:
        """Rewards or ends (n,) of a vector from outside, in memory of our own."""
        array = np.array(values, dtype=kind)
        if array.shape != (self.num_envs,):
            raise InputError(
                f"the environments ({self.name}) gave shape {array.shape}, where ({self.num_envs},) is due"
            )
        return array

    def _check(self, what: str, values: np.ndarray, zeros: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):
            wrong = np.dot(values.reshape(-1), zeros) != 0.0
        if wrong:
            self._raise_diverged(what, values, self._given if what == "observation" else None)

    def _raise_diverged(self, what: str, values: np.ndarray, given: np.ndarray | None = None) -> None:
        error = self.diverged(what, values, given)
        if error is not None:
            raise error

    def diverged(self, what: str, values: np.ndarray, given: np.ndarray | None = None) -> Diverged | None:
        """What to raise if the action, observation or reward (n, k) of some environment is not finite; or None.

        Args:
            what: of the three, which.
            values: they.
            given: the same before they were made float32.
        """
        most = self.largest if what == "reward" else SINGLE
        for i, row in enumerate(values):
            bad = np.flatnonzero(~(np.abs(row) <= most))
            if len(bad):
                one = float(row[bad[0]] if given is None else given[i][bad[0]])
                beyond = f", beyond float32 (at most {most:.2g}): scale it in env.wrappers," if np.isfinite(one) else ""
                return Diverged(
                    f"{what} of environment {i} ({self.name}) is {one:g} in component {bad[0]}{beyond} "
                    f"after {self.steps} environment steps, step {self.rows.length[i]} of its episode"
                )
        return None
