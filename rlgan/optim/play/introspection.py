"""What a method is doing: its effective learning rate and momentum, and how far a move went.

Written as a step along H^-1 g and a share of the last displacement (`rlgan.optim.step.momentum.Frame`) a step reads

    theta+ = theta - alpha_t H_t^-1 g + beta_t H_t^-1 H_{t-1} (theta - theta_prev).

Its two coefficients, which the settings of an adaptive method do not show, are read off the player's state before and
after a move; so they cost nothing at the moves that nobody looks at.
"""

from typing import NamedTuple

from torch import Tensor

from rlgan.optim.play.player import Player

QUANTILES = {"_p10": 0.1, "": 0.5, "_p90": 0.9}


class Before(NamedTuple):
    """A player before a move."""

    theta: Tensor
    h: Tensor | None
    steps: int


def before(player: Player) -> Before:
    """What has to be kept of a player for `introspect` to compare with after the move."""
    method, t = player.spec.optimizer, player.steps
    h = method.diagonal(player.state["slots"], player.scalars(t)) if t else None
    return Before(player.vector.theta.clone(), None if h is None else h.clone(), t)


def introspect(player: Player, earlier: Before, xi: Tensor | None) -> dict[str, Tensor | float]:
    """Metrics ``optim/<player>/...`` of the move since `earlier`, whose last noise was `xi` (d,).

    - ``effective_lr``: the diagonal of alpha_t H_t^-1, its median; ``_p10`` and ``_p90`` where it is not one number
    - ``effective_momentum``: beta_t H_t^-1 H_{t-1}, its median (for a move of k > 1 steps the geometric mean of H's
      change over them); 0 at the first step
    - ``update_norm``: |theta+ - theta| of the whole move
    - ``noise_norm``: sigma |xi| of the last step, for players with noise
    - ``projected_fraction``: share of the coordinates (singular values, ...) on the boundary of K, where there is a K

    Methods without a uniform frame (AcceleGrad has one step size and no such momentum) and full-matrix metrics leave
    out what they do not have.
    """
    method, t = player.spec.optimizer, player.steps
    name, slots, s = f"optim/{player.name}", player.state["slots"], player.scalars(t)
    found: dict[str, Tensor | float] = {f"{name}/update_norm": (player.vector.theta - earlier.theta).norm()}
    frame, h = method.frame(t, player.momentum), method.diagonal(slots, s)
    if method.metric_kind != "full":
        alpha = s["lr"] * (1.0 if frame is None else frame.alpha)
        if h is None or h.ndim == 0:
            found[f"{name}/effective_lr"] = alpha if h is None else alpha / h
        else:
            found.update({f"{name}/effective_lr{end}": alpha / v for end, v in _quantiles(h).items()})
        if frame is not None:
            beta = _momentum(player, earlier, frame.beta, frame.in_metric, h)
            if beta is not None:
                found[f"{name}/effective_momentum"] = beta
    if xi is not None:
        found[f"{name}/noise_norm"] = xi.norm() * s["sigma"]
    if player.projection.active:
        found[f"{name}/projected_fraction"] = player.projection.binding(method.projected(player.vector.theta, slots), s)
    return found


def _momentum(player: Player, earlier: Before, beta: float, in_metric: bool, h: Tensor | None) -> Tensor | float | None:
    """The effective momentum; None after a step at learning rate 0, whose displacement says nothing of the momentum."""
    if not in_metric or beta == 0 or player.steps == 1:
        return beta
    t = player.steps
    former = player.scalars(t - 1)["lr"]
    if former == 0:
        return None
    beta = beta * player.scalars(t)["lr"] / former
    if h is None or earlier.h is None:
        return beta
    ratio = (earlier.h / h) ** (1 / max(t - earlier.steps, 1))
    return beta * (ratio if ratio.ndim == 0 else ratio.median())


def _quantiles(h: Tensor) -> dict[str, Tensor]:
    """Quantiles of 1/H by name, as H: the nearest ranks (torch.quantile takes at most 16 million numbers)."""
    ordered = h.sort(descending=True).values
    return {end: ordered[round(q * (h.numel() - 1))] for end, q in QUANTILES.items()}
