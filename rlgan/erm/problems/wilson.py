"""Linear classification in which adaptive methods and gradient descent find different solutions, by construction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from rlgan.erm.losses import Loss, Squared
from rlgan.erm.problems.base import Problem, Sample
from rlgan.nets.linear import LinearMap
from rlgan.task.settings import Settings

SHARED, OWN = 3, 5
"""Features that all samples share, and features of each sample's own."""


@final
@dataclass(frozen=True)
class Wilson(Problem):
    """One feature is the label, and every sample has features of its own, which tell the training labels as well.

    Sample i with the label y_i in {-1, 1} has the features

        x_1 = y_i,    x_2 = x_3 = 1,    and of its own five features all are 1 if y_i = -1, the first alone if y_i = 1;

    all others are 0. The model is f(x) = theta . x, from theta = 0 on. There are more features than samples, so that
    every method can meet y_i = f(x_i) exactly, and the choice among the solutions is the method's:

    - Gradient descent finds the solution of least norm, `optimum`, which tells every new sample right.
    - AdaGrad, RMSProp and Adam in full batch move every coordinate by the same amount, and find
      theta = sign(X^T y) / 4: a new sample, whose own features were never seen, has f(x) = (y + 2) / 4 > 0, whatever
      its label. So all negative ones are told wrong.

    (Wilson et al. 2017, arXiv:1705.08292, section 3.3 and lemma 3.1, for the squared loss.)

    Args:
        samples: n, to train on.
        test_samples: as many others are the test.
        positive: share of samples with the label 1, exact up to rounding; above 1/2.

    Raises:
        ValueError: an impossible number or share.
    """

    classes = 2

    samples: int = 100
    test_samples: int = 400
    positive: float = 0.6

    def __post_init__(self) -> None:
        for name in ("samples", "test_samples"):
            if (value := getattr(self, name)) < 2:
                raise ValueError(f"{name} = {value}: at least 2, one of each label; for example 100")
        if not 0.5 < self.positive < 1:
            raise ValueError(
                f"positive = {self.positive}: the share of the label 1 lies between 1/2 and 1, for example 0.6"
            )
        if not sum(self.train.y) > len(self.train.y) / 2 or bool(self.train.y.all()):
            raise ValueError(
                f"positive = {self.positive}: of {self.samples} samples these are {int(sum(self.train.y))}; there have "
                "to be negative ones, and more positive ones; use a larger samples="
            )

    @property
    def inputs(self) -> tuple[int, ...]:
        return (SHARED + OWN * (self.samples + self.test_samples),)

    def _sample(self, first: int, n: int) -> Sample:
        """The samples from the `first`-th on."""
        label = torch.full((n,), -1.0)
        label[: round(self.positive * n)] = 1.0
        x = torch.zeros(n, *self.inputs)
        x[:, 0] = label
        x[:, 1:SHARED] = 1.0
        own = x[:, SHARED:].view(n, -1, OWN)
        rows = torch.arange(n)
        own[rows, first + rows] = (label < 0).float()[:, None].expand(n, OWN)
        own[rows, first + rows, 0] = 1.0
        return Sample(x, (label > 0).long())

    @cached_property
    def train(self) -> Sample:
        return self._sample(0, self.samples)

    @cached_property
    def test(self) -> Sample:
        return self._sample(self.samples, self.test_samples)

    def network(self, settings: Settings, outputs: tuple[int, ...]) -> nn.Module:
        return LinearMap(self.inputs, outputs, 0.0)

    def usual_loss(self) -> Loss:
        return Squared()

    def solved(self, loss: Loss | None) -> bool:
        return isinstance(loss, Squared)

    @cached_property
    def _least_norm(self) -> Tensor:
        x = self.train.x.double()
        return x.T @ torch.linalg.solve(x @ x.T, 2 * self.train.y.double() - 1)

    def optimum(self) -> Tensor:
        """The solution of least norm, X^T (X X^T)^-1 y, ``(d,)`` float64."""
        return self._least_norm

    def adaptive(self) -> Tensor:
        """What a method finds that moves every coordinate alike: sign(X^T y) / 4, ``(d,)`` float64."""
        x = self.train.x.double()
        return torch.sign(x.T @ (2 * self.train.y.double() - 1)) / 4
