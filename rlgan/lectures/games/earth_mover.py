"""The earth mover's distance from both sides: which mass goes where, and the potential that it falls along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import ot
import torch

from rlgan.gan import WGAN, Pair
from rlgan.gan.evaluation import Subject
from rlgan.gan.pictures import level_sets, window
from rlgan.lectures.band import band
from rlgan.nets.layers import in_evaluation_mode
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, figure, quiet
from rlgan.task.seeding import Generators

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_SAMPLES, _SHOWN = 512, 130
_COLOURS = (FAKE, BLUE, "#8a6d1f")
_NONE = 1e-12
"""Mass below which a plan has no line between two points."""


class Plan(NamedTuple):
    """An optimal coupling of two sets of atoms.

    Args:
        mass: pi ``(n, m)``, what goes from x_i to y_j.
        primal: sum pi_ij |x_i - y_j|, the distance W1.
        dual: sum a_i u_i + sum b_j v_j of potentials with u_i + v_j <= |x_i - y_j|, the same number.
    """

    mass: Array
    primal: float
    dual: float


def transport_plan(x: Array, y: Array, a: Array | None = None, b: Array | None = None) -> Plan:
    """Solve the transportation problem of atoms x with masses a and y with masses b, by POT's network simplex.

    Args:
        x: ``(n, d)``.
        y: ``(m, d)``.
        a: ``(n,)``, of sum 1; None: all alike.
        b: ``(m,)``, of sum 1; None: all alike.
    """
    a = np.full(len(x), 1 / len(x)) if a is None else a
    b = np.full(len(y), 1 / len(y)) if b is None else b
    cost = np.linalg.norm(x[:, None] - y[None], axis=2)
    mass, log = ot.emd(a, b, cost, numItermax=10_000_000, log=True)
    return Plan(mass, float((mass * cost).sum()), float(a @ log["u"] + b @ log["v"]))


def least_by_a_map(y: Array, b: Array, places: Array) -> float:
    """What is left to move when one atom was carried by a map: the least W1 between an atom at one of the places and y.

    A map sends all of an atom to one place (Monge's problem), where a plan may split it (Kantorovich's).

    Args:
        y: atoms ``(m, d)`` with masses b ``(m,)``.
        places: where the atom may be sent, ``(k, d)``.
    """
    return min(transport_plan(place[None], y, np.ones(1), b).primal for place in places)


def earth_movers_distance(runs: Mapping[str, Ran]) -> Drawn:
    """A transport plan beside the trained critic, the critic's gap as it trains, and one atom against two.

    W1(mu, nu) = inf E |x - y| over couplings = sup E_mu f - E_nu f over 1-Lipschitz f (Kantorovich & Rubinstein), the
    slide's (17) and (18); in its (19) f has the opposite sign, for there the generator's samples come first. (EE-556,
    Lecture 7: Optimization for Deep Learning, "A notion of distance between distributions", "The Wasserstein
    distance"; Villani 2009, chapters 4 and 5.)

    Args:
        runs: critics of slope at most 1 on pairs of known W1: `cones` in the plane, `atoms` of one pixel, and others.

    Returns:
        The figure, and for every pair NAME, on the same draws: `true_NAME`, `primal_NAME`, `plan_dual_NAME` by POT's
        potentials, and `dual_NAME`, the trained critic's, the mean over seeds, with `dual_NAME_largest`. Of the cones
        `slope_along_plan`, the mean fall of f along the plan's lines over their length. Of the atoms `split`, the
        smaller of the shares into which the plan divides the one atom, and `map_leaves`, the W1 that is left by the
        best map.
    """
    numbers: dict[str, float] = {}
    subjects = {name: cast(WGAN, ran.task()).subject for name, ran in runs.items()}
    for name, ran in runs.items():
        x, y = _points(subjects[name])
        plan = transport_plan(x, y)
        duals = [_gap(cast(WGAN, ran.task(seed)).subject) for seed in ran.seeds]
        numbers |= {
            f"true_{name}": cast(Pair, subjects[name].data).w1,
            f"primal_{name}": plan.primal,
            f"plan_dual_{name}": plan.dual,
            f"dual_{name}": float(np.mean(duals)),
            f"dual_{name}_largest": max(duals),
        }
    numbers |= _along(subjects["cones"])
    split, numbers["map_leaves"] = _atoms(subjects["atoms"])
    numbers["split"] = float(split.min())
    made = figure(10.4, 3.6)
    plan_axes, curves, line = made.subplots(1, 3, width_ratios=(1.1, 1, 1))
    _plan(plan_axes, subjects["cones"])
    for (name, ran), colour in zip(runs.items(), _COLOURS * len(runs), strict=False):
        steps, values = ran.curve("wasserstein/dual_eval")
        band(curves, steps, values / numbers[f"true_{name}"], colour, name)
    curves.axhline(1, color=INK, lw=0.8, ls="--")
    curves.text(curves.get_xlim()[1], 1.01, "primal", fontsize=SMALL - 1, color=INK, ha="right")
    curves.set_ylim(None, 1.06)
    curves.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower right")
    quiet(curves, "step (five of the critic)", r"$(E_\mu f - E_\nu f)\;/\;W_1$", "dual: the critic's gap", curves=True)
    _potential(line, subjects["atoms"], split)
    return Drawn(made, numbers)


def _points(subject: Subject, n: int = _SAMPLES) -> tuple[Array, Array]:
    """Draws of mu and nu as vectors, of the same z."""
    draws = Generators(subject.seed)
    x, y = subject.real(n, draws), subject.generate(n, draws)
    return x.flatten(1).double().numpy(), y.flatten(1).double().numpy()


def _scores(subject: Subject, points: Array) -> Array:
    """f at points ``(n, d)``."""
    x = torch.from_numpy(points).reshape(-1, *subject.data.shape)
    found: Array = subject.scores(x).double().numpy()
    return found


def _gap(subject: Subject) -> float:
    """E_mu f - E_nu f on the draws of `_points`."""
    x, y = _points(subject)
    return float(_scores(subject, x).mean() - _scores(subject, y).mean())


def _along(subject: Subject) -> dict[str, float]:
    x, y = _points(subject)
    i, j = np.nonzero(transport_plan(x, y).mass > _NONE)
    fall, length = _scores(subject, x[i]) - _scores(subject, y[j]), np.linalg.norm(x[i] - y[j], axis=1)
    return {"slope_along_plan": float((fall / length).mean())}


def _atoms(subject: Subject) -> tuple[Array, float]:
    """The shares into which the plan divides the one atom, and what the best map leaves."""
    x, y = _points(subject)
    two, one = np.unique(x, axis=0), np.unique(y, axis=0)
    b = np.full(len(two), 1 / len(two))  # the distribution's masses, and not the draws'
    split = transport_plan(one, two, np.ones(1), b).mass[0]
    along = np.linspace(-0.75, 0.75, 61)[:, None]
    places = two.mean(0) + along * (two[-1] - two[0])
    return split, least_by_a_map(two, b, places)


def _plan(axes: Axes, subject: Subject) -> None:
    """Lines of the plan over the critic's level sets."""
    x, y = _points(subject, _SHOWN)
    i, j = np.nonzero(transport_plan(x, y).mass > _NONE)
    seen = window(y)
    with in_evaluation_mode(subject.critic):
        level_sets(axes, subject.critic, seen, torch.zeros(1, dtype=subject.dtype), bar=False)
    axes.plot(*np.stack((y[j], x[i]), 1).T, color=INK, lw=0.6, alpha=0.8)
    axes.scatter(y[:, 0], y[:, 1], s=7, color=FAKE, linewidths=0, label=r"$\nu$")
    axes.scatter(x[:, 0], x[:, 1], s=7, color=REAL, linewidths=0, label=r"$\mu$")
    axes.set(xlim=seen[:2], ylim=seen[2:], aspect="equal", xticks=[], yticks=[])
    axes.legend(fontsize=SMALL, loc="upper right", framealpha=0.9)
    quiet(axes, "", "", "primal: the plan, over the critic's level sets")


def _potential(axes: Axes, subject: Subject, split: Array) -> None:
    """One atom against two on a line: masses, where they go, and the critic."""
    x, y = _points(subject)
    ends, start = np.unique(x), float(np.unique(y)[0])
    line = np.linspace(ends[0] - 0.4, ends[-1] + 0.4, 200)
    f = _scores(subject, line[:, None]) - _scores(subject, np.array([[start]]))
    axes.plot(line, np.abs(line - start), color=REAL, lw=2.6, alpha=0.3, label=r"$|x|$")
    axes.plot(line, f, color=BLUE, lw=1.3, label="critic f(x) - f(0)")
    axes.bar([start], [1.0], width=0.07, color=FAKE, alpha=0.8, label=r"$\nu$", zorder=3)
    axes.bar(ends, split, width=0.07, color=INK, alpha=0.8, label=r"$\mu$", zorder=3)
    for end, share in zip(ends, split, strict=True):
        bend = 0.25 if end < start else -0.25
        axes.annotate(
            "", (end, share + 0.02), (start, 1.0), arrowprops={"arrowstyle": "->", "color": FAKE, "lw": 1,
            "connectionstyle": f"arc3,rad={bend}"},
        )  # fmt: skip
        axes.text(0.5 * (start + end), 0.99, f"{share:.2f}", fontsize=SMALL, color=FAKE, ha="center")
    axes.set_ylim(0, 1.75)
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK, loc="upper center", ncols=2)
    quiet(axes, r"$x$", "mass; potential", "one atom against two: no map does it", curves=True)
