"""How a run ends: by a signal, by what fails around it, and what status.json says then."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from rlgan.runs.ranks.launch import launched
from rlgan.runs.record.directory import RunDirectory, State, short_path
from rlgan.runs.terminal import printable
from rlgan.task.errors import ConfigError, InputError, RunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
_IMPATIENT = (signal.SIGINT, signal.SIGTERM)
ECHO = 2.0
"""Seconds for which a signal under torchrun is taken for the one before it."""
_stays: ContextVar[bool] = ContextVar("rlgan_stays", default=False)


@contextmanager
def staying() -> Iterator[None]:
    """Let the process live on inside the block: a second signal raises KeyboardInterrupt instead of ending it."""
    token = _stays.set(True)
    try:
        yield
    finally:
        _stays.reset(token)


class Interrupted(Exception):
    """Raised when a signal has stopped the run, after its state was saved.

    Args:
        number: the signal.
        step: steps done, all of them in the checkpoint.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"{signal.Signals(number).name} at step {step}: saved; go on with resume=")
        self.reason = f"{signal.Signals(number).name}: saved"
        self.code = 128 + number
        self.step = step


class Paused(Interrupted):
    """Raised when a callback has stopped the run for now, after its state was saved.

    Args:
        reason: the callback's.
        step: steps done, all of them in the checkpoint.
    """

    def __init__(self, reason: str, step: int) -> None:
        Exception.__init__(self, f"{reason}: saved at step {step}; go on with resume=")
        self.reason = f"{reason}: saved"
        self.code = 0
        self.step = step


class Counted(Protocol):
    """What counts what it has done: a task its steps, a comparison its variants."""

    @property
    def steps_done(self) -> int: ...


class Stop:
    """Signal handler: the first signal lets the loops finish their step and save, a second exits at once.

    Only SIGINT and SIGTERM are counted: a closed terminal sends SIGHUP twice, or after SIGTERM, and nobody means by it
    that nothing is to be saved. Nor is Ctrl-C under torchrun two signals: the terminal sends it to every process, and
    torchrun once more to each.

    Attributes:
        number: the first signal that came.
        runs: what runs, with what counts its steps; more may be appended.
    """

    def __init__(self) -> None:
        self.runs: list[tuple[RunDirectory, Counted]] = []
        self.number: int | None = None
        self._impatient = 0
        self._began = -math.inf
        self._echoes = launched() is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number in _IMPATIENT and not (self._echoes and now - self._began < ECHO):
            self._impatient += 1
            self._began = now
        if self.number is not None and self._impatient > 1:
            reason = f"second {signal.Signals(number).name}: left without saving"
            for run, task in self.runs:
                with suppress(Exception):  # whatever the interrupted code was in the middle of
                    run.write_status("interrupted", task.steps_done, reason)
            if _stays.get():
                raise KeyboardInterrupt(reason)
            os._exit(128 + number)
        if self.number is None:
            self.number = number

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals inside the block (in the main thread; elsewhere they cannot be handled).

        SIGHUP stays ignored where it is, as `nohup` has it. A signal that somebody else handles, as submitit does to
        start the job again, is handed on to them after the block, when all is saved.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = [n for n in _SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
        former = {number: signal.signal(number, self) for number in wanted}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
        for number, handler in former.items():
            if number == self.number and callable(handler) and handler is not signal.default_int_handler:
                signal.raise_signal(number)


def say(message: str) -> None:
    """Print a line on standard error."""
    print(printable(message), file=sys.stderr, flush=True)


def tell(
    run: RunDirectory, state: State, step: int, reason: str = "", show: Callable[[str], None] = say, **more: Any
) -> None:
    """Write status.json; where that fails it is said."""
    try:
        run.follow()
        run.write_status(state, step, " ".join(reason.split()), **more)
    except (OSError, RunError) as error:
        why = getattr(error, "strerror", None) or error
        show(f"{short_path(run.path)}/status.json: cannot be written ({why}); it should say {state}")


@contextmanager
def started(run: RunDirectory) -> Iterator[None]:
    """Write into the status of a new run why it could not start; one that has a status stays as it was."""
    try:
        yield
    except BaseException as error:
        if not any((run.path / name).exists() for name in ("status.json", "overrides.jsonl")):
            tell(run, "failed", 0, str(error) or type(error).__name__, error=type(error).__name__)
        raise


@contextmanager
def recorded(run: RunDirectory) -> Iterator[None]:
    """Say in one line what of a run's record could not be written inside the block.

    Raises:
        RunError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        where = short_path(run.path) if error.filename is None else error.filename
        raise RunError(
            f"{where}: cannot be written ({error.strerror or error}); make room or make it writable, and go on with "
            f"resume={short_path(run.path)}"
        ) from error


@contextmanager
def of_config(path: Path, changes: Mapping[str, Any]) -> Iterator[None]:
    """Name a run's config.yaml beside a fault of a key that this command did not give: it may be half a file."""
    try:
        yield
    except ConfigError as error:
        key = re.split(r"[.: ]", str(error))[0]
        if any(re.split("[.]", given)[0] == key for given in changes):
            raise
        raise ConfigError(f"{error} ({short_path(path)}/config.yaml says so)") from error


def explained(error: BaseException) -> str | None:
    """What is wrong, in one line, where it is of the machine, a file or somebody else's code; None for our own bug."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return f"out of memory ({text[:160]}); make batch_size, capacity or the networks smaller"
    if isinstance(error, OSError):
        if error.filename is None:
            return f"{error.strerror or text or type(error).__name__}"
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}) was called in the run; leave it out of your code"
    from rlgan.optim.contract.calls import raised_in
    from rlgan.runs.config.trust import Trust

    return raised_in(error, Trust.granted().packages or ()) or None


def reason_of(error: BaseException) -> str:
    """Why a run ended, in one line: an error of ours speaks for itself, another one has its kind before it."""
    text = " ".join(str(error).split())
    if isinstance(error, ConfigError | RunError | InputError | FloatingPointError | Interrupted | KeyboardInterrupt):
        return text or type(error).__name__
    return explained(error) or (f"{type(error).__name__}: {text}" if text else type(error).__name__)
