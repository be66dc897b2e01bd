"""Pairs of known distance: the optimal critic is 1-Lipschitz, attains it, and exact transport agrees."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rlgan.gan.data import Atoms, Cones, Funnel, Gaussians, Pair, Patches, Scaling, Translation
from rlgan.gan.metrics import critic_lipschitz, wasserstein_primal
from rlgan.optim import Alternating, Losses, Player, PlayerSpec, Update, adam

PAIRS: list[Pair] = [
    Cones(),
    Cones(5, 3, 0.5, 0.25, 2.0),
    Cones(1, 128),
    Cones(1, 3, 2.0, 0.0),
    Gaussians(),
    Gaussians(5, 3.0, 0.2),
    Atoms(),
    Atoms(9, 4),
    Translation(),
    Translation((1.0, -2.0, 0.0, 2.0), 3, 1.0, 0.5),
    Scaling(),
    Scaling(1, 1.5),
    Scaling(7, 0.25),
    Funnel(),
    Funnel(16, 0.25),
    Patches(),
    Patches(32, 3, 4, 0.2),
]


def latent(pair: Pair, n: int) -> Tensor:
    return torch.randn(n, pair.latent_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_optimal_critic_grows_by_what_a_point_is_moved_and_transport_costs_that(pair: Pair) -> None:
    """The derivation, point by point: then the mean distance is the W1 of these very samples, in every dimension."""
    z = latent(pair, 200)
    real, fake = pair.real(z), pair.fake(z)
    assert real.shape == fake.shape == (200, *pair.shape)
    assert real.dtype == torch.float64
    moved = (real - fake).flatten(1).norm(dim=1)
    assert torch.allclose(pair.critic(real) - pair.critic(fake), moved, rtol=1e-6, atol=1e-6)
    assert wasserstein_primal(real, fake) == pytest.approx(float(moved.mean()), rel=1e-6)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_mean_distance_moved_is_w1(pair: Pair) -> None:
    """Within four standard errors, and to the last digit where all are moved as far."""
    n = 200_000 if math.prod(pair.shape) < 20 else 2000
    z = torch.randn(n, pair.latent_dim, generator=torch.Generator().manual_seed(5))
    moved = (pair.real(z) - pair.fake(z)).flatten(1).double().norm(dim=1)
    error = 4 * float(moved.std()) / math.sqrt(n)
    assert float(moved.mean()) == pytest.approx(pair.w1, rel=1e-6, abs=error)
    assert error < 0.03 * pair.w1


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_optimal_critic_is_1_lipschitz(pair: Pair) -> None:
    g = torch.Generator().manual_seed(1)
    z = latent(pair, 200)
    near = torch.cat((pair.real(z), pair.fake(z)))
    x = near + 0.5 * torch.randn(near.shape, generator=g, dtype=torch.float64)
    y = x[torch.randperm(len(x), generator=g)]
    distance = (x - y).flatten(1).norm(dim=1)
    assert ((pair.critic(x) - pair.critic(y)).abs() <= distance * (1 + 1e-9)).all()
    assert critic_lipschitz(pair.critic, x) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    "pair", [Cones(), Gaussians(2, 3.0), Atoms(9, 4), Translation(), Scaling(), Funnel(), Patches(2)], ids=str
)
def test_exact_transport_between_independent_samples_agrees(pair: Pair) -> None:
    """Up to the bias of samples, which is upwards."""
    g = torch.Generator().manual_seed(2)
    n = 1000
    measured = wasserstein_primal(pair.sample(n, g), pair.fake(torch.randn(n, pair.latent_dim, generator=g)))
    assert pair.w1 * 0.95 < measured < pair.w1 * 1.15


def test_cones_are_uniform_about_each_of_their_tips() -> None:
    pair = Cones()
    x = pair.fake(latent(pair, 30_000)).double()
    distance, nearest = torch.cdist(x, pair.tips.double()).min(1)
    assert torch.pdist(pair.tips).tolist() == pytest.approx([4.0] * 3)
    assert float(distance.min()) > 1 - 1e-6 and float(distance.max()) < 2 + 1e-6
    assert float(distance.mean()) == pytest.approx(1.5, abs=0.01)
    assert (torch.bincount(nearest).double() / 30_000 - 1 / 3).abs().max() < 0.015
    direction = (x - pair.tips.double()[nearest]) / distance[:, None]
    assert direction.mean(0).abs().max() < 0.02


def test_atoms_have_no_map_but_a_plan() -> None:
    pair = Atoms(4, 2)
    x = pair.sample(1000, torch.Generator().manual_seed(0))
    white = (x.amax((1, 2, 3)) == 1).double().mean()
    assert 0.45 < float(white) < 0.55
    assert x[0, 0].abs().sum() == 4 and x[0, 0, 1:3, 1:3].abs().sum() == 4
    assert torch.equal(pair.fake(torch.randn(3, 1)), torch.zeros(3, 1, 4, 4))


def test_images_stay_within_their_range_and_any_patch_may_be_the_brightest() -> None:
    for pair in (Patches(), Patches(32, 3, 4, 0.5)):
        x = pair.sample(2000, torch.Generator().manual_seed(0))
        assert pair.images and float(x.abs().max()) <= 1
        means = torch.nn.functional.avg_pool2d(x.mean(1), pair.side // pair.patches).flatten(1)
        share = torch.bincount(means.argmax(1), minlength=pair.patches**2) / 2000
        assert (share - 1 / pair.patches**2).abs().max() < 0.04


@pytest.mark.parametrize("pair", [Cones(), Gaussians(), Atoms(4, 2), Patches(4)], ids=str)
@pytest.mark.parametrize("pure", [False, True])
def test_the_fixed_generator_stays_where_it_is_while_the_critic_learns(pair: Pair, pure: bool) -> None:
    """As a player of an ordinary game, eager and as the pure function that a compiled update compiles."""
    sampler = pair.generator()
    critic = Player(
        "critic", nn.Sequential(nn.Flatten(), nn.Linear(math.prod(pair.shape), 1)), PlayerSpec(None, adam(1e-2))
    )
    generator = Player("generator", sampler, PlayerSpec(None, adam(1e-2)))

    def critic_loss(nets, batch):  # type: ignore[no-untyped-def]
        return nets.critic(nets.generator(batch["z"])).mean() - nets.critic(batch["x"]).mean(), {}

    def generator_loss(nets, batch):  # type: ignore[no-untyped-def]
        return -nets.critic(nets.generator(batch["z"])).mean(), {}

    losses = Losses({"critic": critic_loss, "generator": generator_loss})
    update = Update([critic, generator], losses, Alternating(2))
    update.compiled = pure
    z = latent(pair, 32).float()
    before, weight = sampler(z).detach().clone(), critic.vector.theta.clone()
    for _ in range(3):
        update([{"x": pair.real(z), "z": z}] * update.batches)
    assert torch.equal(sampler(z), before)
    assert torch.equal(before, pair.fake(z))
    assert float(generator.vector.theta.abs().max()) == 0.0
    assert not torch.equal(critic.vector.theta, weight)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Translation((0.0, 0.0)), r"^shift = \[0.0, 0.0\]: must be two or more finite numbers, not all 0"),
        (lambda: Translation((1.0,)), r"^shift = \[1.0\]: "),
        (lambda: Scaling(factor=1.0), r"^factor = 1: the two distributions are one"),
        (lambda: Scaling(factor=-2.0), r"^factor = -2.0: "),
        (lambda: Funnel(1), r"^dimension = 1: must be at least 2"),
        (lambda: Patches(27), r"^side = 27: must be a multiple of patches = 2"),
        (lambda: Patches(brighter=0.6), r"^brighter = 0.6: must be above 0 and at most 0.5"),
    ],
)
def test_what_has_no_known_distance_is_refused(made: Callable[[], Pair], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made()
