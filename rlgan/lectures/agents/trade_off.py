"""Exploration against exploitation: what noise on the actions finds, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlgan.rl.envs.sparse import SparseWalk
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, REAL, SMALL, figure, quiet

_LATE = 10
"""Episodes that `return/train` is the mean of."""


def exploration_and_exploitation(runs: Mapping[str, Ran]) -> Drawn:
    """Where every sigma of noise went on a line with one paid end, and its return with and without the noise.

    An actor acts by a = mu(s) + sigma xi while it learns, and by mu(s) when it is evaluated. With little noise it never
    comes to where something is paid, and there is nothing to exploit. With more it finds the end; and the more noise,
    the less of what the actor is worth is paid while it goes on exploring.

    Args:
        runs: of `env=sparse_walk`, by exploration=none or gaussian.

    Returns:
        The figure, and for every variant NAME, over its seeds, `kept_NAME`, the mean return without noise at the end,
        `paid_NAME`, that of the last episodes of training, with noise, `found_NAME`, the share of seeds that came to
        the paid end while training; beside them `best`, the return of whoever goes there straight and stays,
        `best_paid`, the largest `paid`, and `best_sigma`, its sigma.
    """
    made = figure(9.0, 3.6)
    left, right = made.subplots(1, 2, width_ratios=(1.0, 1.15))
    places = np.linspace(-1.0, 1.0, 401)
    left.fill_between(places, _paid(places), color=BLUE, alpha=0.25, linewidth=0)
    left.plot(places, _paid(places), color=BLUE, lw=1.2)
    numbers: dict[str, float] = {"best": best_return(30)}
    sigmas, kept, paid = [], [], []
    for i, (name, ran) in enumerate(runs.items()):
        sigmas.append(float(ran.config["exploration"].get("sigma", 0.0)))
        kept.append(ran.last("return/eval"))
        paid.append(ran.last("return/train"))
        visited = [_visited(ran, seed) for seed in ran.seeds]
        numbers |= {
            f"kept_{name}": float(kept[-1].mean()),
            f"paid_{name}": float(paid[-1].mean()),
            f"found_{name}": float(np.mean([(_paid(own) > 0).any() for own in visited])),
        }
        level = -0.12 - 0.14 * i
        every = np.concatenate(visited)
        shares, edges = np.histogram(every, 100, (-1.0, 1.0))
        heights = 0.1 * np.sqrt(shares / shares.max())
        left.fill_between(edges[:-1], level, level + heights, step="post", color=REAL, alpha=0.7, linewidth=0)
        left.text(1.05, level + 0.02, f"$\\sigma$ = {sigmas[-1]:g}", fontsize=SMALL - 1, color=INK)
    top = int(np.argmax([own.mean() for own in paid]))
    numbers |= {"best_paid": float(paid[top].mean()), "best_sigma": sigmas[top]}
    left.set(xlim=(-1.0, 1.0), yticks=[0.0, 0.5, 1.0])
    quiet(left, "place x; below: where training was, by sigma", "reward", curves=True)
    left.spines["left"].set_bounds(0.0, 1.0)
    at = np.arange(len(sigmas))
    for values, colour, label in ((kept, BLUE, "evaluation, without noise"), (paid, FAKE, "training, with noise")):
        for x, own in zip(at, values, strict=True):
            right.plot(np.full(len(own), x), own, "o", color=colour, ms=3, alpha=0.5)
        right.plot(at, [own.mean() for own in values], color=colour, lw=1.4, label=label)
    right.axhline(numbers["best"], color=INK, lw=0.8, ls=":", label="straight there, and stay")
    right.set_xticks(at, [f"{sigma:g}" for sigma in sigmas])
    quiet(right, r"$\sigma$ of the noise on the action", f"return of an episode, last {_LATE} in training", curves=True)
    right.set_ylim(0.0, None)
    right.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="center left")
    return Drawn(made, numbers)


def best_return(steps: int) -> float:
    """The return of an episode of so many steps that goes to the paid end as fast as it can, and stays."""
    return float(sum(_paid(np.minimum(1.0, SparseWalk.pace * np.arange(1, steps + 1)))))


def _paid(x: np.ndarray) -> np.ndarray:
    """The reward of a place."""
    return np.maximum(0.0, 2.0 * x - 1.0)


def _visited(ran: Ran, seed: int) -> np.ndarray:
    """The places to which the transitions of a seed have led, (n,)."""
    replay: Any = ran.task(seed).replay  # type: ignore[attr-defined]
    places: np.ndarray = replay.split(replay.rows[: len(replay)]).next_obs[:, 0].double().numpy()
    return places
