"""GAN losses: pure functions of the critic's scores.

SIGN. The critic scores real samples high and fake ones low. It MAXIMISES E f(x_real) - E f(x_fake); of the Wasserstein
loss that number is logged as ``wasserstein/dual``, it is positive and falls as training goes well. (Others write
min_g max_f E f(g(z)) - E f(x), the same game with -f.)

Adding a loss is a subclass of `GANLoss` here and a file in ``conf/loss``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch.nn.functional as F
from torch import Tensor

Critic = Callable[[Tensor], Tensor]
"""Scores samples: ``(batch, *shape) -> (batch,)``."""


def gap(f_real: Tensor, f_fake: Tensor) -> Tensor:
    """E f(x_real) - E f(x_fake) of scores ``(batch,)``: the value of the zero-sum game, in the units of f.

    Over 1-Lipschitz f its supremum is the Wasserstein-1 distance (Kantorovich-Rubinstein); for a critic of Lipschitz
    constant L it is at most L times that distance. Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), equation (3).
    """
    assert f_real.ndim == f_fake.ndim == 1, f"a critic returns (batch,), not {tuple(f_real.shape)}"
    return f_real.mean() - f_fake.mean()


class GANLoss(ABC):
    """What the critic and the generator minimise, as functions of scores ``(batch,)``."""

    zero_sum: ClassVar[bool] = False
    """Whether critic and generator have opposite losses, up to what the generator cannot move: then one backward pass
    of the critic's loss serves both."""
    tag: ClassVar[str] = "critic/gap"
    """Under which E f(x_real) - E f(x_fake) is logged: a distance only in the Wasserstein game."""

    @abstractmethod
    def critic(self, f_real: Tensor, f_fake: Tensor) -> Tensor:
        """What the critic minimises, a scalar."""

    @abstractmethod
    def generator(self, f_fake: Tensor) -> Tensor:
        """What the generator minimises, a scalar."""


@final
@dataclass(frozen=True)
class Wasserstein(GANLoss):
    """The Wasserstein loss: the critic widens the gap of mean scores, the generator closes it.

    critic: -(E f(x_real) - E f(x_fake)); generator: -E f(x_fake), which has the gradient of the critic's value.
    Zero-sum. Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), Algorithm 1. A critic that nothing controls has no
    optimum: the loss is linear in the scale of f.
    """

    zero_sum = True
    tag = "wasserstein/dual"

    def critic(self, f_real: Tensor, f_fake: Tensor) -> Tensor:
        return -gap(f_real, f_fake)

    def generator(self, f_fake: Tensor) -> Tensor:
        return -f_fake.mean()


@final
@dataclass(frozen=True)
class Hinge(GANLoss):
    """The hinge loss: real samples are to score above 1, generated ones below -1.

    critic: E max(0, 1 - f(x_real)) + E max(0, 1 + f(x_fake)); generator: -E f(x_fake). Scores beyond the margins exert
    no force, so that the critic has no reason to grow where it is right already. Not zero-sum: the generator descends
    on through scores that the critic no longer looks at. Lim & Ye 2017 (arXiv:1705.02894), equation (3); Miyato et al.
    2018 (arXiv:1802.05957), equations (16), (17).
    """

    def critic(self, f_real: Tensor, f_fake: Tensor) -> Tensor:
        return F.relu(1 - f_real).mean() + F.relu(1 + f_fake).mean()

    def generator(self, f_fake: Tensor) -> Tensor:
        return -f_fake.mean()


@final
@dataclass(frozen=True)
class NonSaturating(GANLoss):
    """The logistic loss of the first GAN, with the generator's loss that does not saturate.

    critic: E log(1 + exp(-f(x_real))) + E log(1 + exp(f(x_fake))); generator: E log(1 + exp(-f(x_fake))). f is the
    log-odds of "real". The generator raises the odds of its samples instead of lowering their log-probability of being
    fake, which has the same fixed point and a gradient where the critic is sure. Not zero-sum. Goodfellow et al. 2014
    (arXiv:1406.2661), section 3; with ``lipschitz=r1`` it is the setting of Mescheder et al. 2018 (arXiv:1801.04406).
    """

    def critic(self, f_real: Tensor, f_fake: Tensor) -> Tensor:
        return F.softplus(-f_real).mean() + F.softplus(f_fake).mean()

    def generator(self, f_fake: Tensor) -> Tensor:
        return F.softplus(-f_fake).mean()


@final
@dataclass(frozen=True)
class LeastSquares(GANLoss):
    """The least-squares loss: scores are to meet labels of real and fake.

    critic: E (f(x_real) - real)^2 / 2 + E (f(x_fake) - fake)^2 / 2; generator: E (f(x_fake) - wanted)^2 / 2. Mao et al.
    2017 (arXiv:1611.04076), equation (2), with the labels of its equation (9). Not zero-sum.

    Args:
        real, fake: what the critic is to score; different from each other.
        wanted: what the generator wants its samples to score: `real`, or the middle of both for their equation (8).
    """

    real: float = 1.0
    fake: float = 0.0
    wanted: float = 1.0

    def __post_init__(self) -> None:
        if self.real == self.fake:
            raise ValueError(f"real = {self.real}: the labels of real and fake must differ, for example 1.0 and 0.0")
        if self.wanted == self.fake:
            raise ValueError(f"wanted = {self.wanted}: is the label of fakes; use that of the real, {self.real}")

    def critic(self, f_real: Tensor, f_fake: Tensor) -> Tensor:
        return ((f_real - self.real).square().mean() + (f_fake - self.fake).square().mean()) / 2

    def generator(self, f_fake: Tensor) -> Tensor:
        return (f_fake - self.wanted).square().mean() / 2
