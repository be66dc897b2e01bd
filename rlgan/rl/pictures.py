"""Pictures of an agent: one deterministic episode, what the critic promised and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlgan.rl.episodes import EpisodeTrace, discounted_returns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _PALE = "#333333", "#bbbbbb"
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    values, rewards, actions = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.6, 1.6))
    time = np.arange(len(trace.reward))
    values.plot(time, trace.q, color="#c8102e", lw=1.4, label=r"critic: $Q(s_t, \mu(s_t))$")
    followed = discounted_returns(trace.reward, discount)
    values.plot(
        time, followed, color="#4d4d4d", lw=1.4, label=rf"followed: $\sum_k \gamma^k r_{{t+k}}$, $\gamma$ = {discount}"
    )
    values.set_ylabel("value", fontsize=8)
    values.legend(fontsize=8, frameon=False)
    rewards.plot(time, trace.reward, color="#1f6f8b", lw=1.2)
    rewards.set_ylabel("reward", fontsize=8)
    shown = min(trace.action.shape[1], _MOST_ACTIONS)
    for i in range(shown):
        actions.plot(time, trace.action[:, i], lw=1.0, label=f"{i}")
    actions.set_ylim(-1.08, 1.08)
    actions.set_ylabel("action in [−1, 1]", fontsize=8)
    actions.set_xlabel("time step", fontsize=8)
    if trace.action.shape[1] > 1:
        actions.legend(fontsize=7, frameon=False, ncol=shown, loc="upper right", title="dimension", title_fontsize=7)
    for axes in (values, rewards, actions):
        axes.tick_params(labelsize=7, colors=_INK, length=2)
        axes.grid(color=_PALE, lw=0.4, alpha=0.6)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_PALE)
    title = f"{id}   step {step:,}   return {trace.reward.sum():.1f}"
    values.set_title(title, fontsize=10, color=_INK, loc="left")
    return figure
