"""Critic bias: what a learned Q promises, against the returns that follow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rlgan.rl import Trainer
from rlgan.rl.episodes import UNSEEN, discounted_returns, record
from rlgan.runs.compare import Drawn, Ran
from rlgan.task.figure import BLUE, FAKE, INK, SMALL, figure, quiet

_COLOURS = (FAKE, BLUE, "#8a6d1f")
_EPISODES = 5


def critic_bias(runs: Mapping[str, Ran], since: int) -> Drawn:
    """Q minus Monte-Carlo return as training goes, and both against each other at the end.

    The critic's goal has the maximising actor in it, Q'(s', mu(s')), so that errors upwards are chosen and passed on.
    The minimum of two critics does not choose them (Fujimoto, van Hoof & Meger 2018, figures 1 and 2,
    arXiv:1802.09477). Of the learned Q the deterministic policy gradient is made (Silver et al. 2014), so that it is as
    biased as that.

    Args:
        runs: of `task=ddpg`, evaluated as they train; episodes are long enough for a return to be known (`q_bias`).
        since: step from which on an agent counts as trained. Before that the bias is of another kind: a critic begins
            at 0, whatever the returns are.

    Returns:
        The figure, and for every variant NAME `start_NAME`, the mean bias at the first evaluation, `bias_NAME`, the
        mean over seeds of each one's median over the evaluations after `since` (of an episode that goes wrong every
        critic is too hopeful), `least_NAME` and `most_NAME`, the extremes over seeds, and `return_NAME`, the mean
        undiscounted return at the end.
    """
    made = figure(9.0, 3.6)
    left, right = made.subplots(1, 2, width_ratios=(1.5, 1.0))
    numbers: dict[str, float] = {}
    low, high = np.inf, -np.inf
    for (name, ran), colour in zip(runs.items(), _COLOURS, strict=False):
        steps, bias = ran.curve("critic/q_bias")
        left.plot(steps, bias.T, color=colour, lw=0.5, alpha=0.45)
        left.plot(steps, np.median(bias, 0), color=colour, lw=1.8, label=name.replace("_", " "))
        late = np.median(bias[:, steps > since], 1)
        numbers |= {
            f"start_{name}": float(bias[:, 0].mean()),
            f"bias_{name}": float(late.mean()),
            f"least_{name}": float(late.min()),
            f"most_{name}": float(late.max()),
            f"return_{name}": ran.mean("return/eval"),
        }
        promised, came = known(ran.task())  # type: ignore[arg-type]
        right.scatter(came, promised, s=5, c=colour, alpha=0.5, linewidths=0)
        low, high = min(low, came.min(), promised.min()), max(high, came.max(), promised.max())
    left.axhline(0.0, color=INK, lw=0.8, ls=":")
    left.set_yscale("symlog", linthresh=10, linscale=1.5)
    left.yaxis.set_major_formatter("{x:g}")
    quiet(left, "environment steps", "Q minus the return that followed", "every seed, and their median", curves=True)
    for height, words in ((0.75, "too hopeful"), (0.03, "too careful")):
        left.text(0.015, height, words, transform=left.transAxes, fontsize=SMALL, color=INK, va="center")
    left.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    right.plot([low, high], [low, high], color=INK, lw=0.8, ls=":")
    quiet(right, "discounted return that followed", "promised, $Q(s, \\mu(s))$", "at the end", curves=True)
    return Drawn(made, numbers)


def known(task: Trainer, episodes: int = _EPISODES) -> tuple[np.ndarray, np.ndarray]:
    """Q(s_t, mu(s_t)) and the discounted return after s_t, of the states after which enough of an episode was seen.

    Args:
        task: its actor plays, its critic promises.
        episodes: from so many starts, one after another.

    Returns:
        Two arrays of one length. Returns lack what would have come after a cut-off, less than `UNSEEN` of their weight.
    """
    judge, discount = task.judge, task.agent.discount
    promised, came = [], []
    for i in range(episodes):
        trace = record(task.deployed, judge, task.env, task.evaluation_seed + i)
        steps = len(trace.reward)
        seen = discount ** np.arange(steps, 0, -1.0) <= UNSEEN
        promised.append(trace.q[seen])
        came.append(discounted_returns(trace.reward, discount)[seen])
    return np.concatenate(promised), np.concatenate(came)
