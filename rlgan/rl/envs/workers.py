"""Worker processes for environments: which of them has failed is said by its number, and all are ended in time."""

import contextlib
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv

from rlgan.rl.border.values import Broken
from rlgan.rl.envs import env_state
from rlgan.task.seeding import seed_globals

PATIENCE = 2.0
"""Seconds that a worker process has to close its environment before it is killed."""


class EnvironmentFailed(RuntimeError):
    """An environment has raised or given what it may not; `index_and_reason` reads which one, and what.

    It holds an int and a str: an exception of the environment's own may not survive the way from a worker process, and
    gymnasium then waits for it for ever.
    """

    @property
    def index_and_reason(self) -> tuple[int, str]:
        """Number of the environment; what it did, as a verb and more, and where."""
        # From a worker process, gymnasium raises type(error)(error).
        inner = self.args[0]
        index, reason = inner.args if isinstance(inner, EnvironmentFailed) else self.args
        return index, reason


class NotMade(RuntimeError):
    """An environment cannot be made where one of its make could be made before."""


class Guard(gymnasium.Wrapper):
    """One of several environments: an error says its number, and a seed also seeds its spaces.

    A space that is not seeded takes its generator from the operating system, and nothing repeats.

    Args:
        env: the environment.
        index: its number.
    """

    def __init__(self, env: gymnasium.Env, index: int) -> None:
        super().__init__(env)
        self._index = index

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            for k, space in enumerate(env_state.spaces_of(self.env)):
                # Environment i is given the seed of all of them plus i: two that are alike in one are not in the other.
                entropy = [seed - self._index, 2, self._index, k]
                space.seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise self._failed("reset", error) from error

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        try:
            return self.env.step(action)
        except Exception as error:
            raise self._failed("step", error) from error

    def _failed(self, where: str, error: Exception) -> EnvironmentFailed:
        raised = f"raised {type(error).__name__}: {error} (in its {where}{place(error)})"
        return EnvironmentFailed(self._index, " ".join((str(error) if isinstance(error, Broken) else raised).split()))


def place(error: BaseException) -> str:
    """Where it was raised, behind a comma, as there is no traceback across processes and none in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    return f", {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


@dataclass(frozen=True)
class Make:
    """Makes the guarded environment `index`, in this process or in a worker.

    Args:
        make_one: makes the environment alone, by the seed of the draws of its making.
        adapter: of its state, if there is one.
        index: its number.
        home: the process from which signals come to be handled.
        seed: of the draws of its making.
    """

    make_one: Callable[[int], gymnasium.Env]
    adapter: env_state.Adapter | None
    index: int
    home: int
    seed: int

    def __call__(self) -> Guard:
        if os.getpid() != self.home:
            # A terminal's Ctrl-C and a scheduler's SIGTERM reach the whole group of processes. The run's own process
            # finishes its step and saves, for which it needs its workers; they end when it closes them or is gone.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)
            seed_globals(self.seed)  # a forked process has the state of its parent, and all of them the same
        try:
            env = self.make_one(self.seed)
        except Exception as error:
            if os.getpid() != self.home:
                raise
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise NotMade(
                f"environment {self.index} cannot be made, as one was before ({said}); if only one can be open at a "
                "time: env.num_envs=1, and one seed= after another, without seeds="
            ) from error
        return Guard(env if self.adapter is None else self.adapter.wrap(env), self.index)


class Workers(AsyncVectorEnv):
    """gymnasium's worker processes, with a time limit for their answers.

    Args:
        makes: make the environments.
        timeout: seconds until all must have answered.
        options: of `AsyncVectorEnv`.
    """

    def __init__(self, makes: Sequence[Callable[[], gymnasium.Env]], timeout: float, **options: Any) -> None:
        self.timeout = timeout
        super().__init__(makes, **options)

    def step_wait(self, timeout: float | None = None) -> Any:
        return super().step_wait(self.timeout if timeout is None else timeout)

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        with warnings.catch_warnings():  # gymnasium shows the worker's traceback; which error, and where, is in ours
            warnings.simplefilter("ignore", UserWarning)
            super()._raise_if_errors(successes)

    def reset_wait(self, timeout: float | None = None) -> Any:
        return super().reset_wait(self.timeout if timeout is None else timeout)


def describe_silent(vector: AsyncVectorEnv) -> str:
    """Which worker processes have not answered."""
    silent = [str(i) for i, pipe in enumerate(vector.parent_pipes) if pipe is not None and not pipe.poll(0)]
    return f"environment{'s' if len(silent) > 1 else ''} {', '.join(silent)}" if silent else "an environment"


def end(vector: AsyncVectorEnv) -> None:
    """Close the environments of all worker processes and end these: dead, stopped or busy, within `PATIENCE`.

    gymnasium's own close waits for answers that a dead worker never gives.
    """
    pipes = [pipe for pipe in vector.parent_pipes if pipe is not None and not pipe.closed]
    for pipe in pipes:
        with contextlib.suppress(OSError):
            pipe.send(("close", None))
    waiting = [process.sentinel for process in vector.processes]
    until = time.monotonic() + PATIENCE
    while waiting and (left := until - time.monotonic()) > 0:
        ended = connection.wait(waiting, left)
        waiting = [sentinel for sentinel in waiting if sentinel not in ended]
    for process in vector.processes:
        process.kill()
        process.join()
    for pipe in pipes:
        pipe.close()
    vector.closed = True


def describe_dead(vector: AsyncVectorEnv) -> str:
    """Which worker processes have ended, with their exit codes."""
    # A killed process is known to be dead only a moment after its pipe has closed.
    gone = connection.wait([process.sentinel for process in vector.processes], timeout=5.0)
    codes = {}
    for i, process in enumerate(vector.processes):
        if process.sentinel in gone:
            process.join()
            codes[i] = process.exitcode
    return ", ".join(f"environment {i} (exit code {code})" for i, code in codes.items()) or "an environment"
