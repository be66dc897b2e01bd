"""A Lipschitz control: what keeps the critic's slope bounded."""

from dataclasses import dataclass

from torch import Tensor

from rlgan.gan import Penalty


@dataclass(frozen=True)
class Mine(Penalty):
    """weight E |grad f(x_hat)|^power, x_hat between real and generated samples (WGAN-div, arXiv:1712.01026).

    Args:
        weight: positive.
        every: steps of the critic from penalty to penalty.
        power: of the slope, positive.
    """

    weight: float = 2.0
    power: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.power > 0:
            raise ValueError(f"power = {self.power}: must be positive, for example 6.0")

    def points(self, x_real: Tensor, x_fake: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        """Where the gradient is taken, (batch, *shape); epsilon (batch,) is uniform in [0, 1]."""
        e = epsilon.reshape(-1, *[1] * (x_real.ndim - 1))
        return (e * x_real + (1 - e) * x_fake).detach()

    def phi(self, g: Tensor) -> Tensor:
        """What a gradient costs, (batch, *shape) -> (batch,)."""
        return g.flatten(1).square().sum(1) ** (self.power / 2)
