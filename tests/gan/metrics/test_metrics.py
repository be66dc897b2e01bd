"""Metrics against distances and counts known by hand."""

import math

import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from torch import Tensor

from rlgan.gan.data import Digits, Grid, Ring
from rlgan.gan.metrics import (
    COVERAGE_SAMPLES,
    PRIMAL_LIMIT,
    DigitsJudge,
    mode_coverage,
    wasserstein_primal,
    wasserstein_sliced,
)

CEILING = 1 - math.exp(-9 / 2)  # P(|N(0, I)| <= 3) in two dimensions


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_w1_of_points_by_hand() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    # Straight across costs (1 + 1)/2, crosswise (sqrt 2 + sqrt 2)/2.
    assert wasserstein_primal(x, torch.tensor([[1.0, 1.0], [0.0, 1.0]])) == pytest.approx(1.0, rel=1e-15)
    # On a line mass moves in order: |0-1| + |1-3| over 2.
    assert wasserstein_primal(torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [3.0]])) == pytest.approx(1.5)
    # One atom against two, where Monge's map does not exist: here the atom counts twice.
    assert wasserstein_primal(torch.zeros(2, 1), torch.tensor([[-1.0], [3.0]])) == pytest.approx(2.0)


@pytest.mark.parametrize("d", [1, 2, 64])
def test_w1_of_a_translated_sample_is_the_length_of_the_shift(d: int) -> None:
    x = torch.randn(200, d, generator=generator(), dtype=torch.float64)
    shift = torch.randn(d, generator=generator(1), dtype=torch.float64)
    moved = (x + shift)[torch.randperm(200, generator=generator(2))]
    assert wasserstein_primal(x, moved) == pytest.approx(float(shift.norm()), rel=1e-12)
    assert wasserstein_primal(x, x.flip(0)) == pytest.approx(0.0, abs=1e-14)


def test_w1_is_optimal_at_the_largest_size_and_64_dimensions() -> None:
    """Where POT's own limit on pivots stops too early; an assignment solver is the second opinion."""
    x, y = torch.randn(2, PRIMAL_LIMIT, 1, 8, 8, generator=generator(), dtype=torch.float64)
    cost = torch.cdist(x.flatten(1), y.flatten(1)).numpy()
    rows, columns = linear_sum_assignment(cost)
    assert wasserstein_primal(x, y) == pytest.approx(cost[rows, columns].mean(), rel=1e-12)


def test_w1_bounds_the_dual_of_every_1_lipschitz_critic() -> None:
    x, y = torch.randn(300, 2, generator=generator()), 2 * torch.randn(300, 2, generator=generator(1)) + 1
    for direction in (torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8])):
        assert float((y @ direction).mean() - (x @ direction).mean()) <= wasserstein_primal(x, y)
    assert float(y.norm(dim=1).mean() - x.norm(dim=1).mean()) <= wasserstein_primal(x, y)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(4, 2), "equal shape"),
        (torch.zeros(0, 2), torch.zeros(0, 2), "samples = 0"),
        (torch.zeros(PRIMAL_LIMIT + 1, 1), torch.zeros(PRIMAL_LIMIT + 1, 1), "samples = 2049: .* draw fewer"),
        (torch.full((2, 2), math.nan), torch.zeros(2, 2), "diverged"),
    ],
)
def test_w1_refuses_what_it_cannot_measure(x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wasserstein_primal(x, y)


def test_sliced_w1_is_pots_of_the_same_directions() -> None:
    x, y = torch.randn(2, 200, 5, generator=generator(), dtype=torch.float64)
    directions = torch.randn(5, 30, dtype=torch.float64, generator=generator(7))
    directions = directions / directions.norm(dim=0)
    theirs = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=directions.numpy(), p=1)
    assert wasserstein_sliced(x, y, seed=7, slices=30) == pytest.approx(float(theirs), rel=1e-12)


def test_sliced_w1_of_a_translation() -> None:
    """E |u_1| c: 2 c / pi in the plane; Gamma(d/2) / (sqrt(pi) Gamma((d + 1)/2)) c in d dimensions."""
    for d in (2, 3, 10):
        x = torch.randn(50, d, generator=generator())
        shift = torch.zeros(d)
        shift[0] = 3.0
        expected = 3 * math.gamma(d / 2) / math.sqrt(math.pi) / math.gamma((d + 1) / 2)
        assert wasserstein_sliced(x, x + shift, seed=1, slices=20_000) == pytest.approx(expected, rel=0.02)
        assert wasserstein_sliced(x, x + shift, seed=1) <= wasserstein_primal(x, x + shift)


@pytest.mark.parametrize(("data", "k"), [(Ring(), 8), (Grid(), 25)])
def test_coverage_of_the_exact_mixture_is_at_its_ceiling(data: Ring | Grid, k: int) -> None:
    n = 40 * COVERAGE_SAMPLES
    coverage = mode_coverage(data.sample(n, generator()), data.modes, data.sigma)
    assert coverage.covered == k
    assert coverage.high_quality == pytest.approx(CEILING, abs=4 * math.sqrt(CEILING * (1 - CEILING) / n))
    assert coverage.shares.sum() == pytest.approx(1.0)
    assert (coverage.shares * k - 1).abs().max() < 5 * math.sqrt(k / n)


