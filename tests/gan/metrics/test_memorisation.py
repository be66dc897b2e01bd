"""Every measure of copying moves, and in one direction, as copies are planted in a fresh sample; and by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from torch import Tensor

from rlgan.gan.metrics import Memorisation, membership_auc
from rlgan.gan.metrics.memorisation import mann_whitney_z

SHARES = (0.0, 0.25, 0.5, 1.0)
FRESH = 400


def mixture(n: int, seed: int, d: int = 6) -> Tensor:
    """Four Gaussians in d dimensions: the distribution of training, held-out and fresh samples alike."""
    g = torch.Generator().manual_seed(seed)
    return 3 * torch.eye(d)[torch.randint(4, (n,), generator=g)] + torch.randn(n, d, generator=g)


TRAINING, UNSEEN, MADE = mixture(800, 0), mixture(400, 1), mixture(FRESH, 2)


def planted(share: float, noise: float = 0.0, of: int = 800) -> Tensor:
    """A fresh sample of which `share` is replaced by copies of the first `of` training samples, drawn at random."""
    g = torch.Generator().manual_seed(3)
    n = round(share * FRESH)
    chosen = torch.randperm(of, generator=g)[:n] if n <= of else torch.randint(of, (n,), generator=g)
    copies = TRAINING[chosen]
    return torch.cat((copies + noise * torch.randn(copies.shape, generator=g), MADE[n:]))


# Few enough training samples to copy that the two-sample test, which sees the first 400 of them, sees the copies.
@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(
    ("measure", "fresh", "tolerance"),
    [("ratio", 1.0, 0.05), ("c_t", 0.0, 2.0), ("two_sample", 0.5, 0.06), ("authenticity", 0.5, 0.15)],
)
def test_copies_lower_it_step_by_step(measure: str, fresh: float, tolerance: float, noise: float) -> None:
    memorisation = Memorisation(TRAINING, UNSEEN)
    found = [float(getattr(memorisation(planted(share, noise, of=400)), measure)) for share in SHARES]
    assert found[0] == pytest.approx(fresh, abs=tolerance)
    assert found == sorted(found, reverse=True)
    assert all(a - b > 0.1 * (found[0] - found[-1]) for a, b in pairwise(found))
    if not noise:
        worst = {"ratio": 0.0, "two_sample": 0.0, "authenticity": 0.0}
        assert measure == "c_t" or found[-1] == pytest.approx(worst[measure], abs=1e-6)
        assert measure != "c_t" or found[-1] < -10


def test_a_small_support_shows_in_duplicates() -> None:
    memorisation = Memorisation(TRAINING, UNSEEN)
    found = [memorisation(planted(share, of=40)).duplicates for share in SHARES]
    assert found[0] == 0.0 and found[-1] > 0.99
    assert found == sorted(found) and len(set(found)) == 4
    # Of copies that are all different there are none.
    assert memorisation(planted(0.5)).duplicates == 0.0


@pytest.mark.parametrize("share", SHARES)
def test_the_critics_auc_is_that_of_the_share_it_knows(share: float) -> None:
    """A critic that scores a share of the training samples above all else: AUC = share + (1 - share) / 2."""
    g = torch.Generator().manual_seed(0)
    scores = torch.arange(4000.0)[torch.randperm(4000, generator=g)]
    training, unseen = scores[:2000], scores[2000:]
    training = torch.where(torch.arange(2000) < share * 2000, training + 1e6, training)
    assert membership_auc(training, unseen) == pytest.approx(share + (1 - share) / 2, abs=0.03)
    by_hand = (training[:, None] > unseen).double().mean()
    assert membership_auc(training, unseen) == pytest.approx(float(by_hand), rel=1e-12)
    assert membership_auc(torch.ones(3), torch.ones(5)) == 0.5


def test_each_by_hand_on_a_line() -> None:
    training = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    unseen = torch.tensor([[0.5], [12.0]])
    generated = torch.tensor([[0.1], [3.0], [3.01], [20.0]])
    found = Memorisation(training, unseen, cells=1)(generated)
    # To training: 0.1, 0, 0.01, 10 against 0.5, 2.
    assert found.ratio == pytest.approx((10.11 / 4) / 1.25, rel=1e-5)
    # Training's own spacing is 1, 1, 2, 7: near 0 (0.1 < 1), 3 (0 < 2), 3 (0.01 < 2), 10 (10 >= 7).
    assert found.authenticity == 0.25
    # Duplicates are within 0.1 x 1.5: the two at 3.
    assert found.duplicates == 0.5
    # Neighbours: 0 -> 0.1, 1 -> 0.1, 3 -> 3 (made), 10 -> 3.01; 0.1 -> 0, 3 -> 3 (real), 3.01 -> 3, 20 -> 10.
    # Only ones of the other kind, but that 3.01 is as near to either 3.
    assert found.two_sample in (0.0, 0.125)
    # U of {0.1, 0, 0.01, 10} over {0.5, 2}: the 10 beats both.
    assert found.c_t == pytest.approx((2 - 4) / math.sqrt(4 * 2 * 7 / 12))


def test_the_standard_score_is_that_of_all_pairs() -> None:
    g = np.random.default_rng(0)
    for n, m, shift in ((30, 40, 0.0), (25, 10, 1.5), (8, 8, -2.0)):
        x: NDArray[np.float64] = g.normal(shift, 1, n)
        y: NDArray[np.float64] = np.concatenate((g.normal(0, 1, m - 3), x[:3]))
        u = sum((a > b) + 0.5 * (a == b) for a in x for b in y)
        assert mann_whitney_z(x, y) == pytest.approx((u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12))
        # Without ties it is scipy's own score, whose p-value it gives.
        y = g.normal(0, 1, m)
        p = mannwhitneyu(x, y, alternative="less", method="asymptotic", use_continuity=False).pvalue
        assert 0.5 * math.erfc(-mann_whitney_z(x, y) / math.sqrt(2)) == pytest.approx(p)


def test_copying_is_seen_cell_by_cell() -> None:
    """Copies in one cell are hidden among samples that are far off in another; C_T weighs the cells by the held-out."""
    near, far = torch.zeros(1, 6), torch.full((1, 6), 100.0)
    training = torch.cat((near + mixture(300, 4), far + mixture(300, 5)))
    unseen = torch.cat((near + mixture(150, 6), far + mixture(150, 7)))
    generated = torch.cat((training[:150], far + 3 * mixture(150, 8)))
    memorisation = Memorisation(training, unseen, cells=2)
    alone = Memorisation(training[:300], unseen[:150], cells=1)(training[:150]).c_t
    off = Memorisation(training[300:], unseen[150:], cells=1)(generated[150:]).c_t
    assert alone < -10 and off > 10
    assert memorisation(generated).c_t == pytest.approx((alone + off) / 2, rel=1e-6)


def test_samples_that_are_off_the_data_are_no_copies() -> None:
    found = Memorisation(TRAINING, UNSEEN)(MADE + 20)
    assert found.ratio > 5 and found.c_t > 10 and found.two_sample == 1.0 and found.authenticity == 1.0


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^held_out: 800 training and 0 held-out samples are too few"):
        Memorisation(TRAINING, UNSEEN[:0])
    with pytest.raises(ValueError, match=r"^samples = 1: "):
        Memorisation(TRAINING, UNSEEN)(MADE[:1])
