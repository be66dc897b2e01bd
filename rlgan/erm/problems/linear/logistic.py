"""Logistic regression: two classes, a linear model, and the minimiser found once by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.erm.losses import Logistic, Loss, signs
from rlgan.erm.problems.base import Labelled, Sample
from rlgan.erm.problems.linear.regression import TEST, TRAIN, TRUTH, check_numbers, normal, seeded, spread
from rlgan.nets.linear import LinearMap
from rlgan.task.settings import Settings

STEPS = 100
ACCURATE = 1e-12
"""Length of the gradient at the minimiser, at most."""


def separable(x: Tensor, y: Tensor) -> bool:
    """Whether a hyperplane through 0 separates classes y in {0, 1} of x ``(n, d)``: y_i x_i . w >= 1 has a solution."""
    from scipy.optimize import linprog

    signed = (signs(x[:, 0], y)[:, None] * x).numpy()
    found = linprog(np.zeros(x.shape[1]), A_ub=-signed, b_ub=-np.ones(len(signed)), bounds=(None, None))
    return found.status == 0


def newton(x: Tensor, y: Tensor) -> Tensor:
    """The minimiser (d,) of mean log(1 + exp(-y_i x_i . w)), y_i in {-1, 1}, by damped Newton steps from 0.

    Raises:
        ArithmeticError: the gradient stays longer than 1e-12, as of features beyond all measure.
    """
    n, d = x.shape

    def risk(w: Tensor) -> float:
        return float(F.softplus(-y * (x @ w)).mean())

    w = torch.zeros(d, dtype=torch.float64)
    for _ in range(STEPS):
        p = torch.sigmoid(-y * (x @ w))
        gradient = -x.T @ (y * p) / n
        if float(gradient.norm()) <= ACCURATE:
            return w
        step = torch.linalg.lstsq(x.T @ ((p * (1 - p))[:, None] * x) / n, gradient[:, None]).solution[:, 0]
        now, slope, size = risk(w), float(gradient @ step), 1.0
        # Armijo's rule; at the end, where risks differ by rounding alone, the whole step.
        while slope > 1e-14 and risk(w - size * step) > now - 1e-4 * size * slope and size > 1e-10:
            size /= 2
        w = w - size * step
    raise ArithmeticError(f"no minimiser to {ACCURATE:g} in {STEPS} Newton steps; scale the features to order 1")


@final
@dataclass(frozen=True)
class LogisticRegression(Labelled):
    """Two classes of random features, P(y = 1 | x) = 1/(1 + exp(-steepness x . w)), w uniform on the unit sphere.

    x ~ N(0, diag(lambda)), lambda spread evenly in its logarithm from 1/kappa to 1. The loss is `logistic` if none is
    chosen, the model f(x) = theta . x, from theta = 0 on. Its minimiser is found once, by Newton's method, to a
    gradient of 1e-12; where a hyperplane separates the training samples there is none: R tends to 0 as theta grows.

    Args:
        samples: to train on; as many others are the test.
        dimension: number of features.
        steepness: how sure labels are; 0 is chance.
        kappa: the largest variance of a feature over the smallest.
        linear: f(x) = theta . x; false: the chosen network, of which no optimum is known.
        random_labels: share of the training labels that is replaced at random.

    Raises:
        ValueError: an impossible number or share.
    """

    classes = 2

    samples: int = 500
    dimension: int = 20
    steepness: float = 3.0
    kappa: float = 1.0
    linear: bool = True
    random_labels: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, {"samples": 2, "dimension": 1, "steepness": 0, "kappa": 1})
        _ = self.train

    def make(self) -> tuple[Sample, Sample]:
        w = F.normalize(normal(seeded(TRUTH), self.dimension), dim=0)
        deviations = spread(self.kappa, self.dimension).sqrt()

        def drawn(seed: int) -> Sample:
            generator = seeded(seed)
            x = normal(generator, self.samples, self.dimension) * deviations
            u = torch.rand(self.samples, generator=generator, dtype=torch.float64)
            return Sample(x, (u < torch.sigmoid(self.steepness * (x @ w))).long())

        return drawn(TRAIN), drawn(TEST)

    def usual_loss(self) -> Loss:
        return Logistic()

    def network(self, settings: Settings, outputs: tuple[int, ...]) -> nn.Module | None:
        if not self.linear:
            return None
        if outputs:
            raise ValueError(
                f"loss = of {outputs[0]} scores: the model of {type(self).__name__} has one, theta . x; use "
                "loss=logistic, hinge or squared, or problem.linear=false"
            )
        return LinearMap(self.inputs, outputs, 0.0)

    def solved(self, loss: Loss | None) -> bool:
        return self.linear and isinstance(loss, Logistic)

    @cached_property
    def separable(self) -> bool:
        """Whether a hyperplane through 0 separates the training samples."""
        return separable(*self.train)

    @cached_property
    def _minimiser(self) -> Tensor | None:
        x, y = self.train
        return None if self.separable else newton(x, signs(x[:, 0], y))

    def optimum(self) -> Tensor | None:
        return self._minimiser

    def least(self) -> float:
        x, y = self.train
        w = self._minimiser
        return 0.0 if w is None else float(Logistic()(x @ w, y).mean())

    def notes(self) -> list[str]:
        notes = super().notes()
        if self.linear:
            notes.insert(0, f"the model is linear: f(x) = theta . x, of {self.dimension} parameters")
        if self.linear and self.separable:
            notes.append("a hyperplane separates the training samples: R has no minimiser, and tends to 0")
        return notes
