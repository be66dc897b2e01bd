"""Losses of a score f(x) and a label y, by name; each is averaged over a batch.

    logistic          log(1 + exp(-y f))                 y in {-1, 1}
    hinge             max(0, 1 - y f)                    y in {-1, 1}
    squared           (y - f)^2                          y in {-1, 1}, or any values
    cross-entropy     -log(exp(f_y) / sum_j exp(f_j))    y in {0, ..., c - 1}

Two classes are -1 and 1, and the score is one number. Of more classes the first three are one against the rest: a score
for each class, and the mean of their losses. (EE-556, Lecture 7: Optimization for Deep Learning, "Some frequently used
loss functions" and "Cross-entropy loss for multiclass classification".) Adding one is a subclass of `Loss` here and a
file in ``conf/loss``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from rlgan.erm.problems.base import Problem, is_class


class Loss(ABC):
    """A function of scores and labels."""

    takes_values: ClassVar[bool] = False
    """Whether labels may be values, and not classes."""

    def outputs(self, problem: Problem) -> tuple[int, ...]:
        """The shape of one score: () for two classes, (c,) for c of them.

        Raises:
            ValueError: the loss is not for labels like the problem's.
        """
        name = type(self).__name__
        if problem.kind == "values":
            if not self.takes_values:
                raise ValueError(
                    f"loss = {name}: is for classes, and the labels of {type(problem).__name__} are values; use "
                    "loss=squared"
                )
            return problem.targets
        return () if problem.classes == 2 else (problem.classes,)

    @abstractmethod
    def __call__(self, scores: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, ``(batch,)``.

        Args:
            scores: ``(batch, *outputs)``.
            y: classes ``(batch,)`` int64, or values like `scores`.
        """


def signs(scores: Tensor, y: Tensor) -> Tensor:
    """Classes as numbers -1 and 1, of the shape of the scores; values as they are."""
    if not is_class(y):
        return y
    one = y if scores.ndim == 1 else F.one_hot(y, scores.shape[-1])
    return 2 * one.to(scores.dtype) - 1


def per_sample(losses: Tensor) -> Tensor:
    """``(batch, ...) -> (batch,)``, the mean over outputs."""
    return losses if losses.ndim == 1 else losses.flatten(1).mean(1)


@final
@dataclass(frozen=True)
class Logistic(Loss):
    """log(1 + exp(-y f)), y in {-1, 1}: minus the log of the probability 1/(1 + exp(-y f)) of y."""

    def __call__(self, scores: Tensor, y: Tensor) -> Tensor:
        return per_sample(F.softplus(-signs(scores, y) * scores))


@final
@dataclass(frozen=True)
class Squared(Loss):
    """(y - f)^2, for values and for classes."""

    takes_values = True

    def __call__(self, scores: Tensor, y: Tensor) -> Tensor:
        return per_sample((signs(scores, y) - scores).square())


@final
@dataclass(frozen=True)
class Hinge(Loss):
    """max(0, 1 - y f), y in {-1, 1}: 0 from a margin of 1 on. Its GAN twin is `rlgan.gan.Hinge`."""

    def __call__(self, scores: Tensor, y: Tensor) -> Tensor:
        return per_sample(torch.relu(1 - signs(scores, y) * scores))


@final
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """-log softmax(f)_y, for any number of classes, two included: scores ``(batch, c)``.

    Scores [0.1, -0.8, 1.4, 1.1] have a loss of 2.95 for the second class and 0.75 for the third. Of two classes it is
    the logistic loss of the difference of their scores.
    """

    def outputs(self, problem: Problem) -> tuple[int, ...]:
        super().outputs(problem)
        return (problem.classes,)

    def __call__(self, scores: Tensor, y: Tensor) -> Tensor:
        # Not F.cross_entropy: its backward pass under vmap is slow, and this compiles to the same.
        return torch.logsumexp(scores, -1) - scores.gather(-1, y[..., None]).squeeze(-1)


@final
@dataclass(frozen=True)
class Auto(Loss):
    """What the labels ask for: cross-entropy for classes, squared for values; a surface is a loss by itself."""

    takes_values = True

    def outputs(self, problem: Problem) -> tuple[int, ...]:
        return self.of(problem).outputs(problem)

    def of(self, problem: Problem) -> Loss:
        """The loss for a problem."""
        return problem.usual_loss() or (Squared() if problem.kind == "values" else CrossEntropy())

    def __call__(self, scores: Tensor, y: Tensor) -> Tensor:
        return CrossEntropy()(scores, y) if is_class(y) else Squared()(scores, y)


def correct(scores: Tensor, y: Tensor) -> Tensor:
    """Whether the class of the highest score is the label, ``(batch,)`` bool; of one score, whether its sign is."""
    return predicted(scores) == y


def predicted(scores: Tensor) -> Tensor:
    """The class ``(batch,)`` int64 that scores say: argmax_i f_i of ``(batch, c)``, 1 where f > 0 of ``(batch,)``."""
    return (scores > 0).long() if scores.ndim == 1 else scores.argmax(-1)
