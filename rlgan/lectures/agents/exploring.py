"""Which exploration comes to a reward that is far away: none, noise on actions, noise on the actor's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, PALE, REAL, SMALL, figure, quiet

_COLOURS = (REAL, FAKE, BLUE, "#8a6d1f")


def exploring(
    runs: Mapping[str, Ran],
    goal: float,
    solved: float,
    axes: tuple[int, int] = (0, 1),
    names: tuple[str, str] = ("position", "velocity"),
) -> Drawn:
    """Where every exploration went, in the plane of two observations, and the return of evaluations as training goes.

    Noise on actions is drawn anew at every step and averages out; a perturbed actor acts in its own consistent way for
    a whole episode and so comes further (Plappert et al. 2018, arXiv:1706.01905).

    Args:
        runs: of `task=ddpg` in one environment, evaluated as they train.
        goal: a reward above this is the one that is to be found.
        solved: mean return of an evaluation from which on a seed counts as solved.
        axes: the two observations that are drawn.
        names: what they are.

    Returns:
        The figure, and for every variant NAME, over its seeds, `found_NAME`, the share that came to the goal while
        training, `solved_NAME`, the share that is solved at the end, `return_NAME`, the mean return then, and
        `reached_NAME`, the mean of the largest first observation that was seen.
    """
    made = figure(9.0, 4.6)
    grid = made.add_gridspec(2, len(runs), height_ratios=(1.0, 1.2))
    below = made.add_subplot(grid[1, :])
    numbers: dict[str, float] = {}
    visited = {name: [_stored(ran, seed) for seed in ran.seeds] for name, ran in runs.items()}
    every = np.concatenate([obs for seeds in visited.values() for obs, _ in seeds])[:, list(axes)]
    low, high = every.min(0), every.max(0)
    room = 0.05 * (high - low)
    for i, ((name, ran), colour) in enumerate(zip(runs.items(), _COLOURS, strict=False)):
        curves = [ran.curve("return/eval", seed) for seed in ran.seeds]  # several environments: steps of their own
        last = np.array([returns[0, -1] for _, returns in curves])
        found = [bool((reward > goal).any()) for _, reward in visited[name]]
        numbers |= {
            f"found_{name}": float(np.mean(found)),
            f"solved_{name}": float((last >= solved).mean()),
            f"return_{name}": float(last.mean()),
            f"reached_{name}": float(np.mean([obs[:, axes[0]].max() for obs, _ in visited[name]])),
        }
        plane = made.add_subplot(grid[0, i])
        for obs, reward in visited[name]:
            thin = slice(None, None, max(len(obs) // 4000, 1))
            plane.plot(*obs[thin][:, list(axes)].T, ".", color=colour, ms=1.0, alpha=0.25, rasterized=True)
            ends = obs[reward > goal][:, list(axes)]
            plane.plot(*ends.T, "*", color=INK, ms=4, mew=0)
        plane.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
        title = f"{name.replace('_', ' ')}: {sum(found)} of {len(found)} find it"
        quiet(plane, names[0], names[1] if i == 0 else "", title)
        for number, (steps, returns) in enumerate(curves):
            below.plot(
                steps, returns[0], color=colour, lw=1.2, alpha=0.8, label="" if number else name.replace("_", " ")
            )
    below.axhline(solved, color=PALE, lw=0.8, ls=":")
    quiet(
        below,
        "environment steps",
        "return without noise",
        "every seed (stars above: the goal was reached)",
        curves=True,
    )
    below.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    return Drawn(made, numbers)


def _stored(ran: Ran, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The observations (n, obs_dim) and rewards (n,) of all transitions that a seed has collected."""
    replay: Any = ran.task(seed).replay  # type: ignore[attr-defined]
    stored = replay.split(replay.rows[: len(replay)])
    return stored.obs.double().numpy(), stored.reward.double().numpy()
