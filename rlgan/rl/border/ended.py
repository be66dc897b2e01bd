"""The episodes of training that have ended: the last ones, and those that nobody has asked for yet."""

import time
from collections import deque
from collections.abc import Iterable

from rlgan.rl.agents.meanings import RECENT_EPISODES
from rlgan.rl.border.rows import Episode
from rlgan.task.task import Ended


class EndedEpisodes:
    """Takes note of episodes as they end."""

    def __init__(self) -> None:
        self._returns: deque[float] = deque(maxlen=RECENT_EPISODES)
        self._new: list[Episode] = []
        self._kept: list[Ended] = []

    def note(self, episode: Episode) -> None:
        """One has ended, in a step that is not counted yet."""
        self._returns.append(episode.total)
        self._new.append(episode)

    def stamp(self, step: int) -> None:
        """The step is counted."""
        if self._new:
            now = time.time()
            self._kept += [Ended(step, e.env, e.total, e.length, now) for e in self._new]
            self._new.clear()

    def take(self) -> list[Ended]:
        """Those that ended since the last call."""
        taken, self._kept = self._kept, []
        return taken

    def metrics(self) -> dict[str, float]:
        """`return/train`, once an episode has ended."""
        recent = self._returns
        return {"return/train": sum(recent) / len(recent)} if recent else {}

    @property
    def returns(self) -> list[float]:
        """Of the last `RECENT_EPISODES` episodes."""
        return list(self._returns)

    def restore(self, returns: Iterable[float]) -> None:
        """Go on after episodes of these returns."""
        self._returns.clear()
        self._returns.extend(returns)
