"""Data: shapes, moments, randomness, and the yaml files that build them."""

import math
from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits, make_swiss_roll

from rlgan.gan.data import Data, Digits, Grid, Ring, SwissRoll
from rlgan.gan.metrics import wasserstein_primal

ALL: list[Data] = [Ring(), Grid(), SwissRoll(), Digits()]
MIXTURES: list[Ring | Grid] = [Ring(), Ring(5, 2.0, 0.1), Grid(), Grid(3, 1.0, 0.1)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("data", ALL, ids=lambda d: type(d).__name__)
def test_samples_have_the_shape_and_depend_on_the_generator_alone(data: Data) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    x = data.sample(7, generator())
    assert torch.equal(torch.get_rng_state(), before)
    assert x.shape == (7, *data.shape)
    assert x.dtype == torch.float32
    assert torch.equal(x, data.sample(7, generator()))
    assert not torch.equal(x, data.sample(7, generator(1)))
    assert data.images == (len(data.shape) == 3)


@pytest.mark.parametrize("data", ALL, ids=lambda d: type(d).__name__)
def test_a_saved_generator_goes_on_with_the_very_same_samples(data: Data) -> None:
    first = generator()
    data.sample(256, first)
    second = generator(99)
    second.set_state(first.get_state())
    assert torch.equal(data.sample(256, first), data.sample(256, second))


def test_ring_modes() -> None:
    modes = Ring(8, 2.0).modes
    assert modes.shape == (8, 2)
    torch.testing.assert_close(modes.norm(dim=1), torch.full((8,), 2.0))
    torch.testing.assert_close(modes[:3], torch.tensor([[2.0, 0.0], [math.sqrt(2), math.sqrt(2)], [0.0, 2.0]]))
    assert float(torch.pdist(modes).min()) == pytest.approx(2 * 2 * math.sin(math.pi / 8))


def test_grid_modes() -> None:
    modes = Grid().modes
    assert {tuple(m) for m in modes.tolist()} == {
        (float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2)
    }


@pytest.mark.parametrize("data", MIXTURES)
def test_mixture_moments(data: Ring | Grid) -> None:
    n, k = 200_000, len(data.modes)
    x = data.sample(n, generator())
    distance, nearest = torch.cdist(x, data.modes).min(1)
    shares = torch.bincount(nearest, minlength=k) / n
    assert (shares - 1 / k).abs().max() < 5 * math.sqrt(1 / k / n)
    # |x - m|^2 has mean 2 sigma^2 (variance 4 sigma^4).
    assert float(distance.square().mean()) == pytest.approx(2 * data.sigma**2, rel=5 / math.sqrt(n))
    assert data.size is None


def test_swiss_roll_is_scikit_learns() -> None:
    """The same distribution: two samples of it are no further apart than two samples of scikit-learn's own."""
    n = 1000
    theirs = [torch.from_numpy(make_swiss_roll(n, noise=0.25, random_state=s)[0][:, [0, 2]] / 7.5) for s in (0, 1)]
    ours = SwissRoll().sample(n, generator()).double()
    between = wasserstein_primal(theirs[0], theirs[1])
    assert wasserstein_primal(ours, theirs[0]) < 1.5 * between
    assert wasserstein_primal(ours + 0.3, theirs[0]) > 1.5 * between


def test_swiss_roll_without_noise_lies_on_its_spiral() -> None:
    x = SwissRoll(noise=0.0, scale=1.0).sample(1000, generator()).double()
    t = x.norm(dim=1)
    assert t.min() > 1.5 * math.pi - 1e-4 and t.max() < 4.5 * math.pi + 1e-4
    torch.testing.assert_close(x, torch.stack((t * t.cos(), t * t.sin()), 1), atol=1e-4, rtol=0)


def test_digits_are_the_scans_scaled() -> None:
    data = Digits()
    pixels, labels = load_digits(return_X_y=True)
    assert data.size == 1797
    assert data.shape == (1, 8, 8)
    assert data.points.min() == -1 and data.points.max() == 1
    torch.testing.assert_close((data.points.reshape(1797, 64).double() + 1) * 8, torch.from_numpy(pixels))
    assert data.labels.tolist() == labels.tolist()
    drawn = data.sample(64, generator())
    assert (torch.cdist(drawn.flatten(1), data.points.flatten(1)).min(1).values < 1e-3).all()


def test_a_batch_larger_than_the_data_set_is_an_error_that_says_what_to_do() -> None:
    Digits().check_batch(1797)
    Ring().check_batch(10**6)
    with pytest.raises(
        ValueError, match=r"^batch_size = 1798: larger than the data set \(1,797 samples\); use at most 1797"
    ):
        Digits().check_batch(1798)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ring(components=0), r"^components = 0: "),
        (lambda: Ring(radius=-1.0), r"^radius = -1.0: "),
        (lambda: Ring(sigma=0.0), r"^sigma = 0.0: "),
        (lambda: Grid(side=0), r"^side = 0: "),
        (lambda: Grid(spacing=float("inf")), r"^spacing = inf: "),
        (lambda: Grid(sigma=float("nan")), r"^sigma = nan: "),
        (lambda: SwissRoll(noise=-1.0), r"^noise = -1.0: "),
        (lambda: SwissRoll(scale=0.0), r"^scale = 0.0: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Data], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
