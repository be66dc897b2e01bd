"""Measure several runs: which they are, what is printed of each, and one table or one JSON document of all."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlgan.runs.ends import explained
from rlgan.runs.evaluate import Evaluation, OverSeeds, evaluate_run, evaluate_seeds
from rlgan.runs.record.directory import find_run, is_run, read_config, runs_below, short_path
from rlgan.runs.record.progress import columns, seeds_table, table
from rlgan.runs.terminal import printable
from rlgan.task.errors import ConfigError, InputError, RunError


def named(words: Sequence[str], go_on: bool = False) -> list[Path]:
    """The runs that a command names, each once; of a folder also those that cannot be read.

    Args:
        words: runs, of which one with `seeds=` is one; comparisons, for their variants; folders, for all runs below
            them; or `latest`.
        go_on: a word that names no run stands for itself, so that it is told with the others.

    Raises:
        RunError: a word names no run; names runs nearby.
    """
    found: dict[Path, None] = {}
    for word in words:
        try:
            found |= dict.fromkeys(_named(word))
        except RunError:
            if not go_on:
                raise
            found[Path(word)] = None
    return list(found)


def _named(word: str) -> list[Path]:
    path = find_run(word)
    if is_run(path):
        return _variants(path)
    below = sorted(runs_below(path)) if path.is_dir() and not path.is_symlink() else []
    if not below:
        read_config(path)  # says what is wrong with it
    return [run for place in below for run in _variants_below(place)]


def _variants_below(path: Path) -> list[Path]:
    try:
        return _variants(path)
    except RunError:  # it is said when its turn comes, and leaves the others
        return [path]


def _variants(path: Path) -> list[Path]:
    """The runs of a comparison; any other run itself."""
    if not isinstance(read_config(path).get("compare"), dict):
        return [path]
    runs = sorted(file.parent for file in path.glob("*/config.yaml"))
    if not runs:
        raise RunError(f"{short_path(path)}: is a comparison, and none of its variants has begun; resume={path} first")
    return runs


@dataclass(frozen=True)
class Measured:
    """What was measured of a run.

    Args:
        checkpoint: the file that was measured; of several seeds, which checkpoint was asked for.
        step: of that file; of several seeds the largest.
        metrics: by tag; of several seeds the interquartile means.
        first: tags of what matters first.
        record: of the JSON document.
        unwritten: what could not be kept, and why, a sentence each.
    """

    checkpoint: str
    step: int
    metrics: Mapping[str, float]
    first: tuple[str, ...]
    record: dict[str, Any]
    unwritten: tuple[str, ...]


@dataclass(frozen=True)
class Printed:
    """Prints what was measured of a run: figures on standard output, the rest on standard error.

    Args:
        which: the checkpoint that was asked for.
        curvature: whether the curvature was.
    """

    which: str
    curvature: bool

    def one(self, found: Evaluation) -> None:
        """Print a run's figures."""
        print(f"checkpoint: {self.which}, step {found.metrics['step']:.0f}", file=sys.stderr)
        print("\n".join((table(found.metrics, found.legend), *found.remarks)))
        if found.curvature:
            print(columns(found.curvature))
        self._notes(found.notes)

    def seeds(self, path: Path, found: OverSeeds) -> None:
        """Print the figures over a run's seeds."""
        print(seeds_table(found.figures, found.legend), flush=True)
        kept = f"the curvature of each seed is in {short_path(path)}/seed=*/evaluation.json"
        self._notes((*found.notes, *([kept] if self.curvature else [])))

    def _notes(self, notes: Sequence[str]) -> None:
        sys.stdout.flush()
        for note in notes:
            print(f"note: {note}", file=sys.stderr)


