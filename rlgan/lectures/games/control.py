"""What keeps a critic 1-Lipschitz, and how well: its slope, its level sets, and what becomes of the distance."""

from __future__ import annotations

from collections.abc import Mapping

from rlgan.gan.pictures import level_sets, window
from rlgan.lectures.band import band
from rlgan.nets.layers import in_evaluation_mode
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, figure, quiet
from rlgan.task.seeding import Generators

_COLOURS = (FAKE, "#d98c3f", "#8a6d1f", BLUE, REAL)
_SHOWN = 500


def lipschitz_control(runs: Mapping[str, Ran]) -> Drawn:
    """The critics' level sets under the samples, the steepest slope that was found, and the exact W1, as training goes.

    W1 is the largest gap E f(x_real) - E f(x_fake) over f of slope at most 1 (Kantorovich-Rubinstein). So a critic
    whose slope is K gives a gap of up to K W1, and only one with K = 1 and the best shape gives W1 itself. Compared are
    weight clipping (Arjovsky et al. 2017), the gradient penalty (Gulrajani et al. 2017), spectral normalisation (Miyato
    et al. 2018) and layers that are orthonormal by construction (Anil et al. 2019).

    Args:
        runs: at most five, of data in the plane, evaluated as they train.

    Returns:
        The figure, and for every variant NAME `slope_NAME`, the mean over seeds of the steepest slope found at the end,
        `steepest_NAME` and `flattest_NAME`, its extremes over seeds and evaluations after a tenth of training,
        `w1_NAME`, the mean exact W1 at the end, and `gap_NAME`, the mean of the critic's gap over the exact W1: at most
        1, up to the sampling error of 1,024 draws, if the slope is.
    """
    made = figure(9.0, 4.4)
    grid = made.add_gridspec(2, 4, width_ratios=(1.0, 1.0, 1.0, 2.0))
    tiles = [made.add_subplot(grid[i // 3, i % 3]) for i in range(len(runs))]
    upper, lower = made.add_subplot(grid[0, 3]), made.add_subplot(grid[1, 3])
    numbers: dict[str, float] = {}
    for name, ran, colour, axes in zip(runs, runs.values(), _COLOURS, tiles, strict=False):
        steps, slope = ran.curve("critic/lipschitz")
        w1 = ran.curve("wasserstein/primal")[1]
        settled = slope[:, steps >= steps[-1] / 10]
        numbers |= {
            f"slope_{name}": float(slope[:, -1].mean()),
            f"steepest_{name}": float(settled.max()),
            f"flattest_{name}": float(settled.min()),
            f"w1_{name}": float(w1[:, -1].mean()),
            f"gap_{name}": float((ran.last("wasserstein/dual_eval") / w1[:, -1]).mean()),
        }
        band(upper, steps, slope, colour, name.replace("_", " "))
        band(lower, steps, w1, colour)
        subject = ran.task().subject  # type: ignore[attr-defined]
        draws = Generators(subject.seed)
        x_real, x_fake = subject.real(_SHOWN, draws), subject.generate(_SHOWN, draws)
        seen = window(x_real.double().numpy())
        with in_evaluation_mode(subject.critic):
            level_sets(axes, subject.critic, seen, x_real, bar=False)
        for points, ink, alpha in ((x_real, REAL, 0.5), (x_fake, FAKE, 0.7)):
            axes.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=3, c=ink, alpha=alpha, linewidths=0)
        axes.set(xlim=seen[:2], ylim=seen[2:], aspect="equal", xticks=[], yticks=[])
        quiet(axes, title=f"{name.replace('_', ' ')}\nslope {numbers[f'slope_{name}']:.2g}")
    upper.axhline(1.0, color=INK, lw=0.8, ls=":")
    upper.set_yscale("log")
    quiet(upper, "", "steepest slope found", curves=True)
    lower.set_ylim(0.0, None)
    quiet(lower, "generator updates", "exact $W_1$ to the data", curves=True)
    upper.set_yticks([0.3, 1.0, 3.0, 10.0], ["0.3", "1", "3", "10"])
    upper.set_yticks([], minor=True)
    made.legend(
        *upper.get_legend_handles_labels(), loc="outside lower left", ncols=len(runs), fontsize=SMALL, frameon=False
    )
    return Drawn(made, numbers)
