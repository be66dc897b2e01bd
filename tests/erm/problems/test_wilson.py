"""The construction in which adaptive methods find a solution that tells nothing: its two solutions, by hand."""

from __future__ import annotations

import pytest
import torch

from rlgan.erm import Wilson


def test_features_are_those_of_the_paper() -> None:
    problem = Wilson(samples=3, test_samples=2, positive=0.6)
    assert problem.train.y.tolist() == [1, 1, 0] and problem.test.y.tolist() == [1, 0] and problem.inputs == (28,)
    of_one, one_each, none = [1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 5
    assert problem.train.x.tolist() == [
        [*of_one, *one_each, *none * 4],
        [*of_one, *none, *one_each, *none * 3],
        [-1.0, 1.0, 1.0, *none * 2, *[1.0] * 5, *none * 2],
    ]
    assert problem.test.x[1].tolist() == [-1.0, 1.0, 1.0, *none * 4, *[1.0] * 5]


@pytest.mark.parametrize(("n", "positive"), [(10, 0.6), (100, 0.6), (101, 0.9)])
def test_both_solutions_meet_every_training_label_and_differ_on_new_ones(n: int, positive: float) -> None:
    problem = Wilson(samples=n, test_samples=50, positive=positive)
    x, y = problem.train.x.double(), 2 * problem.train.y.double() - 1
    new, label = problem.test.x.double(), 2 * problem.test.y.double() - 1
    least, alike = problem.optimum(), problem.adaptive()
    for theta in (least, alike):
        torch.testing.assert_close(x @ theta, y)
    torch.testing.assert_close(least, torch.linalg.pinv(x) @ y)
    # theta = sum_i alpha_i y_i x_i; the system of two unknowns of the paper, solved by Cramer's rule.
    plus = int(problem.train.y.sum())
    minus = n - plus
    below = 15 * plus + 3 * minus + 8 * plus * minus + 5
    a, b = (4 * minus + 5) / below, (4 * plus + 1) / below
    torch.testing.assert_close(least[0], torch.tensor(a * plus + b * minus, dtype=torch.float64))
    torch.testing.assert_close(least[1], torch.tensor(a * plus - b * minus, dtype=torch.float64))
    assert bool((torch.sign(new @ least) == label).all())
    torch.testing.assert_close(new @ alike, (label + 2) / 4)


@pytest.mark.parametrize("wrong", [{"samples": 1}, {"test_samples": 0}, {"positive": 0.5}, {"positive": 1.0}])
def test_impossible_numbers_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} = "):
        Wilson(**wrong)  # type: ignore[arg-type]


def test_a_sample_without_a_negative_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"positive = 0\.9: of 3 samples these are 3"):
        Wilson(samples=3, positive=0.9)
