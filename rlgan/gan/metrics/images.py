"""How near generated images are to real ones, in the features of a named extractor: as Gaussians, and as manifolds."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

NEIGHBOURS = 5
"""k of the balls: as in Naeem et al. 2020 (Kynkaanniemi et al. 2019 have 3)."""


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)): the squared 2-Wasserstein distance of two Gaussians with the
    means and covariances of the samples (Dowson & Landau 1982; of Inception's features, FID: Heusel et al. 2017).

    tr (C_x C_y)^(1/2) is the sum of the square roots of the eigenvalues of C_x^(1/2) C_y C_x^(1/2), which are real and
    not negative, so that no complex root arises where a covariance is singular.

    Biased upwards, the more the fewer samples: compare at equal sizes, and with the distance of real samples.

    Args:
        x, y: features ``(n, d)`` and ``(m, d)``, n, m >= 2.
    """
    x, y = x.to("cpu", torch.float64), y.to("cpu", torch.float64)
    assert x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1] and min(len(x), len(y)) > 1
    c_x, c_y = (torch.atleast_2d(torch.cov(s.T)) for s in (x, y))
    values, vectors = torch.linalg.eigh(c_x)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ c_y @ root).clamp(min=0).sqrt().sum()
    distance = (x.mean(0) - y.mean(0)).square().sum() + c_x.trace() + c_y.trace() - 2 * cross
    return max(0.0, float(distance))


@final
@dataclass(frozen=True)
class Manifolds:
    """Overlap of two samples, each taken for the union of the balls about its points out to their k-th neighbours.

    Attributes:
        precision: share of generated samples in a ball of a real one: quality (Kynkaanniemi et al. 2019).
        recall: share of real samples in a ball of a generated one: diversity; an outlier among the generated has a wide
            ball and flatters it.
        density: mean number of real balls that hold a generated sample, over k; 1 of equal distributions, and not
            bounded by 1 (Naeem et al. 2020).
        coverage: share of real balls that hold a generated sample; 1 - 2^-k of equal, large samples.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def distance_to_neighbour(x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Distance of every point ``(n, d)`` to its k-th neighbour among the others, ``(n,)``."""
    distances: NDArray[np.float64] = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]
    return distances


def manifolds(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> Manifolds:
    """Precision, recall, density and coverage of a generated sample.

    Args:
        real, generated: features ``(n, d)`` and ``(m, d)``.
        k: neighbours, fewer than either has points.

    Raises:
        ValueError: too few samples for k neighbours.
    """
    n, m = len(real), len(generated)
    if min(n, m) <= k:
        raise ValueError(f"samples = {min(n, m)}: {k} neighbours need at least {k + 1} samples of each; draw more")
    real, generated = real.to("cpu", torch.float64), generated.to("cpu", torch.float64)
    about_real, about_generated = (torch.from_numpy(distance_to_neighbour(x.numpy(), k)) for x in (real, generated))
    holding = torch.zeros(m, dtype=torch.int64)  # real balls that hold a generated sample
    covered, recalled = [], []
    # In blocks of rows: 10,000 x 10,000 distances would be 800 MB at once.
    start = 0
    for rows in pairwise_distances_chunked(real.numpy(), generated.numpy(), working_memory=64):
        distances = torch.from_numpy(rows)
        inside = distances <= about_real[start : start + len(distances), None]
        holding += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((distances <= about_generated).any(1))
        start += len(distances)
    return Manifolds(
        precision=float((holding > 0).double().mean()),
        recall=float(torch.cat(recalled).double().mean()),
        density=float(holding.double().mean() / k),
        coverage=float(torch.cat(covered).double().mean()),
    )
