"""A step of task=erm, its minibatch drawn, beside the usual loop with torch.optim on the same digits."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from rlgan.erm import ERM
from scripts.benchmarks.composed import task
from scripts.benchmarks.ddpg import apart
from scripts.benchmarks.harness import Options, Report, Variant, measure

BLOCKS = 20
SAME = 1e-3
"""How far apart two loops may come in three steps on equal batches, over the way that they have come."""
USUAL, EAGER, COMPILED = "usual loop", "rlgan, eager", "rlgan, compiled"
SIZES: dict[str, tuple[tuple[str, ...], int]] = {
    "MLP 2x128, batch 64": (("network.hidden=[128,128]",), 64),
    "MLP 2x64, batch 64": ((), 64),
    "MLP 2x256, batch 256": (("network=mlp_256",), 256),
    "convolutions, batch 64": (("network=conv",), 64),
}
MARKS = {EAGER: 1.3, COMPILED: 2.0}
"""At least so many times faster than the usual loop, at 2x128; elsewhere no slower."""


class UsualLoop:
    """A module, `torch.optim.Adam` by its defaults, and a sample of which each step indexes a random minibatch.

    Args:
        model: trained in place.
        x, y: the sample.
        size: of a minibatch.
    """

    def __init__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor, size: int) -> None:
        self.model, self.x, self.y, self.size = model, x, y, size
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def __call__(self) -> None:
        index = torch.randint(len(self.y), (self.size,))
        self.step(self.x[index], self.y[index])

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """One step on a minibatch."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()


def run(options: Options, report: Report) -> None:
    """Four networks."""
    for title, (network, size) in SIZES.items():
        if options.only in title:
            variants = same_step(network, size, options, report)
            figures = measure(variants, options)
            report.table(f"erm, digits, {title}", figures)
            for way, mark in MARKS.items():
                least = mark if "2x128" in title else 1.0
                report.mark(f"{way} against the usual loop", figures.ratio(USUAL, way), at_least=least)


def erm(*words: str) -> ERM:
    """The task that `rlgan ...` would train."""
    made = task(*words)
    assert isinstance(made, ERM)
    return made


def same_step(network: Sequence[str], size: int, options: Options, report: Report) -> dict[str, Variant]:
    """A step in several ways, from equal weights.

    Raises:
        ArithmeticError: after three steps on equal batches their numbers are not the same.
    """
    words = ("task=erm", *network, f"batch_size={size}", f"device={options.device}", "steps=1000000000")
    made = {way: erm(*words, f"compile={str(way == COMPILED).lower()}") for way in (EAGER, COMPILED)}
    first = made[EAGER]
    usual = UsualLoop(copy.deepcopy(first.model.module), first.train.x, first.train.y, size)
    start = [p.detach().clone() for p in usual.model.parameters()]
    for _ in range(3):
        batches = [type(b)(*(part.clone() for part in b)) for b in made[EAGER].batches()]
        for own in made.values():
            own.update(batches)
        usual.step(batches[0].x, batches[0].y)
    for name, own in made.items():
        parameters = [p.detach() for p in own.model.module.parameters()]
        value = apart([p.detach() for p in usual.model.parameters()], parameters, start)
        if not value < SAME:
            raise ArithmeticError(f"{name} is not the usual step, {value:.1e} apart (at most {SAME:.0e})")
        report.note(f"{' '.join(network)} {name}: the same numbers, {value:.0e} apart after 3 steps")
    return {USUAL: usual, **{name: own.advance for name, own in made.items()}}
