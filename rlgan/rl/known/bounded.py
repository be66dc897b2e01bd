"""The best actions of a linear-quadratic regulator whose actions have bounds: a convex problem for each start."""

import numpy as np

from rlgan.rl.known.riccati import System

SWEEPS, HALVINGS, ROUNDS = 200, 12, 100
"""At most so many Newton steps, halvings of one of them, and rounds over the components of one action."""
LEAST = 1e-13
"""A step that saves a smaller part of the cost than this is none."""


def cost_of(system: System, x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """sum_t x_t'Q x_t + u_t'R u_t, (E,), for states (E, T + 1, n), of which the last costs nothing, and u (E, T, m)."""
    seen = x[:, :-1]
    found: np.ndarray = np.einsum("eti,ij,etj->e", seen, system.Q, seen) + np.einsum("eti,ij,etj->e", u, system.R, u)
    return found


def boxed(H: np.ndarray, slope: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimise slope'd + d'H d over low <= d <= high, one component after another; d (E, m), and where it is free.

    Args:
        H: (E, m, m), positive definite.
        slope: (E, m).
        low: (E, m).
        high: likewise.
    """
    d = np.clip(-0.5 * np.linalg.solve(H, slope[..., None])[..., 0], low, high)
    for _ in range(ROUNDS):
        before = d.copy()
        for i in range(d.shape[1]):
            others = slope[:, i] + 2.0 * (np.einsum("ej,ej->e", H[:, i], d) - H[:, i, i] * d[:, i])
            d[:, i] = np.clip(-0.5 * others / H[:, i, i], low[:, i], high[:, i])
        if (np.abs(d - before) <= 1e-12 * (high - low)).all():
            break
    pressed = slope + 2.0 * np.einsum("eij,ej->ei", H, d)
    return d, ~(((d <= low) & (pressed > 0)) | ((d >= high) & (pressed < 0)))


def best_bounded(
    system: System, starts: np.ndarray, steps: int, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the cost of T steps without noise over u_0, ..., u_{T-1} within the bounds, for each start.

    Control-limited differential dynamic programming (Tassa et al. 2014): Newton's step by the Riccati recursion, in
    which the bounds hold for every action, rolled out with its feedback and clipped, and halved until it saves. The
    problem is convex, so that where no step saves it is solved.

    Args:
        system: the matrices.
        starts: x_0 (E, n).
        steps: T.
        low: bounds of u (m,).
        high: likewise.

    Returns:
        The least costs (E,) and their actions (E, T, m).
    """
    A, B, Q, R = system.A, system.B, system.Q, system.R
    E, m = len(starts), B.shape[1]

    def rolled(
        u: np.ndarray, size: np.ndarray, step: np.ndarray, K: np.ndarray, old: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """States and actions of u_t + size k_t - K_t (x_t - old_t), clipped."""
        x, v = np.empty_like(old), np.empty_like(u)
        x[:, 0] = starts
        for t in range(steps):
            moved = np.einsum("emn,en->em", K[:, t], x[:, t] - old[:, t])
            v[:, t] = np.clip(u[:, t] + size[:, None] * step[:, t] - moved, low, high)
            x[:, t + 1] = x[:, t] @ A.T + v[:, t] @ B.T
        return x, v

    # The first guess: the gains without bounds, their actions clipped on the way.
    gains = np.stack([system.gain(P) for P in system.ahead(steps)[1:]])
    nothing, still = np.zeros((E, steps, m)), np.zeros((E, steps + 1, len(A)))
    x, u = rolled(nothing, np.ones(E), nothing, np.broadcast_to(gains, (E, *gains.shape)), still)
    cost = cost_of(system, x, u)
    for _ in range(SWEEPS):
        # Of deviations dx, du: the value v'dx + dx'P dx that follows, the best step k for dx = 0, and its feedback K.
        P, v = np.zeros((E, *Q.shape)), np.zeros((E, len(A)))
        K, k = np.zeros((E, steps, m, len(A))), np.zeros((E, steps, m))
        for t in range(steps - 1, -1, -1):
            slope, curved = 2.0 * u[:, t] @ R + v @ B, R + B.T @ P @ B
            k[:, t], free = boxed(curved, slope, low - u[:, t], high - u[:, t])
            both = free[:, :, None] & free[:, None, :]
            cross = B.T @ P @ A
            K[:, t] = np.linalg.solve(np.where(both, curved, np.eye(m)), np.where(free[:, :, None], cross, 0.0))
            # The value of du = k - K dx.
            Kt, rest = np.swapaxes(K[:, t], 1, 2), slope + 2.0 * np.einsum("eij,ej->ei", curved, k[:, t])
            v = 2.0 * x[:, t] @ Q + v @ A + 2.0 * np.einsum("emn,em->en", cross, k[:, t])
            v = v - np.einsum("enm,em->en", Kt, rest)
            P = Q + A.T @ P @ A - Kt @ cross - np.swapaxes(cross, 1, 2) @ K[:, t] + Kt @ curved @ K[:, t]
        size, better = np.ones(E), np.zeros(E, dtype=np.bool_)
        for _ in range(HALVINGS):
            tried_x, tried_u = rolled(u, size, k, K, x)
            tried = cost_of(system, tried_x, tried_u)
            take = ~better & (tried < (1.0 - LEAST) * cost)
            x[take], u[take], cost[take] = tried_x[take], tried_u[take], tried[take]
            better |= take
            size = np.where(better, size, 0.5 * size)
            if better.all():
                break
        if not better.any():
            break
    return cost, u
