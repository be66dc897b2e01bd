"""The game of a Wasserstein GAN: what critic and generator minimise on a minibatch.

min_generator max_critic  E f(x_real) - E f(G(z)),      f kept Lipschitz        (Arjovsky et al. 2017)

The other GAN losses are the same game with other functions of the critic's scores.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor

from rlgan.gan.lipschitz import DifferentiableCritic, Lipschitz
from rlgan.gan.losses import Critic, GANLoss, Wasserstein, gap
from rlgan.optim import Losses, Metrics, Nets


class Batch(NamedTuple):
    """One minibatch: real samples, and all random numbers that the losses need.

    Attributes:
        x_real: ``(batch, *shape)``.
        z: latent vectors ``(batch, latent_dim)``, N(0, I).
        epsilon: where a penalty looks between real and fake, ``(batch,)``, U(0, 1).
        noise: ``(batch, *shape)``, N(0, I), for a control that needs it; ``()`` for the others.
        due: 1 where this step has a penalty and 0 where it has none, ``()``.
        temperature: by which the loss divides the scores, ``()``.
    """

    x_real: Tensor
    z: Tensor
    epsilon: Tensor
    noise: Tensor = torch.zeros(())
    due: Tensor = torch.ones(())
    temperature: Tensor = torch.ones(())


class WassersteinGame:
    """The losses of critic and generator.

    critic:    loss.critic(f(x_real), f(G(z))) + penalty         -(E f(x_real) - E f(G(z))) + penalty
    generator: loss.generator(f(G(z)))                           -E f(G(z))

    The right column is the Wasserstein loss. That game is zero-sum up to the penalty, which only moves the critic, so
    that one backward pass serves both players.

    The loss may divide scores by a temperature T (the penalty and what is logged do not): a K-Lipschitz critic is
    K/T-Lipschitz there, so that over a run in which T falls the critic comes to tell apart what it passed over before
    (Bethune et al. 2022, arXiv:2104.05097, on the role of T).

    Args:
        lipschitz: the control, for its penalty.
        loss: of the scores.
        at_once: score real and fake samples in one pass, for critics whose weights are costly to compute. In two, a
            bias that moves all scores alike has a gradient of exactly zero, and a critic with batch norm sees either
            kind by itself; in one, that zero is rounding noise, which an adaptive metric scales up to full steps.
        tempered: divide by the minibatches' temperature; otherwise it is 1.
    """

    def __init__(
        self, lipschitz: Lipschitz, loss: GANLoss | None = None, at_once: bool = False, tempered: bool = False
    ) -> None:
        self.lipschitz, self.loss, self.at_once, self.tempered = lipschitz, loss or Wasserstein(), at_once, tempered

    def critic_loss(self, nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        """What the critic minimises, a scalar; logs `wasserstein/dual`, positive, falling as training goes well."""
        x_fake = nets.generator(batch.z)
        f_real, f_fake = self._scores(nets.critic, batch.x_real, x_fake)
        loss = self.loss.critic(*self._tempered(batch, f_real, f_fake))
        metrics = {self.loss.tag: gap(f_real, f_fake)}
        penalty = self._penalty(nets.critic, batch, x_fake)
        if penalty is None:
            return loss, metrics
        return loss + penalty, {**metrics, "critic/penalty": penalty}

    def generator_loss(self, nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
        """What the generator minimises, a scalar."""
        (f_fake,) = self._tempered(batch, nets.critic(nets.generator(batch.z)))
        return self.loss.generator(f_fake), {}

    def losses(self) -> Losses:
        """The losses of both players, the critic's first."""
        of = {"critic": self.critic_loss, "generator": self.generator_loss}
        if not self.loss.zero_sum:
            return Losses(of)
        return Losses(of, joint=self.critic_loss, signs={"critic": 1, "generator": -1})

    def _scores(self, critic: Critic, x_real: Tensor, x_fake: Tensor) -> tuple[Tensor, Tensor]:
        if not self.at_once:
            return critic(x_real), critic(x_fake)
        scores = critic(torch.cat((x_real, x_fake)))
        return scores[: len(x_real)], scores[len(x_real) :]

    def _tempered(self, batch: Batch, *scores: Tensor) -> tuple[Tensor, ...]:
        return tuple(f / batch.temperature for f in scores) if self.tempered else scores

    def _penalty(self, critic: DifferentiableCritic, batch: Batch, x_fake: Tensor) -> Tensor | None:
        every = self.lipschitz.every
        # The number cannot be looked at while a graph is recorded, or where every seed has its own.
        if every > 1 and not (torch.compiler.is_compiling() or is_batchedtensor(batch.due) or batch.due):
            return batch.due
        penalty = self.lipschitz.penalty(critic, batch.x_real, x_fake, batch.epsilon, batch.noise)
        return penalty if penalty is None or every == 1 else penalty * (batch.due * every)
