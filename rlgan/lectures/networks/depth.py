"""Layers that move at once: what Taylor's terms say of a step in a chain of them, and what batch norm makes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from rlgan.erm import ERM, Chain
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, PALE, REAL, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINED = 0.1
"""Share of the training samples told wrong, below which a network counts as trained (of ten classes chance is 0.9)."""
DEPTHS = range(2, 21)
ASKED = 0.1
"""The decrease that the slide asks for, by a step of ASKED / g'g."""


class Step(NamedTuple):
    """A gradient step of length lr from a chain's start: what R falls by, and what its Taylor polynomials say.

    first = lr g'g, second = lr g'g - lr^2 g'Hg / 2, optimal = g'g / g'Hg, the step that is best by the second.
    """

    first: float
    second: float
    actual: float
    optimal: float


def step(chain: Chain, lr: float) -> Step:
    """All of them by the chain's closed forms."""
    w = chain.beginning
    g = chain.gradient(w)
    squared, curved = float(g @ g), float(g @ chain.hessian(w) @ g)
    fall = float(chain.value(w) - chain.value(w - lr * g))
    return Step(lr * squared, lr * squared - lr**2 * curved / 2, fall, squared / curved)


def depth_and_batch_normalisation(runs: Mapping[str, Ran]) -> Drawn:
    """One step of a chain of one-node layers; and the step sizes that train deep networks with and without batch norm.

    (CMSC 35246, Lecture 6: Optimization for Deep Neural Networks, "Batch Normalization", whose second-order term lacks
    the square of the step size; Ioffe & Szegedy 2015; Goodfellow et al. 2016, section 8.7.1.)

    Args:
        runs: some of `problem=chain` after one step, of three weights; the others perceptrons on digits that differ in
            their depth, their step size and whether they have batch norm.

    Returns:
        The figure. Of the chains `run_difference`, the largest distance of a run's step from the closed form;
        `ratio_W_L`, the actual over the first-order decrease for weights W (in hundredths) and L layers;
        `recipe_W_L`, the decrease by the step that is to bring ASKED; `left_by_optimal`, the largest share of R that
        a step of g'g / g'Hg leaves, over all depths and weights; `slide_at_zero`, what the slide's second-order term
        says of a step of length 0, for which it should be 0. Of the perceptrons `largest_NORM_L`, the largest step
        size at which all seeds are trained, 0 where none is, and `smallest_NORM_L`.
    """
    chains: dict[str, Chain] = {}
    lr, off = 0.0, 0.0
    for name, ran in runs.items():
        if "weight" not in ran.config["problem"]:
            continue
        task = cast(ERM, ran.task())
        chain = chains[name] = cast(Chain, task.problem)
        lr = float(ran.config["optimizer"]["lr"])
        w = chain.beginning
        closed = w - lr * chain.gradient(w)
        off = max(off, float((task.model.vector.theta.detach() - closed).norm() / closed.norm()))
    numbers = {"run_difference": off}
    for chain in chains.values():
        tag = f"{100 * chain.weight:.0f}_{chain.layers}"
        own = step(chain, lr)
        g = chain.gradient(chain.beginning)
        recipe = step(chain, ASKED / float(g @ g))
        numbers |= {
            f"ratio_{tag}": own.actual / own.first,
            f"second_ratio_{tag}": own.second / own.first,
            f"recipe_{tag}": recipe.actual,
        }
    left = []
    for chain in chains.values():
        w = chain.beginning
        moved = w - step(chain, lr).optimal * chain.gradient(w)
        left.append(float(chain.value(moved) / chain.value(w)))
    numbers["left_by_optimal"] = max(left)
    deepest = max(chains.values(), key=lambda chain: (chain.weight, -abs(chain.layers - 10)))
    g = deepest.gradient(deepest.beginning)
    numbers["slide_at_zero"] = float(g @ deepest.hessian(deepest.beginning) @ g) / 2
    errors = _errors({name: ran for name, ran in runs.items() if name not in chains})
    for (norm, layers), of in errors.items():
        trained = [size for size, worst in of.items() if worst < TRAINED]
        numbers |= {
            f"largest_{norm}_{layers}": max(trained, default=0.0),
            f"smallest_{norm}_{layers}": min(trained, default=0.0),
        }
    made = figure(10.4, 3.5)
    along, taylor, sizes = made.subplots(1, 3)
    _along(along, deepest, lr)
    _taylor(taylor, chains, lr)
    _sizes(sizes, errors)
    return Drawn(made, numbers)


def _errors(runs: Mapping[str, Ran]) -> dict[tuple[str, int], dict[float, float]]:
    """The worst seed's training error by (norm, layers) and step size."""
    found: dict[tuple[str, int], dict[float, float]] = defaultdict(dict)
    for ran in runs.values():
        network = ran.config["network"]
        worst = float(ran.last("error/train").max())
        found[network["norm"], len(network["hidden"])][float(ran.config["optimizer"]["lr"])] = worst
    return {key: dict(sorted(of.items())) for key, of in sorted(found.items())}


