"""Five methods as one: effective learning rate and effective momentum, and the frame's identity on recorded paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from rlgan.lectures.ways import COLOURS, level_lines, surface, values, way
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import INK, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from rlgan.erm import Surface

_LABELS = {
    "sgd": "gradient descent",
    "heavy_ball": "heavy ball",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
}


class Frame(NamedTuple):
    """The coefficients of theta+ = theta - alpha_t g_t / H_t + beta_t (H_{t-1} / H_t) (theta - theta_prev).

    Attributes:
        alpha, beta: of t = 1, ..., T, ``(T, 1)``.
        h: the diagonal of H_t, ``(T, d)``; H_0 does not matter, as nothing has moved before.
    """

    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    h: NDArray[np.float64]

    @property
    def effective_lr(self) -> NDArray[np.float64]:
        """alpha_t / H_t, ``(T, d)``."""
        return self.alpha / self.h

    @property
    def effective_momentum(self) -> NDArray[np.float64]:
        """beta_t H_{t-1} / H_t, ``(T, d)``."""
        return self.beta * np.vstack([self.h[:1], self.h[:-1]]) / self.h

    def residual(self, points: NDArray[np.float64], gradients: NDArray[np.float64]) -> float:
        """The largest distance of a point from where the formula has it, by points (T + 1, d), gradients (T, d)."""
        moved = np.vstack([np.zeros_like(points[:1]), np.diff(points, axis=0)])[:-1]
        said = points[:-1] - self.effective_lr * gradients + self.effective_momentum * moved
        return float(np.linalg.norm(said - points[1:], axis=1).max())


def frame(method: str, settings: Mapping[str, Any], gradients: NDArray[np.float64], literal: bool = False) -> Frame:
    """The lecture's table, a method's coefficients from its gradients g_1, ..., g_T ``(T, d)``.

    With D_t = g_t * g_t, G_t = H_t * H_t, bias correction by 1 - b^t, and eps added to H_t as the methods here do:

        SGD         G_t = I                                         alpha_t = lr                  beta_t = 0
        heavy ball  G_t = I                                         alpha_t = lr                  beta_t = rho
        AdaGrad     G_t = G_{t-1} + D_t                             alpha_t = lr                  beta_t = 0
        RMSProp     G_t = tau G_{t-1} + (1 - tau) D_t               alpha_t = lr                  beta_t = 0
        Adam        G_t (1 - b2^t) = b2 (1 - b2^{t-1}) G_{t-1} + (1 - b2) D_t
                    alpha_t = lr (1 - b1)/(1 - b1^t)                beta_t = b1 (1 - b1^{t-1})/(1 - b1^t)

    (EE-556, Lecture 7: Optimization for Deep Learning, "Summary: A Uniform Framework".) On the slide Adam's G_t is
    without the factor 1 - b2^{t-1}; `literal` is that recursion.

    Raises:
        ValueError: another method.
    """
    square, t = gradients**2, np.arange(1, len(gradients) + 1)[:, None]
    lr, still = float(settings["lr"]) * np.ones(t.shape), np.zeros(t.shape)
    if method == "sgd":
        return Frame(lr, still, np.ones_like(square))
    if method == "heavy_ball":
        return Frame(lr, still + float(settings["rho"]), np.ones_like(square))
    eps = float(settings["eps"])
    if method == "adagrad":
        return Frame(lr, still, np.sqrt(np.cumsum(square, 0)) + eps)
    if method == "rmsprop":
        return Frame(lr, still, np.sqrt(_running(square, float(settings["decay"]))) + eps)
    if method != "adam":
        raise ValueError(f"method = {method}: is not in the table; it has {', '.join(_LABELS)}")
    b1, b2 = float(settings["beta1"]), float(settings["beta2"])
    mean = _running(square, b2) / (1 - b2**t)
    if literal:
        mean, former = np.zeros_like(square), np.zeros_like(square[0])
        for i, own in enumerate(square):
            former = mean[i] = (b2 * former + (1 - b2) * own) / (1 - b2 ** (i + 1))
    return Frame(lr * (1 - b1) / (1 - b1**t), b1 * (1 - b1 ** (t - 1)) / (1 - b1**t), np.sqrt(mean) + eps)


def uniform_frame(runs: Mapping[str, Ran]) -> Drawn:
    """Where five methods go in one valley, and what their learning rates and momenta come to.

    Every step of every run is computed anew from the points before it by the one formula of `Frame`, and what the runs
    themselves logged as `effective_lr` and `effective_momentum` is compared with its coefficients.

    Args:
        runs: `sgd`, `heavy_ball`, `adagrad`, `rmsprop`, `adam` of one surface of two variables, without noise,
            log_every=1.

    Returns:
        The figure. Of each run `residual_NAME`, the largest distance of a point from the formula's; `logged_lr` and
        `logged_momentum`, the largest relative difference of what was logged; `residual_slide`, Adam's with the slide's
        recursion; `rise_adagrad`, the largest rise of its effective learning rate; `first_adam`, `last_adam`: its
        effective momentum.
    """
    made = figure(8.4, 6.2)
    grid = made.add_gridspec(2, 2, height_ratios=(1, 1.15))
    above, below, beside = (made.add_subplot(place) for place in (grid[0, :], grid[1, 0], grid[1, 1]))
    paths = {name: way(ran)[:, 0] for name, ran in runs.items()}
    numbers: dict[str, float] = {"logged_lr": 0.0, "logged_momentum": 0.0}
    of = surface(next(iter(runs.values())))
    _ways(above, of, paths)
    for i, (name, ran) in enumerate(runs.items()):
        points, settings = paths[name], ran.config["optimizer"]
        gradients = _gradients(of, points[:-1])
        found = frame(name, settings, gradients)
        numbers[f"residual_{name}"] = found.residual(points, gradients)
        _compare(numbers, ran, found)
        if name == "adam":
            numbers["residual_slide"] = frame(name, settings, gradients, literal=True).residual(points, gradients)
            momentum = found.effective_momentum.mean(1)
            numbers |= {"first_adam": float(momentum[0]), "last_adam": float(momentum[-1])}
        if name == "adagrad":
            numbers["rise_adagrad"] = float(np.diff(found.effective_lr, axis=0).max())
        for axes, what in ((below, found.effective_lr), (beside, found.effective_momentum)):
            t = np.arange(1, len(what) + 1)
            axes.plot(t, what[:, 0], color=COLOURS[i], lw=1.3, label=_LABELS[name])
            axes.plot(t, what[:, 1], color=COLOURS[i], lw=1.3, ls="--")
    below.set_yscale("log")
    below.set_xscale("log")
    quiet(below, "step t", r"$\alpha_t / H_t$", r"effective learning rate: along —, across - -", curves=True)
    beside.set_xscale("log")
    quiet(beside, "step t", r"$\beta_t\, H_{t-1} / H_t$", "effective momentum", curves=True)
    handles, labels = above.get_legend_handles_labels()
    beside.legend(handles, labels, fontsize=SMALL, frameon=False, labelcolor=INK, loc="center right")
    return Drawn(made, numbers)


def _running(square: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """r_t = decay r_{t-1} + (1 - decay) square_t, from 0 on, ``(T, d)``."""
    found, r = np.empty_like(square), np.zeros_like(square[0])
    for i, own in enumerate(square):
        found[i] = r = decay * r + (1 - decay) * own
    return found


def _gradients(of: Surface, points: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = torch.func.vmap(torch.func.grad(of.value))(torch.from_numpy(points)).numpy()
    return found


def _compare(numbers: dict[str, float], ran: Ran, found: Frame) -> None:
    """Raise `logged_lr` and `logged_momentum` to the difference between what a run logged and its frame.

    At the first step nothing has moved yet, and 0 is logged as the momentum.
    """
    ordered = np.sort(found.effective_lr, axis=1)
    spread = np.ptp(found.h) > 0
    ends = {"_p10": ordered[:, 0], "_p90": ordered[:, -1]} if spread else {"": ordered[:, 0]}
    for end, expected in ends.items():
        steps, logged = ran.curve(f"optim/model/effective_lr{end}")
        off = np.abs(logged[0] / expected[steps - 1] - 1).max()
        numbers["logged_lr"] = max(numbers["logged_lr"], float(off))
    steps, logged = ran.curve("optim/model/effective_momentum")
    expected = np.where(steps > 1, found.effective_momentum.min(1)[steps - 1], 0)  # torch's median of two is the less
    numbers["logged_momentum"] = max(numbers["logged_momentum"], float(np.abs(logged[0] - expected).max()))


def _ways(axes: Axes, of: Surface, paths: Mapping[str, NDArray[np.float64]]) -> None:
    every = np.concatenate(list(paths.values()))
    low, high = every.min(0), every.max(0)
    room = 0.06 * (high - low)
    axes.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
    top = float(values(of, every).max())
    level_lines(axes, of, top * np.linspace(0.02, 1.1, 14) ** 2)
    for i, (name, points) in enumerate(paths.items()):
        axes.plot(*points.T, "o-", color=COLOURS[i], ms=1.8, lw=1.1, label=_LABELS[name])
    axes.plot(*every[0], "o", color=INK, ms=6, mfc="white")
    optimum = of.optimum()
    if optimum is not None:
        axes.plot(*optimum.tolist(), "*", color="white", mec=INK, ms=11, zorder=3)
    quiet(axes, r"$\theta_1$, along the valley", r"$\theta_2$, across", "where they go")
