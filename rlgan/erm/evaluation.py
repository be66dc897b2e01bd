"""How a minimisation is measured: on all training samples and all test samples, and about where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from rlgan.erm.game import Risk
from rlgan.erm.losses import Loss, correct
from rlgan.erm.problems.base import Problem, Sample, is_class
from rlgan.nets.layers import in_evaluation_mode
from rlgan.optim.second_order.curvature import Scalar, extremes, keskar_sharpness

BLOCK = 4096
LANCZOS = 40
"""Hessian-vector products for the largest eigenvalue, at most; they stop at a relative error of 1e-4."""


@final
@dataclass(frozen=True)
class Measured:
    """The mean loss of a sample, and the share that is told wrong (None where labels are no classes)."""

    risk: float
    error: float | None


@torch.no_grad()
def scores(model: nn.Module, x: Tensor) -> Tensor:
    """f(x), ``(n, *outputs)``, in evaluation mode, by blocks."""
    with in_evaluation_mode(model):
        return torch.cat([model(block) for block in x.split(BLOCK)])


@torch.no_grad()
def measure(model: nn.Module, risk: Risk, sample: Sample) -> Measured:
    """Risk and error of a model on a sample."""
    f = scores(model, sample.x)
    mean = float(risk.of(f, sample.y).mean())
    wrong = 1 - float(correct(f, sample.y).double().mean()) if risk.loss is not None and is_class(sample.y) else None
    return Measured(mean, wrong)


def measures(model: nn.Module, risk: Risk, train: Sample, test: Sample | None) -> dict[str, float]:
    """Everything that a model's answers say: `risk/...` and `error/...`."""
    on = measure(model, risk, train)
    found = {"risk/train": on.risk}
    if on.error is not None:
        found["error/train"] = on.error
    if test is None:
        return found
    off = measure(model, risk, test)
    found |= {"risk/test": off.risk, "risk/gap": off.risk - on.risk}
    if on.error is not None and off.error is not None:
        found |= {"error/test": off.error, "error/gap": off.error - on.error}
    return found


def nearness(problem: Problem, loss: Loss | None, theta: Tensor, risk: float) -> dict[str, float]:
    """How far theta (d,) and its risk are from what is known to be the best."""
    found: dict[str, float] = {}
    if not problem.solved(loss):
        return found
    optimum, least = problem.optimum(), problem.least()
    if least is not None:
        found["risk/excess"] = risk - least
    if optimum is not None:
        found["distance/optimum"] = float((theta.detach().double().cpu() - optimum.double()).norm())
    return found


def sharpness(loss: Scalar, theta: Tensor) -> dict[str, float]:
    """Keskar's sharpness (eps = 1e-3), and the largest eigenvalue of the Hessian, of a loss at theta (d,)."""
    top = extremes(loss, theta, LANCZOS, tolerance=1e-4).largest
    found = {"sharpness/largest": top.value, "sharpness/keskar": keskar_sharpness(loss, theta).sharpness}
    return {tag: value for tag, value in found.items() if value == value}


def of_averages(found: Mapping[str, dict[str, float]]) -> dict[str, float]:
    """The measures of averages by name, `tag/name` of each."""
    return {f"{tag}/{name}": value for name, own in found.items() for tag, value in own.items()}
