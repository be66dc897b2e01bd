"""The best linear policy of a linear-quadratic regulator: costs x'Q x + u'R u, x' = A x + B u.

Costs are positive here, the less the better; V(x) = x'P x is the least sum of those to come, u = -K x the best action.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, solve_discrete_are

SWEEPS = 10_000
"""Steps of the recursion where the algebraic equation has no solver's answer."""


@dataclass(frozen=True)
class System:
    """A (n, n), B (n, m), Q (n, n) and R (m, m), both symmetric, Q >= 0 and R > 0."""

    A: np.ndarray
    B: np.ndarray
    Q: np.ndarray
    R: np.ndarray

    def gain(self, P: np.ndarray, discount: float = 1.0) -> np.ndarray:
        """K (m, n) = gamma (R + gamma B'P B)^-1 B'P A: best where x'P x follows."""
        return discount * np.linalg.solve(self.R + discount * self.B.T @ P @ self.B, self.B.T @ P @ self.A)

    def before(self, P: np.ndarray, discount: float = 1.0) -> np.ndarray:
        """The Bellman operator: P one step earlier, Q + gamma A'P (A - B K), K the gain at P."""
        found: np.ndarray = self.Q + discount * self.A.T @ P @ (self.A - self.B @ self.gain(P, discount))
        return 0.5 * (found + found.T)

    def forever(self, discount: float) -> tuple[np.ndarray, np.ndarray]:
        """P* and K* of the discounted sum without end: the fixed point of `before`.

        By the algebraic Riccati equation of sqrt(gamma) A, sqrt(gamma) B (Bertsekas 2017, Dynamic Programming and
        Optimal Control, section 3.1); where that has no answer (a state on the unit circle that costs nothing), by
        `SWEEPS` steps of `before` from P = 0.
        """
        root = float(np.sqrt(discount))
        try:
            P = solve_discrete_are(root * self.A, root * self.B, self.Q, self.R)
        except (LinAlgError, ValueError):
            P = np.zeros_like(self.Q)
            for _ in range(SWEEPS):
                P = self.before(P, discount)
        return P, self.gain(P, discount)

    def ahead(self, steps: int) -> list[np.ndarray]:
        """P_0, ..., P_T of T steps without discount, P_T = 0: x'P_t x is the least cost from step t on."""
        found = [np.zeros_like(self.Q)]
        for _ in range(steps):
            found.append(self.before(found[-1]))
        return found[::-1]