def _along(axes: Axes, chain: Chain, lr: float) -> None:
    """R along its gradient, and its Taylor polynomials."""
    w = chain.beginning
    g = chain.gradient(w)
    squared, curved = float(g @ g), float(g @ chain.hessian(w) @ g)
    lengths = torch.linspace(0, 1.4 * lr, 300, dtype=torch.float64)
    actual = torch.func.vmap(chain.value)(w - lengths[:, None] * g)
    start = float(chain.value(w))
    second = start - lengths * squared + lengths**2 * curved / 2
    axes.plot(lengths, start - lengths * squared, color=REAL, lw=1, ls="--", label="first order")
    axes.plot(lengths, second, color=BLUE, lw=1, ls="--", label=r"second order")
    axes.plot(lengths, actual, color=FAKE, lw=1.6, label="actual")
    axes.axvline(lr, color=PALE, lw=0.8, zorder=0)
    axes.set_ylim(1.2 * float(start - lengths[-1] * squared), 1.25 * float(actual.max()))
    axes.text(1.01 * lr, 0.8, "step of the\nmiddle panel", fontsize=SMALL - 1, color=INK)
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK, loc="upper left")
    quiet(axes, r"step size $\epsilon$", r"cost at $w - \epsilon\, g$", f"{chain.layers} weights of {chain.weight}",
          curves=True)  # fmt: skip


def _taylor(axes: Axes, chains: Mapping[str, Chain], lr: float) -> None:
    """Actual over first-order decrease against depth, for every weight."""
    by_weight: dict[float, list[Chain]] = defaultdict(list)
    for chain in chains.values():
        by_weight[chain.weight].append(chain)
    for (weight, own), colour in zip(sorted(by_weight.items()), (REAL, BLUE, FAKE), strict=False):
        line = [step(Chain(layers=k, weight=weight, x=own[0].x, slope=own[0].slope), lr) for k in DEPTHS]
        axes.plot(DEPTHS, [s.actual / s.first for s in line], color=colour, lw=1.2, label=f"weights {weight}")
        axes.plot(DEPTHS, [s.second / s.first for s in line], color=colour, lw=0.9, ls=":")
        runs = [(chain.layers, step(chain, lr)) for chain in own]
        axes.plot([k for k, _ in runs], [s.actual / s.first for _, s in runs], "o", color=colour, ms=4)
    axes.axhline(1, color=INK, lw=0.8, ls="--")
    axes.axhline(0, color=INK, lw=0.4)
    axes.set_yscale("symlog", linthresh=1, linscale=1.6)
    axes.set_ylim(-2000, 3)
    axes.set_xticks([2, 5, 10, 15, 20])
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK, loc="lower left", title="dotted: second order",
                title_fontsize=SMALL - 1)  # fmt: skip
    quiet(axes, "layers", rf"decrease / first-order decrease, $\epsilon = {lr:g}$", "below 0 the cost rises",
          curves=True)  # fmt: skip


def _sizes(axes: Axes, errors: Mapping[tuple[str, int], Mapping[float, float]]) -> None:
    """Training error against step size, with and without batch norm."""
    depths = sorted({layers for _, layers in errors})
    for (norm, layers), of in errors.items():
        colour, alpha = BLUE if norm == "batch" else FAKE, 0.35 + 0.65 * (depths.index(layers) + 1) / len(depths)
        size, error = list(of), [100 * e for e in of.values()]
        axes.plot(size, error, "o-", color=colour, ms=3.5, lw=1.1, alpha=alpha)
        failed = [i for i, e in enumerate(error) if e > 50]
        at = failed[0] if failed else len(size) - 1
        beside = (3, 8 * depths.index(layers) - 5)
        where = (-4, 4 if norm == "batch" or at < len(size) - 1 else -12) if failed else beside
        axes.annotate(
            f"{layers}", (size[at], error[at]), where, textcoords="offset points", color=colour, fontsize=SMALL
        )
    axes.axhline(100 * TRAINED, color=INK, lw=0.8, ls="--")
    for words, colour in (("plain", FAKE), ("batch norm", BLUE)):
        axes.plot([], [], "o-", color=colour, ms=3.5, lw=1.1, label=words)
    axes.set_xscale("log")
    ticks = sorted({size for of in errors.values() for size in of})
    axes.set_xticks(ticks, [f"{size:g}" for size in ticks])
    axes.minorticks_off()
    axes.set_xlim(ticks[0] / 1.3, ticks[-1] * 1.45)
    axes.set_ylim(-3, 100)
    axes.text(ticks[0], 100 * TRAINED + 1, "below: trained", fontsize=SMALL - 1, color=INK)
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK, loc="center left")
    quiet(
        axes,
        "step size",
        "training samples misclassified [%]",
        f"which step sizes train {', '.join(map(str, depths))} layers",
        curves=True,
    )
