"""Sets in the plane: what a line and a circle separate, by how much, and how the points are spread."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.svm import LinearSVC

from rlgan.erm import Blobs, Problem, Rings


def separated(x: np.ndarray, y: np.ndarray) -> float:
    """Share of samples that the best linear classifier tells right."""
    return float(LinearSVC(C=1e4, max_iter=20_000, dual=False).fit(x, y).score(x, y))


def arrays(problem: Problem, test: bool = False) -> tuple[np.ndarray, np.ndarray]:
    sample = problem.test if test else problem.train
    assert sample is not None
    return sample.x.double().numpy(), sample.y.numpy()


@pytest.mark.parametrize("test", [False, True])
def test_a_line_separates_blobs_and_no_line_rings_until_they_are_lifted(test: bool) -> None:
    assert separated(*arrays(Blobs(), test)) == 1
    assert separated(*arrays(Rings(), test)) < 0.75
    assert separated(*arrays(Rings(lifted=True), test)) == 1


def test_the_margin_of_blobs_is_what_is_said() -> None:
    problem = Blobs(samples=20_000, distance=2.0, sigma=0.3)
    x, y = arrays(problem)
    assert problem.margin == pytest.approx(0.2)
    gap = x[y == 0, 0].min() - x[y == 1, 0].max()
    assert 0.2 - 1e-6 < gap < 0.4
    assert not problem.notes() and "may meet" in Blobs(sigma=0.5).notes()[0]


def test_a_cloud_is_a_normal_one_cut_off_at_3_sigma() -> None:
    problem = Blobs(samples=9_000, classes=3, sigma=0.5)
    x, y = arrays(problem)
    centres = problem.centres.numpy()
    assert np.linalg.norm(centres[0] - centres[1]) == pytest.approx(2.0)
    radius = np.linalg.norm(x - centres[y], axis=1) / 0.5
    assert radius.max() <= 3 + 1e-5
    whole = stats.rayleigh.cdf(3)
    assert stats.kstest(radius, lambda r: stats.rayleigh.cdf(np.minimum(r, 3)) / whole).pvalue > 1e-3


def test_disc_and_ring_are_filled_evenly_and_keep_their_gap() -> None:
    x, y = arrays(Rings(samples=10_000, gap=0.4, width=0.6))
    radius = np.linalg.norm(x, axis=1)
    inner, outer = radius[y == 0], radius[y == 1]
    assert inner.max() <= 1 + 1e-6 and outer.min() >= 1.4 - 1e-6 and outer.max() <= 2 + 1e-6
    assert stats.kstest(inner**2, "uniform").pvalue > 1e-3
    assert stats.kstest((outer**2 - 1.96) / (4 - 1.96), "uniform").pvalue > 1e-3
    angle = np.arctan2(x[:, 1], x[:, 0])
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_the_lift_is_the_distance_from_the_origin_of_the_same_points() -> None:
    plain, lifted = arrays(Rings(sigma=0.1))[0], arrays(Rings(sigma=0.1, lifted=True))[0]
    np.testing.assert_array_equal(lifted[:, :2], plain)
    np.testing.assert_allclose(lifted[:, 2], np.hypot(*plain.T), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Blobs(classes=1), r"^classes = 1: "),
        (lambda: Blobs(samples=2, classes=3), r"^samples = 2: "),
        (lambda: Blobs(sigma=0.0), r"^sigma = 0.0: .*for example 0.3"),
        (lambda: Blobs(random_labels=1.5), r"^random_labels = 1.5: "),
        (lambda: Rings(gap=-1.0), r"^gap = -1.0: .*for example 0.5"),
        (lambda: Rings(samples=1), r"^samples = 1: "),
        (lambda: Rings(sigma=float("nan")), r"^sigma = nan: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
