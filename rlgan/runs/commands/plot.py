"""`rlgan plot`: compare many runs on one page."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rlgan.task.errors import ConfigError
from rlgan.task.suggest import nearest

HELP = """\
rlgan plot: compare many runs: learning curves, final scores with intervals, one table and one page.

Usage: rlgan plot RUNS... [key=value ...]   RUNS are runs, folders with runs below them, patterns, or `latest`

  by=lipschitz,critic.optimizer.lr   what makes the groups, by the keys of a command; left out: whatever differs
  metric=return/eval,actor/loss      which metrics; left out: the task's best one, and curves of its main ones
  to=DIR                             where the page goes; left out: a new folder below outputs/studies/

The seeds of a run with seeds=, the variants of a comparison and the runs of a sweep are runs. Runs of different tasks,
environments or data are never drawn into one figure. A run that has not finished is counted, and drawn up to its end.
The table is printed; DIR has study.html, table.md, table.csv, runs.csv and figures/.
"""

_KEYS = ("by", "metric", "to")


def run(arguments: Sequence[str]) -> int:
    """Compare runs as `plot RUNS... [key=value ...]` says; returns the exit code."""
    from rlgan.runs.record.directory import short_path

    # A run's name holds an `=` itself; a slash before it, or its being there, tells it from a setting.
    words = [word for word in arguments if "/" in word.partition("=")[0] or "=" not in word or os.path.isdir(word)]
    asked: dict[str, str] = {}
    for word in arguments:
        key, _, value = word.partition("=")
        if word in words:
            continue
        if key not in _KEYS or not value:
            what = "needs a value" if key in _KEYS else f"there is no such key; {nearest(key, _KEYS, 'there are')}"
            raise ConfigError(f"{key} = {value}: {what}")
        asked[key] = value
    if not words:
        raise ConfigError("plot: name runs, or a folder with runs below it, for example: rlgan plot outputs")
    from rlgan.runs.study.study import draw_study

    study = draw_study(
        words,
        Path(asked["to"]) if "to" in asked else None,
        _list(asked.get("by", "")),
        _list(asked.get("metric", "")),
        shlex.join(["rlgan", "plot", *arguments]),
    )
    print(study.table)
    sys.stdout.flush()
    for note in study.notes:
        print(f"note: {note}", file=sys.stderr)
    print(short_path(study.page.resolve()), flush=True)
    return 0


def _list(value: str) -> list[str]:
    return [word for word in (part.strip() for part in value.strip("[]").split(",")) if word]
