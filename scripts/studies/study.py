"""Studies: configurations trained one after another, over seeds side by side; every result is kept in a CSV at once.

A CSV holds, for each cell, a comment with the command that trains it and one row per seed, and per average of the
generator (results/gan) or evaluation (results/rl). The comment is also the cell's name: a study that was stopped goes
on with the cells that are not there.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import combinations
from pathlib import Path

from scripts.benchmarks.harness import machine, versions

RESULTS = Path(__file__).resolve().parent / "results"

ALWAYS = ("device=cpu", "logger=[]", "progress=false")
"""What does not bear on the figures."""

SeedRow = dict[str, str]


@dataclass(frozen=True)
class Cell:
    """One configuration of a study.

    Args:
        labels: its columns in the table, such as `data`, `control`, `game`.
        overrides: of `python scripts/train.py`, with `seeds=`.
        averages: of its generator, the run's first; each gives a row per seed. One name: no such column is of use.
        evaluations: a row per seed and evaluation, in place of one per seed and average.
    """

    labels: Mapping[str, str]
    overrides: tuple[str, ...]
    averages: tuple[str, ...] = ("",)
    evaluations: bool = False

    @property
    def title(self) -> str:
        """For `--only` and for people."""
        return ", ".join(self.labels.values())

    @property
    def command(self) -> str:
        """What trains it, as one would type it."""
        return shlex.join(["python", "scripts/train.py", *self.overrides])


@dataclass
class Table:
    """A study's CSV.

    Args:
        path: of the file.
        columns: of every row: the labels, `average` or `step`, `seed`, then figures.
        preamble: comment lines at its head.
    """

    path: Path
    columns: Sequence[str]
    preamble: Sequence[str] = ()

    @property
    def commands(self) -> list[str]:
        """Of the cells that are there."""
        if not self.path.exists():
            return []
        return [line[2:].rstrip("\n") for line in self.path.open() if line.startswith("# python scripts/train.py")]

    @property
    def rows(self) -> list[SeedRow]:
        """Of all cells."""
        if not self.path.exists():
            return []
        with self.path.open() as file:
            return list(csv.DictReader(line for line in file if not line.startswith("#")))

    def add(self, command: str, rows: Iterable[Mapping[str, str | float]]) -> None:
        """A cell's rows below its command, in one write: a study that is killed leaves whole cells."""
        text = StringIO()
        new = not self.path.exists()
        if new:
            text.writelines(f"# {line}\n" for line in self.preamble)
            text.write(",".join(self.columns) + "\n")
        text.write(f"# {command}\n")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        for row in rows:
            writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(text.getvalue())


def train(cell: Cell, tags: Mapping[str, str]) -> list[dict[str, str | float]]:
    """Train a cell in this process, and forget its run.

    Args:
        cell: what to train.
        tags: column -> tag of the run's summary.

    Returns:
        A row per seed and average, or per seed and evaluation: labels, `average` or `step`, `seed`, the figures (NaN of
        a seed that failed, which has one row and no step, or that has no such tag), and `seconds`, `cpu_seconds`:
        elapsed and CPU time of the whole cell over its seeds, with compilation and evaluation.

    Raises:
        RuntimeError: it could not start.
        KeyboardInterrupt: it was stopped.
    """
    import torch

    from rlgan.runs.cli import main

    # Every cell compiles a function of its own, all made of the same code: torch keeps a few of those, then refuses.
    torch.compiler.reset()
    with tempfile.TemporaryDirectory(prefix="rlgan-study-") as folder:
        run, log = Path(folder) / "run", Path(folder) / "log"
        wall, cpu = time.perf_counter(), time.process_time()
        with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                main([*cell.overrides, *ALWAYS, f"run_dir={run}"])
            except SystemExit as end:
                code = end.code
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if code in (130, 143):
            raise KeyboardInterrupt
        if not (run / "summary.json").exists():
            raise RuntimeError(f"{cell.title}: exit code {code}\n{log.read_text()}")
        states: dict[str, str] = json.loads((run / "summary.json").read_text())["seeds"]
        times: dict[str, str | float] = {"seconds": wall / len(states), "cpu_seconds": cpu / len(states)}
        rows: list[dict[str, str | float]] = []
        for seed, state in states.items():
            own = run / f"seed={seed}" if state == "finished" else None
            found = _evaluations(own, tags) if cell.evaluations else _ends(own, tags, cell.averages)
            rows += [{**cell.labels, "seed": seed, **row, **times} for row in found]
    return rows


