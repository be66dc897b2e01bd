"""Measure: `python scripts/benchmark.py update`. Ratios of variants run side by side in one process.

Absolute times drift with the machine; so the variants take turns in short blocks (A B C A B C ...), and what is
printed for each is the median time of a call, and over the blocks the median and least ratio to the first variant.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets import MLPSpec
from rlgan.optim import EMA, Alternating, Player, PlayerSpec, Update, adam
from rlgan.rl.ddpg import DDPG
from rlgan.rl.replay import Transition

Variant = Callable[[], object]


def interleave(variants: dict[str, Variant], blocks: int, calls: int) -> dict[str, list[float]]:
    """Seconds a call, per variant and block; every block runs every variant `calls` times."""
    for call in variants.values():
        for _ in range(3):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(blocks):
        for name, call in variants.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            seconds[name].append((time.perf_counter() - start) / calls)
    return seconds


def table(title: str, seconds: dict[str, list[float]]) -> list[dict[str, float | str]]:
    """Print the figures against the first variant, and return them."""
    first = next(iter(seconds.values()))
    rows: list[dict[str, float | str]] = []
    print(f"\n{title}\n  {'':34s}{'median us':>10s}{'faster by':>11s}{'at least':>10s}")
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(first, own, strict=True)]
        row: dict[str, float | str] = {
            "variant": name,
            "median_us": 1e6 * statistics.median(own),
            "ratio": statistics.median(ratios),
            "least": min(ratios),
        }
        rows.append(row)
        print(f"  {name:34s}{row['median_us']:10.0f}{row['ratio']:11.2f}{row['least']:10.2f}")
    return rows


class PlainActor(nn.Module):
    """What one writes without a library."""

    def __init__(self, obs_dim: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(obs_dim, width), nn.Linear(width, width)
        self.mu = nn.Linear(width, action_dim)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.mu(F.relu(self.fc2(F.relu(self.fc1(x))))))


class PlainCritic(nn.Module):
    """What one writes without a library."""

    def __init__(self, obs_dim: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(obs_dim + action_dim, width), nn.Linear(width, width)
        self.q = nn.Linear(width, 1)

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return self.q(F.relu(self.fc2(F.relu(self.fc1(torch.cat([x, a], 1))))))


def plain_update(obs_dim: int, action_dim: int, width: int, batch: Transition) -> Variant:
    """The usual DDPG update: modules, `.backward()`, torch.optim.Adam, target networks parameter by parameter."""
    actor, critic = PlainActor(obs_dim, action_dim, width), PlainCritic(obs_dim, action_dim, width)
    target_actor, target_critic = copy.deepcopy(actor), copy.deepcopy(critic)
    actor_optimizer = torch.optim.Adam(actor.parameters(), lr=1e-3)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    tau, gamma = 0.005, 0.98

    def update() -> None:
        with torch.no_grad():
            next_q = target_critic(batch.next_obs, target_actor(batch.next_obs)).view(-1)
            target = batch.reward + (1 - batch.terminated) * gamma * next_q
        critic_loss = F.mse_loss(critic(batch.obs, batch.action).view(-1), target)
        critic_optimizer.zero_grad()
        critic_loss.backward()
        critic_optimizer.step()
        actor_loss = -critic(batch.obs, actor(batch.obs)).mean()
        actor_optimizer.zero_grad()
        actor_loss.backward()
        actor_optimizer.step()
        for online, target_net in ((actor, target_actor), (critic, target_critic)):
            for p, p_bar in zip(online.parameters(), target_net.parameters(), strict=True):
                p_bar.data.copy_(tau * p.data + (1 - tau) * p_bar.data)

    return update


def our_update(obs_dim: int, action_dim: int, width: int, batch: Transition, compiled: bool) -> Variant:
    """The same update by rlgan.optim."""
    agent, network = DDPG(0.98), MLPSpec(hidden=(width, width))
    spec = PlayerSpec(network, adam(1e-3), averaging=EMA(0.005))
    players = [
        Player("critic", agent.critic(network, obs_dim, action_dim), spec),
        Player("actor", agent.actor(network, obs_dim, action_dim), spec),
    ]
    update = Update(players, agent.losses(), Alternating(1), compiled=compiled, shares_batch=True)
    return lambda: update([batch])


def matrix_products(obs_dim: int, action_dim: int, width: int, batch_size: int) -> Variant:
    """Nothing but the update's matrix products, into memory allocated once: the limit."""
    both = obs_dim + action_dim

    def product(n: int, k: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
        return torch.randn(n, k), torch.randn(k, m), torch.empty(n, m)

    def forward(inputs: int, outputs: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        sizes = [(inputs, width), (width, width), (width, outputs)]
        return [product(batch_size, i, o) for i, o in sizes]

    def by_weights(inputs: int, outputs: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        sizes = [(inputs, width), (width, width), (width, outputs)]
        return [product(i, batch_size, o) for i, o in sizes]

    def by_inputs(outputs: int, inputs: int = 0) -> list[tuple[Tensor, Tensor, Tensor]]:
        sizes = [(outputs, width), (width, width), *([(width, inputs)] if inputs else [])]
        return [product(batch_size, i, o) for i, o in sizes]

    actor, critic = (obs_dim, action_dim), (both, 1)
    products = [
        *forward(*actor), *forward(*critic), *forward(*critic),  # target actor, target critic, critic
        *by_inputs(1), *by_weights(*critic),
        *forward(*actor), *forward(*critic),
        *by_inputs(1, both), *by_inputs(action_dim), *by_weights(*actor),
    ]  # fmt: skip

    def run() -> None:
        for a, b, out in products:
            torch.mm(a, b, out=out)

    return run


def update(blocks: int) -> dict[str, list[dict[str, float | str]]]:
    """The DDPG update, critic and actor and their averages, on Pendulum's shapes."""
    obs_dim, action_dim = 3, 1
    results = {}
    for width, batch_size in ((256, 256), (64, 64)):
        torch.manual_seed(0)
        batch = Transition(
            torch.randn(batch_size, obs_dim),
            torch.rand(batch_size, action_dim) * 2 - 1,
            torch.randn(batch_size),
            (torch.rand(batch_size) < 0.01).float(),
            torch.randn(batch_size, obs_dim),
        )
        variants = {
            "nn.Module + torch.optim.Adam": plain_update(obs_dim, action_dim, width, batch),
            "rlgan, eager": our_update(obs_dim, action_dim, width, batch, compiled=False),
            "rlgan, compiled": our_update(obs_dim, action_dim, width, batch, compiled=True),
            "matrix products alone (the limit)": matrix_products(obs_dim, action_dim, width, batch_size),
        }
        title = f"DDPG update, 2x{width}, batch {batch_size}"
        results[title] = table(title, interleave(variants, blocks, 20))
    return results


BENCHMARKS = {"update": update}


def main() -> None:
    """Run the named benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(BENCHMARKS), help="what to measure")
    parser.add_argument("--blocks", type=int, default=40, help="turns that every variant takes (default 40)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch (default 1)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s), {options.blocks} blocks")
    results = BENCHMARKS[options.name](options.blocks)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
