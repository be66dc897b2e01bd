"""Metrics against distances and counts known by hand."""

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from rlgan.gan.data import Digits, Grid, Ring
from rlgan.gan.metrics import (
    COVERAGE_SAMPLES,
    PRIMAL_LIMIT,
    DigitsJudge,
    critic_lipschitz,
    mode_coverage,
    probe_points,
    wasserstein_primal,
)
from rlgan.nets import DCGANSpec, MLPSpec

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
    assert coverage.scalars() == pytest.approx(
        {"modes/covered": 2.0, "modes/high_quality": 0.6, "modes/smallest_share": 0.0}
    )
    assert coverage.shares.tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])


def test_coverage_sees_collapse_shrinkage_and_divergence() -> None:
    ring = Ring()
    collapsed = ring.modes[:1] + ring.sigma * torch.randn(COVERAGE_SAMPLES, 2, generator=generator())
    coverage = mode_coverage(collapsed, ring.modes, ring.sigma)
    assert coverage.covered == 1
    assert coverage.scalars()["modes/smallest_share"] == 0.0
    shrunk = ring.modes.repeat(10, 1)
    assert mode_coverage(shrunk, ring.modes, ring.sigma).high_quality == 1.0 > CEILING
    lost = mode_coverage(torch.full((5, 2), math.nan), ring.modes, ring.sigma)
    assert lost.scalars() == {"modes/covered": 0.0, "modes/high_quality": 0.0, "modes/smallest_share": 0.0}


def test_the_smallest_share_is_of_the_high_quality_samples() -> None:
    """One good sample at the first mode, three at the second, six nowhere: 1/4, not 1/10."""
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    samples = torch.cat((modes[[0, 1, 1, 1]], torch.full((6, 2), 5.0)))
    assert mode_coverage(samples, modes, 0.1).scalars() == {
        "modes/covered": 2.0,
        "modes/high_quality": pytest.approx(0.4),
        "modes/smallest_share": pytest.approx(0.25),
    }


def test_critic_lipschitz_of_known_functions() -> None:
    points = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert critic_lipschitz(lambda x: x @ torch.tensor([3.0, 4.0], dtype=torch.float64), points) == pytest.approx(5.0)
    # |x|^2 / 2 has slope |x|: the largest over the POINTS, one norm per sample.
    assert critic_lipschitz(lambda x: x.square().sum(1) / 2, points) == pytest.approx(5.0)


def test_critic_lipschitz_leaves_the_critic_as_it_was() -> None:
    torch.manual_seed(0)
    critic = DCGANSpec(width=2, norm="batch").build((1, 8, 8), ())
    x = torch.randn(6, 1, 8, 8)
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    with torch.no_grad():
        together = critic_lipschitz(critic, x)
        one_by_one = max(critic_lipschitz(critic, row[None]) for row in x)
    # In training mode batch norm would couple the samples.
    assert together == pytest.approx(one_by_one, rel=1e-5)
    assert critic.training
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    assert all(p.grad is None for p in critic.parameters())


def test_critic_lipschitz_is_below_the_product_of_layer_norms() -> None:
    torch.manual_seed(0)
    critic = MLPSpec(hidden=(16, 16)).build((2,), ())
    norms = [torch.linalg.matrix_norm(m.weight, 2) for m in critic.modules() if isinstance(m, nn.Linear)]
    measured = critic_lipschitz(critic, torch.randn(500, 2, generator=generator()))
    assert 0 < measured <= float(torch.stack(norms).detach().prod())


def test_probe_points_are_real_fake_and_between() -> None:
    points = probe_points(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([0.25, 0.5]))
    assert points.flatten().tolist() == [0.0, 0.0, 1.0, 1.0, 0.75, 0.5]


def test_digits_judge_knows_digits_it_has_not_seen() -> None:
    data = Digits()
    judge = DigitsJudge(data.points[:1200], data.labels[:1200])
    held_out, labels = data.points[1200:], data.labels[1200:]
    assert (judge.probabilities(held_out).argmax(1) == labels).double().mean() > 0.88
    seen = judge(held_out)
    assert seen.confident > 0.8
    assert seen.classes == 10
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
