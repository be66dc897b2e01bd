"""Mode collapse: a generator that leaves modes out, beside one whose critic is kept in check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rlgan.gan import Mixture
from rlgan.gan.evaluation import Subject
from rlgan.lectures.band import band
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, figure, quiet
from rlgan.task.seeding import Generators

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (FAKE, "#d98c3f", "#8a6d1f", BLUE)
_SHOWN = 1000
WORDS = {
    "outrun": "slow critic",
    "outrun_penalty": "slow critic, penalty",
    "even": "critic as fast",
    "even_penalty": "critic as fast, penalty",
}
"""What variants are called in the figure; others by their names."""


def mode_collapse(runs: Mapping[str, Ran], shown: Sequence[str]) -> Drawn:
    """Samples of two variants beside the true ones, and the number of modes that each variant covers as it trains.

    A mode counts as covered if one of 2,500 samples lies within 3 sigma of it (`modes/covered`). A generator that sits
    on one mode, and goes on to the next when the critic has noticed, collapses as in Metz et al. 2017, figure 2
    (arXiv:1611.02163); Mescheder et al. 2018 (arXiv:1801.04406) say why a penalty on the critic's gradient at the real
    samples (R1) makes the same game converge.

    Args:
        runs: of `data=ring` or another mixture in the plane, evaluated as they train.
        shown: the two variants whose samples are drawn, those of the first seed.

    Returns:
        The figure, and for every variant NAME, over its seeds: `modes_NAME`, the mean number of modes at the end,
        `least_NAME` and `most_NAME`, the extremes, `kept_NAME`, the mean over the evaluations of the second half of
        training, `w1_NAME`, the exact W1 at the end.
    """
    made = figure(9.0, 3.3)
    left, middle, right = made.subplots(1, 3, width_ratios=(1.0, 1.0, 1.35))
    colours = dict(zip(runs, _COLOURS, strict=False))
    for axes, name in zip((left, middle), shown, strict=True):
        subject = runs[name].task().subject  # type: ignore[attr-defined]
        _samples(axes, subject, colours[name])
        quiet(axes, title=_words(name))
        axes.set_xlabel(f"step {subject.step:,}, {_SHOWN:,} samples", fontsize=SMALL, color=INK)
    numbers: dict[str, float] = {}
    for name, ran in runs.items():
        steps, covered = ran.curve("modes/covered")
        band(right, steps, covered, colours[name], _words(name))
        late = covered[:, steps > steps[-1] / 2]
        numbers |= {
            f"modes_{name}": float(covered[:, -1].mean()),
            f"least_{name}": float(covered[:, -1].min()),
            f"most_{name}": float(covered[:, -1].max()),
            f"kept_{name}": float(late.mean()),
            f"w1_{name}": ran.mean("wasserstein/primal"),
        }
    quiet(right, "generator updates", "modes covered", curves=True)
    right.set_ylim(-0.3, max(1.0, float(right.get_ylim()[1])))
    right.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="center right", bbox_to_anchor=(1.0, 0.38))
    return Drawn(made, numbers)


def _words(name: str) -> str:
    return WORDS.get(name, name.replace("_", " "))


def _samples(axes: Axes, subject: Subject, colour: str) -> None:
    """True samples in grey and generated ones in a colour, in a square that holds both."""
    draws = Generators(subject.seed)
    real, fake = (x.cpu().double().numpy() for x in (subject.real(_SHOWN, draws), subject.generate(_SHOWN, draws)))
    reach = 1.15 * max(float(np.abs(real).max()), float(np.quantile(np.abs(fake), 0.98)))
    axes.scatter(real[:, 0], real[:, 1], s=5, c=REAL, alpha=0.35, linewidths=0, label="real")
    axes.scatter(fake[:, 0], fake[:, 1], s=5, c=colour, alpha=0.6, linewidths=0, label="generated")
    if isinstance(subject.data, Mixture):
        modes = subject.data.modes.numpy()
        axes.scatter(modes[:, 0], modes[:, 1], s=70, facecolors="none", edgecolors=REAL, linewidths=0.5)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    legend = axes.legend(loc="upper right", fontsize=SMALL - 1, frameon=False, handletextpad=0.1)
    for handle in legend.legend_handles:
        handle.set_alpha(1.0)  # type: ignore[union-attr]
