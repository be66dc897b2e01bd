"""The cost of an update PER SEED, by the number of seeds that are stacked."""

from __future__ import annotations

import functools

from rlgan.gan.game import Batch
from rlgan.gan.wgan import WGAN
from rlgan.optim import Stack
from scripts.benchmarks import peers
from scripts.benchmarks.composed import task
from scripts.benchmarks.ddpg import PlainUpdate, our_update, stacked_update, transitions
from scripts.benchmarks.harness import Figures, Options, Report, Variant, measure
from scripts.benchmarks.profiling import profiled
from scripts.benchmarks.wgan import UsualClip, our_parameters, usual_rmsprop

BLOCKS = 15
COUNTS, MORE = (1, 4, 16, 64), (256, 1024)
"""Seeds that are stacked; and on a GPU."""
PLAIN, ALONE = "nn.Module + torch.optim", "rlgan, compiled, by itself"
PROFILED = 16


def run(options: Options, report: Report) -> None:
    """DDPG at two sizes, and the default WGAN."""
    counts = (*COUNTS, *MORE) if options.cuda else COUNTS
    for width, batch_size in reversed(peers.SIZES):
        if options.only in (title := f"DDPG update, 2x{width}, batch {batch_size}"):
            ddpg(title, width, batch_size, counts, options, report)
    if options.only in (title := "the clipped WGAN on the ring, 3x128, batch 128"):
        wgan(title, counts, options, report)


def ddpg(title: str, width: int, batch_size: int, counts: tuple[int, ...], options: Options, report: Report) -> None:
    """One size of network and minibatch."""
    batch = transitions(batch_size, options.device)
    plain = PlainUpdate(width, device=options.device)
    alone = our_update(width, compiled=True, device=options.device)
    variants: dict[str, Variant] = {PLAIN: lambda: plain(batch), ALONE: lambda: alone([batch])}
    for n in counts:
        variants[stacked(n)] = stacked_update(width, batch, n, options.device)
    per_seed(title, variants, counts, options, report)
    if options.profile:
        make = functools.partial(stacked_update, width, batch, PROFILED, options.device)
        profiled(f"{title}, {PROFILED} stacked", make, report)


def wgan(title: str, counts: tuple[int, ...], options: Options, report: Report) -> None:
    """The task of conf/ as it is: weight clipping, three steps of the critic to one of the generator."""
    ring = clipped_wgan(0, options.device)
    batches = ring_batches(ring)
    usual = UsualClip([128] * 3, usual_rmsprop, our_parameters(ring.update), options.device)
    alone = clipped_wgan(0, options.device, compiled=True).update
    variants: dict[str, Variant] = {PLAIN: lambda: usual(batches), ALONE: lambda: alone(batches)}
    variants |= {stacked(n): stacked_wgan(n, options.device) for n in counts}
    per_seed(title, variants, counts, options, report)
    if options.profile:
        make = functools.partial(stacked_wgan, PROFILED, options.device)
        profiled(f"{title}, {PROFILED} stacked", make, report)


def stacked(n: int) -> str:
    """The name of a variant."""
    return f"rlgan, {n} stacked"


def per_seed(
    title: str, variants: dict[str, Variant], counts: tuple[int, ...], options: Options, report: Report
) -> Figures:
    """Measure and show the time of a call over its seeds."""
    parts = dict.fromkeys(variants, 1) | {stacked(n): n for n in counts}
    figures = measure(variants, options).over(parts)
    report.table(f"{title}, time per seed", figures)
    for n in counts[1:]:
        times = figures.ratio(ALONE, stacked(n))
        print(f"  {n} seeds: {times:.2f} times cheaper a seed than one by itself", flush=True)
    return figures


def clipped_wgan(seed: int, device: str, compiled: bool = False) -> WGAN:
    """The task of conf/, as it is."""
    found = task("experiment=gan/ring_clip", f"seed={seed}", f"device={device}", f"compile={str(compiled).lower()}")
    assert isinstance(found, WGAN)
    return found


def ring_batches(own: WGAN) -> list[Batch]:
    """The minibatches of one move, of the task's own streams."""
    return [own.batch(own.generators) for _ in range(own.update.batches)]


def stacked_wgan(seeds: int, device: str) -> Variant:
    """As many of them as one compiled graph."""
    tasks = [clipped_wgan(k, device) for k in range(seeds)]
    stack = Stack([own.update for own in tasks], compiled=True)
    batches = [ring_batches(own) for own in tasks]
    return lambda: stack(batches)
