"""The border between a single environment and us: all that crosses it is copied, checked and named.

`Border` stands around an environment and its wrappers, `Tap` between the two. Neither is seen by what saves an
environment's state, but for the random numbers that a border keeps.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import torch

from rlgan.rl.border.modes import Modes, kept_signals
from rlgan.rl.border.values import Broken, flag, number, observed, start, successor
from rlgan.rl.envs.plain import decode, encode
from rlgan.task.seeding import GlobalRandom, seed_globals

RESETS, STEPS = 100, 100
"""So many of the first resets are looked at for draws from the global generators, and every so-manieth of all steps."""


Watch = Literal["always", "sometimes"] | None


@dataclass
class Found:
    """What has come out about environments of one make, in this process.

    Args:
        looked: they have been looked at.
        draws: they draw from the process's global generators, or seed them.
        batched_draws: and so does what batches them; None while that has not been looked at.
        space: the observations as they are given, before they are flattened.
        limit: steps of an episode at which they are truncated, if there is such a number.
        beside: how many can be open beside those of training; None while nothing stood against it.
        reason: what stood against more.
        modes: of the process, that their module has set.
    """

    looked: bool = False
    draws: bool = False
    batched_draws: bool | None = None
    space: gymnasium.Space | None = None
    limit: int | None = None
    beside: int | None = None
    reason: str = ""
    modes: Modes | None = None


class Tap(gymnasium.Wrapper):
    """Around the environment as it is registered, below what a user puts around it: the task's own rewards.

    What a wrapper is given is copied and its info a dict, so that what it keeps stays what it was.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._sum = 0.0

    def reset(self, **options: Any) -> Any:
        given = self.env.reset(**options)
        if not isinstance(given, tuple) or len(given) != 2:
            return given  # named at the border, unless a wrapper mends it
        return _apart(given[0]), given[1] if isinstance(given[1], dict) else {}

    def step(self, action: Any) -> Any:
        given = self.env.step(np.array(action) if isinstance(action, np.ndarray) else action)
        if not isinstance(given, tuple) or len(given) < 4:
            return given
        with contextlib.suppress(Broken):
            self._sum += number(given[1])
        info = given[-1] if isinstance(given[-1], dict) else {}
        return _apart(given[0]), *given[1:-1], info

    def taken(self) -> float:
        """The rewards since this was last asked."""
        total, self._sum = self._sum, 0.0
        return total


