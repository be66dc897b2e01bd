"""The DDPG update: as one writes it without a library, by rlgan, and as nothing but its matrix products."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets import MLPSpec
from rlgan.optim import EMA, Alternating, Player, PlayerSpec, Stack, Update, adam
from rlgan.rl.agents.ddpg import DDPG
from rlgan.rl.replay.uniform import Transition
from scripts.benchmarks.harness import Variant

OBS_DIM, ACTION_DIM = 3, 1
"""Pendulum's."""
LR, TAU, DISCOUNT = 1e-3, 0.005, 0.98


class PlainActor(nn.Module):
    """What one writes without a library."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(OBS_DIM, width), nn.Linear(width, width)
        self.mu = nn.Linear(width, ACTION_DIM)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.mu(F.relu(self.fc2(F.relu(self.fc1(x))))))


class PlainCritic(nn.Module):
    """What one writes without a library."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(OBS_DIM + ACTION_DIM, width), nn.Linear(width, width)
        self.q = nn.Linear(width, 1)

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return self.q(F.relu(self.fc2(F.relu(self.fc1(torch.cat([x, a], 1))))))


class PlainUpdate:
    """The usual DDPG update: modules, `.backward()`, torch.optim.Adam, target networks parameter by parameter."""

    def __init__(self, width: int, start: Sequence[Tensor] = (), device: str = "cpu") -> None:
        self.critic, self.actor = PlainCritic(width).to(device), PlainActor(width).to(device)
        if start:
            own = [*self.critic.parameters(), *self.actor.parameters()]
            self.critic.to(start[0].dtype)
            self.actor.to(start[0].dtype)
            copy_to(own, start)
        self.target_actor, self.target_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=LR)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=LR)

    def __call__(self, batch: Transition) -> None:
        with torch.no_grad():
            next_q = self.target_critic(batch.next_obs, self.target_actor(batch.next_obs)).view(-1)
            target = batch.reward + (1 - batch.terminated) * DISCOUNT * next_q
        critic_loss = F.mse_loss(self.critic(batch.obs, batch.action).view(-1), target)
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        self.critic_optimizer.step()
        actor_loss = -self.critic(batch.obs, self.actor(batch.obs)).mean()
        self.actor_optimizer.zero_grad()
        actor_loss.backward()
        self.actor_optimizer.step()
        for online, target_net in ((self.actor, self.target_actor), (self.critic, self.target_critic)):
            for p, p_bar in zip(online.parameters(), target_net.parameters(), strict=True):
                p_bar.data.copy_(TAU * p.data + (1 - TAU) * p_bar.data)

    def parameters(self) -> list[Tensor]:
        """Of the critic, the actor and their target networks, in this order."""
        networks = (self.critic, self.actor, self.target_critic, self.target_actor)
        return [p.detach() for network in networks for p in network.parameters()]


DEFAULT = {"values": "symlog", "huber": 0.02, "preactivation_penalty": 1e-3, "preactivation_margin": 2.5}
"""Of the agent of `task=ddpg`; both of its networks have layer norm."""


def our_update(width: int, compiled: bool, seed: int = 0, device: str = "cpu", default: bool = False) -> Update:
    """The same update by rlgan.optim: DDPG's critic and actor as a game; or that of the `default` of `task=ddpg`."""
    torch.manual_seed(seed)
    options: dict[str, Any] = DEFAULT if default else {}
    agent, network = DDPG(DISCOUNT, **options), MLPSpec(hidden=(width, width), norm="layer" if default else "none")
    spec = PlayerSpec(network, adam(LR), averaging=EMA(TAU))
    players = [
        Player("critic", agent.critic(network, OBS_DIM, ACTION_DIM).to(device, torch.get_default_dtype()), spec),
        Player("actor", agent.actor(network, OBS_DIM, ACTION_DIM).to(device, torch.get_default_dtype()), spec),
    ]
    return Update(players, agent.losses(), Alternating(1), compiled=compiled, shares_batch=True)


def our_parameters(update: Update) -> list[Tensor]:
    """Those of `PlainUpdate.parameters`, copied."""
    networks = [update.players[name].vector.module for name in update.players]
    averages = [update.players[name].average for name in update.players]
    return [p.detach().clone() for network in (*networks, *averages) for p in network.parameters()]


def stacked_update(width: int, batch: Transition, seeds: int, device: str = "cpu") -> Variant:
    """As many of them, each on a minibatch of its own, as one compiled graph."""
    stack = Stack([our_update(width, compiled=False, seed=k, device=device) for k in range(seeds)], compiled=True)
    batches = [[Transition(*(part.clone() for part in batch))] for _ in range(seeds)]
    return lambda: stack(batches)


def matrix_products(width: int, batch_size: int, device: str = "cpu") -> Variant:
    """Nothing but the update's matrix products, into memory allocated once: the limit."""
    both = OBS_DIM + ACTION_DIM

    def product(n: int, k: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
        return torch.randn(n, k, device=device), torch.randn(k, m, device=device), torch.empty(n, m, device=device)

    def forward(inputs: int, outputs: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        sizes = [(inputs, width), (width, width), (width, outputs)]
        return [product(batch_size, i, o) for i, o in sizes]

    def by_weights(inputs: int, outputs: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        sizes = [(inputs, width), (width, width), (width, outputs)]
        return [product(i, batch_size, o) for i, o in sizes]

    def by_inputs(outputs: int, inputs: int = 0) -> list[tuple[Tensor, Tensor, Tensor]]:
        sizes = [(outputs, width), (width, width), *([(width, inputs)] if inputs else [])]
        return [product(batch_size, i, o) for i, o in sizes]

    actor, critic = (OBS_DIM, ACTION_DIM), (both, 1)
    products = [
        *forward(*actor), *forward(*critic), *forward(*critic),  # target actor, target critic, critic
        *by_inputs(1), *by_weights(*critic),
        *forward(*actor), *forward(*critic),
        *by_inputs(1, both), *by_inputs(ACTION_DIM), *by_weights(*actor),
    ]  # fmt: skip

    def run() -> None:
        for a, b, out in products:
            torch.mm(a, b, out=out)

    return run


def transitions(batch_size: int, device: str = "cpu", seed: int = 0) -> Transition:
    """A minibatch."""
    g = torch.Generator().manual_seed(seed)
    batch = Transition(
        torch.randn(batch_size, OBS_DIM, generator=g),
        torch.rand(batch_size, ACTION_DIM, generator=g) * 2 - 1,
        torch.randn(batch_size, generator=g),
        (torch.rand(batch_size, generator=g) < 0.01).to(torch.get_default_dtype()),
        torch.randn(batch_size, OBS_DIM, generator=g),
    )
    return Transition(*(part.to(device) for part in batch))


@torch.no_grad()
def copy_to(parameters: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Write `values` into `parameters`, one by one; there may be more values than parameters."""
    for p, value in zip(parameters, values, strict=False):
        p.copy_(value)


def apart(one: Sequence[Tensor], other: Sequence[Tensor], start: Sequence[Tensor]) -> float:
    """How far two trained sets of parameters are apart, over how far the first has come from `start`."""

    def norm(tensors: Iterable[Tensor]) -> float:
        return float(torch.cat([t.detach().double().flatten().cpu() for t in tensors]).norm())

    come = norm(a - b for a, b in zip(one, start, strict=True))
    return norm(a - b for a, b in zip(one, other, strict=True)) / come