def test_coverage_counts_by_hand() -> None:
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    samples = torch.tensor([[0.0, 2.9], [-2.9, 0.0], [0.0, 3.1], [10.0, 0.5], [5.0, 5.0]])
    coverage = mode_coverage(samples, modes, sigma=1.0)
    assert coverage.counts.tolist() == [2, 1, 0]
    assert coverage.nearest.tolist() == [4, 1, 0]
    # The last one is as near to each; it counts for the first. No mode with fewer than two good samples has a spread.
    kl = 0.8 * math.log(3 * 0.8) + 0.2 * math.log(3 * 0.2)
    assert coverage.scalars() == pytest.approx(
        {
            "modes/covered": 2.0,
            "modes/high_quality": 0.6,
            "modes/smallest_share": 0.0,
            "modes/reverse_kl": kl,
            "modes/smallest_spread": 0.0,
        }
    )
    assert coverage.spreads[1:].tolist() == [0.0, 0.0]
    assert coverage.shares.tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])


def test_coverage_sees_collapse_shrinkage_and_divergence() -> None:
    ring = Ring()
    collapsed = ring.modes[:1] + ring.sigma * torch.randn(COVERAGE_SAMPLES, 2, generator=generator())
    coverage = mode_coverage(collapsed, ring.modes, ring.sigma)
    assert coverage.covered == 1
    assert coverage.scalars()["modes/smallest_share"] == 0.0
    assert coverage.reverse_kl == pytest.approx(math.log(8))
    shrunk = ring.modes.repeat(10, 1)
    assert mode_coverage(shrunk, ring.modes, ring.sigma).high_quality == 1.0 > CEILING
    lost = mode_coverage(torch.full((5, 2), math.nan), ring.modes, ring.sigma)
    assert lost.scalars() == {
        "modes/covered": 0.0,
        "modes/high_quality": 0.0,
        "modes/smallest_share": 0.0,
        "modes/reverse_kl": pytest.approx(math.log(8)),
        "modes/smallest_spread": 0.0,
    }


def test_the_smallest_share_is_of_the_high_quality_samples() -> None:
    """One good sample at the first mode, three at the second, six nowhere: 1/4, not 1/10."""
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    samples = torch.cat((modes[[0, 1, 1, 1]], torch.full((6, 2), 5.0)))
    found = mode_coverage(samples, modes, 0.1).scalars()
    assert found["modes/covered"] == 2.0
    assert found["modes/high_quality"] == pytest.approx(0.4)
    assert found["modes/smallest_share"] == pytest.approx(0.25)


@pytest.mark.parametrize("width", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("data", [Ring(), Grid()], ids=lambda d: type(d).__name__)
def test_spreads_are_in_units_of_the_true_one(data: Ring | Grid, width: float) -> None:
    """Of a mixture whose modes are `width` times as wide, wherever within 3 sigma they lie; of a single narrow mode the
    smallest spread tells."""
    g = generator()
    n, k = 400 * len(data.modes), len(data.modes)
    j = torch.arange(n) % k
    noise = torch.randn(n, 2, generator=g)
    shift = torch.tensor([0.5 * data.sigma, 0.0]) if width < 0.5 else torch.zeros(2)
    coverage = mode_coverage(data.modes[j] + shift + width * data.sigma * noise, data.modes, data.sigma)
    # Narrow modes are not cut off at 3 sigma, so that the correction for it (0.974) makes them 2.7 % too wide.
    expected = width if width == 1 else width / math.sqrt(1 - 4.5 * math.exp(-4.5) / (1 - math.exp(-4.5)))
    assert float(coverage.spreads.mean()) == pytest.approx(expected, rel=0.02)
    widths = torch.where(j == 3, 0.2, 1.0)[:, None]
    one = mode_coverage(data.modes[j] + widths * data.sigma * noise, data.modes, data.sigma)
    assert int(one.spreads.argmin()) == 3
    assert one.scalars()["modes/smallest_spread"] == pytest.approx(0.2, rel=0.15)


def test_reverse_kl_is_scipys_entropy_and_falls_as_modes_return() -> None:
    ring = Ring()
    found = []
    for present in range(1, 9):
        coverage = mode_coverage(ring.modes[torch.arange(800) % present], ring.modes, ring.sigma)
        found.append(coverage.reverse_kl)
        shares = coverage.nearest.numpy() / 800
        assert coverage.reverse_kl == pytest.approx(entropy(shares, [1 / 8] * 8), abs=1e-12)
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(math.log(8)) and found[-1] == pytest.approx(0.0, abs=1e-12)


def test_digits_judge_knows_digits_it_has_not_seen() -> None:
    data = Digits()
    judge = DigitsJudge(data.points[:1200], data.labels[:1200])
    held_out, labels = data.points[1200:], data.labels[1200:]
    assert (judge.probabilities(held_out).argmax(1) == labels).double().mean() > 0.88
    seen = judge(held_out)
    assert seen.high_quality > 0.8
    assert seen.covered == 10
    assert seen.shares.sum() == pytest.approx(1.0)


def test_digits_measure_sees_collapse_and_divergence() -> None:
    data = Digits()
    whole = data.measure(data.points)
    assert whole["digits/confident"] > 0.9
    assert whole["digits/classes"] == 10
    zeros = data.measure(data.points[data.labels == 0])
    assert zeros["digits/confident"] > 0.95
    assert zeros["digits/classes"] == 1
    grey = data.measure(data.points.mean(0, keepdim=True).repeat(20, 1, 1, 1))
    assert grey["digits/confident"] < whole["digits/confident"]
    noise = data.measure(2 * torch.rand(COVERAGE_SAMPLES, 1, 8, 8, generator=generator()) - 1)
    assert 0.15 < noise["digits/confident"] < 0.35  # the figure in the docstring, by which a run is read
    lost = data.measure(torch.full((5, 1, 8, 8), math.nan))
    assert lost == {"digits/confident": 0.0, "digits/classes": 0.0, "digits/smallest_share": 0.0}
