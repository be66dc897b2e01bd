"""Ends the trials of a search that promise nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from rlgan.task.hooks.callback import Callback

if TYPE_CHECKING:
    import optuna

JOURNAL, STUDY = "journal.log", "search"
NAME, PRUNED = "name", "pruned"
"""What a trial of the journal is told: its job's name, and that it was ended."""


def study_of(
    journal: Path,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
    direction: Literal["minimize", "maximize"] | None = None,
) -> optuna.Study:
    """The search that a journal holds; with a `direction` it is made where it is not there.

    Then half a line at the journal's end, as a full disk leaves it, is cut off: Optuna could not read on after it.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    if direction is None:
        return optuna.load_study(study_name=STUDY, storage=storage, sampler=sampler, pruner=pruner)
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        with journal.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
    finally:
        lock.release()
    return optuna.create_study(
        storage=storage, study_name=STUDY, sampler=sampler, pruner=pruner, load_if_exists=True, direction=direction
    )


class Pruning(Callback):
    """Ends a trial of `hydra/sweeper=optuna` that is worse than most others were after as many steps.

    After every evaluation the metric is written into the search's journal, of several
    seeds their interquartile mean. A run that is ended is saved, and `resume=` goes on with it. Outside of a search
    nothing is done.

    Args:
        keep: the share of trials that go on, in (0, 1): at 0.5 those better than the median.
        first_trials: so many trials are not ended, nor is any before so many have finished.
        first_steps: no trial is ended before this step.
        metric: a tag of the evaluation; None is the one that the task ranks its checkpoints by.

    Raises:
        ValueError: a share that keeps none or all.
    """

    _ended: ClassVar[dict[Path, str]] = {}
    _seen: ClassVar[dict[tuple[Path, int], list[float]]] = {}

    def __init__(
        self, keep: float = 0.5, first_trials: int = 5, first_steps: int = 0, metric: str | None = None
    ) -> None:
        if not 0 < keep < 1:
            raise ValueError(f"keep = {keep}: must be between 0 and 1, for example keep=0.5")
        self.keep, self.first_trials, self.first_steps, self.metric = keep, first_trials, first_steps, metric
        self._trial: optuna.Trial | None = None
        self._run = Path()

    def on_start(self, step: int) -> None:
        several = self.task.settings.seeds is not None
        self._run = self.path.parent if several else self.path
        self._trial = None
        self._ended.pop(self._run, None)
        journal = self._run.parent / JOURNAL
        if not journal.exists():
            return
        import optuna

        pruner = optuna.pruners.PercentilePruner(100 * self.keep, self.first_trials, self.first_steps)
        study = study_of(journal, pruner=pruner)
        for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
            if trial.user_attrs.get(NAME) == self._run.name:
                self._trial = optuna.trial.Trial(study, trial._trial_id)

    def on_evaluation(self, step: int, values: Mapping[str, float]) -> None:
        value = values.get(self.metric or self.task.best[0])
        if self._trial is None or value is None or step >= self.task.settings.steps:
            return
        seen = self._seen.setdefault((self._run, step), [])
        seen.append(value)
        if len(seen) < len(self.task.settings.every_seed):
            return
        import numpy as np

        from rlgan.task.statistics import interquartile_mean

        self._trial.report(float(interquartile_mean(np.array(self._seen.pop((self._run, step))))), step)
        if self._trial.should_prune():
            self._trial.set_user_attr(PRUNED, step)
            self._ended[self._run] = f"after {step} steps it is not among the best {self.keep:.0%} of the trials"
            self.on_step(step)

    def on_step(self, step: int) -> None:
        if self._run in self._ended:  # by the last of the seeds
            self.stop(self._ended[self._run], finished=False)
