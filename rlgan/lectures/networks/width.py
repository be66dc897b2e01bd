"""More parameters than samples: the test error over the width, and the loss about a minimum of few and of many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rlgan.erm import ERM
from rlgan.optim.second_order.landscape import filter_normalised, slice_2d
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, LARGE, PALE, SMALL, figure, quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray


def downwards(z: NDArray[np.float64], share: float = 0.01) -> float:
    """How much of a plane is curved downwards in some direction, of its inner points.

    Counted are points where the smaller eigenvalue of the matrix of second differences is below -`share` times the
    largest one of the plane. (Li et al. 2018, arXiv:1712.09913, section 6 compares the two extreme eigenvalues.)

    Args:
        z: values on a square grid ``(n, n)``, n at least 3.
    """
    xx = z[2:, 1:-1] - 2 * z[1:-1, 1:-1] + z[:-2, 1:-1]
    yy = z[1:-1, 2:] - 2 * z[1:-1, 1:-1] + z[1:-1, :-2]
    xy = (z[2:, 2:] - z[2:, :-2] - z[:-2, 2:] + z[:-2, :-2]) / 4
    mean, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return float(((mean - spread) < -share * (mean + spread).max()).mean())


def plane(ran: Ran, seed: int, points: int, span: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The training loss in a random filter-normalised plane through a seed's last parameters: coordinates, values."""
    task = cast(ERM, ran.task(seed))
    theta = task.model.vector.theta.detach()
    generator = torch.Generator().manual_seed(seed)
    first, second = (filter_normalised(task.model.vector, theta, generator) for _ in range(2))
    found = slice_2d(task.loss, theta, first, second, span=span, points=points)
    return found.coordinates.double().numpy(), found.losses.double().numpy()


def width(runs: Mapping[str, Ran], points: int = 41, span: float = 1.0) -> Drawn:
    """Training and test error over the width of a hidden layer; the loss in planes through two minima.

    (Neyshabur et al. 2015, arXiv:1412.6614, figure 1, for the errors; Li et al. 2018, arXiv:1712.09913, for planes.)

    Args:
        runs: wN of a hidden layer of N units; `few` and `many`, whose planes are drawn.
        points, span: of a plane, in each direction.

    Returns:
        The figure. `error_train_N` and `error_test_N`, the largest and the mean over seeds; `error_train_widest`,
        `error_widest`; `interpolating`, the smallest width without an error on the training sample for any seed (nan:
        none), `error_interpolating`, its test error, and `worst_beyond`, the largest test error of this and wider ones;
        `downwards_NAME` of few and many, see `downwards`, the mean over seeds, and `rise_NAME`, the plane's mean loss.
    """
    numbers: dict[str, float] = {}
    widths = sorted(int(name[1:]) for name in runs if name[0] == "w" and name[1:].isdigit())
    train = [runs[f"w{w}"].last("error/train") for w in widths]
    test = [runs[f"w{w}"].last("error/test") for w in widths]
    for w, on, off in zip(widths, train, test, strict=True):
        numbers |= {f"error_train_{w}": float(on.max()), f"error_test_{w}": float(off.mean())}
    first = next((i for i, on in enumerate(train) if on.max() == 0), None)
    numbers |= {
        "error_train_widest": float(train[-1].max()),
        "error_widest": float(test[-1].mean()),
        "interpolating": math.nan if first is None else float(widths[first]),
        "error_interpolating": math.nan if first is None else float(test[first].mean()),
        "worst_beyond": math.nan if first is None else max(float(off.mean()) for off in test[first:]),
    }
    made = figure(10.5, 3.7)
    grid = made.add_gridspec(1, 3, width_ratios=(0.95, 1.0, 1.0))
    left = made.add_subplot(grid[0, 0])
    for errors, colour, label in ((train, BLUE, "training"), (test, FAKE, "test")):
        left.plot(widths, [100 * e.mean() for e in errors], "o-", color=colour, ms=3.5, lw=1.3, label=label)
        low, high = ([100 * f(e) for e in errors] for f in (np.min, np.max))
        left.fill_between(widths, low, high, color=colour, alpha=0.15, lw=0)
    if first is not None:
        left.axvline(widths[first], color=PALE, lw=1.0, ls="--")
        left.text(widths[first] * 1.15, 55, "from here on every\ntraining label is met", fontsize=SMALL - 1, color=INK)
    left.set_xscale("log", base=2)
    left.set_yscale("symlog", linthresh=1, linscale=0.4)
    left.set_ylim(-0.1, 100)
    left.set_yticks([0, 1, 3, 10, 30, 100], ["0", "1", "3", "10", "30", "100"])
    left.set_xticks(widths, [str(w) for w in widths])
    left.minorticks_off()
    left.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="lower right", bbox_to_anchor=(1.0, 0.12))
    quiet(left, "width of the hidden layer", "share misclassified, %", "wider is not worse on new samples", curves=True)
    planes = {name: [plane(runs[name], seed, points, span) for seed in runs[name].seeds] for name in ("few", "many")}
    top = max(float(np.log1p(found[0][1]).max()) for found in planes.values())
    for i, (name, found) in enumerate(planes.items()):
        numbers[f"downwards_{name}"] = float(np.mean([downwards(z) for _, z in found]))
        numbers[f"rise_{name}"] = float(np.mean([z.mean() for _, z in found]))
        d = sum(p.numel() for p in cast(ERM, runs[name].task()).model.module.parameters())
        axes: Any = made.add_subplot(grid[0, 1 + i], projection="3d")
        words = f"{d:,} parameters: {100 * numbers[f'downwards_{name}']:.1f} % curved down"
        _surface(axes, found[0][0], np.log1p(found[0][1]), words, top)
    return Drawn(made, numbers)


def _surface(axes: Any, a: NDArray[np.float64], z: NDArray[np.float64], title: str, top: float) -> None:
    """log(1 + loss) over the plane, with level sets below it; the scale ends at `top`."""
    x, y = np.meshgrid(a, a, indexing="ij")
    axes.plot_surface(x, y, z, cmap="YlGnBu_r", vmin=0, vmax=top, rstride=1, cstride=1, lw=0.12, edgecolor="white")
    axes.contour(x, y, z, levels=np.linspace(0.1, top, 14), zdir="z", offset=-0.6 * top, colors=INK, linewidths=0.4)
    axes.set_zlim(-0.6 * top, top)
    ticks = [t for t in (0, 1, 10, 100, 1000, 10_000) if math.log1p(t) <= top]
    axes.set_zticks([math.log1p(t) for t in ticks], [f"{t:,}" for t in ticks])
    axes.set_xticks([a[0], 0, a[-1]])
    axes.set_yticks([a[0], 0, a[-1]])
    axes.view_init(elev=22, azim=-55)
    axes.set_box_aspect((1, 1, 1.05), zoom=1.0)
    axes.tick_params(labelsize=SMALL - 2, colors=INK, pad=-2)
    axes.set_zlabel("training loss", fontsize=SMALL, color=INK, labelpad=-4)
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_alpha(0)
        axis._axinfo["grid"].update(color=PALE, linewidth=0.3)
