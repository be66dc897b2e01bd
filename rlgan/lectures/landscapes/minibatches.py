"""The variance of a minibatch's gradient against the size of the batch, and what a sample is worth in small batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
from torch import Tensor
from torch.func import grad, vmap

from rlgan.erm import ERM
from rlgan.erm.game import Batch
from rlgan.lectures.ways import BLUE, FAKE, GOLD, GREEN, straight
from rlgan.optim.second_order.landscape import player_loss
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, SMALL, figure, quiet

_COLOURS = (FAKE, GOLD, GREEN, BLUE)


def minibatches(runs: Mapping[str, Ran]) -> Drawn:
    """How much gradients of minibatches scatter at one theta, and the training loss against samples seen.

    Of b samples drawn with replacement the mean gradient g has E g = grad R and, with S the covariance of one sample's
    gradient,

        E |g - grad R|^2 = E |g|^2 - |grad R|^2 = tr S / b.

    tr S is computed from all samples' gradients. A step costs b gradients, whatever n is; to scatter a tenth as far
    takes a hundred times the samples (Bottou & Bousquet 2008).

    (CMSC 35246, Lecture 6: Optimization for Deep Neural Networks, "Stochastic Gradient Descent"; EE-556, Lecture 7:
    Optimization for Deep Learning, "Minibatch and momentum".)

    Args:
        runs: `still_B`, of batches of B samples and a learning rate so small that theta stays, every step logged; and
            `train_B`, trained with one learning rate on as many samples.

    Returns:
        The figure, and `slope`, of log variance against log b, `trace`, tr S, `worst`, the largest relative difference
        of b times the measured variance from it; `bias`, the length of the mean of all samples' gradients minus grad R
        over that of grad R; `still`, the largest relative change of grad R's square in the runs that stand still;
        `loss_B`, the training loss of each trained run at the end.
    """
    made = figure(8.6, 3.9)
    left, right = made.subplots(1, 2)
    still = {int(name.removeprefix("still_")): ran for name, ran in runs.items() if name.startswith("still_")}
    sizes = np.array(sorted(still))
    variances, traces, changes, bias = [], [], [], 0.0
    for size in sizes:
        ran = still[size]
        squares, found = ran.curve("model/grad_norm")[1] ** 2, ran.curve("gradient/squared")[1]
        variances.append((squares.mean(1) - found[:, 0]).mean())
        changes.append(np.abs(found / found[:, :1] - 1).max())
    some = still[sizes[0]]
    for seed in some.seeds:
        gradients, full = sample_gradients(cast(ERM, some.task(seed)))
        bias = max(bias, float((gradients.mean(0) - full).norm() / full.norm()))
        traces.append(float(gradients.double().var(0, correction=0).sum()))
    trace = float(np.mean(traces))
    left.plot(sizes, trace / sizes, ":", color=INK, lw=1.2, label="theory: tr S / b")
    left.plot(sizes, variances, "o", color=BLUE, ms=6, label="measured")
    left.set(xscale="log", yscale="log")
    left.set_xticks(sizes, [str(size) for size in sizes])
    left.minorticks_off()
    quiet(left, "batch size b", r"$E\,|g - \nabla R|^2$", "the variance of the gradient", curves=True)
    left.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    numbers = {
        "slope": straight(np.log(sizes), np.log(variances)).slope,
        "trace": trace,
        "worst": float(np.abs(np.array(variances) * sizes / trace - 1).max()),
        "bias": bias,
        "still": float(max(changes)),
    }
    trained = sorted(int(name.removeprefix("train_")) for name in runs if name.startswith("train_"))
    for size, colour in zip(trained, _COLOURS, strict=False):
        steps, loss = runs[f"train_{size}"].curve("risk/train")
        right.plot(steps * size, loss.mean(0), color=colour, lw=1.4, label=f"b = {size}")
        numbers[f"loss_{size}"] = float(loss[:, -1].mean())
    right.set_yscale("log")
    quiet(right, "samples seen", "training loss", "the same number of samples, one step size", curves=True)
    right.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    return Drawn(made, numbers)


def sample_gradients(task: ERM) -> tuple[Tensor, Tensor]:
    """The gradient of every training sample's loss ``(n, d)`` at the task's theta, and that of R ``(d,)``."""
    theta = task.model.vector.theta.detach()

    def one(x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = grad(player_loss(task.update.pure, "model", Batch(x[None], y[None])))(theta)
        return found

    return vmap(one, chunk_size=128)(*task.train), grad(task.loss)(theta)
