"""Pictures of an agent: one episode without exploration, what the critic predicted and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlgan.rl.episodes import EpisodeTrace, discounted_returns
from rlgan.task.figure import BLUE, FAKE, REAL, SMALL, figure, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_ACTIONS = 6


def episode(trace: EpisodeTrace, discount: float, id: str, step: int) -> Figure:
    """Q(s_t, mu(s_t)) beside the discounted return that followed, the rewards, and the actions of one episode.

    The gap between the two curves is the critic's bias along this episode. Where a time limit cut the episode, the
    return that followed lacks the tail that Q counts on, which shows near its end.

    Args:
        trace: the episode.
        discount: gamma.
        id: of the environment, for the caption.
        step: of training, for the caption.
    """
    drawing = figure(7.2, 5.4)
    values, rewards, actions = drawing.subplots(3, 1, sharex=True, height_ratios=(3, 1.6, 1.6))
    time = np.arange(len(trace.reward))
    followed = discounted_returns(trace.reward, discount)
    values.plot(time, trace.q, color=FAKE, lw=1.4, label=r"critic: $Q(s_t, \mu(s_t))$")
    values.plot(
        time, followed, color=REAL, lw=1.4, label=rf"followed: $\sum_k \gamma^k r_{{t+k}}$, $\gamma$ = {discount}"
    )
    values.legend(fontsize=SMALL, frameon=False)
    rewards.plot(time, trace.reward, color=BLUE, lw=1.2)
    shown = min(trace.action.shape[1], _MOST_ACTIONS)
    for i in range(shown):
        actions.plot(time, trace.action[:, i], lw=1.0, label=f"{i}")
    actions.set_ylim(-1.08, 1.08)
    if trace.action.shape[1] > 1:
        small = SMALL - 1
        actions.legend(
            fontsize=small, frameon=False, ncol=shown, loc="upper right", title="dimension", title_fontsize=small
        )
    quiet(values, y="value", title=f"{id}   step {step:,}   return {trace.reward.sum():.1f}", curves=True)
    quiet(rewards, y="reward", curves=True)
    quiet(actions, "time step", "action in [−1, 1]", curves=True)
    return drawing
