"""`rlgan evaluate`: measure a run's checkpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlgan.runs.commands.words import changes_of, step_of_file
from rlgan.runs.config.trust import any_trusted, look_here
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.suggest import closest

HELP = """\
rlgan evaluate: measure a checkpoint of a run, or of many, in full. The runs themselves stay as they are.

Usage: rlgan evaluate RUN... [key=value ...]   RUN is a run's folder, a folder with runs below it, or `latest`

  Of a run with seeds= every seed is measured, of a comparison every variant. Several runs are one table at the end.

  checkpoint=best    which checkpoint: best (the default), last, or a step such as 4000
  n=10000            a WGAN: how many samples to draw; they are kept in RUN/evaluation/samples.npz
  episodes=20        an agent: how many episodes to play
  video=true         an agent: also a film of the first episode (needs the extra [video])
  curvature=true     also the loss around each player: eigenvalues, sharpness, a picture
  strict_saddle=[1,1,0.1,0.1]   also which case of the strict-saddle definition holds (alpha, beta, eps, delta)
  json=true          one JSON document on standard output, a list of runs, and nothing else there
  key=value          any value of the run to be changed for this evaluation, such as device=cpu
  trust=[my_agent]   whose classes the run may name besides those of rlgan, torch and gymnasium

Figures are printed and kept in RUN/evaluation.json, pictures in RUN/evaluation/.
"""

_KEYS = ("checkpoint", "curvature", "json", "n", "episodes", "strict_saddle", "video")


def run(arguments: Sequence[str]) -> int:
    """Measure checkpoints as `evaluate RUN... [key=value ...]` says; returns the exit code."""
    try:
        return _run(arguments)
    except (ConfigError, RunError) as error:
        if "json=true" in map(str.lower, arguments):  # who reads the document learns it there
            from rlgan.runs.evaluate_many import show_document

            show_document([{"run": None, "error": str(error)}])
        raise


def _run(arguments: Sequence[str]) -> int:
    from rlgan.runs.config.words import quoted

    look_here(any_trusted())
    from rlgan.runs.record.directory import LATEST, latest_runs, read_config, short_path

    # A run's name holds an `=` itself (`..._seed=0`); a slash before it, or its being there, tells it from a setting.
    words = [word for word in arguments if "/" in word.partition("=")[0] or "=" not in word or os.path.isdir(word)]
    if not words:
        if "json=true" in map(str.lower, arguments):
            raise ConfigError("evaluate: name a run's directory, for example `rlgan evaluate latest json=true`")
        latest = [f"\n  rlgan evaluate {short_path(run)}" for run in latest_runs()]
        if not latest:
            raise ConfigError("evaluate: name a run's directory; there is none below outputs/ yet")
        print(
            f"rlgan: evaluate: name a run's directory; the latest are{''.join(latest)}\n"
            f"`rlgan evaluate {LATEST}` takes the first of them",
            file=sys.stderr,
        )
        return 2
    asked = {key: value for key, _, value in (item.partition("=") for item in arguments if item not in words)}
    rest = [quoted(item) for item in arguments if item not in words and item.partition("=")[0] not in _KEYS]
    for item in rest:
        if close := closest(item.partition("=")[0], _KEYS, 0.75):
            raise ConfigError(f"{item.replace('=', ' = ', 1)}: there is no such key; did you mean {close}?")
    which = step_of_file(asked.get("checkpoint", "best"))
    how: dict[str, Any] = {key: _switch(key, asked.get(key, "false")) for key in ("curvature", "video")}
    how |= {"n": _count("n", asked["n"], "samples, for example n=10000") if "n" in asked else None}
    if "strict_saddle" in asked:
        how |= {"strict_saddle": _four(asked["strict_saddle"]), "curvature": True}
    episodes = (
        _count("episodes", asked["episodes"], "episodes, for example episodes=20") if "episodes" in asked else None
    )
    document = _switch("json", asked.get("json", "false"))

    def changes(path: Path) -> dict[str, Any]:
        values = changes_of(path, rest)
        if episodes is None:
            return values
        if "eval_episodes" not in read_config(path):
            raise ConfigError(f"episodes = {episodes}: this run plays no episodes; leave it out")
        return {**values, "eval_episodes": episodes}

    from rlgan.runs.evaluate_many import Measured, Printed, measure, measure_all, named

    runs = named(words, go_on=document)
    shown = Printed(which, how["curvature"])
    wanted = how["n"] is not None or how["video"]  # who asked for samples or a film wants the file

    def one(path: Path) -> Measured:
        return measure(path, which, shown, {**how, "changes": changes(path)})

    if document or len(runs) > 1:
        return measure_all(runs, one, document, wanted)
    return int(bool(one(runs[0]).unwritten) and wanted)


def _switch(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ConfigError(f"{key} = {value}: is a switch; use true or false")
    return value.lower() == "true"


def _four(value: str) -> list[float]:
    numbers: list[float] = []
    with suppress(ValueError):
        numbers = [float(number) for number in value.strip("[] ").split(",")]
    if len(numbers) == 4 and all(0 < number < float("inf") for number in numbers):
        return numbers
    raise ConfigError(
        f"strict_saddle = {value}: are alpha, beta, eps, delta: four positive numbers, for example [0.1,0.1,0.01,0.1]"
    )


def _count(key: str, value: str, of: str) -> int:
    number = value.replace("_", "")
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"{key} = {value}: must be a number of {of}")
    return int(number)
