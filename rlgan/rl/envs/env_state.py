"""Exact save and restore of environments, so that a resumed run goes on in the middle of an episode, bit for bit.

gymnasium has no such operation, and copies are not one: a deepcopy of a MuJoCo environment is silently wrong and one of
a Box2D environment raises. Four adapters, tried in this order by `choose` on throw-away copies of the environment:

- `MuJoCo`: the attributes below, and the simulator by `mj_getState(mjSTATE_INTEGRATION)` with the quantities derived
  from it;
- `Attributes`: the plain attributes of every wrapper layer, with its random generators and those of its spaces;
- `ActionReplay`: the plain attributes before the last reset, that reset and the actions since, which are played again;
- `ActionReplay(make)`: the same, with a new environment for every episode.

An environment that none of them reproduces cannot be resumed exactly, and the run says so (`Environment`).
"""

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from rlgan.rl.border.border import Border, Tap, all_layers, border_of
from rlgan.rl.envs.plain import NotPlain, decode, encode

# What a constructor makes anew, or what only describes the environment.
CONSTRUCTED = frozenset(
    {"env", "spec", "_cached_spec", "metadata", "_metadata", "_saved_kwargs", "_ezpickle_args", "_ezpickle_kwargs"}
)
_GLOBALS = "global generators"
_VECTOR = ("_autoreset_envs", "_env_obs", "_observations", "_rewards", "_terminations", "_truncations")
# mj_forward recomputes these from the present positions, while after a step they lag by one substep: Ant and Humanoid
# read them before the next step (their forward reward starts from the lagged position).
_MUJOCO_DERIVED = (
    "xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "subtree_com",
    "subtree_linvel", "subtree_angmom", "cinert", "crb", "cvel", "cdof", "cdof_dot", "cacc", "cfrc_int", "cfrc_ext",
    "qacc", "qacc_smooth", "qfrc_bias", "qfrc_passive", "qfrc_actuator", "qfrc_constraint", "qfrc_smooth",
    "qfrc_inverse", "actuator_force", "actuator_length", "actuator_velocity", "sensordata", "energy", "xanchor",
    "xaxis",
)  # fmt: skip


def layers(env: gymnasium.Env) -> Iterator[gymnasium.Env]:
    """The wrappers of `env`, outermost first, and the environment itself last; without those of our border."""
    return (layer for layer in all_layers(env) if not isinstance(layer, Border | Tap))


def spaces_of(env: gymnasium.Env) -> list[spaces.Space]:
    """The spaces that the layers of `env` own, each of which has random generators of its own."""
    return [value for layer in layers(env) for value in vars(layer).values() if isinstance(value, spaces.Space)]


def _leaves(space: spaces.Space) -> Iterator[spaces.Space]:
    yield space
    if isinstance(space, spaces.Dict):
        for part in space.spaces.values():
            yield from _leaves(part)
    elif isinstance(space, spaces.Tuple):
        for part in space.spaces:
            yield from _leaves(part)


def _save_space(space: spaces.Space, memo: dict) -> dict[str, Any]:
    return {"kind": "space", "generators": [encode(leaf._np_random, memo) for leaf in _leaves(space)]}


def _restore_space(space: spaces.Space, node: dict[str, Any], memo: dict) -> None:
    for leaf, generator in zip(_leaves(space), node["generators"], strict=True):
        leaf._np_random = decode(generator, memo)


def save_attributes(env: gymnasium.Env) -> list[dict[str, Any]]:
    """The plain attributes of every layer; those of other kinds (renderers, simulators, functions) are left out.

    Of an environment that draws from the process's global generators, its own state of these comes last.
    """
    memo: dict[int, tuple[int, Any]] = {}
    saved: list[dict[str, Any]] = []
    for layer in layers(env):
        attributes: dict[str, Any] = {}
        for name, value in vars(layer).items():
            if name in CONSTRUCTED:
                continue
            try:
                attributes[name] = save_one(value, memo)
            except NotPlain:
                continue
        saved.append(attributes)
    border = border_of(env)
    own = None if border is None else border.save()
    return saved if own is None else [*saved, {_GLOBALS: own}]


def save_one(value: Any, memo: dict[int, tuple[int, Any]]) -> Any:
    """One attribute of a layer; raises NotPlain where it is no plain data."""
    if isinstance(value, spaces.Space):
        return _save_space(value, memo)
    known = getattr(value, "__dict__", None)
    if not known or callable(value) or isinstance(value, gymnasium.Env | ModuleType | np.ndarray):
        return encode(value, memo)
    # Such as running statistics: an object of numbers alone is filled in again where it is.
    return {"kind": "object", "attributes": {name: encode(part, memo) for name, part in known.items()}}


def restore_attributes(env: gymnasium.Env, saved: list[dict[str, Any]]) -> None:
    """Write what `save_attributes` saved into `env`, an environment of the same make."""
    memo: dict[int, Any] = {}
    border = border_of(env)
    if border is not None and saved and _GLOBALS in saved[-1]:
        border.restore(saved[-1][_GLOBALS])
        saved = saved[:-1]
    for layer, attributes in zip(layers(env), saved, strict=True):
        for name, node in attributes.items():
            restore_one(layer, name, node, memo)