def measure(path: Path, which: str, shown: Printed, how: Mapping[str, Any]) -> Measured:
    """Measure one run, or every seed of one, print it and keep it in its directory.

    Args:
        path: the run.
        which: `best`, `last` or a step.
        shown: prints it.
        how: as of `evaluate_run`.

    Raises:
        ConfigError, RunError: as `evaluate_run`.
    """
    if read_config(path).get("seeds") is None:
        one = evaluate_run(path, which, **how, show=shown.one)
        record = _record(one) | ({"curvature": one.curvature} if one.curvature else {})
        measured = Measured(one.checkpoint, int(one.metrics["step"]), one.metrics, one.first, record, one.unwritten)
    else:
        many = evaluate_seeds(path, which, lambda found: shown.seeds(path, found), **how)
        every, steps = list(many.every.values()), [int(one.metrics["step"]) for one in many.every.values()]
        seeds = [{"seed": seed, **_record(one)} for seed, one in many.every.items()]
        record = {"checkpoint": which, "step": max(steps), "metrics": many.figures, "notes": many.notes, "seeds": seeds}
        means = {tag: row["iqm"] for tag, row in many.figures.items()}
        measured = Measured(which, max(steps), means, every[0].first, record, many.unwritten)
    for line in measured.unwritten:
        print(f"rlgan: {line}", file=sys.stderr)
    return measured


def _record(one: Evaluation) -> dict[str, Any]:
    metrics = {tag: value for tag, value in one.metrics.items() if tag != "step"}
    return {"checkpoint": one.checkpoint, "step": int(one.metrics["step"]), "metrics": metrics, "notes": one.notes}


def measure_all(runs: Sequence[Path], one: Callable[[Path], Measured], document: bool, wanted: bool = False) -> int:
    """Measure runs one after the other, and print a table of all; a run that fails leaves the others.

    Args:
        runs: their directories.
        one: measures one of them.
        document: print a JSON document on standard output instead, and all else on standard error: a list of an object
            for each run, with `run`, `checkpoint`, `step`, `metrics` and `notes`, or with `run` and `error`.
        wanted: what cannot be written is a failure.

    Returns:
        The exit code: 1 if any run failed.
    """
    done: dict[str, Measured] = {}
    failed: dict[str, str] = {}
    with _aside(document):
        for path in runs:
            name = short_path(path)
            if len(runs) > 1:
                print(f"\n{name}" if done or failed else name, flush=True)
            try:
                done[name] = one(path)
            except (ConfigError, RunError, InputError) as error:
                failed[name] = str(error)
            except Exception as error:
                failed[name] = explained(error) or f"{type(error).__name__}: {error}"
                if explained(error) is None:
                    traceback.print_exc()
            if name in failed:
                failed[name] = printable(" ".join(failed[name].split()))
                print(f"rlgan: {failed[name]}", file=sys.stderr)
        if len(runs) > 1:
            print(f"\n{_overview(done)}" if done else "", flush=True)
    if document:
        show_document([{"run": name, **(done[name].record if name in done else {"error": failed[name]})}
                       for name in map(short_path, runs)])  # fmt: skip
    if failed and len(runs) > 1:
        print(f"{len(done)} of {len(runs)} runs were measured", file=sys.stderr)
        for name, why in failed.items():
            print(f"  failed: {name}: {why}", file=sys.stderr)
    return int(bool(failed) or (wanted and any(one.unwritten for one in done.values())))


def show_document(entries: Sequence[Mapping[str, Any]]) -> None:
    """Print a JSON document of what was measured."""
    print(json.dumps(_finite(entries), indent=2), flush=True)


def _overview(done: Mapping[str, Measured]) -> str:
    """A row for each run: its checkpoint, its best metric and its headline; those of several seeds are their IQM."""
    tags = dict.fromkeys(tag for one in done.values() for tag in one.first if tag in one.metrics)
    found: dict[str, Mapping[str, float | str]] = {
        "checkpoint": {name: one.checkpoint.removesuffix(".pt") for name, one in done.items()},
        "step": {name: float(one.step) for name, one in done.items()},
    }
    for tag in tags:
        found[tag] = {name: one.metrics[tag] for name, one in done.items() if tag in one.metrics}
    return columns(found)


def _finite(value: Any) -> Any:
    """The same without what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def _aside(wanted: bool) -> Iterator[None]:
    """Send standard output to standard error, also what libraries and worker processes write."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept, stream = os.dup(1), sys.stdout
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 1)
        os.close(kept)
        sys.stdout = stream
