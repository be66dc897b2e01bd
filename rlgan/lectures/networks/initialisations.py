"""Where a deep network begins: how its values spread from layer to layer, whether its units differ, if it trains."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from rlgan.erm import ERM
from rlgan.nets import MLP
from rlgan.nets.layers import ACTIVATIONS
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, "#2f9e8f", FAKE, "#6a8d3a", "#d9a441", REAL, "#7b4f9e", "#c97b84")
_SPARSE = 15
"""Incoming weights of a unit, N(0, 1), of a sparse start."""


class Start(NamedTuple):
    """One initialisation: its best run, by the training error, and how its values spread before the first step.

    Args:
        ran: the run with the best step size.
        spread: root mean square of every hidden layer's values, the geometric mean over the seeds.
        predicted: the same by `mean_field`, None where weights are not drawn independently with mean 0.
        rank: of the last hidden layer's values after training, the largest over the seeds.
    """

    ran: Ran
    spread: list[float]
    predicted: list[float] | None
    rank: int


def initialisations(runs: Mapping[str, Ran]) -> Drawn:
    """The spread of a tanh network's values layer by layer, training curves, and errors, for several starts.

    (CMSC 35246, Lecture 6: Optimization for Deep Neural Networks, "Initialization Strategies"; Glorot & Bengio 2010;
    Saxe et al. 2014; Martens 2010; Poole et al. 2016, arXiv:1606.05340.)

    Args:
        runs: called START_anything, perceptrons of equal depth and width on digits. Of each START the run is looked at
            that has the least training error, the mean over its seeds.

    Returns:
        The figure, and of every START `lr_START`, `error_train_START`, `error_test_START`, `loss_START` (training
        loss), means over the seeds; `spread_START` of the last hidden layer before the first step and
        `predicted_START`; and `rank_START`, of the last hidden layer's values of the training samples after training:
        singular values above a thousandth of the largest. `off` is the largest factor, as |log|, between spread and
        prediction among the starts `uniform`, `xavier`, `slide` and `orthogonal`.
    """
    grouped: dict[str, list[Ran]] = defaultdict(list)
    for name, ran in runs.items():
        grouped[name.rpartition("_")[0]].append(ran)
    starts = {}
    numbers: dict[str, float] = {}
    off = [0.0]
    for name, own in grouped.items():
        best = min(own, key=lambda ran: ran.mean("error/train"))
        start = starts[name] = _start(best)
        numbers |= {
            f"lr_{name}": float(best.config["optimizer"]["lr"]),
            f"error_train_{name}": best.mean("error/train"),
            f"error_test_{name}": best.mean("error/test"),
            f"loss_{name}": best.mean("risk/train"),
            f"spread_{name}": start.spread[-1],
            f"rank_{name}": start.rank,
        }
        if start.predicted is not None:
            numbers[f"predicted_{name}"] = start.predicted[-1]
            if name in ("uniform", "xavier", "slide", "orthogonal"):
                off.append(abs(math.log(start.spread[-1] / start.predicted[-1])))
    numbers["off"] = max(off)
    made = figure(10.6, 3.7)
    spread, curves, errors = made.subplots(1, 3, width_ratios=(1.1, 1, 0.9))
    colours = dict(zip(starts, _COLOURS * 2, strict=False))
    _spreads(spread, starts, colours)
    for name, start in starts.items():
        steps, loss = start.ran.curve("risk/train")
        curves.plot(steps, loss.mean(0), color=colours[name], lw=1.2)
    curves.axhline(math.log(10), color=INK, lw=0.7, ls="--")
    curves.text(steps[-1], math.log(10) * 1.08, "chance", fontsize=SMALL - 1, color=INK, ha="right")
    curves.set_yscale("log")
    curves.set_ylim(None, 8)
    quiet(curves, "step", "training loss (mean of the seeds)", "training, each at its best step size", curves=True)
    _bars(errors, starts, colours)
    return Drawn(made, numbers)


def mean_field(variances: Sequence[float], square: float) -> list[float]:
    """The root mean square of each layer's values in a wide tanh network without biases, u = W x, x' = tanh(u).

    With E u^2 = v q, where q is the mean square of the layer before and v = fan-in times the variance of a weight,
    q' = E tanh(sqrt(v q) z)^2, z ~ N(0, 1) (Poole et al. 2016, equation 3), here by a sum over a fine grid.

    Args:
        variances: v of each layer.
        square: q of the inputs.
    """
    z = np.linspace(0, 10, 100_001)  # even in z
    weight = np.exp(-(z**2) / 2)
    weight[0] /= 2
    weight /= weight.sum()
    found = []
    for v in variances:
        square = float(weight @ np.tanh(math.sqrt(v * square) * z) ** 2)
        found.append(math.sqrt(square))
    return found


def _variance(init: str, scale: float, fan_in: int, fan_out: int, gain: float) -> float | None:
    """Fan-in times the variance of a weight; None for a start whose weights have a mean."""
    own = {
        "fan_in": 1 / 3,
        "xavier": 2 * fan_in / (fan_in + fan_out),
        "orthogonal": gain**2 * min(1.0, fan_in / fan_out),
        "he": gain**2,
        "normal": 0.02**2 * fan_in,
        "sparse": float(min(_SPARSE, fan_in)),
    }
    return None if init not in own else own[init] * scale**2


def _hidden(model: MLP, x: Tensor) -> list[Tensor]:
    """The values of every hidden layer, ``(n, width)`` each."""
    found = []
    for layer in model.linears[:-1]:
        x = torch.tanh(layer(x))
        found.append(x)
    return found


@torch.no_grad()
def _start(ran: Ran) -> Start:
    logs, ranks = [], []
    sizes: list[tuple[int, int]] = []
    square = 0.0
    for seed in ran.seeds:
        begun, done = cast(ERM, ran.start(seed)), cast(ERM, ran.task(seed))
        x = begun.train.x.flatten(1)
        square = float(x.double().square().mean())
        model = cast(MLP, begun.model.module)
        sizes = [(layer.in_features, layer.out_features) for layer in model.linears[:-1]]
        logs.append([0.5 * math.log(max(float(h.double().square().mean()), 1e-300)) for h in _hidden(model, x)])
        last = _hidden(cast(MLP, done.model.module), x)[-1]
        values = torch.linalg.svdvals(last.double())
        ranks.append(int((values > 1e-3 * values[0]).sum()))
    network = ran.config["network"]
    gain = ACTIVATIONS["tanh"].gain
    variances = [_variance(network["init"], float(network["init_scale"]), m, n, gain) for m, n in sizes]
    known = [v for v in variances if v is not None]
    predicted = mean_field(known, square) if len(known) == len(variances) else None
    return Start(ran, np.exp(np.mean(logs, 0)).tolist(), predicted, max(ranks))


def _spreads(axes: Axes, starts: Mapping[str, Start], colours: Mapping[str, str]) -> None:
    """Root mean square by layer: lines measured, dashes predicted."""
    for name, start in starts.items():
        layers = range(1, len(start.spread) + 1)
        axes.plot(layers, start.spread, "o-", color=colours[name], ms=3, lw=1.1, label=name)
        if start.predicted is not None:
            axes.plot(layers, start.predicted, color=colours[name], lw=2.6, alpha=0.25)
    axes.set_yscale("log")
    axes.set_ylim(1e-3, 1.6)
    axes.legend(fontsize=SMALL - 1.5, frameon=False, labelcolor=INK, loc="lower left",
                bbox_to_anchor=(0.26, -0.02), handlelength=1.5, labelspacing=0.3)  # fmt: skip
    quiet(axes, "hidden layer", "root mean square of its values", "before the first step (pale: theory)", curves=True)


def _bars(axes: Axes, starts: Mapping[str, Start], colours: Mapping[str, str]) -> None:
    """Test error of every start, a dot for each seed, and the rank of its last hidden layer."""
    labels = []
    for i, (name, start) in enumerate(starts.items()):
        wrong = 100 * start.ran.last("error/test")
        axes.barh(i, wrong.mean(), color=colours[name], alpha=0.55, height=0.7)
        axes.plot(wrong, [i] * len(wrong), ".", color=colours[name], ms=4)
        labels.append(f"{name} ({float(start.ran.config['optimizer']['lr']):g}; {start.rank})")
    axes.set_yticks(range(len(starts)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    quiet(axes, "test samples misclassified [%]", "", "(best step size; rank of its last layer)", curves=True)
