"""Memorisation: a generator that gives back what it was trained on, and the measures that notice."""

from __future__ import annotations

from collections.abc import Mapping

from rlgan.gan.evaluation import Subject, reference
from rlgan.gan.pictures import neighbour_grid
from rlgan.lectures.band import band
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, SMALL, figure, quiet
from rlgan.task.seeding import Generators

_COLOURS = (FAKE, BLUE)
_MEASURES = ("ratio", "authenticity", "c_t", "two_sample", "duplicates")
_PAIRS = 24


def memorisation(runs: Mapping[str, Ran]) -> Drawn:
    """Generated images beside the training images nearest to them, and two measures of copying as training goes.

    The ratio is the mean distance from a generated image to the nearest training image, over that of images which
    training never saw: 1 of a generator that has learnt the distribution, below where it gives back its training
    images. Authenticity is the share of generated images that are no nearer to a training image than that one is to
    its own neighbour (Alaa et al. 2022): about 1/2, and 0 of copies.

    Args:
        runs: two, of images with a held-out part, evaluated as they train; the features of their data have one name.

    Returns:
        The figure, and for every variant NAME the means over its seeds at the end: `ratio_NAME`, `authenticity_NAME`,
        `c_t_NAME`, `two_sample_NAME`, `duplicates_NAME` (see `rlgan.gan.metrics.memorisation`), `membership_NAME`, how
        well the critic's scores tell training images from held-out ones (1/2: not at all), and `images_NAME`, the
        number of training images; `worst_ratio_NAME` and `best_ratio_NAME`, the least and the largest over the seeds.
    """
    made = figure(9.0, 4.4)
    left, middle, right = made.subplots(1, 3, width_ratios=(1.0, 1.0, 1.15))
    numbers: dict[str, float] = {}
    for (name, ran), axes, colour in zip(runs.items(), (left, middle), _COLOURS, strict=True):
        subject: Subject = ran.task().subject  # type: ignore[attr-defined]
        known = reference(subject.data, 2048)
        found = {measure: ran.curve(f"memorisation/{measure}_{known.name}") for measure in _MEASURES}
        numbers |= {f"{measure}_{name}": float(values[:, -1].mean()) for measure, (_, values) in found.items()}
        last = found["ratio"][1][:, -1]
        numbers |= {f"worst_ratio_{name}": float(last.min()), f"best_ratio_{name}": float(last.max())}
        numbers |= {f"membership_{name}": ran.mean("memorisation/membership_auc")}
        numbers |= {f"images_{name}": float(len(known.training))}
        samples = subject.generate(_PAIRS, Generators(subject.seed))
        axes.imshow(neighbour_grid(samples, known.nearest(samples), columns=3), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        quiet(axes, "pairs: generated | nearest training image", title=f"{name}: {len(known.training):,} images")
        band(right, *found["ratio"], colour, f"distance ratio, {name}")
        band(right, *found["authenticity"], colour, f"authenticity, {name}", ls="--")
    right.axhline(1.0, color=INK, lw=0.8, ls=":")
    right.axhline(0.5, color=INK, lw=0.8, ls=":")
    right.set_ylim(0.0, 1.35 * right.get_ylim()[1])
    quiet(right, "generator updates", "distance ratio; authenticity (a share)", "dotted: what fresh images have",
          curves=True)  # fmt: skip
    right.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper right")
    return Drawn(made, numbers)
