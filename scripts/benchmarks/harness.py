"""Measuring variants side by side, and saying what was measured on what.

Absolute times drift with the machine, by a third and more where others work on it. So variants take turns in short
blocks (A B C A B C ...), and besides the median time of a call the table has, over the blocks, the median and the least
ratio to the first variant. `cores` is CPU time over elapsed time: above the number of threads asked for, a variant uses
more of them than it was given; well below, the machine was busy with something else.

Only the standard library is imported here: threads are pinned before anything that reads their number is loaded.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Variant = Callable[[], object]
Row = dict[str, float | str]

TURN = 0.05
"""Seconds that a turn takes about: long against a switch of variants, short against the drift of a machine."""
WARM_UP = 3
"""Calls before the first turn: compilation and first touches of memory."""
REPORTED = ("torch", "jax", "jaxlib", "optax", "flax", "stable_baselines3", "sbx-rl", "pytorch_optimizer", "gymnasium")


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
        blocks: turns that every variant takes.
        threads: CPU threads.
        device: of the tensors.
        clock: `wall`, elapsed time; `cpu`, CPU time of the process, which a busy machine disturbs less.
        profile: say where the time goes as well.
        only: measure the tables whose title contains this.
        seeds, steps: of every cell of a study; None is the study's own number.
        table: show what a study has found so far, and train nothing.
        peers: of a study that has them, train other libraries too.
        words: of a study that takes them, further words of its commands.
        csv: of a study that takes it, the file of its rows; None is its own.
    """

    blocks: int
    threads: int = 1
    device: str = "cpu"
    clock: Literal["wall", "cpu"] = "wall"
    profile: bool = False
    only: str = ""
    seeds: int | None = None
    steps: int | None = None
    table: bool = False
    peers: bool = True
    words: tuple[str, ...] = ()
    csv: Path | None = None

    @property
    def cuda(self) -> bool:
        """Whether calls return before their work is done."""
        return self.device.startswith("cuda")


def pin(threads: int) -> None:
    """Give this process, and every library it will load, so many CPU threads.

    XLA takes flags as advice only, so the process is also bound to as many cores where the system can do that: to the
    last of those that it may run on, which `taskset` chooses.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(threads)
    eigen = "true" if threads > 1 else "false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={eigen}".strip()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


@dataclass
class Figures:
    """Seconds a call, per variant and block, and how many cores each variant kept busy."""

    seconds: dict[str, list[float]]
    cores: dict[str, float] = field(default_factory=dict)

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster than `slow` `fast` is, median over the blocks; below 1 it is slower."""
        return statistics.median(a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True))

    def least(self, slow: str, fast: str) -> float:
        """The same in the block that speaks most against `fast`."""
        return min(a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True))

    def median(self, name: str) -> float:
        """Seconds a call."""
        return statistics.median(self.seconds[name])

    def over(self, parts: Mapping[str, int]) -> Figures:
        """Of every variant the time of one of its `parts`."""
        shared = {name: [t / parts[name] for t in own] for name, own in self.seconds.items()}
        return Figures(shared, self.cores)


def measure(
    variants: Mapping[str, Variant], options: Options, calls: int | None = None, warm_up: int = WARM_UP
) -> Figures:
    """Every block runs every variant: `calls` times, or by default about `TURN` seconds."""
    wait = _synchronise if options.cuda else _nothing
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    turns: dict[str, int] = {}
    for name, call in variants.items():
        for _ in range(warm_up):
            call()
        wait()
        start = time.perf_counter()
        call()
        wait()
        turns[name] = calls or max(1, round(TURN / (time.perf_counter() - start)))
    figures = Figures({name: [] for name in variants})
    busy, elapsed = dict.fromkeys(variants, 0.0), dict.fromkeys(variants, 0.0)
    for _ in range(options.blocks):
        for name, call in variants.items():
            cpu, wall, start = time.process_time(), time.perf_counter(), clock()
            for _ in range(turns[name]):
                call()
            wait()
            figures.seconds[name].append((clock() - start) / turns[name])
            busy[name] += time.process_time() - cpu
            elapsed[name] += time.perf_counter() - wall
    figures.cores = {name: busy[name] / elapsed[name] for name in variants}
    return figures


def _synchronise() -> None:
    import torch

    torch.cuda.synchronize()


def _nothing() -> None:
    """What the CPU has to wait for."""


@dataclass
class Report:
    """What is printed, and kept for the JSON file."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    marks: list[Row] = field(default_factory=list)
    profiles: dict[str, Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def table(self, title: str, figures: Figures, columns: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """The figures against the first variant; `columns` has further ones, header -> variant -> value."""
        more = dict(columns or {})
        head = "".join(f"{name:>11s}" for name in more)
        print(f"\n{title}\n  {'':34s}{'median us':>11s}{'faster by':>11s}{'at least':>10s}{'cores':>7s}{head}")
        first = next(iter(figures.seconds))
        rows = self.tables.setdefault(title, [])
        for name in figures.seconds:
            row: Row = {
                "variant": name,
                "median_us": 1e6 * figures.median(name),
                "ratio": figures.ratio(first, name),
                "least": figures.least(first, name),
                "cores": figures.cores[name],
            }
            extra = "".join(f"{own[name]:11.0f}" if name in own else f"{'':11s}" for own in more.values())
            rows.append({**row, **{header: own[name] for header, own in more.items() if name in own}})
            print(
                f"  {name:34s}{row['median_us']:11.0f}{row['ratio']:11.2f}{row['least']:10.2f}"
                f"{row['cores']:7.2f}{extra}",
                flush=True,
            )

    def mark(self, what: str, value: float, at_least: float | None = None, at_most: float | None = None) -> None:
        """A figure beside the one that is aimed at."""
        bound = at_most if at_least is None else at_least
        assert bound is not None
        met = value <= bound if at_least is None else value >= bound
        word = "at most" if at_least is None else "at least"
        self.marks.append({"mark": what, "value": value, word.replace(" ", "_"): bound, "met": str(met)})
        print(f"  {'met    ' if met else 'NOT MET'} {what}: {value:.2f}, {word} {bound:g}", flush=True)

    def note(self, text: str) -> None:
        """One line that belongs to the figures."""
        self.notes.append(text)
        print(f"note: {text}", flush=True)

    def write(self, path: Path, name: str, options: Options) -> None:
        """Everything, as JSON."""
        found = {
            "benchmark": name,
            "command": " ".join(["python", *sys.argv]),
            "options": vars(options),
            "machine": machine(),
            "versions": versions(),
            "tables": self.tables,
            "marks": self.marks,
            "profiles": self.profiles,
            "notes": self.notes,
        }
        path.write_text(json.dumps(found, indent=2) + "\n")


def installed(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Of Python and whatever bears on the figures."""
    found = {package: installed(package) for package in REPORTED}
    return {"python": platform.python_version(), **{name: v for name, v in found.items() if v is not None}}


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on, and how busy it was."""
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else -1.0
    return {"system": platform.system(), "cpu": model, "cores": os.cpu_count() or 0, "load": load}
