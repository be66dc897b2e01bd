"""No value above what was seen: the largest discounted return of training bounds what targets promise.

A critic that is learnt from its own values can run away with them: the actor looks for actions that it overrates, these
come into the targets, and where only few states ever bring a gain nothing in the replay speaks against it. On
MountainCarContinuous-v0, where no return is above 100, DDPG's values rise to some hundreds, and the policy is lost.
Andrychowicz et al. 2017 (Hindsight Experience Replay, appendix A) cut targets to the returns that are possible; here
the bound need not be known, it is the largest return so far. A policy whose returns grow takes it with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rlgan.optim import ranks
from rlgan.rl.border.rows import Step
from rlgan.rl.episodes import discounted_returns

SEEN = 0.8
"""Share of a return that has to be seen for it to count, where an episode was cut: 1 - discount^steps."""
LONGEST = 10_000
"""Steps after which an episode that does not end is looked at, and what follows is a new one."""


class Ceiling:
    """The largest discounted return of a state that training has come by, above 0; and none before there is one.

    Of an episode that terminated, the returns Z_t = sum_k discount^k r_{t+k} of all its states count. One that was cut
    after T steps would have gone on: there Z_t / (1 - discount^(T - t)) counts, what was seen at the same rate for
    ever, of the states of which at least `SEEN` of the return was seen, or of its first one.

    Args:
        discount: gamma.
        num_envs: environments that are stepped together.
    """

    def __init__(self, discount: float, num_envs: int) -> None:
        self.discount = discount
        self.most = 0.0
        self._episodes: list[list[float]] = [[] for _ in range(num_envs)]

    def observe(self, step: Step) -> None:
        """Take note of the rewards of a step, and of the returns of the episodes that it ended."""
        columns = (step.valid, step.reward, step.terminated, step.truncated)
        for own, valid, reward, terminated, truncated in zip(
            self._episodes, *map(np.ndarray.tolist, columns), strict=True
        ):
            if not valid:
                continue
            own.append(reward)
            if terminated or truncated or len(own) >= LONGEST:
                self.most = max(self.most, largest_return(own, self.discount, terminated))
                own.clear()
        if ranks.world().size > 1:
            mine = torch.tensor([[self.most]], dtype=torch.float64)
            self.most = max(float(own) for own in ranks.rows_of_ranks(mine))

    def settle(self, lengths: np.ndarray) -> None:
        """Forget what is no part of the present episodes, of which so many steps (n,) have been made."""
        for own, length in zip(self._episodes, lengths.tolist(), strict=True):
            del own[: max(len(own) - length, 0)]

    def state_dict(self) -> dict[str, Any]:
        """The ceiling, and the episodes that have not ended."""
        return {
            "most": self.most,
            "rewards": torch.tensor([r for own in self._episodes for r in own], dtype=torch.float64),
            "lengths": torch.tensor([len(own) for own in self._episodes]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        self.most = float(state["most"])
        parts = state["rewards"].split(state["lengths"].tolist())
        self._episodes = [part.tolist() for part in parts]


def largest_return(rewards: list[float], discount: float, terminated: bool) -> float:
    """The largest return of the states of an episode, as `Ceiling` counts them; 0 where none is above that."""
    if max(rewards) <= 0:
        return 0.0
    returns = discounted_returns(np.array(rewards), discount)
    if not terminated:
        seen = 1 - discount ** np.arange(len(rewards), 0, -1.0)
        counts = seen >= SEEN
        counts[0] = True
        # Undiscounted, what was cut off may be worth anything.
        returns = np.divide(returns, seen, out=np.full_like(returns, np.inf), where=seen > 0)[counts]
    return max(0.0, float(returns.max()))
