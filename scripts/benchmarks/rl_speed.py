"""Whole DDPG loops on Pendulum-v1: act, step, store, sample, one update a step, all with the same settings.

In bfloat16 sbx is not measured: on a CPU XLA computes in float32, whatever `jax_default_matmul_precision` says; a
product of 256 x 256 matrices takes as long and has the same last digits.

Memory is the peak of a process that runs one loop and has imported nothing that the loop does not need. To measure it
this file is also a program: `python -m scripts.benchmarks.rl_speed LOOP WIDTH BATCH STEPS` prints mebibytes.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from scripts.benchmarks import peers
from scripts.benchmarks.harness import Options, Report, Row, Variant, measure, pin

BLOCKS = 10
STARTS = 500
"""Random steps before the first update."""
SETTLED = 100
"""Steps with updates before the first turn."""
TURN_STEPS = {256: 250, 64: 500}
"""Environment steps in a turn, by width."""
MEMORY_STEPS = 700
HORIZON = 1_000_000
"""Planned length: of the replay, and of runs that are measured in their course."""

EAGER, COMPILED, BFLOAT16 = "rlgan, eager", "rlgan, compiled", "rlgan, compiled, bf16"
BASELINES3, CLEANRL, SBX = "stable-baselines3 DDPG", "CleanRL's structure", "sbx DDPG"
MARKS = {256: (1.7, 1.1), 64: (5.0, 1.6)}
"""At least so many times the steps a second of stable-baselines3, of sbx."""

Advance = Callable[[int], object]
"""Make so many environment steps, with their updates."""


def run(options: Options, report: Report) -> None:
    """All loops at both sizes, in turns; then each by itself for its memory."""
    import torch

    for width, batch_size in peers.SIZES:
        title, steps = f"DDPG on Pendulum-v1, a step, 2x{width}, batch {batch_size}", TURN_STEPS[width]
        if options.only not in title:
            continue
        loops = {name: make(width, batch_size) for name, make in present(report).items()}
        variants: dict[str, Variant] = {}
        for name, advance in loops.items():
            advance(STARTS + SETTLED)
            variants[name] = functools.partial(advance, steps)
        memory = {name: float(peak_memory(name, width, batch_size)) for name in variants}
        figures = measure(variants, options, calls=1, warm_up=0).over(dict.fromkeys(variants, steps))
        columns = {"steps/s": {name: 1 / figures.median(name) for name in variants}, "peak MiB": memory}
        report.table(title, figures, columns)
        for peer, bound in zip((BASELINES3, SBX), MARKS[width], strict=True):
            if peer in variants:
                report.mark(f"compiled against {peer}", figures.ratio(peer, COMPILED), at_least=bound)
        if SBX in variants:
            if width == 256:
                what = (
                    "" if torch.cpu._is_amx_tile_supported() else " (the mark is for a CPU with AMX: this one has none)"
                )
                report.mark(f"compiled in bf16 against {SBX}{what}", figures.ratio(SBX, BFLOAT16), at_least=1.8)
            report.mark("memory, compiled over sbx", memory[COMPILED] / memory[SBX], at_most=0.5)
        if options.profile:
            for name in (EAGER, COMPILED):
                parts(name, width, batch_size, report)


def present(report: Report) -> dict[str, Callable[[int, int], Advance]]:
    """The loops whose libraries are installed, the usual one first."""
    found = dict(LOOPS)
    for name, package in ((BASELINES3, "stable_baselines3"), (SBX, "sbx-rl")):
        if not peers.present(report, package):
            del found[name]
    return found


def trainer(width: int, batch_size: int, compiled: bool, precision: str = "float32") -> Any:
    """rlgan's own, from the composed configuration."""
    from rlgan.rl.trainer import Trainer
    from scripts.benchmarks.composed import task

    found = task(
        "task=ddpg",
        "device=cpu",
        f"compile={str(compiled).lower()}",
        f"precision={precision}",
        f"steps={HORIZON}",
        f"capacity={HORIZON}",
        f"batch_size={batch_size}",
        f"learning_starts={STARTS}",
        f"critic.network.hidden=[{width},{width}]",
        f"actor.network.hidden=[{width},{width}]",
    )
    assert isinstance(found, Trainer)
    return found


def ours(width: int, batch_size: int, compiled: bool, precision: str = "float32") -> Advance:
    """rlgan's Trainer, stepped as its loop steps it."""
    task = trainer(width, batch_size, compiled, precision)

    def advance(steps: int) -> None:
        end = task.steps_done + steps
        while task.steps_done < end:
            task.advance()

    return advance


