"""Data: shapes, moments, randomness, and the yaml files that build them."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits, make_moons, make_swiss_roll

from rlgan.gan.data import Atoms, Cones, Data, Digits, Dirac, Gaussians, Grid, Ring, SwissRoll, TwoMoons
from rlgan.gan.data.base import tried
from rlgan.gan.metrics import wasserstein_primal

ALL: list[Data] = [Ring(), Grid(), SwissRoll(), TwoMoons(), Cones(), Cones(1, 128), Gaussians(), Atoms(8, 5), Digits()]
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
    assert data.total == 1797
    assert data.shape == (1, 8, 8)
    assert data.points.min() == -1 and data.points.max() == 1
    torch.testing.assert_close((data.points.reshape(1797, 64).double() + 1) * 8, torch.from_numpy(pixels))
    assert data.labels.tolist() == labels.tolist()
    drawn = data.sample(64, generator())
    assert (torch.cdist(drawn.flatten(1), data.points.flatten(1)).min(1).values < 1e-3).all()


@pytest.mark.parametrize("held_out", [0.0, 0.2, 0.5])
def test_a_finite_set_is_split_once_and_for_all(held_out: float) -> None:
    """Into parts that have no row in common and are the whole; held-out rows are never drawn."""
    data = Digits(held_out)
    kept, apart = data.training().flatten(1), data.unseen().flatten(1)
    assert len(apart) == round(held_out * 1797)
    assert len(kept) == data.size == 1797 - len(apart)
    whole = torch.cat((kept, apart))
    assert torch.equal(whole.sum(0), data.points.flatten(1).sum(0))
    assert torch.equal(torch.unique(whole, dim=0), torch.unique(data.points.flatten(1), dim=0))
    assert torch.equal(Digits(held_out).unseen(), data.unseen())
    drawn = data.sample(20_000, generator()).flatten(1)
    assert len(torch.unique(drawn, dim=0)) == len(torch.unique(kept, dim=0))
    if held_out:
        # The scans have no two alike, so that a held-out one would be found.
        assert torch.cdist(apart, kept).min() > 0
        assert len(torch.unique(torch.cat((drawn, apart)), dim=0)) == 1797
        some = data.unseen(50).flatten(1)
        assert len(some) == 50 and torch.cdist(some, apart).min(1).values.max() < 1e-3


def test_a_batch_larger_than_the_data_set_is_an_error_that_says_what_to_do() -> None:
    Digits().check_batch(1438)
    Digits(held_out=0.0).check_batch(1797)
    Ring().check_batch(10**6)
    with pytest.raises(
        ValueError, match=r"^batch_size = 1439: larger than the data set \(1,438 samples\); use at most 1438"
    ):
        Digits().check_batch(1439)


def test_two_moons_are_scikit_learns() -> None:
    """The same distribution: no further from two samples of scikit-learn's own than these from one another."""
    n = 1000
    theirs = [torch.from_numpy(make_moons(n, noise=0.05, random_state=s)[0]) for s in (0, 1)]
    ours = TwoMoons().sample(n, generator()).double()
    between = wasserstein_primal(theirs[0], theirs[1])
    assert wasserstein_primal(ours, theirs[0]) < 1.5 * between + 0.02
    assert wasserstein_primal(ours + 0.15, theirs[0]) > 1.5 * between + 0.02


def test_two_moons_without_noise_are_two_half_circles() -> None:
    x = TwoMoons(noise=0.0).sample(2000, generator()).double()
    upper = ((x.norm(dim=1) - 1).abs() < 1e-6) & (x[:, 1] >= -1e-6)
    lower = (((x - torch.tensor([1.0, 0.5])).norm(dim=1) - 1).abs() < 1e-6) & (x[:, 1] <= 0.5 + 1e-6)
    assert (upper | lower).all()
    assert abs(int(upper.sum()) - 1000) < 5 * math.sqrt(2000) / 2


def test_dirac_is_one_point() -> None:
    data = Dirac(dimension=3)
    assert torch.equal(data.sample(5, generator()), torch.zeros(5, 3))
    assert data.shape == (3,) and data.size is None


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
        (lambda: TwoMoons(noise=-0.1), r"^noise = -0.1: "),
        (lambda: Dirac(dimension=0), r"^dimension = 0: "),
        (lambda: Digits(held_out=1.0), r"^held_out = 1.0: "),
        (lambda: Cones(centres=0), r"^centres = 0: "),
        (lambda: Cones(dimension=1), r"^dimension = 1: "),
        (lambda: Cones(width=2.0), r"^spacing = 4.0: .*use at least 2 \(distance \+ width\) = 6"),
        (lambda: Cones(distance=-1.0), r"^distance = -1.0: "),
        (lambda: Gaussians(sigma=0.0), r"^sigma = 0.0: "),
        (lambda: Atoms(side=4, square=5), r"^square = 5: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Data], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


class Odd(Data):
    """Samples and measures of kinds that people may write."""

    def __init__(self, sample: Callable[[int, torch.Generator], Any], shape: Any = (2,)) -> None:
        self._sample, self._shape = sample, shape

    @property
    def shape(self) -> Any:
        return self._shape

    def sample(self, n: int, generator: torch.Generator) -> Any:
        return self._sample(n, generator)


@pytest.mark.parametrize(
    ("sample", "given"),
    [
        (lambda n, g: torch.rand(n, 2, generator=g).numpy(), "gave a ndarray, where a tensor of floats (64, 2) is due"),
        (lambda n, g: torch.rand(1, 2, generator=g), "gave torch.float32 (1, 2), where a tensor of floats (64, 2)"),
        (lambda n, g: torch.randint(9, (n, 2), generator=g), "gave torch.int64 (64, 2), where"),
        (lambda n, g: torch.full((n, 2), math.nan), "its samples hold nan or inf"),
        (lambda n, g: None, "gave a NoneType, where"),
    ],
)
def test_samples_of_ones_own_are_looked_at(sample: Any, given: str) -> None:
    with pytest.raises(ValueError, match=rf"^data = Odd: .*{re.escape(given)}"):
        tried(Odd(sample))
    with pytest.raises(ValueError, match=r"^data = Odd: its shape is 2, where lengths are due"):
        tried(Odd(sample, 2))


def test_samples_that_no_generator_governs_and_images_of_another_range_are_said() -> None:
    (note,) = tried(Odd(lambda n, g: torch.rand(n, 2)))
    assert "two draws by equal generators differ" in note
    (note,) = tried(Odd(lambda n, g: 255 * torch.rand(n, 1, 2, 2, generator=g), (1, 2, 2)))
    assert "images have values from " in note and "in [-1, 1]" in note
    assert tried(Odd(lambda n, g: torch.rand(n, 2, generator=g).double())) == []
