"""One job of a sweep, in whatever process a launcher runs it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rlgan.runs.ends import say
from rlgan.runs.record.directory import short_path
from rlgan.runs.sweep.folder import begin, end, holder
from rlgan.runs.sweep.names import key_of, names

if TYPE_CHECKING:
    from rlgan.runs.prepare import Outcome

_current: list[Work] = []

STOP = "stop"
"""A file in the sweep's folder that tells jobs which have not begun not to."""


@dataclass(frozen=True)
class Work:
    """What every job of a sweep knows; sent to the workers with the jobs.

    Args:
        start: this start of the sweep, a word of its own.
        typed: what was typed.
        fixed: the keys that every job has the same value of.
        environment: what the command tells its jobs by variables.
        parent: host and process of the command.
        folder: where the command was given.
    """

    start: str
    typed: tuple[str, ...]
    fixed: tuple[str, ...]
    environment: Mapping[str, str]
    parent: tuple[str, int]
    folder: str

    def __call__(self, config: DictConfig) -> float:
        """Run the job in its own directory below the sweep's folder.

        Returns:
            The figure by which the task's checkpoints are ranked, in the final evaluation, for Hydra's sweepers; NaN
            if the run did not finish or has none.
        """
        if os.getpid() != self.parent[1]:
            _wait_for_a_run()
            # Before numpy and torch are loaded: the libraries below them would take all cores for every job.
            os.environ.setdefault("OMP_NUM_THREADS", str(config.get("threads", 1)))
        from rlgan.runs.session import composed, ended, launch, words_of_job  # torch, which the command may do without

        hydra = HydraConfig.get()
        place, name, number = Path(str(hydra.sweep.dir)), str(hydra.sweep.subdir), int(hydra.job.num)

        def start() -> Outcome:
            settled, command = composed(config)
            share_device(number, str(settled.get("device")))
            return launch({**settled, "run_dir": str(path)}, command)

        with self._standing_here():
            words = words_of_job()
            if name == ".":  # of a sweeper that knows nothing of our names
                own = {key_of(word): word.partition("=")[2] for word in words if key_of(word) not in self.fixed}
                name = names([own])[0]
            path = place / name
            if (place / STOP).exists():
                return math.nan
            _wait(path)
            begin(path, words, self.start)
            outcome = ended(start)
            end(path, words, self.start, outcome)
        if outcome.code == 128 + signal.SIGTERM:
            requeue()
        return self._left(outcome)

    def _left(self, outcome: Outcome) -> float:
        if outcome.code > 128 and self.parent == (os.uname().nodename, os.getpid()):
            # In the command's own process nothing may follow.
            if outcome.code == 128 + signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(outcome.code)
        return math.nan if outcome.score is None else outcome.score.value

    @contextmanager
    def _standing_here(self) -> Iterator[None]:
        """Stand where the command was given, with what it was told."""
        os.chdir(self.folder)
        if self.folder not in sys.path:
            sys.path.append(self.folder)
        former = {key: os.environ.get(key) for key in self.environment}
        os.environ |= self.environment
        try:
            yield
        finally:
            for key, value in former.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value


@contextmanager
def working(work: Work) -> Iterator[None]:
    """Let the sweeper that Hydra makes inside the block find what its jobs know."""
    _current.append(work)
    try:
        yield
    finally:
        _current.pop()


def current() -> Work:
    """What the jobs of the sweep under way know."""
    return _current[-1]


def _wait_for_a_run() -> None:
    """Let a worker outlive the signals by which its command saves the runs: these are for a run, which handles them."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGUSR1):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, signal.SIG_IGN)


def _wait(path: Path) -> None:
    """Wait for the process that runs this job already, as a worker may that outlives its killed command."""
    if there := holder(path):
        say(f"note: {short_path(path)}: process {there} is running there; this job waits for it")
    while holder(path):
        time.sleep(1)


def requeue() -> None:
    """Have submitit start a preempted job of SLURM again: SLURM preempts by SIGTERM, which submitit passes over.

    A job that was cancelled gets SIGTERM as well; SLURM does not call it running then.
    """
    name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
    number = getattr(signal, f"SIG{name}", None)
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm" or number is None or not callable(signal.getsignal(number)):
        return
    asked = ["scontrol", "show", "job", os.environ.get("SLURM_JOB_ID", "")]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return
    if "JobState=RUNNING" in said:
        signal.raise_signal(number)


def share_device(number: int, device: str) -> None:
    """Let `device=auto` mean the CUDA device `number` modulo their count, where there are several."""
    if device not in ("auto", "cuda"):
        return
    import torch

    if (count := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(number % count)
