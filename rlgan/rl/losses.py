"""Losses of deterministic policy gradient methods: pure functions, q_tm1 = Q(s_{t-1}, a_{t-1}) as in the papers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def td_target(r_t: Tensor, terminated: Tensor, q_t: Tensor, discount: float) -> Tensor:
    """y = r + discount (1 - terminated) Q'(s', mu'(s')), (batch,): what the critic is regressed on.

    Only termination masks. At a truncation (a time limit) the episode could have gone on, so its value counts.
    Lillicrap et al. 2016, Algorithm 1.

    Args:
        r_t: rewards, (batch,).
        terminated: 1 where the episode ended by itself, else 0, (batch,).
        q_t: the target critic's value of the successor and the target actor's action there, (batch,).
        discount: gamma.
    """
    assert r_t.shape == terminated.shape == q_t.shape, f"{r_t.shape}, {terminated.shape}, {q_t.shape} differ"
    return torch.addcmul(r_t, 1 - terminated, q_t, value=discount)


def td_loss(q_tm1: Tensor, target: Tensor) -> Tensor:
    """E (y - Q(s, a))^2, a scalar; no gradient goes through the target. Lillicrap et al. 2016, Algorithm 1."""
    assert q_tm1.shape == target.shape, f"{q_tm1.shape} and {target.shape} differ"
    return F.mse_loss(q_tm1, target.detach())


def deterministic_policy_loss(q: Tensor) -> Tensor:
    """-E Q(s, mu(s)), a scalar; with respect to the actor's theta its gradient is

        -E [ grad_theta mu_theta(s)  grad_a Q(s, a) |_{a = mu(s)} ],

    the deterministic policy gradient (Silver et al. 2014, equation 16; deck 000, "Deterministic Policy Gradient").

    Args:
        q: Q(s, mu(s)), (batch,).
    """
    assert q.ndim == 1, f"q is (batch,), not {tuple(q.shape)}"
    return -q.mean()
