"""Calibration: by hand, on classifiers whose calibration is known, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlgan.erm import ERM, Calibration, Reliability
from rlgan.erm.calibration import binned
from rlgan.runs.logging.pictures import rasterise
from tests.small import ERM as SMALL
from tests.small import build


def test_the_error_by_hand() -> None:
    p = torch.tensor([0.55, 0.65, 0.95, 1.0])
    right = torch.tensor([False, True, True, False])
    found = binned(p, right, 2)  # all of them in the upper half
    assert found.answers.tolist() == [0, 4] and np.isnan(found.confidence[0])
    assert found.error == pytest.approx(abs(0.5 - p.mean().item()))
    found = binned(p, right, 10)
    assert found.error == pytest.approx((0.55 + 0.35 + abs(0.5 - 0.975) * 2) / 4)


def test_a_calibrated_classifier_has_hardly_any_error_and_a_boastful_one_has() -> None:
    generator = torch.Generator().manual_seed(0)
    p = 0.5 + 0.5 * torch.rand(200_000, generator=generator)
    right = torch.rand(200_000, generator=generator) < p
    assert binned(p, right, 15).error < 0.01
    assert binned(torch.ones(200_000), right, 15).error == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("problem", ["digits", "two_moons"])
def test_of_a_task(problem: str) -> None:
    task = build(*SMALL, f"problem={problem}")
    assert isinstance(task, ERM)
    found = Calibration(bins=10)(task)
    assert 0 <= found["error"] <= 1 and 1 / task.problem.classes <= found["confidence"] <= 1
    png, array = rasterise(Reliability(bins=10)(task))
    assert array.std() > 0 and png


@pytest.mark.parametrize(
    ("words", "bins", "said"),
    [
        (("problem=quadratic", "network=point"), 15, "is for classifiers"),
        (("problem=curve",), 15, "is for classifiers"),
        (("problem=two_moons", "loss=hinge"), 15, "loss = Hinge"),
        (("problem=two_moons",), 0, "bins = 0"),
    ],
)
def test_what_it_is_not_for(words: tuple[str, ...], bins: int, said: str) -> None:
    own = SMALL if "problem=quadratic" not in words else ("task=erm", "steps=5", "compile=false")
    task = build(*own, *words)
    for measure in (Calibration(bins), Reliability(bins)):
        with pytest.raises(ValueError, match=said):
            measure.check(task)
