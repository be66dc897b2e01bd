"""The WGAN's update on a ring of Gaussians: the loops that one finds everywhere, and rlgan's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rlgan.gan.game import Batch, WassersteinGame
from rlgan.gan.lipschitz import Clip, GradientPenalty, Lipschitz
from rlgan.nets import MLPSpec
from rlgan.optim import Alternating, Game, Losses, Method, Player, PlayerSpec, Simultaneous, Update, adam, rmsprop

LATENT_DIM, DATA_DIM = 2, 2
RADIUS, WEIGHT = 0.1, 0.1
"""Of the clipping box; of the gradient penalty."""
CLIP_LR, DECAY, EPS = 5e-4, 0.9, 1e-8
PENALTY_LR, BETAS = 1e-3, (0.5, 0.9)

Optimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def mlp(inputs: int, outputs: int, hidden: Sequence[int]) -> nn.Sequential:
    """What one writes without a library."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def usual_rmsprop(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """That of a clipped critic."""
    return torch.optim.RMSprop(parameters, lr=CLIP_LR, alpha=DECAY, eps=EPS)


def usual_adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """That of a penalised critic."""
    return torch.optim.Adam(parameters, lr=PENALTY_LR, betas=BETAS)


class Usual(ABC):
    """Two modules, two optimizers, `.backward()`; subclasses write the loop."""

    def __init__(self, hidden: Sequence[int], optimizer: Optimizer, start: Sequence[Tensor], device: str) -> None:
        self.critic = mlp(DATA_DIM, 1, hidden).to(device, start[0].dtype)
        self.generator = mlp(LATENT_DIM, DATA_DIM, hidden).to(device, start[0].dtype)
        with torch.no_grad():
            for p, value in zip(self.parameters(), start, strict=True):
                p.copy_(value)
        self.critic_optimizer = optimizer(list(self.critic.parameters()))
        self.generator_optimizer = optimizer(list(self.generator.parameters()))

    @abstractmethod
    def __call__(self, batches: Sequence[Batch]) -> None:
        """One move."""

    def parameters(self) -> list[Tensor]:
        """The critic's, then the generator's."""
        return [*self.critic.parameters(), *self.generator.parameters()]

    def generator_step(self, batch: Batch) -> None:
        """On -E f(G(z))."""
        loss = -self.critic(self.generator(batch.z)).mean()
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()

    def clamp(self) -> None:
        """The critic's parameters, one by one."""
        for p in self.critic.parameters():
            p.data.clamp_(-RADIUS, RADIUS)


class UsualClip(Usual):
    """n_critic steps of the critic with its parameters clamped after each, then one of the generator."""

    def __call__(self, batches: Sequence[Batch]) -> None:
        for batch in batches[:-1]:
            x_fake = self.generator(batch.z).detach()
            loss = self.critic(x_fake).mean() - self.critic(batch.x_real).mean()
            self.critic_optimizer.zero_grad()
            loss.backward()
            self.critic_optimizer.step()
            self.clamp()
        self.generator_step(batches[-1])


class UsualPenalty(Usual):
    """The same with a gradient penalty by a second differentiation, `create_graph=True`."""

    def __call__(self, batches: Sequence[Batch]) -> None:
        for batch in batches[:-1]:
            x_fake = self.generator(batch.z).detach()
            loss = self.critic(x_fake).mean() - self.critic(batch.x_real).mean() + self.penalty(batch, x_fake)
            self.critic_optimizer.zero_grad()
            loss.backward()
            self.critic_optimizer.step()
        self.generator_step(batches[-1])

    def penalty(self, batch: Batch, x_fake: Tensor) -> Tensor:
        """weight E (|grad f(x_hat)| - 1)^2."""
        e = batch.epsilon.unsqueeze(1)
        x_hat = (e * batch.x_real + (1 - e) * x_fake).requires_grad_(True)
        f = self.critic(x_hat)
        g = torch.autograd.grad(f, x_hat, grad_outputs=torch.ones_like(f), create_graph=True, retain_graph=True)[0]
        return WEIGHT * ((g.norm(2, dim=1) - 1) ** 2).mean()


class UsualSimultaneous(Usual):
    """Both players' gradients at one point by two backward passes, then both steps."""

    def __call__(self, batches: Sequence[Batch]) -> None:
        (batch,) = batches
        x_fake = self.generator(batch.z)
        critic_loss = self.critic(x_fake.detach()).mean() - self.critic(batch.x_real).mean()
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        generator_loss = -self.critic(x_fake).mean()
        self.generator_optimizer.zero_grad()
        generator_loss.backward(inputs=list(self.generator.parameters()))
        self.critic_optimizer.step()
        self.clamp()
        self.generator_optimizer.step()


def ours(
    hidden: Sequence[int], game: Game, lipschitz: Lipschitz, compiled: bool, device: str = "cpu", joint: bool = True
) -> Update:
    """The same by rlgan. Without `joint` a simultaneous move takes each player's gradient from a pass of its own."""
    torch.manual_seed(0)
    network, dtype = MLPSpec(hidden=tuple(hidden)), torch.get_default_dtype()
    method = clip_method() if isinstance(lipschitz, Clip) else penalty_method()
    projection = lipschitz.projection()
    critic = PlayerSpec(network, method) if projection is None else PlayerSpec(network, method, projection=projection)
    players = [
        Player("critic", network.build((DATA_DIM,), ()).to(device, dtype), critic),
        Player("generator", network.build((LATENT_DIM,), (DATA_DIM,)).to(device, dtype), PlayerSpec(network, method)),
    ]
    losses = WassersteinGame(lipschitz).losses()
    return Update(players, losses if joint else Losses(losses.of), game, compiled=compiled)


def clip_method() -> Method:
    """`usual_rmsprop`."""
    return rmsprop(CLIP_LR, DECAY, EPS)


def penalty_method() -> Method:
    """`usual_adam`."""
    return adam(PENALTY_LR, *BETAS)


KINDS: dict[str, tuple[type[Usual], Optimizer, Game, Lipschitz]] = {
    "clip": (UsualClip, usual_rmsprop, Alternating(5), Clip(RADIUS)),
    "gradient penalty": (UsualPenalty, usual_adam, Alternating(5), GradientPenalty(WEIGHT)),
    "simultaneous": (UsualSimultaneous, usual_rmsprop, Simultaneous(), Clip(RADIUS)),
}
"""The usual loop, its optimizer, and the game and the control that it is."""


def our_parameters(update: Update) -> list[Tensor]:
    """Those of `Usual.parameters`, copied."""
    modules = [player.vector.module for player in update.players.values()]
    return [p.detach().clone() for module in modules for p in module.parameters()]


def ring_batches(number: int, batch_size: int, device: str = "cpu") -> list[Batch]:
    """So many minibatches on a ring of eight."""
    g, made = torch.Generator().manual_seed(0), []
    for _ in range(number):
        angle = torch.randint(8, (batch_size,), generator=g) * (torch.pi / 4)
        x_real = torch.stack((angle.cos(), angle.sin()), 1) + 0.02 * torch.randn(batch_size, 2, generator=g)
        z, epsilon = torch.randn(batch_size, LATENT_DIM, generator=g), torch.rand(batch_size, generator=g)
        made.append(Batch(x_real.to(device, z.dtype), z.to(device), epsilon.to(device)))
    return made