def restore_one(layer: gymnasium.Env, name: str, node: Any, memo: dict[int, Any]) -> None:
    """Write the attribute that `save_one` saved."""
    if isinstance(node, dict) and node["kind"] == "space":
        _restore_space(getattr(layer, name), node, memo)
    elif isinstance(node, dict) and node["kind"] == "object":
        for part, value in node["attributes"].items():
            setattr(getattr(layer, name), part, decode(value, memo))
    else:
        setattr(layer, name, decode(node, memo))


class Adapter(ABC):
    """One way to save an environment and to restore it into another one of the same make.

    `save` returns plain containers and tensors only; `restore` takes an environment that has been reset.
    """

    name: str

    def wrap(self, env: gymnasium.Env) -> gymnasium.Env:
        """The environment with what the adapter needs around it; to be applied once, to every new environment."""
        return env

    @abstractmethod
    def save(self, env: gymnasium.Env) -> Any: ...

    @abstractmethod
    def restore(self, env: gymnasium.Env, state: Any) -> None: ...


class Attributes(Adapter):
    """The plain attributes of all layers: exact for classic control and for most environments written in Python."""

    name = "attributes"

    def save(self, env: gymnasium.Env) -> Any:
        return save_attributes(env)

    def restore(self, env: gymnasium.Env, state: Any) -> None:
        restore_attributes(env, state)


class MuJoCo(Adapter):
    """The attributes and the simulator's full integration state: positions and velocities alone are off on Hopper."""

    name = "mujoco"

    def _simulator(self, env: gymnasium.Env) -> tuple[Any, Any, Any, Any]:
        mujoco: Any = importlib.import_module("mujoco")
        simulator: Any = env.unwrapped
        return mujoco, simulator.model, simulator.data, mujoco.mjtState.mjSTATE_INTEGRATION

    def save(self, env: gymnasium.Env) -> Any:
        mujoco, model, data, kind = self._simulator(env)
        integration = np.empty(mujoco.mj_stateSize(model, kind))
        mujoco.mj_getState(model, data, integration, kind)
        derived = {name: encode(np.array(getattr(data, name))) for name in _MUJOCO_DERIVED if hasattr(data, name)}
        return {"attributes": save_attributes(env), "integration": encode(integration), "derived": derived}

    def restore(self, env: gymnasium.Env, state: Any) -> None:
        restore_attributes(env, state["attributes"])
        mujoco, model, data, kind = self._simulator(env)
        integration = decode(state["integration"])
        mujoco.mj_setState(model, data, integration, kind)
        mujoco.mj_forward(model, data)
        # mj_forward overwrites the warm start of the solver, which belongs to the state.
        mujoco.mj_setState(model, data, integration, kind)
        for name, values in state["derived"].items():
            getattr(data, name)[...] = decode(values)


class Recorder(gymnasium.Wrapper):
    """Remembers the present episode: the attributes before its reset, the reset's arguments, the actions since.

    Args:
        env: the environment.
        make: if given, makes another one in its place at every reset, with the same plain attributes.
    """

    def __init__(self, env: gymnasium.Env, make: Callable[[], gymnasium.Env] | None = None) -> None:
        super().__init__(env)
        self._make = make
        self.before: list[dict[str, Any]] = []
        self.seed: int | None = None
        self.options: dict[str, Any] | None = None
        self.actions: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.before = save_attributes(self.env)
        self.seed, self.options, self.actions = seed, options, []
        if self._make is not None:
            self.env.close()
            self.env = self._make()
            restore_attributes(self.env, self.before)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.actions.append(np.array(action))
        return self.env.step(action)


class ActionReplay(Adapter):
    """The last reset and the actions since, played again: exact for deterministic environments that forget at a reset.

    Costs one attribute save an episode, one copied action a step and, at resume, the steps of the episode.

    Args:
        make: builds an environment, in whose copy every episode is then played: nothing is left of the ones before.
            BipedalWalker keeps one Box2D world for all of its episodes: the order in which this finds contacts depends
            on what has been in it.
    """

    def __init__(self, make: Callable[[], gymnasium.Env] | None = None) -> None:
        self._make = make
        self.name = "action replay" if make is None else "action replay in new environments"

    def wrap(self, env: gymnasium.Env) -> gymnasium.Env:
        return Recorder(env, self._make)

    def save(self, env: gymnasium.Env) -> Any:
        assert isinstance(env, Recorder)
        return {
            "before": env.before,
            "seed": env.seed,
            "options": encode(env.options),
            "actions": [encode(action) for action in env.actions],
        }

    def restore(self, env: gymnasium.Env, state: Any) -> None:
        assert isinstance(env, Recorder)
        restore_attributes(env.env, state["before"])
        env.reset(seed=state["seed"], options=decode(state["options"]))
        for action in state["actions"]:
            env.step(decode(action))
        # As saved, and not as the reset above has found them: the next save is then that of the run that never stopped.
        env.before = state["before"]


