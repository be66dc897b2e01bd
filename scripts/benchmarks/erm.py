"""A step of task=erm, its minibatch drawn, beside the usual loop with torch.optim on the same digits."""

from __future__ import annotations

import copy

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
SIZES = {
    "MLP 2x64, batch 64": ("mlp_64", 64),
    "MLP 2x256, batch 256": ("mlp_256", 256),
    "convolutions, batch 64": ("conv", 64),
}


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
    """Three networks."""
    for title, (network, size) in SIZES.items():
        if options.only in title:
            variants = same_step(network, size, options, report)
            figures = measure(variants, options)
            report.table(f"erm, digits, {title}", figures)
            for way in (EAGER, COMPILED):
                report.mark(f"{way} against the usual loop", figures.ratio(USUAL, way), at_least=1.0)


def erm(*words: str) -> ERM:
    """The task that `rlgan ...` would train."""
    made = task(*words)
    assert isinstance(made, ERM)
    return made


def same_step(network: str, size: int, options: Options, report: Report) -> dict[str, Variant]:
    """A step in several ways, from equal weights.

    Raises:
        ArithmeticError: after three steps on equal batches their numbers are not the same.
    """
    words = ("task=erm", f"network={network}", f"batch_size={size}", f"device={options.device}", "steps=1000000000")
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
        report.note(f"{network}: {name}: the same numbers, {value:.0e} apart after 3 steps")
    return {USUAL: usual, **{name: own.advance for name, own in made.items()}}
