"""A search by Optuna: trials are asked for, run by a launcher, and told to a journal, which the next start reads."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rlgan.runs.answers.choices import other_plugin
from rlgan.runs.config.overrides import forced
from rlgan.runs.config.trust import EVERYONE
from rlgan.runs.ends import say
from rlgan.runs.options import options
from rlgan.runs.record.directory import short_path
from rlgan.runs.record.files import read_json, write_json
from rlgan.runs.study.reading import tags_of
from rlgan.runs.sweep.folder import Ended, Job, mark
from rlgan.runs.sweep.grid import Jobs, Prepared, cores_over
from rlgan.runs.sweep.names import key_of, names
from rlgan.task.errors import ConfigError
from rlgan.task.hooks.pruning import JOURNAL, NAME, PRUNED, study_of
from rlgan.task.suggest import nearest

if TYPE_CHECKING:
    import optuna

_PRUNING = "rlgan.task.Pruning"


class Search(Prepared):
    """Tries values that promise to be better, by Optuna's samplers.

    The words are those of Hydra's own sweeper for Optuna, which does not work with this Optuna:
    `lr=interval(1e-4,1e-2)`, `lr=tag(log,interval(1e-4,1e-2))`, `k=int(interval(1,5))`, `k=range(1,10)`, which ends
    with 9, `k=choice(1,2)` or `k=1,2`.

    Args:
        n_trials: in all, those of earlier starts too.
        n_jobs: trials at a time; None: 1, and of a launcher that runs several at a time as many as there are cores.
        metric: a tag of the final evaluation, of several seeds its interquartile mean; None is the one that the task
            ranks its checkpoints by.
        direction: minimize, maximize, or `auto`: as the task says of the metric.
        seed: of the sampler.
        sampler: an object of optuna.samplers; None is TPE, the tree-structured Parzen estimator (Bergstra et al. 2011).
        pruner: arguments of `Pruning`; None ends no trial before its time.
        params: the space, key: values; what is typed counts more.

    Raises:
        ConfigError: Optuna is not installed, or an impossible value.
    """

    def __init__(
        self,
        n_trials: int = 20,
        n_jobs: int | None = None,
        metric: str | None = None,
        direction: str = "auto",
        seed: int = 0,
        sampler: Any = None,
        pruner: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            import optuna
        except ImportError:
            raise ConfigError(other_plugin("hydra/sweeper", "optuna", ())) from None
        if direction not in ("auto", "minimize", "maximize"):
            raise ConfigError(f"hydra.sweeper.direction = {direction}: must be auto, minimize or maximize")
        for name, count in {"n_trials": n_trials, "n_jobs": 1 if n_jobs is None else n_jobs}.items():
            if not isinstance(count, int) or count < 1:
                raise ConfigError(f"hydra.sweeper.{name} = {count}: must be a whole number of at least 1")
        self._optuna, self.n_trials, self.n_jobs, self.direction = optuna, n_trials, n_jobs, direction
        self.metric, self.seed, self.sampler = metric, seed, sampler
        self.pruner = None if pruner is None else {"metric": metric, **pruner}
        self.params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a sweeper.

        Raises:
            ConfigError: the launcher is not installed.
        """
        self.prepare(hydra_context, task_function, config)
        if self.n_jobs is None:
            self.n_jobs = 1 if self.basic else cores_over(config.threads)

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are `n_trials`; the best one is printed, and written into best.json.

        Raises:
            ConfigError: a word is no space, or there is none.
        """
        given = OverridesParser.create().parse_overrides(arguments)
        typed, groups = {key_of(str(word.input_line)) for word in given}, options()
        more = [forced(f"{key}={value}", groups) for key, value in self.params.items() if key not in typed]
        words = [*OverridesParser.create().parse_overrides(more), *given]
        several = [word for word in words if word.is_sweep_override()]
        self._space = {key_of(str(word.input_line)): self._distribution(word) for word in several}
        self._written = {key_of(str(word.input_line)): word.get_key_element() for word in several}
        if not self._space:
            raise ConfigError(
                "hydra/sweeper = optuna: nothing is searched; name a space, for example lr=interval(1e-4,1e-2)"
            )
        self._fixed = [str(word.input_line) for word in words if not word.is_sweep_override()]
        if self.pruner is not None:
            listed = ",".join(f"{key}:{value}" for key, value in {"_target_": _PRUNING, **self.pruner}.items() if value)
            self._fixed.append(f"++callbacks.pruning={{{listed}}}")
        composed = self.loader.load_sweep_config(self.master, self._fixed)
        self._study = study_of(self.folder.path / JOURNAL, self.sampler, None, self._direction(composed))
        states = self._optuna.trial.TrialState
        begun = self._study.get_trials(states=[states.RUNNING])
        if self.sampler is None:
            # Another start is to draw other values than the first.
            seed = self.seed + len(self._study.trials)
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=(self.n_jobs or 1) > 1)
        say(f"sweep: {short_path(self.folder.path)}")
        if done := len(self._study.trials) - len(begun):
            say(f"{done} of {self.n_trials} trials are there already")
        waiting = [trial.number for trial in begun if self._named(trial.number) or self._lose(trial.number)]
        run = Jobs(self.engine, self.work, self.folder, None)
        while batch := self._next(waiting):
            jobs = [(job, [*self._fixed, *self._words(number)]) for number, job in batch.items()]
            self._write()
            run([(job, composed) for job, composed in jobs if self.folder.stands(job).state != "finished"])
            for number, job in batch.items():
                self._tell(number, self.folder.stands(job))
        self._best()

    def _next(self, waiting: list[int]) -> dict[int, Job]:
        """The next trials with their jobs: those that an earlier start has begun come first."""
        found: dict[int, Job] = {}
        while len(found) < (self.n_jobs or 1):
            if waiting:
                number = waiting.pop(0)
            elif len(self._study.trials) < self.n_trials:
                trial = self._study.ask(self._space)
                shown = {key: f"{v:.4g}" if isinstance(v, float) else str(v) for key, v in trial.params.items()}
                trial.set_user_attr(NAME, f"{trial.number:03d}_{names([shown])[0]}")
                number = trial.number
            else:
                break
            found[number] = self._job(number)
        return found

    def _words(self, number: int) -> list[str]:
        params = self._study.trials[number].params
        texts = {key: repr(value) if isinstance(value, float) else str(value) for key, value in params.items()}
        return [f"{self._written.get(key, f'++{key}')}={text}" for key, text in texts.items()]

    def _job(self, number: int) -> Job:
        words = [word.lstrip("+") for word in (*self._fixed, *self._words(number))]
        return Job(str(self._named(number)), tuple(words))

    def _named(self, number: int) -> str | None:
        name = self._study.trials[number].user_attrs.get(NAME)
        return None if name is None else str(name)

    def _lose(self, number: int) -> bool:
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)
        return False

    def _write(self) -> None:
        jobs = [self._job(trial.number) for trial in self._study.trials if self._named(trial.number)]
        self.folder.write(self.work.typed, list(self._space), jobs)

    def _tell(self, number: int, ended: Ended) -> None:
        """Tell the journal what came of a trial; one that did not come to an end stays open for the next start."""
        states = self._optuna.trial.TrialState
        value = self._value(ended)
        if ended.state == "finished" and value is None and self.metric is not None:
            self._check_metric(self.metric, ended.path)
        if ended.state == "finished" and value is not None and math.isfinite(value):
            self._study.tell(number, value)
        elif PRUNED in self._study.trials[number].user_attrs and ended.state == "interrupted" and not ended.code:
            self._study.tell(number, state=states.PRUNED)
            mark(ended.path, "pruned")
        elif ended.state not in ("interrupted", "running", "not started"):
            self._study.tell(number, state=states.FAIL)

    def _value(self, ended: Ended) -> float | None:
        """The figure of a trial."""
        if self.metric is None:
            return None if ended.score is None else ended.score[2]
        try:
            found = read_json(ended.path / "summary.json")
            value = found["metrics"][self.metric]["iqm"] if "seeds" in found else found[self.metric]
            return float(value)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _check_metric(self, metric: str, run: Path) -> None:
        """Look whether a run knows the metric that it has no figure of: it may have been infinite.

        Raises:
            ConfigError: it does not; all other trials would be in vain.
        """
        known: set[str] = set()
        for place in (run, *run.glob("seed=*")):
            known |= tags_of(place)
            with suppress(OSError, ValueError):
                known |= set(read_json(place / "task.json").get("explained", ()))
        if metric not in known:
            hint = nearest(metric, known, "it has")
            raise ConfigError(f"hydra.sweeper.metric = {metric}: {short_path(run)} did not measure it; {hint}")

    def _distribution(self, word: Override) -> optuna.distributions.BaseDistribution:
        value, key = word.value(), key_of(str(word.input_line))
        of = self._optuna.distributions
        try:
            if isinstance(value, IntervalSweep):
                whole = isinstance(value.start, int) and isinstance(value.end, int)
                kind = of.IntDistribution if whole else of.FloatDistribution
                return kind(value.start, value.end, log="log" in value.tags)
            if isinstance(value, RangeSweep) and not value.shuffle:
                found = list(value.range())
                kind = of.IntDistribution if all(isinstance(one, int) for one in found) else of.FloatDistribution
                return kind(found[0], found[-1], step=value.step)
            assert isinstance(value, ChoiceSweep | RangeSweep)
            return of.CategoricalDistribution(list(word.sweep_string_iterator()))
        except (ValueError, TypeError, IndexError) as error:
            raise ConfigError(f"{key} = {str(word.input_line).partition('=')[2]}: is no space ({error})") from error

    def _direction(self, composed: DictConfig) -> Literal["minimize", "maximize"]:
        if self.direction != "auto":
            return "minimize" if self.direction == "minimize" else "maximize"
        kind = EVERYONE.locate(composed.task._target_, "task")
        tag, way = getattr(kind, "best", ("", ""))
        if self.metric not in (None, tag):
            tag, way = self.metric, dict(getattr(kind, "better", {})).get(self.metric, "")
        if way not in ("min", "max"):
            raise ConfigError(
                f"hydra.sweeper.direction = auto: {kind.__name__} does not say of {tag or 'a metric'} what is better; "
                "use minimize or maximize"
            )
        return "maximize" if way == "max" else "minimize"

    def _best(self) -> None:
        """Print the best trial and write best.json."""
        done = self._study.get_trials(states=[self._optuna.trial.TrialState.COMPLETE])
        if not done:
            return
        trial = self._study.best_trial
        job = self._job(trial.number)
        command = shlex.join(["rlgan", *(word for word in job.words if not word.startswith("callbacks.pruning="))])
        score = self.folder.stands(job).score
        tag = self.metric or (score[0] if score else "value")
        found = {"trial": trial.number, "run": job.name, tag: trial.value, "params": trial.params, "command": command}
        write_json(self.folder.path / "best.json", found)
        say(f"best of {len(done)}: trial {trial.number}, {tag} = {trial.value:.6g}\n  {command}")
