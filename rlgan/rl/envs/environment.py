"""gymnasium environments as configured: which one, how many, how stepped; what cannot be used is refused by name."""

import contextlib
import copy
import functools
import importlib.util
import itertools
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit

from rlgan.rl.border.border import Border, Found, Tap, Watch, all_layers
from rlgan.rl.border.ids import other_id
from rlgan.rl.border.look import look
from rlgan.rl.border.modes import Modes
from rlgan.rl.border.values import Broken
from rlgan.rl.envs import env_state, workers
from rlgan.rl.envs.batched import BatchedEnv, Unsuitable
from rlgan.rl.envs.vector_env import VectorEnvironment
from rlgan.task.errors import Diverged, InputError
from rlgan.task.seeding import GlobalRandom, kept_globals

_OF_MODULES: dict[str, Modes] = {}
"""Modes of the process that a module of environments has set at its import; for these alone they hold."""
PRACTICAL = 1e18
"""An action bound beyond this is no bound: it is the largest number of a dtype, or the like."""
UNLIMITED, LONGEST = 10_000, 100_000
"""Steps after which an evaluation episode is cut where the environment has no time limit, and where it has one."""

Vectorization = Literal["auto", "sync", "async", "batched"]


@dataclass(frozen=True)
class Environment:
    """Which environment, how many of them, and how they are stepped.

    Args:
        id: a gymnasium id, also `module:Name-v0`. Its actions must be a finite Box of floats. Its observations are a
            Box, or of any other space with a fixed length (Dict, Tuple, Discrete, ...): these are flattened in the
            order of gymnasium.spaces.flatten, also for evaluation.
        kwargs: keyword arguments of the environment's constructor.
        wrappers: put around each environment, the first one innermost, before its observations are flattened; they are
            around those of evaluations too. In a configuration each is a `_target_` with `_partial_: true`:

                env:
                  wrappers:
                    - {_target_: gymnasium.wrappers.RescaleAction, _partial_: true, min_action: -1.0, max_action: 1.0}
                    - {_target_: gymnasium.wrappers.TimeAwareObservation, _partial_: true}

        max_episode_steps: steps after which an episode is truncated; None leaves it to the environment.
        num_envs: environments stepped together.
        vectorization: `sync` in this process; `async` in worker processes, for slow environments (no exact resume);
            `batched` by one call of numpy, where the id has such an environment (`rlgan.rl.envs.batched`), which gives
            the same numbers; `auto` where it has one and takes the `kwargs`, and without wrappers, else `sync`.
        timeout: seconds that a worker process may take for a step or a reset before the run gives it up.
        eval_options: `options` of the environment's reset in evaluations and films, for starts of one's choice
            (Pendulum knows {x_init: 3.1, y_init: 0.0}, bounds of angle and velocity). Training starts as always.

    Raises:
        ValueError: an unknown id or option, a missing package, spaces that are not supported; the message begins with
            the field.
    """

    #: gymnasium's mode for an episode's end, in which the environments are made; the transitions are equal in all.
    autoreset: ClassVar[AutoresetMode] = AutoresetMode.NEXT_STEP

    id: Annotated[str, "module:name"] = "Pendulum-v1"
    kwargs: dict[str, Any] = field(default_factory=dict)
    wrappers: tuple[Callable[[gymnasium.Env], gymnasium.Env], ...] = ()
    max_episode_steps: int | None = None
    num_envs: int = 1
    vectorization: Vectorization = "auto"
    timeout: float = 300.0
    eval_options: dict[str, Any] = field(default_factory=dict)
    #: What has come out about these environments; no part of what they are.
    found: Found = field(default_factory=Found, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.num_envs < 1:
            raise ValueError(f"num_envs = {self.num_envs}: must be at least 1")
        if self.vectorization not in get_args(Vectorization):
            raise ValueError(f"vectorization = {self.vectorization}: unknown; choose auto, sync, async or batched")
        if not self.timeout > 0:
            raise ValueError(f"timeout = {self.timeout}: must be positive, for example 300 seconds")
        if self.max_episode_steps is not None and self.max_episode_steps < 1:
            raise ValueError(
                f"max_episode_steps = {self.max_episode_steps}: must be at least 1, for example 500, or null"
            )
        self._check_id()
        self._probe().close()
        if self.vectorization == "batched" and (why := self._not_batched()):
            raise ValueError(f"vectorization = batched: {why}; use auto or sync")

    def _check_id(self) -> None:
        module, _, name = self.id.rpartition(":")
        if module:
            before = Modes.now()
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ValueError(f"id = {self.id}: cannot import {module} ({error}); is it installed?") from error
            except (Exception, SystemExit) as error:  # it runs what its author wrote
                said = " ".join(f"{type(error).__name__}: {error}".split())
                raise ValueError(f"id = {self.id}: importing {module} raised {said}{workers.place(error)}") from error
            finally:
                if (after := Modes.now()) != before:
                    before.install()
                    _OF_MODULES[module] = after
            self.found.modes = _OF_MODULES.get(module)
        if name not in gymnasium.registry:
            raise ValueError(f"id = {self.id}: unknown environment; {other_id(name, module)}")

    def _probe(self) -> gymnasium.Env:
        try:
            return self.make_one(watch="always")
        except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
            reason = str(error).splitlines()[0]
            wanted = f"{self._entry_point} {reason}".lower()
            extra = next((name for name in ("mujoco", "box2d") if name in wanted), None)
            remedy = f'pip install "rlgan[{extra}]"' if extra else "install that package"
            raise ValueError(f"id = {self.id}: needs a package that is missing ({reason}); {remedy}") from error
        except gymnasium.error.Error as error:
            raise ValueError(f"id = {self.id}: {str(error).splitlines()[0]}") from error
        except InputError:
            raise
        except Unsuitable as error:
            raise ValueError(f"kwargs.{error}") from error
        except Exception as error:
            if isinstance(error, ValueError) and str(error).startswith(("id = ", "wrappers[")):
                raise  # it is ours
            if isinstance(error, TypeError) and "argument" in str(error):
                raise ValueError(f"kwargs = {self.kwargs}: {self.id} refuses them ({error})") from error
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(
                f"id = {self.id}: cannot be made, it raised {said}{workers.place(error)}; if only one can be open at a "
                "time: env.num_envs=1, and one seed= after another, without seeds="
            ) from error

    @property
    def _spec(self) -> EnvSpec:
        return gymnasium.spec(self.id.rpartition(":")[2])

    @property
    def _entry_point(self) -> str:
        return str(self._spec.entry_point)

    def _not_batched(self) -> str | None:
        """Why these environments cannot be batched, or None."""
        kind = BatchedEnv.registered(self._spec)
        if kind is None:
            return f"{self.id} has no batched environment"
        if self.wrappers:
            return "wrappers are put around single environments"
        if self.autoreset is not AutoresetMode.NEXT_STEP:
            return "its episodes restart at their next step"
        if self._batched_draws(kind):
            return "it draws from global random generators, which single environments have to themselves"
        unknown = sorted({*self._spec.kwargs, *self.kwargs} - kind.options())
        return f"the batched {self.id} does not know {', '.join(unknown)}" if unknown else None

    def _batched_draws(self, kind: type[BatchedEnv]) -> bool:
        """Whether physics from outside draws from the process's global generators."""
        if self.found.batched_draws is None:
            self.found.batched_draws = False
            # What it raises is raised again where it is used.
            with contextlib.suppress(Exception), kept_globals(0):
                before = GlobalRandom.now()
                env = kind(1, 10, **{**self._spec.kwargs, **self.kwargs})
                env.reset(seed=0)
                for _ in range(0 if kind.__module__.startswith("rlgan.") else 30):
                    env.step(env.action_space.sample())
                self.found.batched_draws = GlobalRandom.now().differs(before)
        return self.found.batched_draws

    def batched(self, num_envs: int) -> BatchedEnv | None:
        """So many environments as one batched one, where `vectorization` allows it, or None."""
        if self.vectorization in ("sync", "async") or self._not_batched():
            return None
        kind = BatchedEnv.registered(self._spec)
        assert kind is not None, "else it could not be batched"
        limit = self._spec.max_episode_steps if self.max_episode_steps is None else self.max_episode_steps
        return kind(num_envs, limit, **{**self._spec.kwargs, **self.kwargs})

    @property
    def made(self) -> str:
        """All that determines the environments' behaviour, in words: a saved state fits only what was made alike."""
        words = f"{self.id} with {dict(sorted(self.kwargs.items()))}"
        if self.max_episode_steps is not None:
            words = f"{words}, at most {self.max_episode_steps} steps"
        return ", in ".join([words, *map(_described, self.wrappers)])

    def make_one(self, seed: int = 0, watch: Watch = None) -> gymnasium.Env:
        """A single gymnasium environment, in its wrappers and behind our border, with a Box of observations.

        Args:
            seed: of the draws of its making.
            watch: how often to look whether it draws from the process's global generators.

        Raises:
            ValueError: a wrapper fails, the spaces are not supported.
        """
        _route_mujoco_warnings(self._entry_point)
        env: gymnasium.Env = Border(self._make_wrapped, self.found, seed, watch)
        return env if isinstance(env.observation_space, spaces.Box) else gymnasium.wrappers.FlattenObservation(env)

    def _make_wrapped(self) -> gymnasium.Env:
        # The checker would be one more layer to call and to save; spaces are checked here, values at the border.
        limit = {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
        env = gymnasium.make(self.id, disable_env_checker=True, **limit, **self.kwargs)
        try:
            if self.wrappers:
                env = Tap(env)
            for i, wrapper in enumerate(self.wrappers):
                env = _wrapped(env, wrapper, f"wrappers[{i}] = {_described(wrapper)}")
            _check_spaces(self.id, env)
            limits = [layer._max_episode_steps for layer in all_layers(env) if isinstance(layer, TimeLimit)]
            self.found.limit, self.found.space = min(limits, default=None), env.observation_space
        except BaseException:
            with contextlib.suppress(Exception):
                env.close()
            raise
        return env

    @property
    def cut(self) -> int:
        """Steps after which an evaluation episode is cut."""
        return UNLIMITED if self.found.limit is None else min(self.found.limit, LONGEST)

    def start(self, env: gymnasium.Env, seed: int) -> np.ndarray:
        """Reset one of `make_one` for an evaluation; its first observation.

        Raises:
            ValueError: it does not take `eval_options`.
        """
        if not self.eval_options:
            return np.asarray(env.reset(seed=seed)[0])
        try:
            return np.asarray(env.reset(seed=seed, options=copy.deepcopy(self.eval_options))[0])
        except Exception as error:
            raise ValueError(
                f"eval_options = {self.eval_options}: the reset of {self.id} refuses them ({error.__cause__ or error})"
            ) from error

    def make(self, seed: int) -> VectorEnvironment:
        """The environments, reset: environment i with seed `seed + i`."""
        batched = self.batched(self.num_envs)
        if batched is not None:
            return self._begun(batched, seed)
        notes = self._look()
        adapter, more = self._adapter()
        one = functools.partial(self.make_one, watch="sometimes")
        makes = [workers.Make(one, adapter, i, os.getpid(), seed + i) for i in range(self.num_envs)]
        try:
            vector = self._vector(makes)
        except workers.NotMade as error:
            raise ValueError(f"env.id = {self.id}: {error}") from error
        return self._begun(vector, seed, adapter, [*notes, *more], self.found)

    def _begun(self, vector: VectorEnv, seed: int, *more: Any) -> VectorEnvironment:
        try:
            return VectorEnvironment(vector, seed, self.id, self.made, *more)
        except Diverged as error:
            raise ValueError(f"env.id = {self.id}: {error}") from error

    def _look(self) -> list[str]:
        """What a first look finds, a note each.

        Raises:
            ValueError: these are no environments of gymnasium's.
        """
        limited = self.found.limit is not None
        try:
            notes = look(functools.partial(self.make_one, watch="always"), limited, self.cut)
        except Broken as error:
            raise ValueError(f"env.id = {self.id}: {error}") from error
        self.found.looked = True
        return [f"{self.id} {note}" for note in notes]

    def _adapter(self) -> tuple[env_state.Adapter | None, list[str]]:
        """How the environments' state is saved, found out on throw-away copies; what to say where it is not."""
        if self.vectorization == "async":
            why = (
                "asynchronous environments live in other processes and restart their episodes; "
                "env.vectorization=sync resumes exactly"
            )
            return None, [f"resume will not be bit-exact: {why}"]
        # Of different seeds: what their making drew must be restored as well.
        seeds = itertools.count(1)
        adapter = env_state.choose(lambda: self.make_one(next(seeds)))
        if adapter is None:
            why = f"no way of saving reproduces {self.id}; its episodes restart at resume"
            return None, [f"resume will not be bit-exact: {why}"]
        return adapter, []

    def _vector(self, makes: Sequence[workers.Make]) -> VectorEnv:
        # copy=False: observations are converted into an array of our own anyway.
        if self.vectorization != "async":
            return SyncVectorEnv(makes, copy=False, autoreset_mode=self.autoreset)
        try:
            return workers.Workers(makes, self.timeout, copy=False, autoreset_mode=self.autoreset)
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(f"a worker process of {self.id} has ended before its environment was made") from error


def _route_mujoco_warnings(entry_point: str) -> None:
    # Left alone, MuJoCo prints a warning for every model it loads, and writes MUJOCO_LOG.TXT where the run was started.
    if "mujoco" in entry_point and importlib.util.find_spec("mujoco") is not None:
        mujoco: Any = importlib.import_module("mujoco")
        mujoco.set_mju_user_warning(lambda message: warnings.warn(message.strip(), RuntimeWarning, stacklevel=2))


def _wrapped(env: gymnasium.Env, wrapper: Callable[[gymnasium.Env], gymnasium.Env], field: str) -> gymnasium.Env:
    try:
        wrapped = wrapper(env)
    except Exception as error:
        raise ValueError(
            f"{field}: cannot be put around {env} ({type(error).__name__}: {error}); change its arguments, or leave it "
            "out"
        ) from error
    if not isinstance(wrapped, gymnasium.Env):
        raise ValueError(
            f"{field}: gives a {type(wrapped).__name__}; a wrapper takes an environment and gives an environment"
        )
    within = itertools.takewhile(lambda layer: layer is not env, all_layers(wrapped))
    if any(isinstance(layer, gymnasium.wrappers.NormalizeObservation) for layer in within):
        raise ValueError(
            f"{field}: every environment would have statistics of its own, those of evaluation too; "
            "use normalise_obs=true, whose statistics are one and are saved"
        )
    return wrapped


def _described(wrapper: Callable[..., Any]) -> str:
    """The wrapper's name and arguments, the same in every process."""
    if isinstance(wrapper, functools.partial):
        arguments = [*map(repr, wrapper.args), *(f"{key}={value!r}" for key, value in wrapper.keywords.items())]
        return f"{_described(wrapper.func)}({', '.join(arguments)})"
    return str(getattr(wrapper, "__qualname__", type(wrapper).__qualname__))


def _check_spaces(id: str, env: gymnasium.Env) -> None:
    for name in ("action_space", "observation_space"):
        space = getattr(env, name, None)
        if not isinstance(space, spaces.Space):
            what = "is missing" if space is None else f"is a {type(space).__module__}.{type(space).__name__}"
            raise ValueError(f"id = {id}: its {name} {what}; set it to one of gymnasium.spaces in its __init__")
    action, observation = env.action_space, env.observation_space
    if not isinstance(action, spaces.Box):
        raise ValueError(
            f"id = {id}: has {type(action).__name__} actions; "
            "deterministic policies need a Box of floats, as in Pendulum-v1: wrap it in "
            "gymnasium.wrappers.TransformAction (env.wrappers), which turns such numbers into its actions"
        )
    if not np.issubdtype(action.dtype, np.floating):
        raise ValueError(
            f"id = {id}: has actions of dtype {action.dtype}; they must be floats: wrap it in "
            "gymnasium.wrappers.TransformAction (env.wrappers)"
        )
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise ValueError(
            f"id = {id}: has infinite action bounds (low {action.low}, high {action.high}); "
            "wrap it in gymnasium.wrappers.TransformAction (env.wrappers) or register it with finite bounds"
        )
    if 0 in action.shape or (action.low == action.high).all():
        one = "" if 0 in action.shape else f" and bounds low = high = {action.low.ravel()[0]:g}"
        raise ValueError(
            f"id = {id}: has actions of shape {action.shape}{one}, in which there is nothing to choose; set its "
            "action_space to what it takes"
        )
    if max(abs(float(action.low.min())), abs(float(action.high.max()))) > PRACTICAL:
        raise ValueError(
            f"id = {id}: has action bounds as good as infinite ({action.low.min():g} to {action.high.max():g}), and "
            "actions are spread over all between; wrap it in gymnasium.wrappers.TransformAction (env.wrappers) or "
            "register it with the bounds that it works in"
        )
    if not observation.is_np_flattenable:
        raise ValueError(
            f"id = {id}: has observations without a fixed length ({observation}); turn them into a "
            "Box or a Dict of Boxes, for example by gymnasium.wrappers.TransformObservation in env.wrappers"
        )
    if isinstance(observation, spaces.Box) and observation.dtype.kind not in "biuf":
        raise ValueError(f"id = {id}: has observations of dtype {observation.dtype}; they must be real numbers")
