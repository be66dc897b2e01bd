"""The cost of an update PER SEED, by the number of seeds that are stacked."""

from __future__ import annotations

from rlgan.gan.wgan import WGAN, Batch
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
        batch = transitions(batch_size, options.device)
        plain = PlainUpdate(width, device=options.device)
        alone = our_update(width, compiled=True, device=options.device)
        variants: dict[str, Variant] = {
            PLAIN: lambda plain=plain, batch=batch: plain(batch),  # type: ignore[misc]
            ALONE: lambda alone=alone, batch=batch: alone([batch]),  # type: ignore[misc]
        }
        for n in counts:
            variants[stacked(n)] = stacked_update(width, batch, n, options.device)
        title = f"DDPG update, 2x{width}, batch {batch_size}, time per seed"
        per_seed(title, variants, counts, options, report)
        if options.profile:
            profiled(
                f"DDPG update, 2x{width}, batch {batch_size}, {PROFILED} stacked",
                lambda width=width, batch=batch: stacked_update(width, batch, PROFILED, options.device),  # type: ignore[misc]
                report,
            )
    ring = default_wgan(0, options.device)
    batches = ring_batches(ring)
    usual = UsualClip([128] * 3, usual_rmsprop, our_parameters(ring.update), options.device)
    own = default_wgan(0, options.device, compiled=True).update
    variants = {PLAIN: lambda: usual(batches), ALONE: lambda: own(batches)}
    variants |= {stacked(n): stacked_wgan(n, options.device) for n in counts}
    per_seed("the default WGAN on the ring, 3x128, batch 128, time per seed", variants, counts, options, report)
    if options.profile:
        profiled(f"the default WGAN, {PROFILED} stacked", lambda: stacked_wgan(PROFILED, options.device), report)


def stacked(n: int) -> str:
    """The name of a variant."""
    return f"rlgan, {n} stacked"


def per_seed(
    title: str, variants: dict[str, Variant], counts: tuple[int, ...], options: Options, report: Report
) -> Figures:
    """Measure and show the time of a call over its seeds."""
    parts = dict.fromkeys(variants, 1) | {stacked(n): n for n in counts}
    figures = measure(variants, options).over(parts)
    report.table(title, figures)
    for n in counts[1:]:
        times = figures.ratio(ALONE, stacked(n))
        print(f"  {n} seeds: {times:.2f} times cheaper a seed than one by itself", flush=True)
    return figures


def default_wgan(seed: int, device: str, compiled: bool = False) -> WGAN:
    """The task of conf/, as it is."""
    found = task("task=wgan", f"seed={seed}", f"device={device}", f"compile={str(compiled).lower()}")
    assert isinstance(found, WGAN)
    return found


def ring_batches(own: WGAN) -> list[Batch]:
    """The minibatches of one move, of the task's own streams."""
    return [own.batch(own.generators) for _ in range(own.update.batches)]


def stacked_wgan(seeds: int, device: str) -> Variant:
    """As many of them as one compiled graph."""
    tasks = [default_wgan(k, device) for k in range(seeds)]
    stack = Stack([own.update for own in tasks], compiled=True)
    batches = [ring_batches(own) for own in tasks]
    return lambda: stack(batches)
