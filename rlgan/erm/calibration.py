"""Whether a classifier's probabilities can be believed: of all answers given with 0.8, eight in ten should be right.

    ECE = sum_b (n_b / n) | accuracy(b) - confidence(b) |

over equal bins b of the confidence, the probability of the class that is said. (Guo et al. 2017, "On calibration of
modern neural networks", equations 2 and 3.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlgan.erm.erm import ERM
from rlgan.erm.evaluation import scores
from rlgan.erm.losses import CrossEntropy, Logistic, correct
from rlgan.task.figure import BLUE, FAKE, REAL, SMALL, figure, quiet
from rlgan.task.hooks.measures import Metric, Painter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Bins(NamedTuple):
    """Answers in equal bins of their confidence, (bins,) each: how many, mean confidence, share told right.

    Of an empty bin the means are NaN.
    """

    answers: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """ECE, between 0 and 1."""
        share = self.answers / self.answers.sum()
        return float(np.nansum(share * np.abs(self.accuracy - self.confidence)))


def binned(confidence: Tensor, right: Tensor, bins: int) -> Bins:
    """Sort answers into `bins` equal parts of [0, 1].

    Args:
        confidence: (n,), the probability of the class that is said.
        right: (n,) bool.
        bins: how many.
    """
    p, ok = confidence.double().cpu().numpy(), right.double().cpu().numpy()
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Bins(count, np.bincount(place, p, bins) / count, np.bincount(place, ok, bins) / count)


def confidences(task: ERM) -> tuple[Tensor, Tensor]:
    """The confidence (n,) of every answer on the test sample, or the training sample where there is none; if right."""
    sample = task.train if task.test is None else task.test
    said = scores(task.model.module, sample.x)
    if said.ndim == 1:
        p = torch.sigmoid(said)
        return torch.maximum(p, 1 - p), correct(said, sample.y)
    return torch.softmax(said, -1).amax(-1), correct(said, sample.y)


def check(task: object, bins: int) -> None:
    """Refuse a task whose answers are no probabilities.

    Raises:
        ValueError: it is another task, has no classes, or a loss of scores that mean something else.
    """
    if bins < 1:
        raise ValueError(f"bins = {bins}: must be at least 1, for example bins=15")
    if not isinstance(task, ERM) or task.problem.classes < 2:
        raise ValueError("is for classifiers, for example task=erm problem=digits; leave it out")
    if not isinstance(task.risk.loss, CrossEntropy | Logistic):
        raise ValueError(
            f"loss = {type(task.risk.loss).__name__}: its scores are no log-probabilities; use loss=cross_entropy"
        )


class Calibration(Metric):
    """The expected calibration error of a classifier, and its mean confidence.

    Args:
        bins: of the confidence.

    Raises:
        ValueError: see `check`.
    """

    explained: ClassVar[Mapping[str, str]] = {
        "error": "ECE: how far confidence is from accuracy, on average",
        "confidence": "mean probability of the class that is said",
    }

    def __init__(self, bins: int = 15) -> None:
        self.bins = bins

    def check(self, task: object) -> None:
        check(task, self.bins)

    def __call__(self, task: ERM) -> dict[str, float]:
        confidence, right = confidences(task)
        return {"error": binned(confidence, right, self.bins).error, "confidence": float(confidence.mean())}


class Reliability(Painter):
    """The accuracy of a classifier's answers over their confidence, and how many answers have it.

    Args:
        bins: of the confidence.

    Raises:
        ValueError: see `check`.
    """

    def __init__(self, bins: int = 15) -> None:
        self.bins = bins

    def check(self, task: object) -> None:
        check(task, self.bins)

    def __call__(self, task: ERM) -> Figure:
        found = binned(*confidences(task), self.bins)
        drawing = figure(4.4, 4.8)
        curve, counts = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        middle, width = (np.arange(self.bins) + 0.5) / self.bins, 1 / self.bins
        curve.bar(middle, found.accuracy, 0.9 * width, color=BLUE, label="accuracy")
        curve.plot(found.confidence, found.accuracy, "o", color=FAKE, ms=3, label="at the mean confidence")
        curve.plot([0, 1], [0, 1], color=REAL, lw=1.0, ls="--", label="calibrated")
        curve.legend(fontsize=SMALL, frameon=False, loc="upper left")
        counts.bar(middle, found.answers, 0.9 * width, color=REAL)
        counts.set_yscale("symlog", linthresh=1)
        sample = "training" if task.test is None else "test"
        title = f"{sample} sample   step {task.steps_done:,}   ECE {found.error:.3f}"
        quiet(curve, y="share told right", title=title, curves=True)
        quiet(counts, "confidence", "answers", curves=True)
        curve.set_xlim(0, 1)
        return drawing
