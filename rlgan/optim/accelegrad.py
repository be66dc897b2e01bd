"""AcceleGrad: acceleration with an adaptive step size, which does not fit the one equation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from rlgan.optim.method import Method, Project
from rlgan.optim.metric import Kind, Scalars, Slots, sum_of_squares
from rlgan.optim.momentum import Factor
from rlgan.optim.noise import Noise, NoNoise


@dataclass(frozen=True)
class AcceleGrad(Method):
    """Levy, Yurtsever & Cevher 2018, Algorithm 1 (deck 002, "AcceleGrad"); with a_k = max(1, (k+1)/4), k = 0, 1, ...,

        x    = z / a_k + (1 - 1 / a_k) y                  where the gradient g is taken
        eta  = 2 D / sqrt(G^2 + sum_{i <= k} a_i^2 |g_i|^2)  one norm over all parameters
        z+   = P_K(z - a_k eta g)
        y+   = x - eta g

    and theta = y. What the paper outputs is the mean of the y with weights a_k: ``averaging=weighted``. The projection
    holds z, not y: theta itself may leave K (so ``lipschitz=clip`` refuses this method).

    The slide's bare (k + 1)/4 would weigh z by more than 1 for k < 3.

    Args:
        diameter: D, of the set K, or a guess at the distance to the solution; positive.
        gradient_bound: G, positive: about the size of the first gradients; any value keeps the rates.
        lr: multiplies eta; 1 is the paper's.

    Raises:
        ValueError: if a number is not positive.
    """

    feasible = False

    diameter: float = 1.0
    gradient_bound: float = 1.0
    lr: float = 1.0
    noise: Noise = field(default_factory=NoNoise)

    def __post_init__(self) -> None:
        for name in ("diameter", "gradient_bound", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)}: must be positive, for example 1.0")

    looks_ahead = True

    @property
    def kind(self) -> Kind:
        return "scalar"

    def init(self, theta: Tensor) -> Slots:
        return {"z": theta.clone(), "sum_square": theta.new_zeros(())}

    def scalars(self, t: int, lr: float, momentum: Factor) -> dict[str, float]:
        return {"lr": self.lr * lr, "a": max(1.0, t / 4)}

    def point(self, theta: Tensor, state: Slots, s: Scalars) -> Tensor:
        return theta + (state["z"] - theta) / s["a"]

    def step(
        self, theta: Tensor, g: Tensor, state: Slots, s: Scalars, drift: Tensor | None, project: Project
    ) -> tuple[Tensor, Slots]:
        # A number () times the double `a` is a double; a vector would not be.
        total = state["sum_square"] + (sum_of_squares(g) * s["a"] ** 2).to(g.dtype)
        eta = self._eta(total, s)
        z = project(state["z"] - g * (eta * s["a"]), {})
        y = self.point(theta, state, s) - g * eta
        return y if drift is None else y + drift, {"z": z, "sum_square": total}

    def _eta(self, total: Tensor, s: Scalars) -> Tensor:
        return 2 * self.diameter * s["lr"] / (total + self.gradient_bound**2).sqrt()

    def diagonal(self, state: Slots, s: Scalars) -> Tensor:
        return (state["sum_square"] + self.gradient_bound**2).sqrt() / (2 * self.diameter)

    def projected(self, theta: Tensor, state: Slots) -> Tensor:
        return state["z"]

    def projection_metric(self, state: Slots, s: Scalars) -> None:
        return None
