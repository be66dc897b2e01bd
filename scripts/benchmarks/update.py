"""The DDPG update, critic and actor and their averages, on Pendulum's shapes."""

from __future__ import annotations

from rlgan.rl.replay.uniform import Transition
from scripts.benchmarks import peers
from scripts.benchmarks.ddpg import PlainUpdate, apart, matrix_products, our_parameters, our_update, transitions
from scripts.benchmarks.harness import Options, Report, Variant, measure
from scripts.benchmarks.profiling import profiled

BLOCKS = 40
SAME = 1e-3
"""How far apart two updates may come, over the way that they have come: single precision, five steps of Adam."""
MARKS = {256: (1.2, 1.8, 1.0), 64: (1.7, 4.5, 1.0)}
"""Compiled: at most so many times its products by torch.mm, at least so many times faster than the usual update, than
JAX."""

PLAIN, EAGER, COMPILED = "nn.Module + torch.optim.Adam", "rlgan, eager", "rlgan, compiled"
BY_DEFAULT = {False: "rlgan, eager, by default", True: "rlgan, compiled, by default"}
"""With layer norm and symlog values, which the usual update has not."""
JAX, JAX_FLAT, PRODUCTS = "JAX, jit, trees", "JAX, jit, flat vectors", "its matrix products alone, by torch.mm"


def run(options: Options, report: Report) -> None:
    """All variants at both sizes."""
    for width, batch_size in peers.SIZES:
        title = f"DDPG update, 2x{width}, batch {batch_size}"
        if options.only not in title:
            continue
        variants = same_update(width, batch_size, options, report)
        if not options.cuda:
            variants |= train_steps(width, batch_size, report)
        variants |= by_default(width, batch_size, options)
        variants[PRODUCTS] = matrix_products(width, batch_size, options.device)
        figures = measure(variants, options)
        report.table(title, figures)
        of_products, of_plain, of_jax = MARKS[width]
        report.mark("compiled over its matrix products", figures.ratio(COMPILED, PRODUCTS), at_most=of_products)
        report.mark("compiled against the usual update", figures.ratio(PLAIN, COMPILED), at_least=of_plain)
        for name in (JAX, JAX_FLAT):
            if name in variants:
                report.mark(f"compiled against {name}", figures.ratio(name, COMPILED), at_least=of_jax)
        if options.profile:
            batch = transitions(batch_size, options.device)

            def make(width: int = width, batch: Transition = batch) -> Variant:
                update = our_update(width, compiled=True, device=options.device)
                return lambda: update([batch])

            profiled(f"{title}, compiled", make, report)


def same_update(width: int, batch_size: int, options: Options, report: Report) -> dict[str, Variant]:
    """The update of equal weights in several ways.

    Raises:
        ArithmeticError: after five updates their numbers are not the same.
    """
    batch = transitions(batch_size, options.device)
    eager, compiled = (our_update(width, compiled=mode, device=options.device) for mode in (False, True))
    start = our_parameters(eager)
    plain = PlainUpdate(width, start, options.device)
    variants: dict[str, Variant] = {
        PLAIN: lambda: plain(batch),
        EAGER: lambda: eager([batch]),
        COMPILED: lambda: compiled([batch]),
    }
    reached = {
        PLAIN: plain.parameters,
        EAGER: lambda: our_parameters(eager),
        COMPILED: lambda: our_parameters(compiled),
    }
    if not options.cuda and peers.present(report, "jax", "optax"):
        from scripts.benchmarks.jax_ddpg import JaxUpdate, to_jax

        tree, flat, theirs = JaxUpdate(start), JaxUpdate(start, flat=True), to_jax(batch)
        variants |= {JAX: lambda: tree(theirs), JAX_FLAT: lambda: flat(theirs)}
        reached |= {JAX: tree.parameters, JAX_FLAT: flat.parameters}
    for call in variants.values():
        for _ in range(5):
            call()
    distance = {name: apart(plain.parameters(), parameters(), start) for name, parameters in reached.items()}
    for name, value in distance.items():
        if not value < SAME:
            raise ArithmeticError(f"{name}: is not the same update, {value:.1e} apart after 5 (at most {SAME:.0e})")
    worst = max(distance.values())
    report.note(f"2x{width}, batch {batch_size}: the same numbers, {worst:.0e} of the way apart after 5 updates")
    return variants


def by_default(width: int, batch_size: int, options: Options) -> dict[str, Variant]:
    """The update of the defaults of `task=ddpg` at this size."""
    batch = transitions(batch_size, options.device)

    def variant(mode: bool) -> Variant:
        update = our_update(width, compiled=mode, device=options.device, default=True)
        return lambda: update([batch])

    return {name: variant(mode) for mode, name in BY_DEFAULT.items()}


def train_steps(width: int, batch_size: int, report: Report) -> dict[str, Variant]:
    """What stable-baselines3 and sbx call a train step: their own update, with their replay's sample and their log."""
    found: dict[str, Variant] = {}
    for name, package, make in (
        ("stable-baselines3 DDPG.train", "stable_baselines3", peers.baselines3),
        ("sbx DDPG.train", "sbx-rl", peers.sbx),
    ):
        if peers.present(report, package):
            model = make(width, batch_size, learning_starts=1_000)
            model.learn(1_000)  # fills the replay

            def train(model: object = model) -> None:
                model.train(gradient_steps=1, batch_size=batch_size)  # type: ignore[attr-defined]

            found[name] = train
    return found
