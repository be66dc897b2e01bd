"""Random labels, which a network of enough parameters learns by heart."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"true_labels": "true labels", "half_random": "half of them random", "random_labels": "random labels"}
COLOURS = {"true_labels": BLUE, "half_random": "#d9a441", "random_labels": FAKE}


def parameters(inputs: int, width: int, outputs: int) -> int:
    """Weights and biases of a network with one hidden layer: m (d + 1) + c (m + 1)."""
    return width * (inputs + 1) + outputs * (width + 1)


def smallest(reached: Mapping[int, Mapping[int, bool]]) -> dict[int, float]:
    """Of every n the smallest width that reaches it; nan where none does, or where even the first one tried does.

    Args:
        reached: whether a width reaches zero error, by n and width.
    """
    found = {}
    for n, widths in reached.items():
        tried = sorted(widths)
        least = next((width for width in tried if widths[width]), None)
        found[n] = math.nan if least is None or least == tried[0] else float(least)
    return found


def exponent(needed: Mapping[int, float]) -> float:
    """p of the least-squares line log(needed) = p log(n) + c; nan where one of them is."""
    values = np.array(list(needed.values()))
    if len(needed) < 2 or np.isnan(values).any():
        return math.nan
    return float(np.polyfit(np.log(list(needed)), np.log(values), 1)[0])


def random_labels(runs: Mapping[str, Ran], inputs: int = 64, outputs: int = 10) -> Drawn:
    """Training loss over steps, errors at the end, and the parameters that zero error needs against the sample size.

    (Zhang et al. 2017, arXiv:1611.03530, figure 1a and section 4: 2 n + d parameters suffice for n samples of d
    dimensions, as some network of two layers has them; what gradient descent finds needs more.)

    Args:
        runs: of `problem=digits`: `true_labels`, `half_random`, `random_labels`; and nN_wM, of N samples with random
            labels and a hidden layer of M units.
        inputs, outputs: of the network.

    Returns:
        The figure. `error_train_NAME` and `error_test_NAME`, the largest and the mean over seeds; `needed_N`, the
        fewest parameters with which one of the seeds has no error on N samples (nan if no width tried has, or the
        least one already); `per_sample`, the same over N, in the mean; `exponent`, their growth N^exponent.
    """
    numbers: dict[str, float] = {}
    for name in LABELS:
        numbers[f"error_train_{name}"] = float(runs[name].last("error/train").max())
        numbers[f"error_test_{name}"] = runs[name].mean("error/test")
    reached: dict[int, dict[int, bool]] = {}
    for name, ran in runs.items():
        if found := re.fullmatch(r"n(\d+)_w(\d+)", name):
            n, width = map(int, found.groups())
            reached.setdefault(n, {})[width] = bool((ran.last("error/train") == 0).any())
    needed = {n: parameters(inputs, width, outputs) if width == width else math.nan  # type: ignore[arg-type]
              for n, width in smallest(reached).items()}  # fmt: skip
    numbers |= {f"needed_{n}": number for n, number in needed.items()}
    numbers |= {"per_sample": float(np.mean([p / n for n, p in needed.items()])), "exponent": exponent(needed)}
    made = figure(10.5, 3.5)
    left, middle, right = made.subplots(1, 3, width_ratios=(1.2, 0.75, 1.0))
    for name, words in LABELS.items():
        steps, risks = runs[name].curve("risk/train")
        for i, row in enumerate(risks):
            left.plot(steps, row, color=COLOURS[name], lw=1.1, label=words if i == 0 else None)
    left.set_yscale("log")
    left.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    quiet(left, "step", "training loss", "the loss falls with any labels", curves=True)
    _bars(middle, numbers)
    _needed(right, reached, numbers, inputs, outputs)
    return Drawn(made, numbers)


def _bars(axes: Axes, numbers: Mapping[str, float]) -> None:
    """Training and test error of each kind of labels."""
    for i, name in enumerate(LABELS):
        for shift, kind, alpha in ((-0.21, "train", 0.45), (0.21, "test", 1.0)):
            error = numbers[f"error_{kind}_{name}"]
            axes.bar(i + shift, error, 0.38, color=COLOURS[name], alpha=alpha)
            axes.text(i + shift, error + 0.015, f"{100 * error:.1f} %", ha="center", fontsize=SMALL - 2, color=INK)
    axes.axhline(0.9, color=INK, lw=0.8, ls=":")
    axes.text(-0.45, 0.91, "chance", fontsize=SMALL - 1, color=INK)
    axes.set_xticks(range(len(LABELS)), ["true", "half random", "random"])
    axes.set_ylim(0, 1.0)
    title = "no training error, no learning"
    quiet(axes, "labels (pale: training, full: test)", "share misclassified", title, curves=True)


def _needed(axes: Axes, reached: Mapping[int, Mapping[int, bool]], numbers: Mapping[str, float], inputs: int,
            outputs: int) -> None:  # fmt: skip
    """Every size that was tried, whether it reached zero error, and the line of proportion."""
    for done, style in ((False, {"mfc": "white", "mec": PALE}), (True, {"mfc": FAKE, "mec": FAKE})):
        points = [
            (n, parameters(inputs, w, outputs)) for n, ws in reached.items() for w, ok in ws.items() if ok is done
        ]
        label = "zero training error" if done else "not reached by any seed"
        x, y = [n for n, _ in points], [size for _, size in points]
        axes.plot(x, y, "o", ms=4.5, label=label, **style)  # type: ignore[arg-type]
    n = np.array(sorted(reached), dtype=float)
    slope = numbers["per_sample"]
    axes.plot(n, slope * n, color=INK, lw=0.9, ls="--", label=f"{slope:.1f} parameters a sample")
    axes.plot(n, 2 * n + inputs, color=BLUE, lw=0.9, ls=":", label="2 n + d: some network fits")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(n, [str(int(k)) for k in n])
    axes.minorticks_off()
    axes.legend(fontsize=SMALL - 1, frameon=False, labelcolor=INK)
    title = f"parameters needed: $n^{{{numbers['exponent']:.2f}}}$"
    quiet(axes, "samples n, with random labels", "parameters", title, curves=True)
