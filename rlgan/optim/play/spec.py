"""How a player is configured."""

import math
from dataclasses import dataclass, field
from typing import Any

from rlgan.optim.step.averaging import Average, NoAverage
from rlgan.optim.step.method import Method
from rlgan.optim.step.noise import Noise, NoNoise
from rlgan.optim.step.projection import NoProjection, Projection
from rlgan.optim.step.schedule import Constant, Schedule


@dataclass(frozen=True)
class PlayerSpec:
    """How one player is configured: the sections under ``critic:``, ``generator:`` or ``actor:``.

    Args:
        network: what builds the module (see rlgan.nets).
        optimizer: the method.
        schedule: factor of the learning rate.
        projection: the convex set that the player stays in.
        noise: what a step adds, where the method does not bring a noise of its own.
        averaging: the average that is kept (target network, EMA generator).
        momentum_schedule, noise_schedule, projection_schedule: factors of the momentum's coefficient (rho, beta1), of
            sigma and of the size of K.
        max_grad_norm: c, beyond which a step's gradient is shortened to g min(1, c / |g|), one norm over the whole
            vector (Pascanu et al. 2013, Algorithm 1); None shortens nothing.

    Raises:
        ValueError: if there is noise in the method and in `noise`, the set has no projection in the method's metric, or
            `max_grad_norm` is not positive, or given to a method that steps by the loss itself.
    """

    network: Any
    optimizer: Method
    schedule: Schedule = field(default_factory=Constant)
    projection: Projection = field(default_factory=NoProjection)
    noise: Noise = field(default_factory=NoNoise)
    averaging: Average = field(default_factory=NoAverage)
    momentum_schedule: Schedule = field(default_factory=Constant)
    noise_schedule: Schedule = field(default_factory=Constant)
    projection_schedule: Schedule = field(default_factory=Constant)
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        if self.max_grad_norm is not None:
            if not 0 < self.max_grad_norm < math.inf:
                raise ValueError(
                    f"max_grad_norm = {self.max_grad_norm}: must be positive, for example 1.0, or null for no bound"
                )
            if self.optimizer.needs_loss:
                raise ValueError(
                    f"max_grad_norm = {self.max_grad_norm}: {type(self.optimizer).__name__} goes by the loss, not by a "
                    "gradient's length; use max_grad_norm=null, or another method"
                )
        if self.noise.active and self.optimizer.noise.active:
            raise ValueError(
                f"noise = {self.noise}: the method has noise of its own, {self.optimizer.noise}; use noise=none"
            )
        kind = self.optimizer.kind
        if kind not in self.projection.metrics:
            raise ValueError(
                f"projection = {self.projection}: has no closed form in the {kind} metric of this optimizer; set "
                "optimizer.project_in=euclidean, or use a method with a scalar metric (sgd, heavy_ball, adagrad_norm)"
            )

    @property
    def xi(self) -> Noise:
        """The noise of a step: the player's or the method's own."""
        return self.noise if self.noise.active else self.optimizer.noise
