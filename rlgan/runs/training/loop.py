"""Train a run from its start to its end, and say in its status how it ended."""

import random

import numpy as np
import torch

from rlgan.runs.ends import Interrupted, Stop, reason_of, recorded, tell
from rlgan.runs.ranks.agreement import here
from rlgan.runs.record.progress import Progress
from rlgan.runs.training.run import Run
from rlgan.runs.training.start import Start
from rlgan.task.errors import InputError
from rlgan.task.hooks.callback import How
from rlgan.task.settings import Settings
from rlgan.task.task import Play, Stackable, Task, drive


def progress_display(task: Task, settings: Settings) -> Progress:
    """Make the progress display of a run."""
    name = task.title or type(task).__name__.lower()
    return Progress(name, task.steps_done, settings.steps, task.headline, settings.progress)


def training(start: Start, stop: Stop, progress: Progress) -> Play[dict[str, float]]:
    """Train to `settings.steps` and return the final metrics, which are also in summary.json.

    At each multiple of an interval: training scalars, then evaluation and pictures, then the checkpoint; all of them at
    the end. A run that is already there does nothing and returns its summary. The rest of metrics.jsonl after the
    checkpoint is kept aside until the next one stands.

    Raises:
        Interrupted: SIGINT, SIGTERM, SIGUSR2 or SIGHUP came; the state is saved, status.json says interrupted.
        Diverged: status.json says failed, with the diagnosis; the last good checkpoint stands.
        InputError: status.json says failed; where the task is intact, its state has been saved before that.
    """
    task, settings, run, checkpoint = start.task, start.settings, start.run, start.checkpoint
    current: Run | None = None
    try:
        if run.follow():
            start.notes.move(run.path)
        with recorded(run):
            begun = checkpoint.manifest.step if checkpoint else 0
            run.write_status("running", begun, steps=settings.steps, saved=begun, **here().mark)
        if checkpoint is None:
            torch.manual_seed(settings.seed)
            random.seed(settings.seed)
            np.random.seed(settings.seed % 2**32)
        current = Run(start, progress)
        done = run.summary
        whole = done is not None and all(type(value) in (int, float) for value in done.values())
        if task.steps_done >= settings.steps and done is not None and whole and done.get("step") == task.steps_done:
            tell(run, "finished", task.steps_done)
            current.logger.end("finished", current.latest)
            return done
        with here().together():
            yield from current.loop(stop)
        summary = current.finish()
        current.ended("finished")
        return summary
    except Interrupted:
        if current is not None:
            current.ended("interrupted")
        raise
    except BaseException as error:
        start.saved = isinstance(error, InputError) and error.intact and current is not None and current.keep()
        # A group that ends leaves the plays of its other seeds by GeneratorExit.
        state: How = "interrupted" if isinstance(error, KeyboardInterrupt | GeneratorExit) else "failed"
        reason = reason_of(error)
        tell(run, state, task.steps_done, reason, progress.say, error=type(error).__name__)
        if current is not None:
            current.ended(state)
        raise
    finally:
        (current or task).close()


def train(start: Start, stop: Stop) -> dict[str, float]:
    """Train one run by itself; see `training`."""
    task = start.task
    stop.runs.append((start.run, task))
    answer = task.answer if isinstance(task, Stackable) else None
    return drive(training(start, stop, progress_display(task, start.settings)), answer)
