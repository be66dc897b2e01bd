"""Lipschitz control of the critic: what keeps E f(x_real) - E f(x_fake) a distance.

A control acts in one of two places: as the projection in the critic's projection slot, or as a penalty in the critic's
loss. Adding one is a subclass of `Lipschitz` here and a file in ``conf/lipschitz``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor, nn

from rlgan.optim.projection import Box, Projection


class DifferentiableCritic(Protocol):
    """A critic bound to its vector, with the gradient that penalties need."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """``(batch, *shape) -> (batch,)``."""

    def input_gradient(self, x: Tensor, /) -> Tensor:
        """d sum(critic(x)) / dx, ``(batch, *shape)``, itself differentiable in the critic's parameters."""


def sample_norms(g: Tensor) -> Tensor:
    """Euclidean norm of every sample, ``(batch, *shape) -> (batch,)``, with derivative 0 (not nan) where a sample is 0.

    sqrt has an infinite derivative at 0, which times the zero derivative of the sum of squares is nan; a critic that is
    flat at one sample (dead ReLUs) would poison the whole batch.
    """
    squares = g.flatten(1).square().sum(1)
    flat = squares == 0
    # Twice `where`: the branch not taken must be finite too, for its derivative is multiplied by zero and not skipped.
    return torch.where(flat, 0.0, torch.where(flat, 1.0, squares).sqrt())


def interpolate(x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> Tensor:
    """x_hat = epsilon x_real + (1 - epsilon) x_fake, one epsilon per sample; detached.

    Args:
        x_real, x_fake: ``(batch, *shape)``.
        epsilon: ``(batch,)``, uniform in [0, 1].
    """
    assert x_real.shape == x_fake.shape, f"real {tuple(x_real.shape)} and fake {tuple(x_fake.shape)} differ"
    assert epsilon.shape == x_real.shape[:1], f"one epsilon per sample: {tuple(epsilon.shape)}"
    e = epsilon.reshape(-1, *[1] * (x_real.ndim - 1))
    return (e * x_real + (1 - e) * x_fake).detach()


def _batch_norm_in(critic: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in critic.modules())


class Lipschitz(ABC):
    """A way to bound the critic's slope."""

    @abstractmethod
    def projection(self) -> Projection | None:
        """The projection that this control IS, for the critic's projection slot; None leaves the slot to the user."""

    @abstractmethod
    def penalty(self, critic: DifferentiableCritic, x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> Tensor | None:
        """What is added to the loss that the critic minimises; None where there is nothing to add.

        Args:
            critic: f, bound to its vector.
            x_real, x_fake: ``(batch, *shape)``, of equal shapes.
            epsilon: ``(batch,)``, uniform in [0, 1]: all the randomness of the penalty.
        """

    @abstractmethod
    def check(self, critic: nn.Module) -> None:
        """Refuse a critic that this control cannot control.

        Raises:
            ValueError: with the reason and a remedy.
        """


@final
@dataclass(frozen=True)
class NoControl(Lipschitz):
    """Nothing. Guarantees nothing: the value is unbounded in the scale of f, so a critic with momentum runs away.

    For games whose critic is bounded otherwise: by a projection of the user's choice, or by its architecture.
    """

    def projection(self) -> None:
        return None

    def penalty(self, critic: DifferentiableCritic, x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> None:
        return None

    def check(self, critic: nn.Module) -> None:
        return None


@final
@dataclass(frozen=True)
class Clip(Lipschitz):
    """Weight clipping: every parameter in [-radius, radius], the projection onto a box, as part of the critic's step.

    Guarantees a K-Lipschitz critic for SOME K that grows with depth and width, not K = 1: ``wasserstein/dual`` is a
    distance up to an unknown factor. The set is far smaller than that of all K-Lipschitz functions, so the dual
    underestimates K W1. With batch norm in the critic even K is not bounded (it divides by a standard deviation).
    Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), Algorithm 1 (which clips the critic only at its next iteration;
    here the generator never sees an unclipped one).

    Args:
        radius: half the width of the box, positive. 0.01 in the paper; 0.1 suits a small MLP.
    """

    radius: float = 0.1

    def __post_init__(self) -> None:
        self.projection()

    def projection(self) -> Box:
        return Box(self.radius)

    def penalty(self, critic: DifferentiableCritic, x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> None:
        return None

    def check(self, critic: nn.Module) -> None:
        return None


@final
@dataclass(frozen=True)
class GradientPenalty(Lipschitz):
    """weight E (|grad f(x_hat)| - 1)^2 at x_hat = e x_real + (1 - e) x_fake: two-sided, one norm PER SAMPLE.

    Guarantees nothing off the segments between the samples that were drawn, and only softly on them: the dual may over-
    or underestimate W1 (read it together with ``critic/lipschitz``). An optimal 1-Lipschitz critic has |grad f| = 1 on
    those segments, hence two-sided. Where f is exactly flat the penalty exerts no force (the norm's derivative is 0).
    Gulrajani et al. 2017 (arXiv:1704.00028), equation (3).

    Args:
        weight: lambda of the paper, positive: 10 there for images, 0.1 for the two-dimensional toys.
    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight = {self.weight}: must be positive, such as 0.1; or lipschitz=none")

    def projection(self) -> None:
        return None

    def penalty(self, critic: DifferentiableCritic, x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> Tensor:
        g = critic.input_gradient(interpolate(x_real, x_fake, epsilon))
        return self.weight * (sample_norms(g) - 1).square().mean()

    def check(self, critic: nn.Module) -> None:
        if _batch_norm_in(critic):
            raise ValueError(
                "critic.network.norm = batch: batch norm makes a score depend on the whole batch, so that a sample has "
                "no gradient of its own to penalise; use critic.network.norm=layer or none, or lipschitz=clip"
            )