def _apart(value: Any) -> Any:
    """The arrays of an observation in memory of their own."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _apart(part) for key, part in value.items()}
    return type(value)(map(_apart, value)) if type(value) in (tuple, list) else value


class Border(gymnasium.Wrapper):
    """Around an environment with its wrappers. Observations are those of its space, rewards floats, infos empty.

    An environment that draws from the process's global generators has a state of these of its own, which `reset` seeds
    as it seeds the environment: its draws are repeated with it, and move nobody else's.

    Args:
        make: makes the environment; its draws are its own from here on.
        found: of its make.
        seed: of the draws of its making.
        watch: look whether it draws, where that is not known: now and then, or always.
    """

    def __init__(self, make: Callable[[], gymnasium.Env], found: Found, seed: int, watch: Watch) -> None:
        self._found, self._watch = found, watch
        self._steps = self._resets = 0
        self._modes = found.modes
        before = GlobalRandom.now()
        try:
            seed_globals(seed)
            seeded = GlobalRandom.now()
            with kept_signals(), self._with_modes():
                super().__init__(make())
            self._space = self.env.observation_space
            self._own = GlobalRandom.now()
            found.draws |= self._own.differs(seeded)
        except SystemExit as error:
            raise _exited(error) from error
        finally:
            before.install()

    @contextlib.contextmanager
    def _with_modes(self) -> Iterator[None]:
        """A block in the modes that the environment has set, if it has; afterwards they are what they were."""
        before = Modes.now()
        if self._modes is not None:
            self._modes.install()
        try:
            yield
        finally:
            after = Modes.now()
            if after != before:
                before.install()
            if after != before or self._modes is not None:
                self._modes = after

    @contextlib.contextmanager
    def _globals(self, looked: bool = False, seed: int | None = None) -> Iterator[None]:
        with self._with_modes(), self._generators(looked, seed):
            yield

    @contextlib.contextmanager
    def _generators(self, looked: bool, seed: int | None) -> Iterator[None]:
        if not (self._found.draws or looked or self._watch == "always"):
            yield
            return
        before = GlobalRandom.now()
        if seed is not None:
            seed_globals(seed)
        else:
            self._own.install()
        began = before if self._found.draws else GlobalRandom.now()
        try:
            yield
        finally:
            self._own = GlobalRandom.now()
            self._found.draws |= self._own.differs(began)
            before.install()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._resets += 1
        try:
            with kept_signals(), self._globals(self._watch is not None and self._resets <= RESETS, seed):
                given = self.env.reset(seed=seed, options=options)
            return observed(self._space, start(given, self._space)[0]), {}
        except SystemExit as error:
            raise _exited(error) from error
        except Exception as error:
            _name(error, "reset")
            raise

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        gradients = torch.is_grad_enabled()
        try:
            if (
                self._found.draws
                or self._modes is not None
                or (self._watch is not None and not (self._steps % STEPS and self._watch != "always"))
            ):
                with self._globals(True):
                    given = self.env.step(np.array(action))
            else:
                given = self.env.step(np.array(action))
                if torch.is_grad_enabled() is not gradients:
                    torch.set_grad_enabled(gradients)
            seen, reward, terminated, truncated, _ = successor(given)
            ends = flag(terminated, "terminated"), flag(truncated, "truncated")
            return observed(self._space, seen), number(reward), *ends, {}
        except SystemExit as error:
            raise _exited(error) from error
        except Exception as error:
            _name(error, "step")
            raise

    def close(self) -> None:
        """Close the environment; what it raises then is a warning, as all is done."""
        try:
            with self._globals():
                self.env.close()
        except Exception as error:
            warnings.warn(f"{self.env} raised at its close: {type(error).__name__}: {error}", stacklevel=1)

    def render(self) -> Any:
        with self._globals():
            return self.env.render()

    def save(self) -> Any:
        """The global generators' state of its own, in plain containers; None where it draws nothing from them."""
        return encode(tuple(self._own)) if self._found.draws else None

    def restore(self, state: Any) -> None:
        """Restore what `save` gave."""
        if state is not None:
            self._found.draws = True
            self._own = GlobalRandom(*decode(state))


def _exited(error: SystemExit) -> RuntimeError:
    """An environment that would end the process, as an error like others."""
    said = f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
    return RuntimeError(said).with_traceback(error.__traceback__)


def _name(error: Exception, call: str) -> None:
    """Raise Broken for what was broken in this call; some of it is seen by what Python or gymnasium raises."""
    said = str(error)
    if isinstance(error, Broken):
        raise Broken(f"{said} (in its {call})") from error
    if isinstance(error, ValueError) and "unpack" in said:  # by gymnasium's time limit, around an old step
        raise Broken(
            f"does not give what a {call} gives ({said}): (observation, info) of a reset, (observation, reward, "
            "terminated, truncated, info) of a step"
        ) from error
    for name in ("seed", "options"):
        if isinstance(error, TypeError) and "unexpected keyword" in said and f"'{name}'" in said:
            raise Broken(
                f"takes no {name} in its reset ({said}); gymnasium's is reset(self, *, seed=None, options=None), which "
                "begins with super().reset(seed=seed)"
            ) from error


def border_of(env: gymnasium.Env) -> Border | None:
    """The border among the layers of `env`."""
    return next((layer for layer in all_layers(env) if isinstance(layer, Border)), None)


def tap_of(env: gymnasium.Env) -> Tap | None:
    """The tap among the layers of `env`; there is one where a user has put wrappers around it."""
    return next((layer for layer in all_layers(env) if isinstance(layer, Tap)), None)


def all_layers(env: gymnasium.Env) -> Iterator[gymnasium.Env]:
    """The wrappers of `env`, outermost first, and the environment itself last."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
    yield env