def choose(make: Callable[[], gymnasium.Env]) -> Adapter | None:
    """The first adapter that reproduces copies of the environment exactly, or None.

    Args:
        make: builds one environment; it is called for throw-away copies only, of which one is open at a time.
    """
    env = make()
    simulator = vars(env.unwrapped).get("data")
    env.close()
    mujoco = sys.modules.get("mujoco")
    simulated = mujoco is not None and isinstance(simulator, mujoco.MjData)
    candidates = (MuJoCo() if simulated else Attributes(), ActionReplay(), ActionReplay(make))
    return next((adapter for adapter in candidates if reproduces(adapter, make)), None)


def reproduces(adapter: Adapter, make: Callable[[], gymnasium.Env], after: int = 60, limit: int = 1100) -> bool:
    """Whether a restored copy goes on exactly as its original.

    Tried from three points: in mid-episode, at an episode's end before its reset, and early in the next episode. The
    original is closed before the copies are made: of some simulators only one can be open.

    Args:
        adapter: the adapter under test.
        make: builds one environment.
        after: steps compared from each point.
        limit: steps within which an episode must end for its end to be tried.
    """
    generator = np.random.default_rng(0)
    points: list[tuple[Any, bool, list[np.ndarray], list[Any]]] = []
    env = adapter.wrap(make())
    try:
        env.reset(seed=1)
        space = env.action_space
        assert isinstance(space, spaces.Box)

        def run(steps: int, ended: bool = False, stop: bool = False) -> tuple[bool, list[np.ndarray], list[Any]]:
            # Actions of modest size keep most environments alive long enough to be compared.
            actions, results = [], []
            for _ in range(steps):
                actions.append(np.asarray(generator.uniform(space.low, space.high), dtype=space.dtype))
                results.append(_moved(env, actions[-1], ended))
                ended = not ended and _ends(results[-1])
                if ended and stop:
                    break
            return ended, actions, results

        ended = run(5)[0]
        for seek in (False, True, False):
            if seek and not ended:
                ended = run(limit, stop=True)[0]
            if not seek and ended:
                env.reset()
                ended = run(3)[0]
            state, before = adapter.save(env), ended
            ended, actions, results = run(after, ended)
            points.append((state, before, actions, results))
        for state, ended, actions, results in points:
            env.close()
            env = adapter.wrap(make())
            env.reset(seed=2)
            adapter.restore(env, state)
            for action, result in zip(actions, results, strict=True):
                found = _moved(env, action, ended)
                if not _equal(found, result):
                    return False
                ended = not ended and _ends(found)
        return True
    except Exception:
        # Whatever fails here, in the environment or in the adapter, this adapter cannot be relied upon.
        return False
    finally:
        env.close()


def _moved(env: gymnasium.Env, action: np.ndarray, ended: bool) -> tuple[Any, ...]:
    """What came of a step, or of a reset where the episode had ended; arrays of the environment's own are copied."""
    found = env.reset()[:1] if ended else env.step(action)[:4]
    return (np.array(found[0]), *found[1:])


def _ends(result: tuple[Any, ...]) -> bool:
    return len(result) == 4 and bool(result[2] or result[3])


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, tuple):
        return all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return np.array_equal(np.asarray(left), np.asarray(right), equal_nan=True)


def save_vector(vector: SyncVectorEnv, adapter: Adapter, envs: Sequence[gymnasium.Env]) -> dict[str, Any]:
    """State of a synchronous vector environment: its environments by `adapter`, and its own buffers and flags.

    The flags matter: without them `next_step` goes on differently when saved at an episode's end.

    Args:
        vector: the vector environment.
        adapter: of its environments.
        envs: these, as `adapter` wrapped them.
    """
    memo: dict[int, tuple[int, Any]] = {}
    return {
        "adapter": adapter.name,
        "environments": [adapter.save(env) for env in envs],
        "vector": {name: encode(getattr(vector, name), memo) for name in _VECTOR},
        "spaces": [_save_space(space, memo) for space in (vector.action_space, vector.observation_space)],
    }


def restore_vector(
    vector: SyncVectorEnv, adapter: Adapter, state: dict[str, Any], envs: Sequence[gymnasium.Env]
) -> None:
    """Restore what `save_vector` saved into a vector environment of the same make that has been reset.

    Raises:
        ValueError: the state was saved by another adapter.
    """
    if state["adapter"] != adapter.name:
        raise ValueError(
            f"environment state = {state['adapter']}: the environment at hand is saved by {adapter.name}; "
            "resume with the package versions of the run"
        )
    for env, saved in zip(envs, state["environments"], strict=True):
        adapter.restore(env, saved)
    memo: dict[int, Any] = {}
    for name, node in state["vector"].items():
        setattr(vector, name, decode(node, memo))
    for space, node in zip((vector.action_space, vector.observation_space), state["spaces"], strict=True):
        _restore_space(space, node, memo)
