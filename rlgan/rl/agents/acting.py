"""How an agent acts: whether its actions stay at their bounds, and how much they change from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from rlgan.rl import episodes
from rlgan.rl.trainer import Trainer
from rlgan.task.hooks.measures import Metric


class Acting(Metric):
    """Of one episode without exploration, its actions in [-1, 1].

    An actor whose tanh is saturated learns no more, since its gradient vanishes there; one that switches from bound to
    bound at every step wears a real motor out.

    Args:
        bound: what counts as being at the bound, |a| at least.

    Raises:
        ValueError: an impossible bound, or a task without actions.
    """

    explained: ClassVar[Mapping[str, str]] = {
        "at_bounds": "share of actions at their bounds, |a| >= 0.99",
        "size": "mean |a| of one episode, of at most 1",
        "change": "mean |a_t+1 - a_t| of one episode, of at most 2",
    }

    def __init__(self, bound: float = 0.99) -> None:
        if not 0 < bound <= 1:
            raise ValueError(f"bound = {bound}: must be above 0 and at most 1, for example bound=0.99")
        self.bound = bound

    def check(self, task: object) -> None:
        if not isinstance(task, Trainer):
            raise ValueError("is for agents, for example task=ddpg; leave it out")

    def __call__(self, task: Trainer) -> dict[str, float]:
        trace = episodes.record(task.deployed, task.judge, task.env, task.evaluation_seed, lender=task.envs)
        size = np.abs(trace.action)
        change = np.abs(np.diff(trace.action, axis=0))
        return {
            "at_bounds": float((size >= self.bound).mean()),
            "size": float(size.mean()),
            **({"change": float(change.mean())} if len(change) else {}),
        }
