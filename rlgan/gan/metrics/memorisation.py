"""Is it copying the data? Distances of generated samples to those of training, against those of held-out ones.

A generator that has learnt the distribution is as far from the training samples as fresh real samples are; one that has
memorised is nearer. Each measure sees that at a place of its own, and each has been seen to move with the share of
copies planted in a sample; none of them proves that there are none (van den Burg & Williams 2021 show how such measures
miss local memorisation).

n training samples, h held-out ones, m generated ones, in d features; Euclidean distances, by scikit-learn's neighbours.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from rlgan.gan.metrics.images import distance_to_neighbour

Points = NDArray[np.float64]

CELLS = 5
"""Cells of k-means within which C_T compares distances."""

DUPLICATE = 0.1
"""Two generated samples are duplicates within this share of the median distance between training neighbours."""


def _points(x: Tensor | Points) -> Points:
    points: Points = torch.as_tensor(x).detach().to("cpu").double().flatten(1).numpy()
    return points


def mann_whitney_z(x: Points, y: Points) -> float:
    """Standard score of Mann & Whitney's U of `x` against `y`: below 0 where x tends to be the smaller.

    (U - n m / 2) / sqrt(n m (n + m + 1) / 12), U the number of pairs with x > y, ties counted half.
    """
    n, m = len(x), len(y)
    u = float(mannwhitneyu(x, y, method="asymptotic").statistic)
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


@final
class Memorisation:
    """Measures of copying, for samples of any generator; what concerns the real samples is prepared once.

    Args:
        training: features of training samples ``(n, d)``, n >= 2.
        unseen: features of held-out samples ``(h, d)``, h >= 1.
        cells: of C_T.

    Raises:
        ValueError: too few samples.
    """

    def __init__(self, training: Tensor | Points, unseen: Tensor | Points, cells: int = CELLS) -> None:
        self.training, self.unseen = _points(training), _points(unseen)
        if len(self.training) < 2 or len(self.unseen) < 1:
            raise ValueError(
                f"held_out: {len(self.training)} training and {len(self.unseen)} held-out samples are too few to "
                "measure memorisation; use more data, for example held_out=0.2"
            )
        self._cells = min(cells, len(self.training))
        self._index = NearestNeighbors(n_neighbors=1).fit(self.training)
        self._unseen_distances = self._index.kneighbors(self.unseen)[0][:, 0]
        self._spacing = distance_to_neighbour(self.training, 1)
        self._kmeans = KMeans(self._cells, n_init=1, random_state=0).fit(self.training)
        self._unseen_cells = self._kmeans.predict(self.unseen)

    def __call__(self, generated: Tensor | Points) -> "Copying":
        """Every measure of a generated sample ``(m, d)``, m >= 2."""
        g = _points(generated)
        if len(g) < 2:
            raise ValueError(f"samples = {len(g)}: memorisation is measured of at least 2; draw more")
        distances, nearest = (column[:, 0] for column in self._index.kneighbors(g))
        return Copying(
            ratio=float(distances.mean() / max(self._unseen_distances.mean(), np.finfo(np.float64).tiny)),
            c_t=self._c_t(g, distances),
            two_sample=self._two_sample(g),
            authenticity=float((distances >= self._spacing[nearest]).mean()),
            duplicates=float((distance_to_neighbour(g, 1) < DUPLICATE * np.median(self._spacing)).mean()),
        )

    def _c_t(self, g: Points, distances: Points) -> float:
        cells = self._kmeans.predict(g)
        score = weight = 0.0
        for cell in range(self._cells):
            here, there = distances[cells == cell], self._unseen_distances[self._unseen_cells == cell]
            if len(here) and len(there):
                share = len(there) / len(self.unseen)
                score += share * mann_whitney_z(here, there)
                weight += share
        return score / weight if weight else 0.0

    def _two_sample(self, g: Points) -> float:
        n = min(len(g), len(self.training))
        both = np.concatenate((self.training[:n], g[:n]))
        real = np.arange(2 * n) < n
        nearest = NearestNeighbors(n_neighbors=1).fit(both).kneighbors(return_distance=False)[:, 0]
        return float((real[nearest] == real).mean())


@final
@dataclass(frozen=True)
class Copying:
    """How much one generated sample copies the training data.

    Attributes:
        ratio: mean distance generated to nearest training over mean distance held-out to nearest training: 1 of a fresh
            sample, 0 of copies, above 1 of a sample off the data.
        c_t: the standard score of Mann & Whitney's U of these two sets of distances within the cells of k-means,
            averaged over the cells by their share of the held-out samples: well below 0 is copying, well above 0
            underfitting (Meehan, Chaudhuri & Dasgupta 2020, section 3).
        two_sample: accuracy of a leave-one-out nearest neighbour in telling the two samples apart: 1/2 of a fresh
            sample, towards 1 of one that is off the data, below 1/2 where generated samples sit on training ones
            (Lopez-Paz & Oquab 2017, section 3). The first min(n, m) of each.
        authenticity: share of generated samples that are no nearer to their nearest training sample than that one is to
            its own neighbour: 1/2 or so of a fresh sample, 0 of copies (Alaa et al. 2022, section 4.3).
        duplicates: share of generated samples with another one within a tenth of the median distance of training
            neighbours: the birthday paradox shows a small support by it (Arora & Zhang 2018).
    """

    ratio: float
    c_t: float
    two_sample: float
    authenticity: float
    duplicates: float


def membership_auc(training_scores: Tensor, unseen_scores: Tensor) -> float:
    """P(f(x) > f(y)) for x a training sample and y a held-out one, ties counted half: what an attacker who has the
    critic learns about who was trained on. 1/2 is nothing (Hayes et al. 2019, LOGAN).

    Args:
        training_scores, unseen_scores: the critic's scores ``(n,)`` and ``(h,)``.
    """
    scores = np.concatenate([s.detach().to("cpu").double().numpy() for s in (training_scores, unseen_scores)])
    members = np.arange(len(scores)) < len(training_scores)
    return float(roc_auc_score(members, scores))
