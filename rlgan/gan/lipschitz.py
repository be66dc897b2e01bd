"""Lipschitz control of the critic: what keeps E f(x_real) - E f(x_fake) a distance.

A control acts in one of three places: as the projection in the critic's projection slot, as a penalty in the critic's
loss, or in the critic's layers. What it guarantees, and what not, is in its docstring; README.md has a table of them.
Adding one is a subclass of `Lipschitz` here and a file in ``conf/lipschitz``.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor, nn

from rlgan.nets.layers import couples_samples
from rlgan.nets.lipschitz.orthogonal import OrthogonalSpec, Orthonormal, group_sorted
from rlgan.nets.lipschitz.spectral import spectrally_normalised
from rlgan.optim.errors import positive
from rlgan.optim.step.projection import Box, Projection


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


class Lipschitz:
    """A way to bound the critic's slope; by itself it does nothing."""

    noisy: ClassVar[bool] = False
    """Whether the penalty needs noise of the shape of the samples."""
    every: int = 1
    """Every how many steps of the critic there is a penalty."""

    def projection(self) -> Projection | None:
        """The projection that this control IS, for the critic's projection slot; None leaves the slot to the user."""
        return None

    def constrain(self, critic: nn.Module) -> nn.Module:
        """The critic to be trained, where the control is in its layers; here the critic itself."""
        return critic

    def penalty(
        self, critic: DifferentiableCritic, x_real: Tensor, x_fake: Tensor, epsilon: Tensor, noise: Tensor | None = None
    ) -> Tensor | None:
        """What is added to the loss that the critic minimises, a scalar; None where there is nothing to add.

        Args:
            critic: f, bound to its vector.
            x_real, x_fake: ``(batch, *shape)``, of equal shapes.
            epsilon: ``(batch,)``, uniform in [0, 1].
            noise: ``(batch, *shape)``, standard normal; needed only if `noisy`. All randomness is in these two.
        """
        return None

    def check(self, critic: nn.Module) -> None:
        """Refuse a critic that this control cannot control; here none.

        Raises:
            ValueError: with the reason and a remedy.
        """


@final
@dataclass(frozen=True)
class NoControl(Lipschitz):
    """No control. Guarantees nothing: the value is unbounded in the scale of f, so a critic with momentum runs away.

    For games whose critic is bounded otherwise: by a projection of the user's choice, or by its architecture
    (``network=orthogonal``).
    """


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


@final
@dataclass(frozen=True)
class SpectralNorm(Lipschitz):
    """Every layer's weight over its largest singular value, in the layer itself (see rlgan.nets.lipschitz.spectral).

    Guarantees layers of norm 1 up to the accuracy of the power iteration (a step behind: a little above 1 is possible),
    hence |grad f| <= 1 for linear layers with ReLU-like activations; a convolution's norm as a map is up to sqrt(taps)
    times that of its weight as a matrix. With batch or layer norm there is no bound. Does not reach slope 1: a gradient
    shrinks in every layer that is not orthogonal, so that the dual is far below W1 (half of it and less).
    Miyato et al. 2018 (arXiv:1802.05957), Algorithm 1.

    Args:
        iterations: power iterations in every forward pass of training, at least 1.
    """

    iterations: int = 1

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations = {self.iterations}: power iterations in a forward pass, at least 1")

    def constrain(self, critic: nn.Module) -> nn.Module:
        try:
            return spectrally_normalised(critic, self.iterations)
        except ValueError as error:
            raise ValueError(f"critic.{error} (lipschitz = {self})") from None


@final
@dataclass(frozen=True)
class GroupSort(Lipschitz):
    """The critic's perceptron with orthonormal weights and sorted features in the place of its layers and activations.

    Guarantees a slope of at most `constant` everywhere, for all weights, to rounding; and can reach it everywhere: such
    networks come near every function that is so steep. So the dual over `constant` is a lower bound of W1 up to the
    sampling error, and near W1 where the critic is near its optimum. A critic without batch or layer norm. Anil, Lucas
    & Grosse 2019 (arXiv:1811.05381), theorem 3; as a network of its own it is `OrthogonalSpec`, which has the rest.

    Args:
        constant: K. Under the Wasserstein loss it scales the dual alone; of a loss with margins or odds, 1 / K is the
            distance, in the units of the data, over which a score may change by 1.
        group: features that are sorted together, by which the network's widths can be divided.
        method: how orthonormal weights are made: ``cayley`` or ``bjorck``.
        iterations: of ``bjorck``.
    """

    constant: float = 1.0
    group: int = 2
    method: Orthonormal = "cayley"
    iterations: int = 15

    def __post_init__(self) -> None:
        self._spec()

    def _spec(self) -> OrthogonalSpec:
        return OrthogonalSpec((), self.group, self.method, self.iterations, self.constant)

    def constrain(self, critic: nn.Module) -> nn.Module:
        try:
            return group_sorted(critic, self._spec())
        except ValueError as error:
            raise ValueError(f"critic.{error} (lipschitz = {self})") from None


