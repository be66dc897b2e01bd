"""`rlgan evaluate`: measure a run's checkpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rlgan.runs.commands.words import changes_of, step_of_file
from rlgan.runs.config.trust import any_trusted, look_here
from rlgan.task.errors import ConfigError
from rlgan.task.suggest import closest

HELP = """\
rlgan evaluate: measure a checkpoint of a run in full. The run itself stays as it is.

Usage: rlgan evaluate RUN [key=value ...]   RUN is the run's folder, or `latest`; of a run with seeds=, every seed

  checkpoint=best    which checkpoint: best (the default), last, or a step such as 4000
  n=10000            a WGAN: how many samples to draw; they are kept in RUN/evaluation/samples.npz
  episodes=20        an agent: how many episodes to play
  video=true         an agent: also a film of the first episode (needs the extra [video])
  curvature=true     also the loss around each player: eigenvalues, sharpness, a picture
  strict_saddle=[1,1,0.1,0.1]   also which case of the strict-saddle definition holds (alpha, beta, eps, delta)
  key=value          any value of the run to be changed for this evaluation, such as device=cpu
  trust=[my_agent]   whose classes the run may name besides those of rlgan, torch and gymnasium

Figures are printed and kept in RUN/evaluation.json, pictures in RUN/evaluation/.
"""

_KEYS = ("checkpoint", "curvature", "n", "episodes", "strict_saddle", "video")


def run(arguments: Sequence[str]) -> int:
    """Measure a run's checkpoint as `evaluate RUN [key=value ...]` says; returns the exit code."""
    from rlgan.runs.config.words import quoted

    look_here(any_trusted())
    from rlgan.runs.record.directory import LATEST, find_run, latest_runs, read_config, short_path

    # A run's name holds an `=` itself (`..._seed=0`); a slash before it, or its being there, tells it from a setting.
    words = [word for word in arguments if "/" in word.partition("=")[0] or "=" not in word or os.path.isdir(word)]
    if len(words) > 1:
        raise ConfigError(f"{' '.join(words)}: one run at a time; evaluate them one by one")
    if not words:
        runs = [f"\n  rlgan evaluate {short_path(run)}" for run in latest_runs()]
        if not runs:
            raise ConfigError("evaluate: name a run's directory; there is none below outputs/ yet")
        print(
            f"rlgan: evaluate: name a run's directory; the latest are{''.join(runs)}\n"
            f"`rlgan evaluate {LATEST}` takes the first of them",
            file=sys.stderr,
        )
        return 2
    path = find_run(words[0])
    config = read_config(path)
    if isinstance(section := config.get("compare"), dict):
        variants, shown = section.get("variants"), short_path(path)
        name = next(iter(variants), "NAME") if isinstance(variants, dict) else "NAME"
        raise ConfigError(f"{shown}: is a comparison; evaluate its variants one by one: rlgan evaluate {shown}/{name}")
    asked = {key: value for key, _, value in (item.partition("=") for item in arguments if item not in words)}
    rest = [quoted(item) for item in arguments if item not in words and item.partition("=")[0] not in _KEYS]
    for item in rest:
        if close := closest(item.partition("=")[0], _KEYS, 0.75):
            raise ConfigError(f"{item.replace('=', ' = ', 1)}: there is no such key; did you mean {close}?")
    values = changes_of(path, rest)
    if "episodes" in asked:
        if "eval_episodes" not in config:
            raise ConfigError(f"episodes = {asked['episodes']}: this run plays no episodes; leave it out")
        values["eval_episodes"] = _count("episodes", asked["episodes"], "episodes, for example episodes=20")
    which = step_of_file(asked.get("checkpoint", "best"))
    how: dict[str, Any] = {key: _switch(key, asked.get(key, "false")) for key in ("curvature", "video")}
    how |= {"changes": values, "n": _count("n", asked["n"], "samples, for example n=10000") if "n" in asked else None}
    if "strict_saddle" in asked:
        how |= {"strict_saddle": _four(asked["strict_saddle"]), "curvature": True}
    from rlgan.runs.evaluate import Evaluation, OverSeeds, evaluate_run, evaluate_seeds
    from rlgan.runs.record.progress import columns, seeds_table, table

    def show_seeds(found: OverSeeds) -> None:
        print(seeds_table(found.figures, found.legend), flush=True)
        kept = f"the curvature of each seed is in {short_path(path)}/seed=*/evaluation.json"
        for note in (*found.notes, *([kept] if how["curvature"] else [])):
            print(f"note: {note}", file=sys.stderr)

    def show(found: Evaluation) -> None:
        print(f"checkpoint: {which}, step {found.metrics['step']:.0f}", file=sys.stderr)
        print("\n".join((table(found.metrics, found.legend), *found.remarks)))
        if found.curvature:
            print(columns(found.curvature))
        sys.stdout.flush()
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)

    several = config.get("seeds") is not None
    result = evaluate_seeds(path, which, show_seeds, **how) if several else evaluate_run(path, which, **how, show=show)
    for line in result.unwritten:
        print(f"rlgan: {line}", file=sys.stderr)
    # Who asked for samples or a film wants the file.
    return int(bool(result.unwritten) and (how["n"] is not None or how["video"]))


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
