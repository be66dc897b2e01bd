"""The training loop: step, log, evaluate, save; stop on a signal; never save what is not finite."""

import math
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from rlgan.runs.exactness import exactness, global_random_state, set_global_random_state
from rlgan.runs.notes import Notes
from rlgan.runs.record.checkpoint import Checkpoint, Checkpoints
from rlgan.runs.record.directory import RunDirectory
from rlgan.runs.record.logger import Logger
from rlgan.runs.record.progress import Progress
from rlgan.task.errors import Diverged, InputError, RunError
from rlgan.task.settings import Settings, crossed
from rlgan.task.task import Play, Request, Stackable, Task, drive

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class Interrupted(Exception):
    """Raised when a signal has stopped the run, after its state was saved.

    Args:
        number: the signal.
        step: steps done, all of them in the checkpoint.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"{signal.Signals(number).name} at step {step}: saved; go on with resume=")
        self.number = number
        self.step = step


class Clock:
    """Seconds of training: evaluations, pictures and saves stop it, of any run that shares it."""

    def __init__(self) -> None:
        self._idle, self._pauses, self._since = 0.0, 0, 0.0

    def __call__(self) -> float:
        """Seconds, from anywhere."""
        return (self._since if self._pauses else time.monotonic()) - self._idle

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop inside the block; several blocks may overlap."""
        self._pauses += 1
        if self._pauses == 1:
            self._since = time.monotonic()
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._idle += time.monotonic() - self._since


@dataclass
class Start:
    """Everything that one start of a run needs: a new run has one, and every resume is one more.

    Args:
        task: built from `config`, and restored where there is a checkpoint.
        settings: the settings it was built with.
        run: the locked directory.
        config: the resolved configuration, for TensorBoard.
        checkpoint: what to go on from.
        stacked: the number of runs that are moved as one.
        draws: draw pictures at every evaluation, and not at the end alone (a picture costs up to a second).
        clock: of the training time; runs that take turns share one.

    Attributes:
        notes: of the run.
        inputs: what the task read from outside, by name.
        saved: an input broke its contract, and what was done before has been saved.
    """

    task: Task
    settings: Settings
    run: RunDirectory
    config: Mapping[str, Any]
    checkpoint: Checkpoint | None = None
    stacked: int = 1
    draws: bool = True
    clock: Clock = field(default_factory=Clock)
    notes: Notes = field(init=False)
    inputs: dict[str, str] = field(init=False)
    saved: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.notes, self.inputs = Notes(self.run.path), dict(self.task.inputs())


class Stop:
    """Signal handler: the first signal lets the loops finish their step and save, the second exits at once.

    Args:
        starts: whatever runs; more may be appended.
    """

    def __init__(self, starts: list[Start]) -> None:
        self._starts = starts
        self.number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            reason = f"second {signal.Signals(number).name}: left without saving"
            for start in self._starts:
                start.run.write_status("interrupted", start.task.steps_done, reason)
            os._exit(128 + number)
        self.number = number

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals inside the block (in the main thread; elsewhere they cannot be handled)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, self) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