@dataclass(frozen=True)
class Penalty(Lipschitz):
    """A penalty on the critic's slope: weight E phi(grad f(x_i)), one gradient PER SAMPLE, added to its loss.

    A subclass says where the gradient is taken and what it costs: by default between real and fake samples, and the
    square of what |grad f| is off 1.

    Args:
        weight: lambda, positive.
        every: a lazy penalty: at every `every`-th step of the critic, with `every` times the weight, so that its mean
            force is the same (Karras et al. 2020, arXiv:1912.04958, appendix B). Eager updates are spared the other
            steps' cost; compiled and stacked ones multiply it by 0, for their graph is one and the same at each step.
    """

    weight: float = 0.1
    every: int = 1

    def __post_init__(self) -> None:
        positive("weight", self.weight, "such as 0.1; or lipschitz=none")
        if self.every < 1:
            raise ValueError(f"every = {self.every}: steps of the critic from penalty to penalty, at least 1")

    def points(self, x_real: Tensor, x_fake: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        """Where the gradient is taken, ``(batch, *shape)``; see `penalty`."""
        return interpolate(x_real, x_fake, epsilon)

    def phi(self, g: Tensor) -> Tensor:
        """What a gradient costs: ``(batch, *shape) -> (batch,)``."""
        return (sample_norms(g) - 1).square()

    def penalty(
        self, critic: DifferentiableCritic, x_real: Tensor, x_fake: Tensor, epsilon: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        g = critic.input_gradient(self.points(x_real, x_fake, epsilon, noise))
        return self.weight * self.phi(g).mean()

    def check(self, critic: nn.Module) -> None:
        if couples_samples(critic):
            raise ValueError(
                "critic.network.norm = batch: batch norm makes a score depend on the whole batch, so that a sample has "
                "no gradient of its own to penalise; use critic.network.norm=layer or none, or lipschitz=clip"
            )


@final
@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """The penalty of WGAN-GP, two-sided: weight E (|grad f(x_hat)| - 1)^2 at x_hat = e x_real + (1 - e) x_fake.

    Guarantees nothing off the segments between the samples that were drawn, and only softly on them: the dual may over-
    or underestimate W1 (read it together with ``critic/lipschitz``). An optimal 1-Lipschitz critic has |grad f| = 1 on
    those segments, hence two-sided. Where f is exactly flat the penalty exerts no force (the norm's derivative is 0).
    Gulrajani et al. 2017 (arXiv:1704.00028), equation (3), whose lambda is 10 for images, and 0.1 for the
    two-dimensional toys.
    """


@final
@dataclass(frozen=True)
class OneSided(Penalty):
    """The penalty of WGAN-LP, one-sided: weight E max(0, |grad f(x_hat)| - 1)^2 at x_hat = e x_real + (1 - e) x_fake.

    A 1-Lipschitz critic need not have slope 1 between ARBITRARY pairs of samples, only between those that an optimal
    coupling joins: so only slopes above 1 cost. Softly, and on the segments that were drawn, as `GradientPenalty`; in
    equilibrium the slope stays somewhat above 1, as the force is 0 at 1. Petzka, Fischer & Lukovnikov 2018
    (arXiv:1709.08894), equation (8).
    """

    def phi(self, g: Tensor) -> Tensor:
        return (sample_norms(g) - 1).clamp(min=0).square()


@final
@dataclass(frozen=True)
class Dragan(Penalty):
    """A penalty around the real samples alone: weight E (|grad f(x_real + scale n)| - 1)^2 with n ~ N(0, I).

    Says nothing about the slope where the generator's samples are, if these are far away: no bound, and no distance.
    Kodali et al. 2017 (arXiv:1705.07215), section 2.3, where lambda is 10.

    Args:
        scale: standard deviation of the perturbation, in the units of the data.
    """

    noisy = True

    scale: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("scale", self.scale, "for example 0.1")

    def points(self, x_real: Tensor, x_fake: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None and noise.shape == x_real.shape, "one perturbation per sample"
        return x_real + self.scale * noise


@dataclass(frozen=True)
class _ZeroCentred(Penalty):
    """Half the squared slope."""

    def phi(self, g: Tensor) -> Tensor:
        return g.flatten(1).square().sum(1) / 2


@final
@dataclass(frozen=True)
class R1(_ZeroCentred):
    """A penalty on every slope at the real samples: (weight / 2) E |grad f(x_real)|^2, zero-centred.

    Makes the game converge locally where the generator has the data's distribution and the critic is flat, which a
    slope of 1 cannot. Bounds the slope nowhere, and with the Wasserstein loss the dual is no distance: it is meant for
    ``loss=non_saturating``. Mescheder, Geiger & Nowozin 2018 (arXiv:1801.04406), equation (9), gamma 10 for images.
    """

    def points(self, x_real: Tensor, x_fake: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        return x_real


@final
@dataclass(frozen=True)
class R2(_ZeroCentred):
    """The same at the generator's samples, which it does not move: (weight / 2) E |grad f(x_fake)|^2.

    As `R1`, in the critic's wrong places instead of the right ones. Mescheder, Geiger & Nowozin 2018
    (arXiv:1801.04406), equation (10).
    """

    def points(self, x_real: Tensor, x_fake: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        return x_fake.detach()
