"""The linear-quadratic regulator, whose optimal gain, values and returns are computed.

    rlgan/LQR-v0     x' = A x + B u + noise xi,  r = -scale (x'Q x + u'R u),  low <= u <= high

registered with gymnasium on import, with episodes of 50 steps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding

from rlgan.rl.envs.batched import Arrays, BatchedEnv, Maths, Unsuitable, register
from rlgan.rl.known import noise as noises
from rlgan.rl.known.arguments import bounds, number, numbers
from rlgan.rl.known.bounded import best_bounded
from rlgan.rl.known.riccati import System

AHEAD = 200
"""Steps for which u = -K* x must stay within the bounds for Q* of the regulator without bounds to hold."""


class LQR(BatchedEnv):
    """A linear-quadratic regulator. An observation is the state x; xi is standard normal for each component.

    Args:
        num_envs: n.
        max_episode_steps: the horizon; None: no end.
        A: (n, n).
        B: (n, m).
        Q: (n, n), x'Q x >= 0 for all x; of it the symmetric part counts.
        R: (m, m), u'R u > 0 for all u but 0, likewise.
        low: bounds of u, a number or (m,).
        high: likewise.
        noise: standard deviation of the noise on every component of x.
        start: x starts evenly within this of 0, a number or (n,).
        scale: of the reward, positive.

    Raises:
        Unsuitable: an argument of another shape or sign, matrices for which no actions keep the state bounded.
    """

    one_observation: spaces.Box[Any] = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    one_action: spaces.Box[Any] = spaces.Box(-2.0, 2.0, (1,), np.float32)
    width = 2
    few = 8

    def __init__(
        self,
        num_envs: int,
        max_episode_steps: int | None = None,
        A: Any = ((1.0, 0.1), (0.0, 1.0)),
        B: Any = ((0.0,), (0.1,)),
        Q: Any = ((1.0, 0.0), (0.0, 0.1)),
        R: Any = ((0.1,),),
        low: Any = -2.0,
        high: Any = 2.0,
        noise: float = 0.0,
        start: Any = 1.0,
        scale: float = 1.0,
    ) -> None:
        square = "a list of rows, for example [[1.0, 0.1], [0.0, 1.0]]"
        n = len(numbers("A", A, (None, None), square))
        first = numbers("A", A, (n, n), "must be square: x' = A x + B u")
        second = numbers("B", B, (n, None), f"one row for each of the {n} components of x, for example {[[1.0]] * n}")
        m = second.shape[1]
        self.system = System(
            first,
            second,
            _symmetric("Q", Q, n, "a row and a column for each component of x"),
            _symmetric("R", R, m, "a row and a column for each component of u"),
        )
        if np.linalg.eigvalsh(self.system.Q)[0] < -1e-9 * np.abs(self.system.Q).max():
            raise Unsuitable(f"Q = {Q}: x'Q x is negative for some x, which no policy is best for; make it >= 0")
        if np.linalg.eigvalsh(self.system.R)[0] <= 0:
            raise Unsuitable(f"R = {R}: u'R u must be positive for all u but 0; for example 0.1 on its diagonal")
        for value in np.linalg.eigvals(first):
            # Hautus' test: a mode that does not fade must be reached by u.
            reach = np.concatenate((first - value * np.eye(n), second), 1)
            if abs(value) >= 1 and np.linalg.matrix_rank(reach) < n:
                raise Unsuitable(
                    f"A = {A}: is not stabilisable, its eigenvalue {complex(value):.4g} is at least 1 in size and not "
                    "reached by B; change B, or that eigenvalue"
                )
        self.one_action = bounds(low, high, m)
        self.noise = number("noise", noise, 0.0, "give a standard deviation, for example 0.1")
        self.spread = numbers("start", start, (n,), f"give a number, or one for each of the {n} components of x")
        self.scale = number("scale", scale, 0.0, "give a positive factor, for example 1.0")
        if self.scale == 0:
            raise Unsuitable(f"scale = {scale}: must be positive, else all actions are equal; for example 1.0")
        self.one_observation = spaces.Box(-np.inf, np.inf, (n,), np.float64)
        self.size, self.width = n, n + (noises.WIDTH if self.noise else 0)
        self._rows = (first.tolist(), second.tolist(), self.system.Q.tolist(), self.system.R.tolist())
        self._low, self._high = self.one_action.low.tolist(), self.one_action.high.tolist()
        super().__init__(num_envs, max_episode_steps)

    def start(self, generator: np.random.Generator) -> Sequence[float]:
        x = (self.spread * generator.uniform(-1.0, 1.0, self.size)).tolist()
        return [*x, *(noises.begin(generator) if self.noise else [])]

    def advance(self, state: Sequence[Any], action: Sequence[Any], maths: Maths) -> tuple[Sequence[Any], Any, Any]:
        x, streams = state[: self.size], state[self.size :]
        u = [
            maths.clip(maths.double(push), low, high)
            for push, low, high in zip(action, self._low, self._high, strict=True)
        ]
        A, B, Q, R = self._rows
        moved = []
        for by_x, by_u in zip(A, B, strict=True):
            value = _dot(by_x, x) + _dot(by_u, u)
            if self.noise:
                drawn, streams = noises.normal(streams, maths)
                value = value + self.noise * drawn
            moved.append(value)
        return [*moved, *streams], -self.scale * (_form(Q, x) + _form(R, u)), False

    def observe(self, state: Sequence[Any], maths: Maths) -> Sequence[Any]:
        return state[: self.size]

    @property
    def known(self) -> "BestOfLQR":
        """The best that can be done."""
        return BestOfLQR(self)


def _dot(row: Sequence[float], x: Sequence[Any]) -> Any:
    total: Any = 0.0
    for weight, value in zip(row, x, strict=True):
        total = total + weight * value
    return total


def _form(rows: Sequence[Sequence[float]], x: Sequence[Any]) -> Any:
    return _dot([1.0] * len(x), [value * _dot(row, x) for row, value in zip(rows, x, strict=True)])


def _symmetric(name: str, given: Any, size: int, remedy: str) -> np.ndarray:
    found = numbers(name, given, (size, size), remedy)
    symmetric: np.ndarray = 0.5 * (found + found.T)
    return symmetric


class BestOfLQR:
    """The best policy of a regulator: the gain and the values of the discounted sum without end, and returns.

    Args:
        env: the regulator.
    """

    def __init__(self, env: LQR) -> None:
        self._env = env

    def gain(self, discount: float) -> np.ndarray:
        """K* (m, n): u = -K* x is best for the discounted sum without end, where no bound is met on the way."""
        return self._env.system.forever(discount)[1]

    def q(self, obs: np.ndarray, action: np.ndarray, discount: float) -> np.ndarray:
        """Q*(x, u) = -scale (x'Q x + u'R u + gamma (E x'' P* x'' + noise to come)), (B,), x'' the next state.

        NaN where u = -K* x would leave the bounds within `AHEAD` steps after u, were there no noise: there it is
        another, which has no closed form.
        """
        env = self._env
        A, B, Q, R = env.system.A, env.system.B, env.system.Q, env.system.R
        low, high = env.one_action.low.astype(np.float64), env.one_action.high.astype(np.float64)
        x, u = obs.astype(np.float64), action.astype(np.float64)
        P, K = env.system.forever(discount)
        after = x @ A.T + u @ B.T
        cost = np.einsum("bi,ij,bj->b", x, Q, x) + np.einsum("bi,ij,bj->b", u, R, u)
        cost = cost + discount * np.einsum("bi,ij,bj->b", after, P, after)
        if env.noise:
            # Every step adds noise^2 trace P, at which the next is discounted; without discount that has no sum.
            cost = cost + (discount / (1.0 - discount) if discount < 1 else np.nan) * env.noise**2 * np.trace(P)
        within = np.ones(len(x), dtype=np.bool_)
        closed = A - B @ K
        for _ in range(AHEAD):
            best = -after @ K.T
            within &= ((low <= best) & (best <= high)).all(1)
            after = after @ closed.T
        return np.where(within, -env.scale * cost, np.nan)

    def optimum(self, seeds: Sequence[int], steps: int) -> np.ndarray:
        """The best (undiscounted) return of `steps` steps from the starts of these seeds, (n,).

        Without noise it is exact: by the Riccati recursion where no bound is met on the way, else by `best_bounded`.
        With noise it is the expectation, where no bound is met, and else a bound that none can exceed in the mean: the
        less of the expectation without bounds and of the best within the bounds without noise. To it comes the luck of
        these episodes: what the best policy without bounds brings under the very noise that they have, less its
        expectation, which is 0 in the mean. So where no bound is met it is what that policy brings.
        """
        env, system = self._env, self._env.system
        states = np.array([env.start(seeding.np_random(seed)[0]) for seed in seeds])
        starts = states[:, : env.size]
        P = system.ahead(steps)
        cost = np.einsum("bi,ij,bj->b", starts, P[0], starts)
        low, high = env.one_action.low.astype(np.float64), env.one_action.high.astype(np.float64)
        # Without the noise: episodes picked by what their noise did would have a luck that is not 0 in the mean.
        x, within = starts, np.ones(len(starts), dtype=np.bool_)
        for t in range(steps):
            u = -x @ system.gain(P[t + 1]).T
            within &= ((low <= u) & (u <= high)).all(1)
            x = x @ system.A.T + u @ system.B.T
        expected = cost + env.noise**2 * sum(float(np.trace(after)) for after in P[1:])
        cost = expected.copy()
        if not within.all():
            bound, _ = best_bounded(system, starts[~within], steps, low, high)
            cost[~within] = np.maximum(cost[~within], bound)
        if env.noise:
            cost += self._brought(states, P) - expected
        return -env.scale * cost

    def _brought(self, states: np.ndarray, P: Sequence[np.ndarray]) -> np.ndarray:
        """The cost (n,) of the best policy without bounds from `states` (n, width) under the noise that is theirs."""
        env, system = self._env, self._env.system
        x = states[:, : env.size]
        streams: Sequence[np.ndarray] = list(states[:, env.size :].T)
        cost = np.zeros(len(x))
        for after in P[1:]:
            u = -x @ system.gain(after).T
            cost += np.einsum("bi,ij,bj->b", x, system.Q, x) + np.einsum("bi,ij,bj->b", u, system.R, u)
            x = x @ system.A.T + u @ system.B.T
            for j in range(env.size):
                drawn, streams = noises.normal(streams, Arrays)
                x[:, j] += env.noise * drawn
        return cost


register("rlgan/LQR-v0", LQR, max_episode_steps=50)
