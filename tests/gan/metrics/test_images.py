"""Distances of images in features: Gaussians in closed form, manifolds by scalar loops, extractors on real digits."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from rlgan.gan.data import Digits
from rlgan.gan.metrics import DigitsClassifier, Inception, Pixels, frechet_distance, manifolds


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def standard(n: int, d: int, seed: int) -> Tensor:
    """A sample whose mean is 0 and whose covariance is I to the last digit."""
    x = normal(n, d, seed)
    x = x - x.mean(0)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T


def test_frechet_distance_of_diagonal_gaussians() -> None:
    """|m|^2 + sum (s_i - t_i)^2 where both covariances are diagonal."""
    s, t, m = torch.tensor([[1.0, 2.0, 0.5, 3.0], [1.5, 0.0, 0.5, 1.0], [0.3, -1.0, 0.0, 2.0]], dtype=torch.float64)
    x, y = standard(50, 4, 0) * s, standard(70, 4, 1) * t + m
    expected = float((m**2).sum() + ((s - t) ** 2).sum())
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(x, x + m) == pytest.approx(float((m**2).sum()), rel=1e-9)


def test_frechet_distance_is_that_of_scipys_square_root() -> None:
    x = normal(60, 5, 0) @ normal(5, 5, 1)
    y = normal(40, 5, 2) @ normal(5, 5, 3) + 1
    c, d = np.cov(x.numpy().T), np.cov(y.numpy().T)
    mean = float((x.mean(0) - y.mean(0)).square().sum())
    expected = mean + np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_fewer_samples_than_features() -> None:
    """Singular covariances, where a square root of their product turns complex: on the line that they share it is the
    distance in one dimension."""
    direction = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64) / 5
    a, b = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([1.0, 3.0])
    found = frechet_distance(a[:, None] * direction, b[:, None] * direction)
    assert found == pytest.approx(2.0**2 + (1.0 - math.sqrt(2.0)) ** 2, rel=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_manifolds_by_scalar_loops(k: int) -> None:
    real, made = normal(40, 3, 0), 0.7 * normal(30, 3, 1) + 0.5

    def radius(points: Tensor, i: int) -> float:
        return sorted(float((points[i] - p).norm()) for j, p in enumerate(points) if j != i)[k - 1]

    of_real = [radius(real, i) for i in range(40)]
    of_made = [radius(made, i) for i in range(30)]
    within = [[float((r - g).norm()) <= of_real[i] for i, r in enumerate(real)] for g in made]
    back = [[float((r - g).norm()) <= of_made[j] for j, g in enumerate(made)] for r in real]
    found = manifolds(real, made, k)
    assert found.precision == pytest.approx(sum(any(row) for row in within) / 30)
    assert found.recall == pytest.approx(sum(any(row) for row in back) / 40)
    assert found.density == pytest.approx(sum(sum(row) for row in within) / (30 * k))
    assert found.coverage == pytest.approx(sum(any(row[i] for row in within) for i in range(40)) / 40)


def test_manifolds_of_equal_and_of_disjoint_samples() -> None:
    x, y = normal(600, 4, 0), normal(600, 4, 1)
    same = manifolds(x, y)
    assert same.precision > 0.9 and same.recall > 0.9
    assert same.density == pytest.approx(1.0, abs=0.1)
    assert same.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    apart = manifolds(x, y + 100)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0.0, 0.0, 0.0, 0.0)


def test_manifolds_see_what_is_missing_and_what_is_bad() -> None:
    """A mode that is left out costs recall and coverage; noise costs precision and density."""
    x, y = normal(500, 4, 0), normal(500, 4, 1)
    x[:250, 0] += 20
    half = manifolds(x, y)
    assert half.precision > 0.9 and half.recall < 0.6 and half.coverage < 0.6
    noisy = manifolds(y, torch.cat((normal(250, 4, 2), 10 * normal(250, 4, 3))))
    assert noisy.precision < 0.65 and noisy.density < 0.65 and noisy.recall > 0.9
    with pytest.raises(ValueError, match=r"^samples = 5: 5 neighbours need at least 6"):
        manifolds(x, y[:5])


def test_pixels_are_block_means() -> None:
    images = torch.arange(2 * 3 * 16 * 16, dtype=torch.float32).reshape(2, 3, 16, 16)
    found = Pixels()(images)
    assert found.shape == (2, 3 * 64) and found.dtype == torch.float64
    assert float(found[1, 0]) == pytest.approx(float(images[1, 0, :2, :2].mean()))
    small = torch.randn(4, 1, 5, 7)
    assert torch.equal(Pixels()(small), small.double().flatten(1))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_digits_classifier_is_taught_once_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    data = Digits()
    first = data.extractor(data.points)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == (1797, 64) and first.dtype == torch.float64
    file = cache / "rlgan" / DigitsClassifier.file
    assert file.is_file() and len(list(file.parent.iterdir())) == 1
    monkeypatch.setattr(DigitsClassifier, "fit", None)  # it is not taught again
    assert torch.equal(Digits().extractor(data.points), first)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    file.write_bytes(b"not an archive")
    assert torch.equal(Digits().extractor(data.points), first)
    with pytest.raises(ValueError, match=r"^images = \(2, 3, 8, 8\): digits_classifier sees"):
        data.extractor(torch.zeros(2, 3, 8, 8))


def test_its_features_separate_digits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linearly, by the class means alone; and the Frechet distance grows with noise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    data = Digits()
    features, labels = data.extractor(data.points), data.labels
    means = torch.stack([features[labels == digit].mean(0) for digit in range(10)])
    assert (torch.cdist(features, means).argmin(1) == labels).double().mean() > 0.97
    noise = torch.randn(data.points.shape, generator=torch.Generator().manual_seed(0))
    distances = [frechet_distance(features, data.extractor(data.points + level * noise)) for level in (0, 0.1, 0.3, 1)]
    assert distances == sorted(distances) and distances[0] < 1e-6 and distances[-1] > 10
    one = frechet_distance(features, features[labels == 3])
    assert one > distances[1]


def test_inception_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^features = inception: torch-fidelity is not installed; .*rlgan\[images\]"):
        Inception()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"^features = inception: its weights are not on disk .*features=pixels"):
        Inception()
