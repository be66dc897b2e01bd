"""One optimizer step: Adam beside its peers, and every method against the bytes that it has to move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rlgan.optim import (
    EMA,
    AcceleGrad,
    Box,
    Method,
    Player,
    PlayerSpec,
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
    torch_optim,
)
from rlgan.optim.compiled.graph import one_graph
from rlgan.optim.play.player import PlayerState, overwrite
from scripts.benchmarks import peers
from scripts.benchmarks.harness import Options, Report, Row, Variant, measure

Shapes = Sequence[tuple[int, ...]]
BLOCKS = 40

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


def optax_step(shapes: Shapes) -> Variant:
    """optax.adam under jax.jit with donated buffers."""
    import jax
    import optax

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


def pytorch_optimizer_step(shapes: Shapes) -> Variant:
    """AdaBelief of pytorch_optimizer, its usual loop over tensors."""
    from pytorch_optimizer import AdaBelief

    return torch_step(AdaBelief, shapes)


def run(options: Options, report: Report) -> None:
    """Adam at two sizes, then every method at the larger one."""
    with_optax = peers.present(report, "jax", "optax")
    with_pytorch_optimizer = peers.present(report, "pytorch_optimizer")
    for title, shapes in (("Adam, 70k parameters in 6 tensors", SMALL), ("Adam, 10M parameters in one tensor", LARGE)):
        if options.only not in title:
            continue
        variants: dict[str, Variant] = {
            "torch.optim.Adam": torch_step(torch.optim.Adam, shapes),
            "torch.optim.Adam(foreach=True)": torch_step(torch.optim.Adam, shapes, foreach=True),
            "torch.optim.Adam(fused=True)": torch_step(torch.optim.Adam, shapes, fused=True),
            "rlgan, torch subclass": torch_step(torch_optim.Adam, shapes),
            "rlgan, on the vector": player_step(adam(1e-3), shapes, graph=False),
            "rlgan, on the vector, compiled": player_step(adam(1e-3), shapes, graph=True),
        }
        if with_optax:
            variants["optax.adam, jit"] = optax_step(shapes)
        if with_pytorch_optimizer:
            variants["pytorch_optimizer.AdaBelief"] = pytorch_optimizer_step(shapes)
        report.table(title, measure(variants, options))
    against_bytes(options, report)


def against_bytes(options: Options, report: Report) -> None:
    """Every method, compiled, beside torch's fused Adam, whose 28 bytes a parameter give the rate of memory."""
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
    title = "Every method compiled, 10M parameters: its time over that of its bytes at the rate of torch's fused Adam"
    if options.only not in title:
        return
    print(f"\n{title}\n  {'':34s}{'bytes':>7s}{'median us':>11s}{'times its bound':>17s}")
    fused = torch_step(torch.optim.Adam, LARGE, fused=True)
    fewer = replace(options, blocks=max(options.blocks // 4, 3))
    for name, (method, size, slots) in methods.items():
        figures = measure({"fused": fused, name: player_step(method, LARGE, graph=True, **slots)}, fewer)
        over = 28 / size / figures.ratio("fused", name)
        microseconds = 1e6 * figures.median(name)
        row: Row = {"variant": name, "bytes": size, "median_us": microseconds, "times_bound": over}
        report.tables.setdefault(title, []).append(row)
        print(f"  {name:34s}{size:7d}{microseconds:11.0f}{over:17.2f}", flush=True)
