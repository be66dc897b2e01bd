"""Losses of deterministic policy gradient methods: pure functions, q_tm1 = Q(s_{t-1}, a_{t-1}) as in the papers."""

import torch
import torch.nn.functional as F
from torch import Tensor


def td_target(r_t: Tensor, terminated: Tensor, q_t: Tensor, discount: float | Tensor) -> Tensor:
    """y = r + discount (1 - terminated) Q'(s', mu'(s')), (batch,): what the critic is regressed on.

    Only termination masks. At a truncation (a time limit) the episode could have gone on, so its value counts.
    Lillicrap et al. 2016, Algorithm 1.

    Args:
        r_t: rewards, (batch,).
        terminated: 1 where the episode ended by itself, else 0, (batch,).
        q_t: the target critic's value of the successor and the target actor's action there, (batch,).
        discount: gamma; of windows of m steps, whose discounted rewards `r_t` holds, gamma^m, (batch,).
    """
    assert r_t.shape == terminated.shape == q_t.shape, f"{r_t.shape}, {terminated.shape}, {q_t.shape} differ"
    if isinstance(discount, Tensor):
        assert discount.shape == r_t.shape, f"{discount.shape} and {r_t.shape} differ"
        return torch.addcmul(r_t, (1 - terminated) * discount, q_t)
    return torch.addcmul(r_t, 1 - terminated, q_t, value=discount)


def td_loss(q_tm1: Tensor, target: Tensor, weight: Tensor | None = None, huber: float | None = None) -> Tensor:
    """E w (y - Q(s, a))^2, a scalar; no gradient goes through the target. Lillicrap et al. 2016, Algorithm 1.

    With `huber` d an error e beyond d counts as d (2 |e| - d) instead of e^2 (Huber 1964), so that its gradient is no
    larger than that of d.

    Args:
        q_tm1: (batch,), or (2, batch) of twin critics.
        target: y, of the same shape.
        weight: w, importance weights of samples that were not drawn uniformly (Schaul et al. 2016, section 3.4),
            (batch,); None, or of no dimension: 1.
        huber: d > 0; None squares all errors.
    """
    assert q_tm1.shape == target.shape, f"{q_tm1.shape} and {target.shape} differ"
    w = None if weight is None or weight.ndim == 0 else weight
    assert w is None or w.shape == q_tm1.shape[-1:], f"{w.shape} and {q_tm1.shape} differ"
    if huber is not None:
        errors = 2 * F.huber_loss(q_tm1, target.detach(), reduction="none", delta=huber)
    elif w is None:
        return F.mse_loss(q_tm1, target.detach())
    else:
        errors = (q_tm1 - target.detach()).square()
    return errors.mean() if w is None else (w * errors).mean()


def symexp(z: Tensor) -> Tensor:
    """sign(z) (exp|z| - 1), of any shape: the inverse of symlog(x) = sign(x) log(1 + |x|).

    Hafner et al. 2023, arXiv:2301.04104, equation 9. |z| is cut at 40, which is 2e17.
    """
    return z.sign() * torch.expm1(z.abs().clamp(max=40.0))


def smoothed(action: Tensor, noise: Tensor, sigma: float, bound: float) -> Tensor:
    """clip(a + clip(sigma noise, -bound, bound), -1, 1): the target policy smoothed over nearby actions.

    Fujimoto et al. 2018, section 5.3 and Algorithm 1.

    Args:
        action: mu'(s'), (batch, action_dim) in [-1, 1].
        noise: standard normal, of the same shape; of no dimension and 0: none.
        sigma: its standard deviation.
        bound: c, beyond which it is cut.
    """
    return (action + (sigma * noise).clamp(-bound, bound)).clamp(-1.0, 1.0)


def deterministic_policy_loss(q: Tensor) -> Tensor:
    """-E Q(s, mu(s)), a scalar; with respect to the actor's theta its gradient is

        -E [ grad_theta mu_theta(s)  grad_a Q(s, a) |_{a = mu(s)} ],

    the deterministic policy gradient (Silver et al. 2014, equation 16).

    Args:
        q: Q(s, mu(s)), (batch,).
    """
    assert q.ndim == 1, f"q is (batch,), not {tuple(q.shape)}"
    return -q.mean()
