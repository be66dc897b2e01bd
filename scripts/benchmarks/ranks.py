"""Two ranks beside one process with one thread and with two, on a joint batch of 4,096; and the cost of a mean.

Every variant is one process or two that wait for their turn, make some moves, and say how long they took. By
`--clock cpu` it is the CPU time of the slower rank: what its part of the batch costs, without what it waits.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.harness import Figures, Options, Report

BLOCKS = 9
ONE, THREADS, TWO = "one process, 1 thread", "one process, 2 threads", "2 ranks, 1 thread each"
BATCH = ("batch_size=4096", "device=cpu", "compile=false", "progress=false")
CASES: dict[str, tuple[int, tuple[str, ...]]] = {
    "WGAN-GP, 3x256": (
        1,
        (
            "task=wgan",
            "lipschitz=gradient_penalty",
            "optimizer@critic.optimizer=adam_wgan",
            "critic.network.hidden=[256,256,256]",
            "generator.network.hidden=[256,256,256]",
        ),
    ),
    "erm, 2x256": (6, ("task=erm", "problem=blobs", "problem.samples=8192", "network.hidden=[256,256]")),
    "erm, 2x64": (40, ("task=erm", "problem=blobs", "problem.samples=8192", "network.hidden=[64,64]")),
    "DDPG, 2x256": (2, ("task=ddpg", "network@critic.network=mlp", "network@actor.network=mlp")),
}
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Numbers whose mean is timed."""


def run(options: Options, report: Report) -> None:
    """Every case, then the mean by itself."""
    for title, (moves, words) in CASES.items():
        if options.only not in title:
            continue
        variants = {ONE: Workers(words, 1, 1), THREADS: Workers(words, 1, 2), TWO: Workers(words, 2, 1)}
        if options.clock == "cpu":  # of a process, which says nothing about threads
            variants.pop(THREADS).close()
        try:
            taken: dict[str, list[float]] = {name: [] for name in variants}
            for block in range(options.blocks + 1):
                for name, workers in variants.items():
                    seconds = workers.move(moves, options.clock)
                    if block:  # the first is a warm-up
                        taken[name].append(seconds / moves)
            cores = {name: workers.cores for name, workers in variants.items()}
            report.table(f"a move of {title}, joint batch 4,096", Figures(taken, cores))
        finally:
            for workers in variants.values():
                workers.close()
    if options.only in "the mean":
        pair = Workers((), 2, 1)
        try:
            for n in SIZES:
                times = [pair.move(n) for _ in range(options.blocks)]
                report.note(
                    f"mean over 2 ranks of {n:,} floats, {4 * n:,} bytes: {1e3 * statistics.median(times):.2f} ms"
                )
        finally:
            pair.close()


class Workers:
    """The processes of one variant; without words they take means.

    Args:
        words: of the task.
        size: how many processes.
        threads: of each.
    """

    def __init__(self, words: tuple[str, ...], size: int, threads: int) -> None:
        store = Path(f"/tmp/rlgan-ranks-{os.getpid()}-{time.monotonic_ns()}")
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": root}
        command = [sys.executable, "-m", "scripts.benchmarks.ranks", str(store), str(size), str(threads)]
        self._all: list[Any] = [
            subprocess.Popen(
                [*command, str(k), *words], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for k in range(size)
        ]
        self._busy, self._elapsed = 0.0, 0.0
        for one in self._all:
            self._read(one)

    def _read(self, one: Any) -> list[float]:
        line = one.stdout.readline()
        if not line:
            raise RuntimeError("a process of the benchmark is gone; see its error above")
        return [float(word) for word in line.split()]

    def move(self, n: int, clock: str = "wall") -> float:
        """Have all make `n` moves; the seconds, elapsed or of CPU time, of the slowest."""
        for one in self._all:
            one.stdin.write(f"{n}\n")
            one.stdin.flush()
        taken = [self._read(one) for one in self._all]
        self._busy += sum(cpu for _, cpu in taken)
        self._elapsed += max(wall for wall, _ in taken)
        return max(wall if clock == "wall" else cpu for wall, cpu in taken)

    @property
    def cores(self) -> float:
        """CPU time over elapsed time, of all together."""
        return self._busy / self._elapsed

    def close(self) -> None:
        """End them."""
        for one in self._all:
            one.stdin.close()
            one.wait()


def work(store: str, size: int, threads: int, rank: int, words: list[str]) -> None:
    """One process: for every line that it is given so many moves, or one mean of so many numbers."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the benchmark's own process is bound to some
    import torch
    from torch import distributed as dist

    from rlgan.optim import ranks

    torch.set_num_threads(threads)
    if size > 1:
        dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=size)
        ranks.join()
    call: Any
    if words:
        from scripts.benchmarks.composed import task

        made: Any = task(*words, *BATCH, f"threads={threads}")
        call = made.learn
        if hasattr(made, "replay"):  # an agent learns from what it has collected
            while made.steps_done < 4200:
                made.steps_done += made.collect()
    print("0 0", flush=True)
    for line in sys.stdin:
        n, x = int(line), None
        if not words:
            x = torch.ones(n)
        if size > 1:
            dist.barrier()
        cpu, wall = time.process_time(), time.perf_counter()
        if x is not None:
            ranks.mean_over_ranks(x)
        else:
            for _ in range(n):
                call(False)
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
