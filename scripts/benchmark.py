"""Measure: `python scripts/benchmark.py NAME`; variants run side by side, in turns, in one process.

The peers come with `pip install -c constraints.txt -e ".[bench]"`; one that is missing is left out.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.benchmarks import BENCHMARKS  # noqa: E402
from scripts.benchmarks.harness import Options, Report, machine, pin, versions  # noqa: E402
from scripts.studies import STUDIES  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The command line."""
    every = BENCHMARKS | STUDIES
    names = "\n".join(f"  {name:10s} {line}" for name, line in every.items())
    made = argparse.ArgumentParser(
        description=f"{__doc__}\nbenchmarks:\n{names}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("name", choices=every, metavar="NAME", help="what to measure, from the list above")
    made.add_argument("--blocks", type=int, help="turns that every variant takes (default: the benchmark's own number)")
    made.add_argument("--threads", type=int, default=1, help="CPU threads of every library (default 1)")
    made.add_argument("--device", default="cpu", help="of the tensors: cpu (default) or cuda")
    made.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="elapsed (default) or CPU time")
    made.add_argument("--only", default="", help="only the tables whose title contains this, for example 2x64")
    made.add_argument("--profile", action="store_true", help="also say where the time goes")
    made.add_argument("--json", type=Path, help="also write the figures to this file")
    made.add_argument("--seeds", type=int, help="of a study (gan, gan_truth, rl): seeds of a cell (default: its own)")
    made.add_argument("--steps", type=int, help="of a study: length of every cell (default: its own)")
    made.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="of known: other libraries")
    made.add_argument(
        "--with", nargs="*", default=[], dest="words", metavar="WORD", help="of known: words for our runs"
    )
    made.add_argument("--csv", type=Path, help="of known: another file than its own")
    made.add_argument("--table", action="store_true", help="of a study: show and draw what its CSV holds")
    return made


def main() -> None:
    """Run the named benchmark."""
    given = parser().parse_args()
    pin(given.threads)  # before torch, numpy and JAX are loaded

    import torch

    torch.set_num_threads(given.threads)
    benchmark = importlib.import_module(f"scripts.{'studies' if given.name in STUDIES else 'benchmarks'}.{given.name}")
    options = Options(
        given.blocks or benchmark.BLOCKS,
        given.threads,
        given.device,
        given.clock,
        given.profile,
        given.only,
        given.seeds,
        given.steps,
        given.table,
        given.peers,
        tuple(given.words),
        given.csv,
    )
    print(", ".join(f"{name} {v}" for name, v in versions().items()))
    print(", ".join(f"{name} {v}" for name, v in machine().items()), end="; ")
    print(f"{options.threads} thread(s), {options.blocks} blocks, {options.device}, {options.clock} time", flush=True)
    report = Report()
    if options.clock == "wall" and float(machine()["load"]) > int(machine()["cores"]):
        report.note("the machine is busy; CPU time (--clock cpu) is disturbed less")
    benchmark.run(options, report)
    if given.json:
        report.write(given.json, given.name, options)


if __name__ == "__main__":
    main()
