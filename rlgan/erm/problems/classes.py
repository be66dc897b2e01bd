"""Samples with classes that need no file: digits and sets in the plane."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split
from torch import Tensor

from rlgan.erm.problems.base import Labelled, Sample


def parts(x: Tensor, y: Tensor, held_out: float, train_samples: int | None = None) -> tuple[Sample, Sample | None]:
    """Split samples once for all runs: a share for the test with the classes in proportion; of the rest the first n.

    Raises:
        ValueError: a share that is none, or more training samples than there are.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out = {held_out}: the share of samples to test on lies in [0, 1), for example 0.2")
    index = np.arange(len(y))
    classes = len(y.unique())
    if held_out and not classes <= math.ceil(held_out * len(y)) <= len(y) - classes:
        raise ValueError(
            f"held_out = {held_out}: leaves less than one sample for each of {classes} classes to test on, or to train "
            f"on; use {classes / len(y):.2g} to {1 - classes / len(y):.2g}, or 0"
        )
    if held_out:
        first, last = train_test_split(index, test_size=held_out, random_state=0, stratify=y.numpy())
    else:
        first, last = index, index[:0]
    if train_samples is not None:
        if not 1 <= train_samples <= len(first):
            raise ValueError(
                f"train_samples = {train_samples}: there are {len(first)} to train on; use 1 to {len(first)}"
            )
        first = first[:train_samples]
    return Sample(x[first], y[first]), Sample(x[last], y[last]) if len(last) else None


@final
@dataclass(frozen=True)
class Digits(Labelled):
    """scikit-learn's 1,797 scans of hand-written digits, 8 x 8, grey levels scaled to [-1, 1] (UCI, Alpaydin &
    Kaynak 1998).

    Args:
        held_out: share that training never sees, to test on; every class in proportion.
        train_samples: how many of the others are trained on; null: all.
        random_labels: share of the training labels that is replaced at random.

    Raises:
        ValueError: an impossible share or number.
    """

    classes = 10

    held_out: float = 0.2
    train_samples: int | None = None
    random_labels: float = 0.0

    def __post_init__(self) -> None:
        _ = self.train

    def make(self) -> tuple[Sample, Sample | None]:
        pixels, labels = load_digits(return_X_y=True)
        x = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 8 - 1
        return parts(x, torch.from_numpy(labels).long(), self.held_out, self.train_samples)


@final
@dataclass(frozen=True)
class TwoMoons(Labelled):
    """Two interleaved half circles in the plane (scikit-learn's make_moons); no line separates them.

    Args:
        samples: to train on; as many others are the test.
        sigma: noise on the points.
        random_labels: share of the training labels that is replaced at random.

    Raises:
        ValueError: an impossible share or number.
    """

    classes = 2

    samples: int = 400
    sigma: float = 0.1
    random_labels: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples = {self.samples}: at least 2, one for each moon; for example 400")
        if not self.sigma >= 0:
            raise ValueError(f"sigma = {self.sigma}: the noise's standard deviation is at least 0, for example 0.1")
        _ = self.train

    def make(self) -> tuple[Sample, Sample | None]:
        def moons(seed: int) -> Sample:
            x, y = make_moons(self.samples, noise=self.sigma, random_state=seed)
            return Sample(torch.from_numpy(x).float(), torch.from_numpy(y).long())

        return moons(0), moons(1)
