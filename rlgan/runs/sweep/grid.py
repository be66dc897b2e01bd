"""The sweeper of `-m`: every combination of the values; a second start leaves out what is finished."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rlgan.runs.answers.choices import other_plugin
from rlgan.runs.config.words import as_text
from rlgan.runs.ends import say
from rlgan.runs.record.directory import short_path
from rlgan.runs.sweep.folder import Folder, Job
from rlgan.runs.sweep.job import STOP, Work, current
from rlgan.runs.sweep.names import key_of, names
from rlgan.runs.sweep.shared import SUBDIR, Shared
from rlgan.task.errors import ConfigError

_TRIES = 2
"""Starts of a job whose process is killed, within one start of the sweep."""


def cores_over(threads: int) -> int:
    """`${cores_over:${threads}}`: how many jobs of so many threads this process has cores for, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, threads))


_OF_PROCESSES = ("JoblibLauncher", "Ray")
"""Launchers that end their workers with the command, in whatever these are."""


@contextmanager
def saved_on_signal(folder: Folder, start: str, workers: bool) -> Iterator[None]:
    """Have SIGINT and SIGTERM save the runs in worker processes, and leave the others unbegun; a second one is final.

    Args:
        folder: of the sweep.
        start: of the sweep.
        workers: there are any; without them a run sees to itself.

    Raises:
        KeyboardInterrupt, SystemExit: a signal came, and all is saved.
    """
    if not workers or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for one, handler in former.items():
            signal.signal(one, handler)
        (folder.path / STOP).touch()
        say("rlgan: what is running is saved; once more ends it at once")
        for process in folder.processes(start):
            with suppress(OSError):
                os.kill(process, signal.SIGUSR1)  # a terminal has sent them SIGINT; of this a second one is no harm

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt if came[0] == signal.SIGINT else SystemExit(128 + came[0])


class Jobs:
    """Sends jobs to a launcher, and those again that went down with another's process.

    Args:
        launcher: Hydra's.
        work: what jobs know.
        folder: of the sweep.
        at_once: jobs in a batch; None: all.
    """

    def __init__(self, launcher: Launcher, work: Work, folder: Folder, at_once: int | None) -> None:
        self.launcher, self.work, self.folder, self.at_once = launcher, work, folder, at_once
        self._number = 0

    def __call__(self, jobs: Sequence[tuple[Job, Sequence[str]]]) -> None:
        """Run jobs, each with the words that compose it.

        Raises:
            Exception: of the launcher, which could not start any.
        """
        left, tries = list(jobs), Counter[str]()
        while left:
            batch = left[: self.at_once]
            first, self._number = self._number, self._number + len(batch)
            words = [[*composed, as_text(f"{SUBDIR}={job.name}")] for job, composed in batch]
            broken: Exception | None = None
            try:
                with saved_on_signal(self.folder, self.work.start, type(self.launcher).__name__ in _OF_PROCESSES):
                    for result in self.launcher.launch(words, initial_job_idx=first):
                        _ = result.return_value  # an exception of a launcher's own
            except Exception as error:
                broken = error
            stand = {job.name: self._of_this_start(job) for job, _ in batch}
            if broken is None:
                left = left[len(batch) :]
                continue
            # A pool of workers goes down with one of them, and takes its other jobs along.
            tries.update(name for name, ended in stand.items() if ended == "killed")
            over = {name for name, ended in stand.items() if ended == "ended" or tries[name] >= _TRIES}
            if not over and not any(ended == "killed" for ended in stand.values()):
                raise broken
            left = [(job, composed) for job, composed in left if job.name not in over]
            why = f"{type(broken).__name__}: {' '.join(str(broken).split())[:160]}"
            say(f"rlgan: a worker was lost ({why}); {len(left)} jobs are left")

    def _of_this_start(self, job: Job) -> str:
        ended = self.folder.stands(job)
        if ended.start != self.work.start or ended.state == "not started":
            return "waits"
        return ended.state if ended.state in ("killed", "running") else "ended"


class Prepared(Sweeper):
    """What our sweepers have in common.

    Attributes:
        master: the configuration without what is varied.
        work: what jobs know.
        folder: of the sweep.
        loader: composes the jobs.
        engine: the launcher.
        basic: it runs one after the other, in this process.
    """

    def prepare(self, context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a sweeper.

        Raises:
            ConfigError: the launcher is not installed.
        """
        self.master, self.work = config, current()
        self.folder = Folder(Path(str(config.hydra.sweep.dir)))
        self.loader = Shared(context.config_loader)
        target = str(config.hydra.launcher._target_)
        self.basic = target.endswith(".BasicLauncher")
        if target not in Plugins.instance().class_name_to_class:
            raise ConfigError(other_plugin("hydra/launcher", config.hydra.runtime.choices["hydra/launcher"], ()))
        self.engine = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=self.loader, callbacks=context.callbacks),
            task_function=task_function,
            config=config,
        )


class Grid(Prepared):
    """Every combination of the values, in the order in which they were typed.

    Args:
        max_batch_size: jobs that a launcher is given at a time; null: all of them.
        params: further words, `key: values`; what is typed counts more.
    """

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, Any] | None = None) -> None:
        self.max_batch_size, self.params = max_batch_size, dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a sweeper.

        Raises:
            ConfigError: the launcher is not installed.
        """
        self.prepare(hydra_context, task_function, config)
        if self.max_batch_size is None and type(self.engine).__name__ == "LocalLauncher":
            self.max_batch_size = cores_over(config.threads)  # it would start all at once

    def sweep(self, arguments: list[str]) -> None:
        """Run what is not finished of all combinations.

        Raises:
            ConfigError: a word is no list of values.
            RunError: the folder holds another sweep.
        """
        given = OverridesParser.create().parse_overrides(arguments)
        typed = {key_of(str(word.input_line)) for word in given}
        more = [f"{key}={value}" for key, value in self.params.items() if key not in typed]
        words = [*OverridesParser.create().parse_overrides(more), *given]
        composed = [list(job) for job in itertools.product(*map(_values, words))]
        varied = [k for k, word in enumerate(words) if word.is_sweep_override()]
        own = [{key_of(job[k]): job[k].partition("=")[2] for k in varied} for job in composed]
        plain = [tuple(word.lstrip("+") for word in job) for job in composed]
        jobs = [Job(*named) for named in zip(names(own), plain, strict=True)]
        # What is wrong with an option is said before anything starts.
        for chosen in dict.fromkeys(tuple(word for word in job if not word.startswith("++")) for job in composed):
            self.loader.load_sweep_config(self.master, chosen)
        self.folder.write(self.work.typed, [key_of(str(words[k].input_line)) for k in varied], jobs)
        say(f"sweep: {short_path(self.folder.path)}")
        left = [(job, words) for job, words in zip(jobs, composed, strict=True) if not self.folder.stands(job).is_done]
        if len(left) < len(jobs):
            say(f"{len(jobs) - len(left)} of {len(jobs)} runs are finished already")
        Jobs(self.engine, self.work, self.folder, self.max_batch_size)(left)


def _values(word: Override) -> list[str]:
    """The words that a word stands for: `seed=1,2` for `seed=1` and `seed=2`."""
    line = str(word.input_line)
    if not word.is_sweep_override():
        return [line]
    if not word.is_discrete_sweep():
        key, _, value = line.lstrip("+").partition("=")
        raise ConfigError(
            f"{key} = {value}: has no end of values; name some, for example {key}=1,2, or search with "
            "hydra/sweeper=optuna"
        )
    return [f"{word.get_key_element()}={value}" for value in word.sweep_string_iterator()]
