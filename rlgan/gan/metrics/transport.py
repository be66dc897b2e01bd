"""Distances of two samples by optimal transport: exact W1 of small ones, sliced W1 of large ones. On the CPU."""

import numpy as np
import ot
import torch
import torch.nn.functional as F
from torch import Tensor

PRIMAL_LIMIT = 2048
"""Largest sample of which `wasserstein_primal` takes the exact distance (1 to 2 seconds, 100 MB)."""

SLICES = 200
"""Directions of `wasserstein_sliced`: their mean is known to some 1/sqrt(2 SLICES) = 5 % of its value."""

# The network simplex stops at the optimum, which takes some 1e5 pivots at 2,048 points; POT's own limit of 1e5 is too
# small there (seen in 64 dimensions) and would return a plan that is not optimal. This one is only a guard.
_PIVOTS = 10_000_000


def _vectors(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both samples ``(n, d)``, float64, on the CPU.

    Raises:
        ValueError: shapes differ, there is no sample, or a value is not finite.
    """
    if x.shape != y.shape:
        raise ValueError(
            f"samples = {tuple(x.shape)} and {tuple(y.shape)}: must be of equal shape; draw as many of each"
        )
    if len(x) == 0:
        raise ValueError("samples = 0: W1 takes at least 1; draw more")
    x, y = (s.detach().to("cpu", torch.float64).flatten(1) for s in (x, y))
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("samples = nan or inf: W1 is of finite points; the generator has diverged")
    return x, y


def wasserstein_primal(x: Tensor, y: Tensor) -> float:
    """Exact Wasserstein-1 distance of two samples of equal size: min over couplings of E |x - y|, Euclidean.

    The primal side of Kantorovich-Rubinstein, by POT's network simplex in float64. As an estimate of the distance of
    the two DISTRIBUTIONS it is biased upwards: two samples of one and the same are apart, by O(n^-1/2) up to a
    logarithm in two dimensions and by O(n^-1/d) in d > 2; compare with the distance of two real samples.

    Args:
        x, y: ``(n, *shape)``, n at most 2,048; flattened to vectors.

    Raises:
        ValueError: sizes differ, n is 0 or above 2,048, or a value is not finite.
        RuntimeError: the solver did not reach the optimum.
    """
    x, y = _vectors(x, y)
    n = len(x)
    if n > PRIMAL_LIMIT:
        raise ValueError(f"samples = {n}: exact W1 takes 1 to {PRIMAL_LIMIT:,}; draw fewer, or take the sliced one")
    # By differences: |x|^2 - 2 x.y + |y|^2 loses half of the digits between near points.
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    weights = np.full(n, 1 / n)
    value, log = ot.emd2(weights, weights, cost, numItermax=_PIVOTS, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"exact W1 of {n} samples: {log['warning']}")
    return float(value)


def wasserstein_sliced(x: Tensor, y: Tensor, seed: int, slices: int = SLICES) -> float:
    """Sliced Wasserstein-1 distance: the mean, over directions u uniform on the sphere, of W1 between u.x and u.y.

    On a line sorted points go to sorted points: O(n log n) a slice, for samples that are too large for
    `wasserstein_primal` (POT's routine, for any weights, takes ten times as long). It is another distance, and the
    smaller one: of a translation by c it is E |u_1| c, that is 2 c / pi in the plane and about c sqrt(2 / (pi d)) in d
    dimensions. Rabin et al. 2011; Bonneel et al. 2015, section 3.

    Args:
        x, y: ``(n, *shape)``; flattened to vectors.
        seed: of the directions, which two calls have to share to be compared.
        slices: number of directions.

    Raises:
        ValueError: sizes differ, n is 0, or a value is not finite.
    """
    x, y = _vectors(x, y)
    generator = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(x.shape[1], slices, dtype=torch.float64, generator=generator), dim=0)
    # Slice by slice in memory: sorting along the stride is several times slower.
    on_x, on_y = ((directions.T @ s.T).sort(1).values for s in (x, y))
    return float((on_x - on_y).abs().mean())
