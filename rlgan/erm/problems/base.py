"""What is minimised: samples with labels, or a function of the parameters alone; one interface for both.

R(theta) = (1/n) sum_i L(f(x_i; theta), y_i)                     empirical risk minimisation
R(theta) = f(theta) + <mean of noise, theta>                     a surface, seen through noisy gradients
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from rlgan.task.settings import Settings

if TYPE_CHECKING:
    from rlgan.erm.losses import Loss

Kind = Literal["classes", "values", "surface"]
"""Of a problem's labels: which class, a number or several, or nothing, for a surface has no samples."""


class Sample(NamedTuple):
    """Inputs and what is said of them.

    Attributes:
        x: ``(n, *inputs)``, float32; of a surface the noise of each sample's gradient ``(n, d)``.
        y: the class of each, ``(n,)`` int64 from 0 on; or the values ``(n, *targets)`` float32; of a surface ``(n,)``.
    """

    x: Tensor
    y: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Sample:
        """The same on a device; numbers (not classes) in a dtype."""
        return Sample(self.x.to(device, dtype), self.y.to(device) if is_class(self.y) else self.y.to(device, dtype))


def is_class(y: Tensor) -> bool:
    """Whether labels say which class."""
    return not y.is_floating_point()


class Problem(ABC):
    """What is minimised.

    Attributes:
        kind: of the labels.
        classes: how many there are; 0 where labels are no classes.
    """

    kind: ClassVar[Kind] = "classes"
    classes: int = 0

    @property
    @abstractmethod
    def inputs(self) -> tuple[int, ...]:
        """The shape of one x: (d,), or (C, H, W) of a picture."""

    @property
    def targets(self) -> tuple[int, ...]:
        """The shape of one y, of values; () is one number."""
        return ()

    @property
    @abstractmethod
    def train(self) -> Sample:
        """What is trained on: all of it."""

    @property
    def test(self) -> Sample | None:
        """What is never trained on, as the estimate of the true risk; None where there is nothing."""
        return None

    def network(self, settings: Settings, outputs: tuple[int, ...]) -> nn.Module | None:
        """A network that belongs to the problem, in the place of the chosen one; None where it is free.

        Args:
            settings: of the run.
            outputs: the shape of one score, as the loss has it.

        Raises:
            ValueError: there is none with these outputs.
        """
        return None

    def usual_loss(self) -> Loss | None:
        """What `loss=auto` stands for; None: cross-entropy for classes, squared for values."""
        return None

    def solved(self, loss: Loss | None) -> bool:
        """Whether `optimum` and `least` are those of R with this loss (None: the loss of a surface)."""
        return True

    def optimum(self) -> Tensor | None:
        """The nearest thing to a minimiser that is known, theta* as the network's parameters lie in a vector (d,)."""
        return None

    def least(self) -> float | None:
        """The least value that R can have, where it is known."""
        return None

    def noise(self, n: int, generator: torch.Generator, count: int) -> Tensor | None:
        """Inputs ``(n, *inputs)`` of a minibatch that are drawn and not chosen from `train`: a surface's noise.

        Args:
            n: samples of the minibatch.
            generator: where chance comes from.
            count: which minibatch of the run it is, from 0 on; for what changes from step to step.
        """
        return None

    def names(self) -> list[str]:
        """The classes' names, for pictures."""
        return [str(i) for i in range(self.classes)]

    def notes(self) -> list[str]:
        """What a user has to know about it, one sentence each."""
        return []

    def inputs_from_outside(self) -> dict[str, str]:
        """What is read from outside of the run, a line by name, with a fingerprint; see `rlgan.task.Task.inputs`."""
        return {}


class Labelled(Problem):
    """A finite sample with classes; a subclass says `make`, made once.

    Labels may be replaced at random (Zhang et al. 2017, arXiv:1611.03530): a share `random_labels` of the training
    labels is drawn anew, uniformly over all classes. The test labels stay.
    """

    random_labels: float = 0.0
    """The share, in [0, 1]; a field of those subclasses that offer it."""

    @abstractmethod
    def make(self) -> tuple[Sample, Sample | None]:
        """Training and test samples, made anew."""

    @cached_property
    def _both(self) -> tuple[Sample, Sample | None]:
        made: object = self.make()
        if not (isinstance(made, tuple) and [isinstance(part, Sample) for part in made] in ([True] * 2, [True, False])):
            raise ValueError(
                f"problem = {type(self).__name__}: make() gives no two Samples; give Sample(x, y), Sample(x, y), and "
                "None in the second place where there is nothing to test on"
            )
        train, test = made
        return Sample(train.x, relabelled(train.y, self.classes, self.random_labels)), test

    @property
    def inputs(self) -> tuple[int, ...]:
        return tuple(self.train.x.shape[1:])

    @property
    def train(self) -> Sample:
        return self._both[0]

    @property
    def test(self) -> Sample | None:
        return self._both[1]

    def notes(self) -> list[str]:
        if not self.random_labels:
            return []
        return [
            f"{self.random_labels:.0%} of the training labels are drawn at random; the test labels are as they were"
        ]


RELABEL_SEED = 1611
"""Which labels are replaced is the problem's own, and the same for every seed of a run."""


def relabelled(y: Tensor, classes: int, share: float) -> Tensor:
    """Classes ``(n,)`` of which a `share`, rounded to whole ones, is drawn anew, uniformly over all classes.

    Raises:
        ValueError: the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(
            f"random_labels = {share}: the share of labels drawn at random lies in [0, 1], for example 1.0"
        )
    if not share:
        return y
    generator = torch.Generator().manual_seed(RELABEL_SEED)
    chosen = torch.randperm(len(y), generator=generator)[: round(share * len(y))]
    changed = y.clone()
    changed[chosen] = torch.randint(classes, (len(chosen),), generator=generator)
    return changed
