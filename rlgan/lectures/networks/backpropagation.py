"""Backpropagation: its recursions by hand, against autograd, and against derivatives that are worked out one by one.

For layers u^l = W^l x^(l-1) + b^l and x^l = sigma(u^l), l = 1 ... k, with x^0 the input (EE-556, Lecture 7:
Optimization for Deep Learning, "Forward pass" and "Backward pass"; Rumelhart, Hinton & Williams 1986):

    dL/du^l = dL/dx^l * sigma'(u^l),    dL/dW^l = dL/du^l (x^(l-1))^T,    dL/db^l = dL/du^l,
    dL/dx^(l-1) = (W^l)^T dL/du^l.

Samples are rows here, and their derivatives are added up. The last layer has no activation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rlgan.erm import ERM
from rlgan.nets import MLP, MLPSpec
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, PALE, REAL, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.ones_like,
    "relu": lambda u: (u > 0).to(u),
    "tanh": lambda u: 1 - u.tanh().square(),
    "sigmoid": lambda u: u.sigmoid() * (1 - u.sigmoid()),
}
"""sigma' of the activations that have one here."""
_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda u: u,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class Layers(NamedTuple):
    """A network's weights W^l ``(n_l, n_(l-1))`` and biases b^l ``(n_l,)``, and the name of sigma, one of `SLOPES`."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    activation: str


class Forward(NamedTuple):
    """What a forward pass keeps: u^1 ... u^k and x^0 ... x^k, each ``(batch, n_l)``."""

    u: list[Tensor]
    x: list[Tensor]


class Gradients(NamedTuple):
    """dL/dW^l and dL/db^l, the first layer first."""

    weights: list[Tensor]
    biases: list[Tensor]


def forward(net: Layers, x: Tensor) -> Forward:
    """All values and inputs of all layers, of x ``(batch, n_0)``: k products of matrices."""
    kept = Forward([], [x])
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        kept.u.append(torch.addmm(bias, kept.x[-1], weight.t()))
        last = i == len(net.weights) - 1
        kept.x.append(kept.u[-1] if last else _VALUES[net.activation](kept.u[-1]))
    return kept


def by_recursions(net: Layers, x: Tensor, slope: Callable[[Tensor], Tensor]) -> Gradients:
    """The gradient of a loss by one forward and one backward pass: 3 k - 1 products, O(k H^2) for layers of H.

    Args:
        net: the network.
        x: inputs ``(batch, n_0)``.
        slope: dL/df ``(batch, n_k)`` of the outputs f ``(batch, n_k)``.
    """
    kept = forward(net, x)
    found = Gradients([], [])
    flow = slope(kept.x[-1])  # dL/du^k
    for i in reversed(range(len(net.weights))):
        found.weights.append(flow.t().mm(kept.x[i]))
        found.biases.append(flow.sum(0))
        if i:  # nobody asks for dL/dx^0
            flow = flow.mm(net.weights[i]) * SLOPES[net.activation](kept.u[i - 1])
    return Gradients(found.weights[::-1], found.biases[::-1])


def layer_by_layer(net: Layers, x: Tensor, slope: Callable[[Tensor], Tensor]) -> Gradients:
    """The same gradient, the derivative of each layer worked out by itself from the start: O(k^2 H^2).

    Layer l takes a forward pass, k products, and its own way back from the loss, k - l products and one for its weight:
    k (3 k + 1) / 2 in all. Arguments as of `by_recursions`.
    """
    found = Gradients([], [])
    for i in range(len(net.weights)):
        kept = forward(net, x)
        flow = slope(kept.x[-1])
        for j in reversed(range(i + 1, len(net.weights))):
            flow = flow.mm(net.weights[j]) * SLOPES[net.activation](kept.u[j - 1])
        found.weights.append(flow.t().mm(kept.x[i]))
        found.biases.append(flow.sum(0))
    return found


def cross_entropy_slope(y: Tensor) -> Callable[[Tensor], Tensor]:
    """dL/df of the mean cross-entropy of classes y ``(batch,)``: (softmax(f) - e_y) / batch."""

    def slope(f: Tensor) -> Tensor:
        p = f.softmax(-1)
        p[torch.arange(len(y)), y] -= 1
        return p / len(y)

    return slope


Way = Callable[[], object]


def backpropagation(runs: Mapping[str, Ran], widths: Sequence[int] = (32, 64, 128), batch: int = 64) -> Drawn:
    """The recursions and autograd on trained networks of several depths; operations counted and time taken.

    (EE-556, Lecture 7: Optimization for Deep Learning, "Backpropagation" and "Complexity of Backpropagation".)

    Args:
        runs: perceptrons of `problem=digits` that differ in their depth.
        widths: H of networks that are only counted: all layers, input and output too, of that width.
        batch: samples, of which the mean loss is differentiated.

    Returns:
        The figure. `difference` and `difference_naive` are the largest distance of the recursions' gradient from
        autograd's, over its length. `exponent_KIND_k` and `exponent_KIND_width` are fitted to the floating-point
        operations of matrix products, which torch counts, of square networks; `counted_KIND` the largest distance of a
        count over its closed form from 1. `time_exponent_KIND` is fitted to the time on trained networks.
    """
    tasks = {name: cast(ERM, ran.task()) for name, ran in runs.items()}
    points: list[tuple[Tensor, Tensor]] = []
    numbers = {"difference": 0.0, "difference_naive": 0.0}
    milliseconds: dict[str, list[float]] = {"naive": [], "backpropagation": [], "autograd": []}
    depths: list[int] = []
    for task in tasks.values():
        model = cast(MLP, task.model.module)
        sample = task.train
        x, y = sample.x[:batch], sample.y[:batch]
        ours = _ways(model, x, y)
        exact = _flat(cast(Gradients, ours["autograd"]()))
        for name, tag in (("backpropagation", "difference"), ("naive", "difference_naive")):
            found = _flat(cast(Gradients, ours[name]()))
            numbers[tag] = max(numbers[tag], float((found - exact).norm() / exact.norm()))
            if name == "backpropagation":
                points.append((exact, found))
        depths.append(len(model.linears))
        for name, way in ours.items():
            milliseconds[name].append(1e3 * _seconds(way))
    counts = {h: {k: _counted(h, k, batch) for k in depths} for h in widths}
    for kind in ("naive", "backpropagation"):
        middle = widths[len(widths) // 2]
        of_k = [counts[middle][k][kind] for k in depths]
        of_h = [counts[h][max(depths)][kind] for h in widths]
        off = [abs(counts[h][k][kind] / (products(kind, k) * 2 * batch * h * h) - 1) for h in widths for k in depths]
        numbers |= {
            f"exponent_{kind}_k": _exponent(depths, of_k),
            f"exponent_{kind}_width": _exponent(widths, of_h),
            f"counted_{kind}": max(off),
            f"time_exponent_{kind}": _exponent(depths, milliseconds[kind]),
            f"operations_{kind}": float(of_k[-1]),
        }
    numbers["saved"] = numbers["operations_naive"] / numbers["operations_backpropagation"]
    numbers["autograd_operations_over_ours"] = max(
        own["autograd"] / own["backpropagation"] for of in counts.values() for own in of.values()
    )
    return Drawn(_draw(points, counts, depths, milliseconds, numbers), numbers)


def products(kind: str, k: int) -> int:
    """Products of an (n, H) with an (H, H) matrix for k layers, 2 n H^2 operations each."""
    return 3 * k - 1 if kind == "backpropagation" else k * (3 * k + 1) // 2


def _ways(model: MLP, x: Tensor, y: Tensor) -> dict[str, Way]:
    """The gradient of the mean cross-entropy in three ways."""
    weights = [layer.weight.detach() for layer in model.linears]
    net = Layers(weights, [layer.bias.detach() for layer in model.linears], model.activation)
    slope = cross_entropy_slope(y)
    parameters = [*(layer.weight for layer in model.linears), *(layer.bias for layer in model.linears)]
    flat = x.flatten(1)

    def by_autograd() -> Gradients:
        loss = nn.functional.cross_entropy(model(x), y)
        found = torch.autograd.grad(loss, parameters)
        return Gradients(list(found[: len(weights)]), list(found[len(weights) :]))

    return {
        "naive": lambda: layer_by_layer(net, flat, slope),
        "backpropagation": lambda: by_recursions(net, flat, slope),
        "autograd": by_autograd,
    }


def _flat(gradients: Gradients) -> Tensor:
    return torch.cat([part.flatten() for part in (*gradients.weights, *gradients.biases)])


def _counted(width: int, layers: int, batch: int) -> dict[str, int]:
    """Operations of the three ways for a network of `layers` square layers."""
    spec = MLPSpec(hidden=(width,) * (layers - 1), activation="tanh", output="identity")
    model = spec.build((width,), (width,))
    x, y = torch.ones(batch, width), torch.zeros(batch, dtype=torch.int64)
    found = {}
    for name, way in _ways(model, x, y).items():
        with FlopCounterMode(display=False) as counter:
            way()
        found[name] = counter.get_total_flops()
    return found


def _seconds(way: Way, repeats: int = 5) -> float:
    """The least time that a call took."""
    taken = math.inf
    for _ in range(repeats):
        begun = time.perf_counter()
        way()
        taken = min(taken, time.perf_counter() - begun)
    return taken


def _exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """p of y = c x^p, by least squares in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _draw(
    points: list[tuple[Tensor, Tensor]],
    counts: dict[int, dict[int, dict[str, int]]],
    depths: list[int],
    milliseconds: dict[str, list[float]],
    numbers: dict[str, float],
) -> Figure:
    """Left the gradients against each other, in the middle operations and on the right time against the depth."""
    made = figure(10.0, 3.4)
    equal, counted, timed = made.subplots(1, 3)
    largest = max(float(exact.abs().max()) for exact, _ in points)
    equal.plot([-largest, largest], [-largest, largest], color=PALE, lw=1)
    for exact, found in points:
        some = torch.linspace(0, len(exact) - 1, 400).long()
        equal.plot(exact[some], found[some], ".", color=BLUE, ms=3)
    quiet(equal, "entry of the gradient, by autograd", "by the recursions", "equal: they differ by "
          f"{numbers['difference']:.0e}", curves=True)  # fmt: skip
    colours = {"naive": FAKE, "backpropagation": BLUE, "autograd": REAL}
    for i, (width, of) in enumerate(counts.items(), 1):
        for kind, lift in (("naive", 1), ("backpropagation", -6)):
            values = [of[k][kind] for k in depths]
            alpha, label = 0.3 + 0.7 * i / len(counts), kind if i == len(counts) else None
            counted.plot(depths, values, "o-", color=colours[kind], ms=3, lw=1, alpha=alpha, label=label)
            counted.annotate(
                f"H = {width}", (depths[-1], values[-1]), (4, lift), textcoords="offset points", fontsize=SMALL - 2,
                color=colours[kind],
            )  # fmt: skip
    naive, back = (numbers[f"exponent_{kind}_k"] for kind in ("naive", "backpropagation"))
    quiet(
        counted, "layers k", "operations (counted)", f"naive k^{naive:.2f}, backpropagation k^{back:.2f}", curves=True
    )
    counted.set_xlim(depths[0] * 0.85, depths[-1] * 1.9)
    for kind, taken in milliseconds.items():
        timed.plot(depths, taken, "o-", color=colours[kind], ms=3, lw=1, label=kind)
    naive, back = (numbers[f"time_exponent_{kind}"] for kind in ("naive", "backpropagation"))
    quiet(timed, "layers k", "time [ms], H = 64", f"time: k^{naive:.2f} and k^{back:.2f}", curves=True)
    for axes in (counted, timed):
        axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    for axes in (counted, timed):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(depths, [str(k) for k in depths])
        axes.minorticks_off()
    return made
