"""A bandit with a known best action: the smallest task on which an agent can go wrong.

    rlgan/Bandit-v0     one step: r = offset - scale sum_j curvature_j (a_j - best_j(s))^2 + noise xi,
                        best(s) = best + slope s

registered with gymnasium on import.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding

from rlgan.rl.envs.batched import BatchedEnv, Maths, Unsuitable, register
from rlgan.rl.known.arguments import bounds, number, numbers


class Bandit(BatchedEnv):
    """Episodes of one step. An observation s is the context, drawn evenly within `spread` of `context`.

    Args:
        num_envs: n.
        max_episode_steps: an episode has one step, whatever this is.
        best: the best action where the context is 0 (d,); it may lie outside of the bounds.
        low: bounds of the actions, a number or (d,).
        high: likewise.
        curvature: how fast the reward falls, for each component, a number or (d,).
        scale: a factor of the whole.
        offset: the reward at the best action.
        noise: standard deviation of the normal noise xi on the reward.
        context: centre of the observations (k,).
        spread: half the width of their range, a number or (k,); at 0 all observations are `context`.
        slope: how the best action depends on the context (d, k), or None: not at all.

    Raises:
        Unsuitable: an argument of another shape or sign.
    """

    one_observation: spaces.Box[Any] = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    one_action: spaces.Box[Any] = spaces.Box(-1.0, 1.0, (1,), np.float32)
    width = 2
    few = 8

    def __init__(
        self,
        num_envs: int,
        max_episode_steps: int | None = None,
        best: Any = (0.95,),
        low: Any = -1.0,
        high: Any = 1.0,
        curvature: Any = 1.0,
        scale: float = 1.0,
        offset: float = 0.0,
        noise: float = 0.0,
        context: Any = (0.0,),
        spread: Any = 0.0,
        slope: Any = None,
    ) -> None:
        self.best = numbers("best", best, (None,), "give a number for each component, for example [0.95]")
        d = len(self.best)
        self.one_action = bounds(low, high, d)
        self.curvature = numbers("curvature", curvature, (d,), "give a number, or one for each component of best")
        if (self.curvature <= 0).any():
            raise Unsuitable(f"curvature = {curvature}: must be positive, else no action is best; for example 1.0")
        self.scale = number("scale", scale, 0.0, "give a positive factor, for example 1.0")
        if self.scale == 0:
            raise Unsuitable(f"scale = {scale}: must be positive, else all actions are equal; for example 1.0")
        self.offset = float(numbers("offset", offset, (1,), "give a number")[0])
        self.noise = number("noise", noise, 0.0, "give a standard deviation, for example 0.1")
        self.context = numbers("context", context, (None,), "give the centre of the observations, for example [0.0]")
        k = len(self.context)
        self.spread = numbers("spread", spread, (k,), f"give a number, or one for each of the {k} of context")
        if (self.spread < 0).any():
            raise Unsuitable(f"spread = {spread}: must not be negative; 0 makes all observations alike")
        remedy = f"one row for each component of best, one column for each of context: {d} x {k}"
        self.slope = np.zeros((d, k)) if slope is None else numbers("slope", slope, (d, k), remedy)
        around = np.where(self.spread > 0, self.spread, 1.0)  # a space needs a width
        self.one_observation = spaces.Box(self.context - around, self.context + around, dtype=np.float64)
        # The state is the context, and the noise of the reward to come.
        self.width = k + 1
        super().__init__(num_envs, max_episode_steps)

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        context = self.context + self.spread * generator.uniform(-1.0, 1.0, len(self.context))
        return [*context.tolist(), self.noise * generator.standard_normal()]

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        loss: Any = 0.0
        best, curvature, rows = self.best.tolist(), self.curvature.tolist(), self.slope.tolist()
        for j, push in enumerate(action):
            a = maths.clip(maths.double(push), float(self.one_action.low[j]), float(self.one_action.high[j]))
            off = a - sum((slope * s for slope, s in zip(rows[j], state[:-1], strict=True)), best[j])
            loss = loss + curvature[j] * off * off
        return state, self.offset - self.scale * loss + state[-1], True

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return state[:-1]

    @property
    def known(self) -> "BestOfBandit":
        """The best that can be done."""
        return BestOfBandit(self)


class BestOfBandit:
    """The best action of a bandit, within the bounds, and what it brings.

    Args:
        env: the bandit.
    """

    def __init__(self, env: Bandit) -> None:
        self._env = env

    def action(self, obs: np.ndarray) -> np.ndarray:
        """The best actions (B, d) for contexts (B, k): best + slope s, clipped, as the components are independent."""
        env = self._env
        best = env.best + obs.astype(np.float64) @ env.slope.T
        return np.clip(best, env.one_action.low.astype(np.float64), env.one_action.high.astype(np.float64))

    def optimum(self, seeds: Sequence[int], steps: int) -> np.ndarray:
        """The best return of the episodes that start from these seeds (n,); with noise, of the noise that they have."""
        env = self._env
        starts = np.array([env.start(seeding.np_random(seed)[0]) for seed in seeds])
        return self.q(starts[:, :-1], self.action(starts[:, :-1]), 0.0) + starts[:, -1]

    def q(self, obs: np.ndarray, action: np.ndarray, discount: float) -> np.ndarray:
        """Q*(s, a) = E r (B,): nothing follows the one step."""
        env = self._env
        off = action.astype(np.float64) - env.best - obs.astype(np.float64) @ env.slope.T
        return env.offset - env.scale * (env.curvature * off**2).sum(-1)


register("rlgan/Bandit-v0", Bandit)