def _ends(run: Path | None, tags: Mapping[str, str], averages: Sequence[str]) -> list[dict[str, str | float]]:
    """A row for each average, of the end of a run; NaN without a run."""
    found = {} if run is None else json.loads((run / "summary.json").read_text())
    rows: list[dict[str, str | float]] = []
    for i, average in enumerate(averages):
        row: dict[str, str | float] = {"average": average}
        for column, tag in tags.items():
            # The critic has no averages: what is said of it holds for each of the generator's.
            row[column] = float(found.get(f"{tag}/{average}" if i else tag, found.get(tag, math.nan)))
        rows.append(row)
    return rows


def _evaluations(run: Path | None, tags: Mapping[str, str]) -> list[dict[str, str | float]]:
    """A row for each step at which the first tag was measured, with what was logged there; NaN without a run."""
    if run is None:
        return [{"step": math.nan, **dict.fromkeys(tags, math.nan)}]
    steps: dict[int, dict[str, float]] = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        logged = json.loads(line)
        steps.setdefault(logged["step"], {}).update(logged)
    first = next(iter(tags.values()))
    rows: list[dict[str, str | float]] = []
    for step, found in steps.items():
        if first in found:
            rows.append({"step": str(step), **{column: found.get(tag, math.nan) for column, tag in tags.items()}})
    return rows


def work(cells: Sequence[Cell], table: Table, tags: Mapping[str, str], only: str) -> None:
    """Train the cells whose title contains `only` and that are not in the table."""
    there = set(table.commands)
    todo = [cell for cell in cells if only in cell.title and cell.command not in there]
    print(f"{len(todo)} cells to train, {len(cells) - len(todo)} there or left out; {table.path}", flush=True)
    for i, cell in enumerate(todo, 1):
        rows = train(cell, tags)
        table.add(cell.command, rows)
        seconds, seeds = float(rows[0]["seconds"]), len({row["seed"] for row in rows})
        print(f"{i}/{len(todo)} {cell.title}: {seconds * seeds:.0f} s for {seeds} seeds", flush=True)


def means(rows: Sequence[SeedRow], columns: Sequence[str]) -> dict[str, list[float]]:
    """column -> mean, least and largest over the seeds that finished; NaN of none."""
    found: dict[str, list[float]] = {}
    for column in columns:
        own = values(rows, column)
        found[column] = [sum(own) / len(own), min(own), max(own)] if own else [math.nan] * 3
    return found


def values(rows: Sequence[SeedRow], column: str) -> list[float]:
    """Of the seeds that finished."""
    return [value for row in rows if not math.isnan(value := float(row[column]))]


def t_interval(found: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval of the mean by Student's t: mean -+ t_(0.975, n - 1) s / sqrt n; NaN of fewer than two values."""
    import numpy as np
    from scipy.stats import t

    n = len(found)
    if n < 2:
        return math.nan, math.nan
    half = float(t.ppf(0.975, n - 1) * np.std(found, ddof=1) / math.sqrt(n))
    return sum(found) / n - half, sum(found) / n + half


def told_apart(groups: Mapping[str, Sequence[float]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The pairs of groups whose means differ, the larger one first, and the other pairs.

    Welch's t test of two means; of m pairs, in order of their p-values, the k-th (from 0) differs if those before it do
    and p <= 0.05 / (m - k), so that all is right with 95 % (Holm 1979, A simple sequentially rejective multiple test
    procedure). A group of fewer than two values is told apart from none.
    """
    from scipy.stats import ttest_ind

    def p(one: str, other: str) -> float:
        first, second = groups[one], groups[other]
        if min(len(first), len(second)) < 2 or len({*first, *second}) == 1:
            return 1.0
        found = float(ttest_ind(first, second, equal_var=False).pvalue)
        return 1.0 if math.isnan(found) else found

    names = sorted(groups, key=lambda name: -sum(groups[name]) / max(len(groups[name]), 1))
    pairs = sorted(((p(one, other), one, other) for one, other in combinations(names, 2)), key=lambda pair: pair[0])
    differ = 0
    while differ < len(pairs) and pairs[differ][0] <= 0.05 / (len(pairs) - differ):
        differ += 1
    return [pair[1:] for pair in pairs[:differ]], [pair[1:] for pair in pairs[differ:]]


def grouped(rows: Sequence[SeedRow], by: Sequence[str]) -> dict[tuple[str, ...], list[SeedRow]]:
    """The rows by their labels, in the file's order."""
    found: dict[tuple[str, ...], list[SeedRow]] = {}
    for row in rows:
        found.setdefault(tuple(row[label] for label in by), []).append(row)
    return found


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def typed() -> str:
    """The command line that is running."""
    return shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])


def heading() -> str:
    """The first line of a study's CSV: the command line that is running, versions and machine."""
    return f"{typed()}: {', '.join(f'{name} {value}' for name, value in {**versions(), **machine()}.items())}"
