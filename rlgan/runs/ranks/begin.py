"""How the ranks of a run begin: the command under torchrun, the task that each builds, and the run of a restart."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlgan.runs.config.build import RunSpec
from rlgan.runs.ranks.agreement import Ranks, arrive
from rlgan.runs.ranks.launch import Launch
from rlgan.runs.record.directory import runs_below
from rlgan.runs.share.start import begun
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.task import Task


def as_rank(launch: Launch, train: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    """Run `rlgan train` as one of several ranks; the exit code.

    Args:
        launch: how this process was started.
        train: the command.
        words: what was typed.
    """
    ranks = arrive(launch)
    if ranks.follows:  # what rank 0 says need not be said again
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    code: Any = 1
    try:
        code = train(words)
    except (ConfigError, RunError):
        code = 2
        raise
    except SystemExit as error:
        code = error.code
        raise
    finally:
        if not ranks.follows:
            ranks.end(code if isinstance(code, int) else int(code is not None))
    return code


def built(ranks: Ranks, spec: RunSpec) -> Task:
    """Build the task, of several seeds this rank's first one; none goes on unless all could.

    Raises:
        ConfigError, RunError: it cannot be built, here or at another rank.
    """
    with ranks.all():
        ranks.begin(spec.settings)
        first = 0 if ranks.joint else ranks.rank
        return begun(spec.with_values(seed=spec.settings.every_seed[first]))


def run_of(ranks: Ranks, run_dir: str | None) -> Path | None:
    """The directory of the run: as chosen, or of this launch before torchrun started it again; None for a new one.

    Raises:
        RunError: it is to be gone on with and cannot be known.
    """
    launch = ranks.launch
    if run_dir is not None or launch is None:
        return None if run_dir is None else Path(run_dir)
    if launch.restartable and launch.local_size < launch.size:
        raise RunError("run_dir = null: torchrun may start these machines again; give run_dir=, so that they go on")
    if not launch.restarts:
        return None
    for run in runs_below(Path("outputs")):
        try:
            status = json.loads((run / "status.json").read_text())
        except (OSError, ValueError):
            continue
        if isinstance(status, dict) and status.get("launch") == launch.name:
            return run
    return None
