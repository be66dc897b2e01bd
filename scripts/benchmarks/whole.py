"""Whole runs by scripts/train.py: many seeds in one process beside as many runs of one, at the command a user types.

Every run is a process of its own on one core, from its start to its end, with evaluations, pictures and checkpoints.
What is compiled has been compiled before. `training` leaves out the start, evaluations, pictures and saves.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from scripts.benchmarks.harness import Options, Report, Row

BLOCKS = 3
ROOT = Path(__file__).resolve().parents[2]
SMALL = "task=ddpg critic.network.hidden=[64,64] actor.network.hidden=[64,64] batch_size=64"


class Case(NamedTuple):
    """A configuration, how long it runs, with how many seeds, and at least so many times the speed of one seed."""

    title: str
    words: str
    steps: int
    seeds: dict[int, float | None]


CASES = (
    Case("DDPG, 2x64, batch 64, compiled", f"{SMALL} compile=true", 10_000, {1: None, 4: None, 16: 4.0, 64: None}),
    Case("ring WGAN, compiled", "experiment=gan/ring_clip compile=true", 4_000, {1: None, 5: 3.0, 16: None}),
    Case("DDPG, 2x64, batch 64, as it comes", SMALL, 10_000, {1: None, 4: 1.0, 16: 1.0}),
    Case("ring WGAN, as it comes", "experiment=gan/ring_clip", 4_000, {1: None, 5: 1.0}),
)


class Ended(NamedTuple):
    """What a run took: seconds in all, training steps of all seeds a second, MiB."""

    seconds: float
    rate: float
    memory: float


def run(options: Options, report: Report) -> None:
    """Every case with each number of seeds, in turns."""
    for case in CASES:
        if options.only not in case.title:
            continue
        steps = options.steps or case.steps
        for seeds in case.seeds:
            train(case, seeds, max(steps // 10, 1_200), options)  # compiles
        found: dict[int, list[Ended]] = {seeds: [] for seeds in case.seeds}
        for _ in range(options.blocks):
            for seeds, own in found.items():
                own.append(train(case, seeds, steps, options))
        show(case, steps, found, report)


def train(case: Case, seeds: int, steps: int, options: Options) -> Ended:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        several = "" if seeds == 1 else f"seeds={seeds}"
        words = f"{case.words} steps={steps} threads={options.threads} {several} run_dir={path} progress=false"
        with open(Path(folder) / "said", "w") as said:
            began = time.perf_counter()
            child = os.posix_spawn(
                sys.executable,
                [sys.executable, str(ROOT / "scripts" / "train.py"), *words.split()],
                {**os.environ, "PYTHONPATH": str(ROOT)},
                file_actions=[(os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)],
            )
            _, status, used = os.wait4(child, 0)
            seconds = time.perf_counter() - began
        if status:
            raise RuntimeError(f"{words}: ended with {status}: {(Path(folder) / 'said').read_text()[-2000:]}")
        rates = [rate_of(file) for file in path.glob("**/metrics.jsonl")]
        return Ended(seconds, sum(rates), used.ru_maxrss / 1024)


def rate_of(file: Path) -> float:
    """Training steps a second of one seed: the median of what it logged, but for the first, which compiles."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rates = [row["time/steps_per_second"] for row in rows if "time/steps_per_second" in row]
    return statistics.median(rates[len(rates) // 3 :])


def show(case: Case, steps: int, found: dict[int, list[Ended]], report: Report) -> None:
    """The table of a case, and its marks."""
    print(f"\n{case.title}, {steps} steps, whole runs")
    heads = ("seconds", "seed-steps/s", "times one", "training", "times one", "MiB")
    print(f"  {'seeds':>8s}" + "".join(f"{head:>14s}" for head in heads))
    rows = report.tables.setdefault(case.title, [])
    for seeds, own in found.items():
        pairs = list(zip(found[1], own, strict=True))
        whole = statistics.median(seeds * one.seconds / many.seconds for one, many in pairs)
        training = statistics.median(many.rate / one.rate for one, many in pairs)
        seconds, rate, memory = (statistics.median(column) for column in zip(*own, strict=True))
        row: Row = {
            "seeds": seeds,
            "seconds": seconds,
            "whole": seeds * steps / seconds,
            "whole_ratio": whole,
            "training": rate,
            "training_ratio": training,
            "MiB": memory,
        }
        rows.append(row)
        figures = (
            f"{seconds:14.1f}{seeds * steps / seconds:14.0f}{whole:14.2f}{rate:14.0f}{training:14.2f}{memory:14.0f}"
        )
        print(f"  {seeds:8d}{figures}", flush=True)
    for seeds, least in case.seeds.items():
        if least is not None:
            pair = next(row for row in rows if row["seeds"] == seeds)
            report.mark(f"{seeds} seeds, the whole command", float(pair["whole_ratio"]), at_least=least)
            report.mark(f"{seeds} seeds, in training", float(pair["training_ratio"]), at_least=least)
    first, last = (found[seeds] for seeds in (min(found), max(found)))
    more = (statistics.median(own.memory for own in last) - statistics.median(own.memory for own in first)) / (
        max(found) - min(found)
    )
    report.note(f"{case.title}: {more:.1f} MiB more for every further seed")