def baselines3(width: int, batch_size: int) -> Advance:
    """`DDPG.learn` of stable-baselines3."""
    return _learn(peers.baselines3(width, batch_size, STARTS))


def sbx(width: int, batch_size: int) -> Advance:
    """`DDPG.learn` of sbx."""
    return _learn(peers.sbx(width, batch_size, STARTS))


def _learn(model: Any) -> Advance:
    return lambda steps: model.learn(steps, log_interval=None, reset_num_timesteps=False)


def cleanrl(width: int, batch_size: int) -> Advance:
    """The structure of CleanRL's ddpg_continuous_action.py, one file from environment to gradient.

    SyncVectorEnv of one environment with its statistics, a replay of one numpy array a field with an axis for the
    environments, modules, torch.optim.Adam, target networks parameter by parameter; the actor moves at every step.
    """
    from scripts.benchmarks.plain_loop import PlainLoop

    loop = PlainLoop(width, batch_size, STARTS, HORIZON)

    def advance(steps: int) -> None:
        for _ in range(steps):
            loop.step()

    return advance


LOOPS: dict[str, Callable[[int, int], Advance]] = {
    BASELINES3: baselines3,
    CLEANRL: cleanrl,
    EAGER: lambda width, batch_size: ours(width, batch_size, compiled=False),
    COMPILED: lambda width, batch_size: ours(width, batch_size, compiled=True),
    BFLOAT16: lambda width, batch_size: ours(width, batch_size, compiled=True, precision="bf16"),
    SBX: sbx,
}


def peak_memory(name: str, width: int, batch_size: int) -> int:
    """MiB that a process of its own has at most needed."""
    words = [sys.executable, "-m", __name__, name, str(width), str(batch_size), str(MEMORY_STEPS)]
    root = Path(__file__).resolve().parents[2]
    return int(subprocess.run(words, cwd=root, check=True, capture_output=True, text=True).stdout.split()[-1])


def alone(name: str, width: int, batch_size: int, steps: int) -> int:
    """Run one loop; the most memory that this process has needed, MiB."""
    import torch

    torch.set_num_threads(1)
    LOOPS[name](width, batch_size)(steps)
    return peak()


def peak() -> int:
    """The most memory that this process has needed, MiB.

    Linux counts ru_maxrss of a process from that of the process that started it; VmHWM is its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) // 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (2**20 if sys.platform == "darwin" else 2**10)


def parts(name: str, width: int, batch_size: int, report: Report, steps: int = 1_000) -> None:
    """Print where our loop's time goes: what is left after its four parts is the Trainer's own."""
    task = trainer(width, batch_size, name == COMPILED)

    def advance(count: int) -> None:
        end = task.steps_done + count
        while task.steps_done < end:
            task.advance()

    advance(STARTS + SETTLED)
    seconds: dict[str, float] = {}
    with ExitStack() as stack:
        for part, owner, method in (
            ("acting", task.explorer, "act"),
            ("environment", task.envs, "step"),
            ("replay: store", task.replay, "add"),
            ("replay: sample", task._samplers[0], "__call__"),
            ("update", task.update, "__call__"),
        ):
            stack.enter_context(_timed(part, type(owner), method, seconds))
        start = time.perf_counter()
        advance(steps)
        whole = time.perf_counter() - start
    task.close()
    seconds["the rest"] = whole - sum(seconds.values())
    title = f"DDPG on Pendulum-v1, 2x{width}, batch {batch_size}: {name}"
    print(f"\nprofile of {title}: {1e6 * whole / steps:.0f} us a step")
    row: Row = {}
    for part, own in sorted(seconds.items(), key=lambda item: -item[1]):
        row[part] = 1e6 * own / steps
        print(f"  {part:34s}{row[part]:10.1f} us{100 * own / whole:7.1f} %")
    report.profiles[title] = row


@contextmanager
def _timed(part: str, kind: type, method: str, seconds: dict[str, float]) -> Iterator[None]:
    """Add up the time of a method of `kind` under `part`."""
    original = getattr(kind, method)
    seconds[part] = 0.0

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            seconds[part] += time.perf_counter() - start

    with patch.object(kind, method, timed):
        yield


if __name__ == "__main__":
    pin(1)
    print(alone(sys.argv[1], *map(int, sys.argv[2:])))
