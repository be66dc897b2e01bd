"""The ranks beside the first: they train with it, keep their part of every checkpoint, and write nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlgan.runs.config.build import RunSpec
from rlgan.runs.ends import Interrupted, Stop, say
from rlgan.runs.prepare import Outcome
from rlgan.runs.ranks.agreement import PATIENCE_OF_STOPPED, Ranks
from rlgan.runs.ranks.parts import part, parts_of
from rlgan.runs.record.checkpoint import Checkpoint
from rlgan.runs.training.exactness import global_random_state, set_global_random_state
from rlgan.runs.training.seeds import run_seeds
from rlgan.task.errors import Diverged, InputError, RunError
from rlgan.task.seeding import derive_seed
from rlgan.task.settings import crossed
from rlgan.task.task import Task


def follow(ranks: Ranks, spec: RunSpec, task: Task) -> Outcome:
    """Train with rank 0 what it trains, from where it says.

    Args:
        ranks: all of them.
        spec: of the run.
        task: built from it.

    Raises:
        RunError, InputError: what is wrong at this rank, which it is named by.
    """
    stop = Stop()
    with stop.installed():
        try:
            with ranks.together():
                path = Path(ranks.every("")[0])
                if ranks.joint:
                    outcome = Follower(ranks, spec, task, path).train(stop)
                else:
                    outcome = run_seeds(None, spec.with_values(progress=False), stop, task, path)
        except Diverged as error:
            if not isinstance(error.__cause__, FloatingPointError):  # of this rank's own environments
                raise InputError(f"rank {ranks.rank}: {error}") from error
            outcome = Outcome(1, "failed", message=str(error))
        except InputError as error:
            raise InputError(f"rank {ranks.rank}: {error}") from error
        except RunError as error:
            code = ranks.end(1, patience=5.0)  # who has failed says so, and then its exit code
            if code is None and ranks.rank == 1:
                say(f"rlgan: rank {ranks.rank}: {error}")
            return Outcome(code or 1, "failed", message=str(error))
    patience = 600.0 if ranks.joint or stop.number is None else 4 * PATIENCE_OF_STOPPED
    return replace(outcome, code=ranks.end(outcome.code, patience) or outcome.code)


class Follower:
    """A run under way at another rank than the first; its calls of `ranks` are those of `Run`, in the same order.

    Args:
        ranks: all of them.
        spec: of the run.
        task: built from it.
        path: of the run.
    """

    def __init__(self, ranks: Ranks, spec: RunSpec, task: Task, path: Path) -> None:
        self.ranks, self.settings = ranks, spec.settings
        self.parts = parts_of(path, ranks.rank, self.settings.keep_last, task.best)
        checkpoint = part(self.parts, ranks)
        decided = ranks.told(None)
        if decided is not None and task.compiled != decided:
            task.close()
            task = spec.with_values(compile=decided).task()
        self.task = task
        with ranks.all():
            self._begin(checkpoint)
        self._saved_at = -1 if checkpoint is None else checkpoint.manifest.step

    def _begin(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            own = derive_seed(self.settings.seed, f"rank={self.ranks.rank}")
            torch.manual_seed(own)
            random.seed(own)
            np.random.seed(own % 2**32)
            self.parts.discard_after(-1)
        else:
            checkpoint.restore(self.task)
            set_global_random_state(checkpoint.state["global_random"])
            self.parts.discard_after(checkpoint.manifest.step)

    def train(self, stop: Stop) -> Outcome:
        """Train until rank 0 ends."""
        task, settings = self.task, self.settings
        try:
            step = task.steps_done
            while step < settings.steps:
                number, ending = self.ranks.stop(stop.number, None)
                if number is not None or ending is not None:
                    if self._saved_at != step:
                        self.save()
                    return Outcome(0 if number is None else Interrupted(number, step).code, "interrupted")
                former = step
                task.advance()
                step = task.steps_done
                task.ended_episodes()
                end = step >= settings.steps
                save = end or crossed(settings.checkpoint_every, former, step)
                if end or crossed(settings.eval_every, former, step):
                    save = self.ranks.told(save)  # when rank 0 has measured
                if save:
                    self.save()
            return Outcome(0, "finished")
        finally:
            task.close()

    def save(self) -> None:
        """Write this rank's part of a checkpoint."""
        step = self.task.steps_done
        evaluation: Mapping[str, float] = self.ranks.told({})
        state: dict[str, Any] = {"task": self.task.state_dict(), "global_random": global_random_state()}
        with self.ranks.all():
            self.parts.save(step, state, evaluation, {"ranks": self.ranks.size})
        self._saved_at = step
