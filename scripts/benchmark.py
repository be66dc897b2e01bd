"""Measure: `python scripts/benchmark.py update`, `optim` or `seeds`: variants run side by side in one process.

Absolute times drift with the machine; so the variants take turns in short blocks (A B C A B C ...), and what is
printed for each is the median time of a call, and over the blocks the median and least ratio to the first variant.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.nets import MLPSpec
from rlgan.optim import (
    EMA,
    AcceleGrad,
    Alternating,
    Box,
    Method,
    Player,
    PlayerSpec,
    Stack,
    Update,
    adagrad,
    adagrad_norm,
    adam,
    adamw,
    amsgrad,
    heavy_ball,
    nesterov,
    perturbed_sgd,
    rmsprop,
    rmsprop_nesterov,
    sgd,
    sgld,
    torch_optimizer,
)
from rlgan.optim.player import PlayerState, overwrite
from rlgan.optim.update import one_graph
from rlgan.rl.ddpg import DDPG
from rlgan.rl.replay import Transition

Variant = Callable[[], object]
Shapes = Sequence[tuple[int, ...]]


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
    update = make_update(obs_dim, action_dim, width, compiled)
    return lambda: update([batch])


def make_update(obs_dim: int, action_dim: int, width: int, compiled: bool) -> Update:
    """DDPG's critic and actor as a game."""
    agent, network = DDPG(0.98), MLPSpec(hidden=(width, width))
    spec = PlayerSpec(network, adam(1e-3), averaging=EMA(0.005))
    players = [
        Player("critic", agent.critic(network, obs_dim, action_dim), spec),
        Player("actor", agent.actor(network, obs_dim, action_dim), spec),
    ]
    return Update(players, agent.losses(), Alternating(1), compiled=compiled, shares_batch=True)


def stacked_update(obs_dim: int, action_dim: int, width: int, batch: Transition, seeds: int) -> Variant:
    """As many of them, each on a minibatch of its own, as one compiled graph."""
    stack = Stack([make_update(obs_dim, action_dim, width, compiled=False) for _ in range(seeds)], compiled=True)
    batches = [[Transition(*(part.clone() for part in batch))] for _ in range(seeds)]
    return lambda: stack(batches)


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


def transitions(batch_size: int, obs_dim: int, action_dim: int) -> Transition:
    """A minibatch."""
    torch.manual_seed(0)
    return Transition(
        torch.randn(batch_size, obs_dim),
        torch.rand(batch_size, action_dim) * 2 - 1,
        torch.randn(batch_size),
        (torch.rand(batch_size) < 0.01).float(),
        torch.randn(batch_size, obs_dim),
    )


def seeds(blocks: int) -> dict[str, list[dict[str, float | str]]]:
    """The cost of an update PER SEED, by the number of seeds that are stacked."""
    obs_dim, action_dim = 3, 1
    results = {}
    for width, batch_size in ((64, 64), (256, 256)):
        batch = transitions(batch_size, obs_dim, action_dim)
        counts = (1, 4, 16, 64)
        variants = {
            "nn.Module + torch.optim.Adam": plain_update(obs_dim, action_dim, width, batch),
            "rlgan, compiled, by itself": our_update(obs_dim, action_dim, width, batch, compiled=True),
            **{f"rlgan, {n} stacked": stacked_update(obs_dim, action_dim, width, batch, n) for n in counts},
        }
        measured = interleave(variants, blocks, 3)
        each = {name: int(name.split()[1]) if name.endswith("stacked") else 1 for name in measured}
        per_seed = {name: [t / each[name] for t in own] for name, own in measured.items()}
        title = f"DDPG update, 2x{width}, batch {batch_size}, time per seed"
        results[title] = table(title, per_seed)
    return results


def update(blocks: int) -> dict[str, list[dict[str, float | str]]]:
    """The DDPG update, critic and actor and their averages, on Pendulum's shapes."""
    obs_dim, action_dim = 3, 1
    results = {}
    for width, batch_size in ((256, 256), (64, 64)):
        batch = transitions(batch_size, obs_dim, action_dim)
        variants = {
            "nn.Module + torch.optim.Adam": plain_update(obs_dim, action_dim, width, batch),
            "rlgan, eager": our_update(obs_dim, action_dim, width, batch, compiled=False),
            "rlgan, compiled": our_update(obs_dim, action_dim, width, batch, compiled=True),
            "matrix products alone (the limit)": matrix_products(obs_dim, action_dim, width, batch_size),
        }
        title = f"DDPG update, 2x{width}, batch {batch_size}"
        results[title] = table(title, interleave(variants, blocks, 20))
    return results


SMALL = [(256, 3), (256,), (256, 256), (256,), (12, 256), (12,)]
"""A 2x256 network, 70k parameters in 6 tensors."""
LARGE = [(10_000_000,)]


def torch_step(make: Callable[..., torch.optim.Optimizer], shapes: Shapes, **options: Any) -> Variant:
    """A step of an optimizer of parameters of these shapes, the gradients standing still."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for p in parameters:
        p.grad = torch.randn_like(p) * 1e-2
    return make(parameters, lr=1e-3, **options).step


class Parameters(nn.Module):
    """Free parameters."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.all = nn.ParameterList([nn.Parameter(torch.randn(shape)) for shape in shapes])


