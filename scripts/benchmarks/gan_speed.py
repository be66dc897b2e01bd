"""The WGAN's update on the ring of eight Gaussians beside the usual loops, from equal weights."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.benchmarks.ddpg import apart
from scripts.benchmarks.harness import Options, Report, Variant, measure
from scripts.benchmarks.wgan import KINDS, our_parameters, ours, ring_batches

BLOCKS = 20
SAME = 0.1
"""How far apart two updates may come, over the way that they have come, in three moves in single precision: rounding
shows, as the first steps of RMSProp and Adam are the gradient's signs. (In double precision: tested, to 1e-9.)"""
BATCH_SIZE = 256
USUAL, EAGER, COMPILED = "usual loop", "rlgan, eager", "rlgan, compiled"
EAGER_TWO, COMPILED_TWO = "rlgan, eager, two backwards", "rlgan, compiled, two backwards"
MARKS = {("clip", 128): 1.15, ("clip", 512): 1.15, ("gradient penalty", 128): 1.2, ("gradient penalty", 512): 1.0}
"""At least so many times faster than the usual loop, by the better of the two ways to run."""


def run(options: Options, report: Report) -> None:
    """Three kinds at two widths."""
    for kind in KINDS:
        for width in (128, 512):
            title = f"WGAN, {kind}, 3x{width}, batch {BATCH_SIZE}"
            if options.only not in title:
                continue
            variants = same_update(kind, (width,) * 3, options, report)
            figures = measure(variants, options)
            report.table(title, figures)
            if kind == "simultaneous":
                for one, two in ((EAGER, EAGER_TWO), (COMPILED, COMPILED_TWO), (EAGER, USUAL)):
                    report.mark(f"{one}: one backward against {two}", figures.ratio(two, one), at_least=1.25)
            else:
                for way in (EAGER, COMPILED):
                    mark = MARKS[kind, width]
                    report.mark(f"{way} against the usual loop", figures.ratio(USUAL, way), at_least=mark)


def same_update(kind: str, hidden: Sequence[int], options: Options, report: Report) -> dict[str, Variant]:
    """One move from equal weights in several ways.

    Raises:
        ArithmeticError: after three moves their numbers are not the same.
    """
    loop, optimizer, game, lipschitz = KINDS[kind]
    ways = {EAGER: (False, True), COMPILED: (True, True)}
    if kind == "simultaneous":
        ways |= {EAGER_TWO: (False, False), COMPILED_TWO: (True, False)}
    updates = {
        name: ours(hidden, game, lipschitz, compiled, options.device, joint) for name, (compiled, joint) in ways.items()
    }
    start = our_parameters(updates[EAGER])
    usual = loop(hidden, optimizer, start, options.device)
    batches = ring_batches(updates[EAGER].batches, BATCH_SIZE, options.device)
    variants: dict[str, Variant] = {USUAL: lambda: usual(batches)}
    for name, update in updates.items():
        variants[name] = lambda update=update: update(batches)  # type: ignore[misc]
    for call in variants.values():
        for _ in range(3):
            call()
    distance = {name: apart(usual.parameters(), our_parameters(update), start) for name, update in updates.items()}
    for name, value in distance.items():
        if not value < SAME:
            raise ArithmeticError(f"{kind}: {name} is not the usual update, {value:.1e} apart (at most {SAME:.0e})")
    report.note(f"{kind}, 3x{hidden[0]}: the same numbers, {max(distance.values()):.0e} apart after 3 moves")
    return variants
