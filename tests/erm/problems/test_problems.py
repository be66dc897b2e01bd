"""Every problem of conf/problem keeps what `rlgan.erm.Problem` promises."""

import dataclasses
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rlgan.erm import Digits, Problem
from rlgan.erm.problems.base import Labelled, Sample, is_class

FOLDER = Path(__file__).parents[3] / "conf" / "problem"
OF_FILES = {"array", "folder"}
"""They have to be told which; see test_own.py."""
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in OF_FILES)


def make(name: str) -> Problem:
    config = OmegaConf.load(FOLDER / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    problem = instantiate(config.get("problem", config))
    assert isinstance(problem, Problem)
    return problem


def agrees(problem: Problem, sample: Sample) -> None:
    n = len(sample.y)
    assert n and sample.x.shape == (n, *problem.inputs) and sample.x.isfinite().all()
    if problem.kind == "classes":
        assert sample.y.dtype is torch.int64 and sample.y.shape == (n,)
        assert int(sample.y.min()) >= 0 and int(sample.y.max()) < problem.classes == len(problem.names())
    else:
        assert sample.y.is_floating_point() and sample.y.shape == (n, *problem.targets) and sample.y.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_as_they_are_said_to_be_and_the_same_when_made_again(name: str) -> None:
    torch.manual_seed(3)
    problem = make(name)
    torch.manual_seed(4)
    other = make(name)
    agrees(problem, problem.train)
    assert all(torch.equal(a, b) for a, b in zip(problem.train, other.train, strict=True))
    if problem.test is None:
        assert other.test is None
        return
    assert other.test is not None
    agrees(problem, problem.test)
    assert all(torch.equal(a, b) for a, b in zip(problem.test, other.test, strict=True))
    assert not torch.equal(problem.test.x[: len(problem.train.y)], problem.train.x[: len(problem.test.y)])
    sample = problem.train.to(torch.device("cpu"), torch.float32)
    assert sample.x.dtype is torch.float32 and is_class(sample.y) == (problem.kind == "classes")


@pytest.mark.parametrize("name", [name for name in NAMES if "random_labels" in (FOLDER / f"{name}.yaml").read_text()])
def test_labels_of_every_problem_of_classes_may_be_drawn_at_random(name: str) -> None:
    problem = make(name)
    assert isinstance(problem, Labelled)
    assert dataclasses.is_dataclass(problem) and not isinstance(problem, type)
    noisy = dataclasses.replace(problem, random_labels=0.5)
    assert isinstance(noisy, Labelled) and noisy.test is not None and problem.test is not None
    assert torch.equal(noisy.train.x, problem.train.x) and torch.equal(noisy.test.y, problem.test.y)
    changed = float((noisy.train.y != problem.train.y).double().mean())
    # Of those drawn anew one in `classes` is what it was.
    assert changed == pytest.approx(0.5 * (1 - 1 / problem.classes), abs=0.08)
    assert "50% of the training labels" in noisy.notes()[-1]


def test_a_share_that_leaves_a_class_out_is_refused() -> None:
    for share in (0.001, 0.999):
        with pytest.raises(
            ValueError, match=rf"^held_out = {share}: leaves less than one sample .* use 0.0056 to 0.99"
        ):
            Digits(held_out=share)
    assert Digits(held_out=0.006).test is not None