def player_step(method: Method, shapes: Shapes, graph: bool, **slots: Any) -> Variant:
    """A step of a player's vector, as eager play takes it, or in one graph as compiled play does."""
    torch.manual_seed(0)
    player = Player("p", Parameters(shapes), PlayerSpec(None, method, **slots), 1000, torch.Generator().manual_seed(0))
    g = torch.randn_like(player.vector.theta) * 1e-2
    xi = player.draw()  # noise is drawn outside of the step
    if not graph:

        def eager() -> None:
            player.step_in_place(g, player.scalars(player.steps + 1), xi)
            player.steps += 1

        return eager
    keys = tuple(player.scalars(1))

    def step(state: PlayerState, g: Tensor, numbers: Tensor, xi: Tensor | None) -> None:
        new = player.step(state, g, dict(zip(keys, numbers.unbind(), strict=True)), xi)
        with torch.no_grad():
            overwrite(state, new)

    run = one_graph(step, g.device)

    def compiled() -> None:
        player.steps += 1
        run(player.state, g, torch.tensor(list(player.scalars(player.steps).values()), dtype=torch.float64), xi)

    return compiled


def optax_step(shapes: Shapes) -> Variant | None:
    """optax.adam under jax.jit with donated buffers, on one thread; None where it is not installed."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    try:
        import jax
        import optax
    except ImportError:
        return None
    key, optimizer = jax.random.key(0), optax.adam(1e-3)
    state = {"theta": [jax.random.normal(key, shape) for shape in shapes]}
    grads = [1e-2 * jax.random.normal(key, shape) for shape in shapes]
    state["slots"] = optimizer.init(state["theta"])

    def step(theta: Any, slots: Any, grads: Any) -> tuple[Any, Any]:
        updates, slots = optimizer.update(grads, slots, theta)
        return optax.apply_updates(theta, updates), slots

    jitted = jax.jit(step, donate_argnums=(0, 1))

    def run() -> None:
        state["theta"], state["slots"] = jitted(state["theta"], state["slots"], grads)
        jax.block_until_ready(state["theta"])

    return run


def pytorch_optimizer_step(shapes: Shapes) -> Variant | None:
    """AdaBelief of pytorch_optimizer, its usual loop over tensors; None where it is not installed."""
    try:
        from pytorch_optimizer import AdaBelief
    except ImportError:
        return None
    return torch_step(AdaBelief, shapes)


def optim(blocks: int) -> dict[str, list[dict[str, float | str]]]:
    """One optimizer step: Adam against its peers, and every method against the bytes that it has to move."""
    results = {}
    for title, shapes, calls in (
        ("Adam, 70k parameters in 6 tensors", SMALL, 50),
        ("Adam, 10M parameters in one tensor", LARGE, 2),
    ):
        variants: dict[str, Variant | None] = {
            "torch.optim.Adam": torch_step(torch.optim.Adam, shapes),
            "torch.optim.Adam(foreach=True)": torch_step(torch.optim.Adam, shapes, foreach=True),
            "torch.optim.Adam(fused=True)": torch_step(torch.optim.Adam, shapes, fused=True),
            "rlgan, torch subclass": torch_step(torch_optimizer.Adam, shapes),
            "rlgan, on the vector": player_step(adam(1e-3), shapes, graph=False),
            "rlgan, on the vector, compiled": player_step(adam(1e-3), shapes, graph=True),
            "optax.adam, jit": optax_step(shapes),
            "pytorch_optimizer.AdaBelief": pytorch_optimizer_step(shapes),
        }
        missing = [name for name, call in variants.items() if call is None]
        if missing:
            print(f"\nnot installed: {', '.join(missing)}; pip install -e '.[bench]'")
        present = {name: call for name, call in variants.items() if call is not None}
        results[title] = table(title, interleave(present, blocks if calls > 10 else max(blocks // 4, 3), calls))
    # Bytes that a step has to move per parameter: 4 for every vector read and 4 for every vector written.
    methods: dict[str, tuple[Method, int, dict[str, Any]]] = {
        "sgd": (sgd(1e-3), 12, {}),
        "sgd, box": (sgd(1e-3), 12, {"projection": Box(0.5)}),
        "sgd, EMA": (sgd(1e-3), 20, {"averaging": EMA(0.005)}),
        "heavy_ball": (heavy_ball(1e-3), 20, {}),
        "nesterov": (nesterov(1e-3), 20, {}),
        "adagrad_norm": (adagrad_norm(1e-3), 16, {}),
        "adagrad": (adagrad(1e-3), 20, {}),
        "rmsprop": (rmsprop(1e-3), 20, {}),
        "rmsprop_nesterov": (rmsprop_nesterov(1e-3), 28, {}),
        "adam": (adam(1e-3), 28, {}),
        "adamw": (adamw(1e-3), 28, {}),
        "adam, box, EMA": (adam(1e-3), 36, {"projection": Box(0.5), "averaging": EMA(0.005)}),
        "amsgrad": (amsgrad(1e-3), 36, {}),
        "accelegrad": (AcceleGrad(), 24, {}),
        "perturbed_sgd": (perturbed_sgd(1e-3), 16, {}),
        "sgld": (sgld(1e-3), 16, {}),
    }
    fused = torch_step(torch.optim.Adam, LARGE, fused=True)
    title = "Every method compiled, 10M parameters: its time over that of its bytes at the rate of torch's fused Adam"
    print(f"\n{title}\n  {'':34s}{'bytes':>7s}{'median us':>11s}{'times its bound':>17s}")
    results[title] = []
    for name, (method, size, slots) in methods.items():
        pair = {"fused": fused, name: player_step(method, LARGE, graph=True, **slots)}
        seconds = interleave(pair, max(blocks // 4, 3), 2)
        over = statistics.median(b / (a * size / 28) for a, b in zip(seconds["fused"], seconds[name], strict=True))
        microseconds = 1e6 * statistics.median(seconds[name])
        results[title].append({"variant": name, "bytes": size, "median_us": microseconds, "times_bound": over})
        print(f"  {name:34s}{size:7d}{microseconds:11.0f}{over:17.2f}")
    return results


BENCHMARKS = {"update": update, "optim": optim, "seeds": seeds}


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