class Run:
    """A run under way: its task with logger, checkpoints and clock.

    Args:
        start: what runs.
        progress: where it is shown how far it is.
    """

    def __init__(self, start: Start, progress: Progress) -> None:
        self.task, self.settings, self.run = start.task, start.settings, start.run
        self._start, self.progress = start, progress
        checkpoint, path, tensorboard = start.checkpoint, start.run.path, start.settings.tensorboard
        self.checkpoints = Checkpoints(self.run.checkpoints, self.settings.keep_last, self.task.best, progress.say)
        self.latest: dict[str, float] = {}
        self._saved_at = -1
        self._earlier_seconds = 0.0
        if checkpoint is None:
            self.logger = Logger(path, tensorboard, -1 if (path / "metrics.jsonl").exists() else None)
            self.logger.text("config", OmegaConf.to_yaml(OmegaConf.create(dict(start.config))))
        else:
            set_global_random_state(checkpoint.state["global_random"])
            self.latest = dict(checkpoint.state["latest"])
            self._saved_at, meta = checkpoint.manifest.step, checkpoint.manifest.meta
            self._earlier_seconds = float(meta["wall_seconds"])
            self.checkpoints.discard_after(self._saved_at)
            self.logger = Logger(path, tensorboard, self._saved_at, int(meta["metrics_bytes"]))
        self._clock = start.clock
        self._began, self._log_began = time.monotonic(), self._clock()
        self._steps_at_log = self.task.steps_done
        self.say_notes(silent=not progress.takes_notes)

    @property
    def seconds(self) -> float:
        """Wall time of all starts together, in seconds."""
        return self._earlier_seconds + time.monotonic() - self._began

    def log(self) -> None:
        """Log the training scalars of this step."""
        step = self.task.steps_done
        values = self._finite(self.task.metrics())
        elapsed = self._clock() - self._log_began
        rate = (step - self._steps_at_log) / elapsed if elapsed > 0 else 0.0
        self._write(step, {**values, "time/steps_per_second": rate, "time/seconds": self.seconds})
        self.say_notes()
        self._log_began, self._steps_at_log = self._clock(), step

    def say_notes(self, silent: bool = False) -> None:
        """Say what the task has found out that was not said before; `silent` only writes it down."""
        for note in self.task.notes():
            self._start.notes(note, self.task.steps_done, self.progress.say, silent)

    def evaluate(self, draw: bool) -> Play[dict[str, float]]:
        """Evaluate and log, with pictures if wanted; the time does not count in the training rate."""
        with self._clock.paused():
            began = time.monotonic()
            step = self.task.steps_done
            stackable = isinstance(self.task, Stackable)
            values = self._finite((yield Request("evaluate")) if stackable else self.task.evaluate())
            self._write(step, {**values, "time/evaluation_seconds": time.monotonic() - began})
            if draw:
                self.logger.pictures(step, self.task.pictures())
            self.say_notes()
        return values

    def save(self, evaluation: Mapping[str, float]) -> None:
        """Save a checkpoint of this step; `evaluation` is this step's, if there was one."""
        with self._clock.paused():
            step = self.task.steps_done
            meta = {
                "metrics_bytes": self.logger.flush(),
                "wall_seconds": self.seconds,
                "inputs": self._start.inputs,
                **exactness(self.settings, self.task, self._start.stacked),
            }
            self._start.notes.flush()
            state = {"task": self.task.state_dict(), "global_random": global_random_state(), "latest": self.latest}
            self.checkpoints.save(step, state, evaluation, meta)
            self._saved_at = step
            self.run.write_status("running", step)

    def keep(self) -> bool:
        """Save what was done before an input failed; tells whether that went well."""
        try:
            if self._saved_at != self.task.steps_done:
                self.save({})
        except (OSError, RunError) as error:
            self.progress.say(str(error))
            return False
        return True

    def finish(self) -> dict[str, float]:
        """Write summary.json and TensorBoard's HPARAMS page; returns the summary."""
        step = self.task.steps_done
        summary = {"step": step, **self.latest, "time/seconds": self.seconds}
        # What checkpoints are ranked by comes first, then the rest of the evaluation: the page shows few columns.
        best = self.task.best[0]
        tags = sorted((tag for tag in self.latest if not tag.startswith("time/")), key=lambda tag: tag != best)
        self.logger.hparams(self._start.config, {tag: self.latest[tag] for tag in tags})
        self.run.write_summary(summary)
        self.run.write_status("finished", step)
        return summary

    def loop(self, stop: Stop) -> Play[None]:
        """Train until `settings.steps` are done.

        Raises:
            Interrupted: a signal came; the state is saved.
            Diverged: something is not finite; the last good checkpoint stands.
        """
        task, settings = self.task, self.settings
        eval_every, save_every = settings.eval_every, settings.checkpoint_every
        step = task.steps_done
        while step < settings.steps:
            former = step
            if isinstance(task, Stackable):
                yield from task.play()
            else:
                task.advance()
            step = task.steps_done
            if step <= former:
                raise RuntimeError(f"{type(task).__name__} made no step at {step}")
            self.progress.update(step)
            end = step >= settings.steps
            if settings.logs(former, step):
                self.log()
            evaluation: dict[str, float] = {}
            if end or crossed(eval_every, former, step):
                evaluation = yield from self.evaluate(end or self._start.draws)
            better = bool(save_every and evaluation) and self.checkpoints.would_be_best(evaluation)
            if end or better or crossed(save_every, former, step):
                self.save(evaluation)
            if stop.number is not None and not end:
                if self._saved_at != step:
                    self.save(evaluation)
                self.run.write_status("interrupted", step, f"{signal.Signals(stop.number).name}: saved")
                raise Interrupted(stop.number, step)

    def close(self) -> None:
        """Close files, bar and task."""
        self.progress.close()
        self.logger.close()
        self.task.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        self.latest |= {tag: value for tag, value in values.items() if not tag.startswith("time/")}
        self.logger.scalars(step, values)
        self.progress.metrics(values)

    def _finite(self, values: Mapping[str, float]) -> dict[str, float]:
        plain = {tag: float(value) for tag, value in values.items()}
        for tag, value in plain.items():
            if not math.isfinite(value):
                raise Diverged(f"{tag} = {value} at step {self.task.steps_done}: try a smaller learning rate")
        return plain


