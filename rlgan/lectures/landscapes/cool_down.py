"""A constant step that cools down as 1/k from a cut-off on: the training loss at several cut-offs."""

from __future__ import annotations

from collections.abc import Mapping

from rlgan.lectures.band import band
from rlgan.lectures.ways import COLOURS
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, PALE, SMALL, figure, quiet

LATE = 10
"""Looks at the end of a run, and before a cut-off, that are averaged."""


def cool_down(runs: Mapping[str, Ran]) -> Drawn:
    """The training loss and the test error against steps, of a constant step and of several cut-offs.

    lr_k = lr up to the cut-off, lr cut-off/k from there on (`schedule=cool_down`). With a constant step SGD goes round
    a minimum at a distance that goes with sqrt(lr); with 1/k it converges, at a rate of 1/k in the loss (Mertikopoulos
    et al. 2020, Theorem 4 and section 5).

    (EE-556, Lecture 9: Deep Learning III, "Using 1/k step-size decrease helps in practice".)

    Args:
        runs: `constant`, and `cut_P` of those cut off at P per cent of their steps.

    Returns:
        The figure, and `loss_NAME`, the training loss over the last looks, `error_NAME`, the test error at the end; of
        each cut-off `drop_NAME`, its loss at the end over that before the cut-off, and `ratio_NAME`, over that of
        `constant`.
    """
    made = figure(8.6, 3.9)
    left, right = made.subplots(1, 2)
    numbers: dict[str, float] = {}
    for (name, ran), colour in zip(runs.items(), COLOURS, strict=False):
        steps, loss = ran.curve("risk/train")
        numbers[f"loss_{name}"] = float(loss[:, -LATE:].mean())
        numbers[f"error_{name}"] = ran.mean("error/test")
        label = "constant"
        if name.startswith("cut_"):
            cut = int(name.removeprefix("cut_")) / 100 * steps[-1]
            before = loss[:, steps <= cut][:, -LATE:].mean()
            numbers[f"drop_{name}"] = float(numbers[f"loss_{name}"] / before)
            numbers[f"ratio_{name}"] = numbers[f"loss_{name}"] / numbers["loss_constant"]
            label = f"1/k from step {cut:,.0f} on"
            left.axvline(cut, color=colour, lw=0.8, ls=":", zorder=0)
        band(left, steps, loss, colour, label)
        band(right, *ran.curve("error/test"), colour)
    left.set_yscale("log")
    quiet(left, "step k", "training loss", "training loss (mean and range of the seeds)", curves=True)
    quiet(right, "step k", "test error", "test error", curves=True)
    right.set_ylim(0, 0.2)
    left.legend(fontsize=SMALL, labelcolor=INK, edgecolor=PALE, loc="upper right")
    return Drawn(made, numbers)