def progress_display(task: Task, settings: Settings) -> Progress:
    """Make the progress display of a run."""
    name = task.title or type(task).__name__.lower()
    return Progress(name, task.steps_done, settings.steps, task.headline, settings.progress)


def training(start: Start, stop: Stop, progress: Progress) -> Play[dict[str, float]]:
    """Train to `settings.steps` and return the final metrics, which are also in summary.json.

    At each multiple of an interval: training scalars, then evaluation and pictures, then the checkpoint; all of them at
    the end. A run that is already there does nothing and returns its summary. The rest of metrics.jsonl after the
    checkpoint is cut off.

    Raises:
        Interrupted: SIGINT, SIGTERM or SIGUSR2 came; the state is saved, status.json says interrupted.
        Diverged: status.json says failed, with the diagnosis; the last good checkpoint stands.
        InputError: status.json says failed; where the task is intact, its state has been saved before that.
    """
    task, settings, run, checkpoint = start.task, start.settings, start.run, start.checkpoint
    run.write_status("running", checkpoint.manifest.step if checkpoint else 0, steps=settings.steps)
    if checkpoint is None:
        torch.manual_seed(settings.seed)
        random.seed(settings.seed)
        np.random.seed(settings.seed % 2**32)
    current: Run | None = None
    try:
        current = Run(start, progress)
        done = run.summary
        if task.steps_done >= settings.steps and done is not None and done["step"] == task.steps_done:
            run.write_status("finished", task.steps_done)
            return done
        yield from current.loop(stop)
        return current.finish()
    except Interrupted:
        raise
    except InputError as error:
        start.saved = error.intact and current is not None and current.keep()
        run.write_status("failed", task.steps_done, str(error), error=type(error).__name__)
        raise
    except BaseException as error:
        reason = str(error) or type(error).__name__
        run.write_status("failed", task.steps_done, reason, error=type(error).__name__)
        raise
    finally:
        (current or task).close()


def train(start: Start) -> dict[str, float]:
    """Train one run by itself; see `training`."""
    task, stop = start.task, Stop([start])
    answer = task.answer if isinstance(task, Stackable) else None
    with stop.installed():
        return drive(training(start, stop, progress_display(task, start.settings)), answer)
