"""Metrics and pictures of one's own: what moves nothing, what is refused in a line, what is only left out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from rlgan.task import ConfigError, InputError, Metric, Painter
from rlgan.task.hooks.measures import Measures, undisturbed
from rlgan.task.seeding import Generators, GlobalRandom
from rlgan.task.task import Task


class Still(Task):
    """A task that does nothing, with a generator."""

    best = ("score", "max")

    def __init__(self) -> None:
        self.generators = Generators(1)
        self.generators.torch("batch"), self.generators.numpy("order")

    def advance(self) -> None: ...

    def metrics(self) -> dict[str, float]:
        return {}

    def evaluate(self) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def draws(task: Still) -> list[float]:
    torch_draw = torch.rand(1, generator=task.generators.torch("batch")).item()
    return [torch.rand(1).item(), random.random(), float(np.random.rand()), torch_draw]


def test_what_is_drawn_moves_no_generator() -> None:
    task = Still()
    before, own = GlobalRandom.now(), task.generators.state_dict()
    with undisturbed(task):
        draws(task)
        torch.rand(1, generator=task.generators.torch("new"))
        task.generators.numpy("order").random()
    assert not before.differs(GlobalRandom.now())
    now = task.generators.state_dict()
    assert set(now["torch"]) == {"batch"} and torch.equal(now["torch"]["batch"], own["torch"]["batch"])
    assert now["numpy"] == own["numpy"]
    fresh = Generators(1).torch("new")
    assert torch.equal(task.generators.torch("new").get_state(), fresh.get_state())


class Half(Metric):
    explained: ClassVar = {"value": "a half"}

    def __call__(self, task: Any) -> dict[str, float]:
        return {"value": 0.5, "tensor": torch.tensor(2.0)}  # type: ignore[dict-item]


def test_tags_and_what_they_mean() -> None:
    measures = Measures({"half": Half()})
    assert measures.evaluate(Still(), {}) == {"half/value": 0.5, "half/tensor": 2.0}
    assert measures.explained == {"half/value": "a half"} and measures.groups == {"half": ("half/",)}


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (0.5, "returned a float; return a dict"),
        (None, "returned a NoneType; return a dict"),
        ({"all": torch.zeros(3)}, "returned a Tensor as all; return a number"),
        ({"word": "much"}, "returned a str as word"),
        ({"loss": 1.0}, "returned mine/loss, which the task has already"),
        (KeyError("player"), "KeyError: 'player' (test_measures_of_ones_own.py:"),
    ],
)
def test_a_first_answer_that_is_none_is_an_error_in_a_line(returned: Any, words: str) -> None:
    def own(task: Any) -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    with pytest.raises(InputError) as refused:
        Measures({"mine": own}).evaluate(Still(), {"mine/loss": 1.0})
    said = str(refused.value)
    assert said.startswith("metrics.mine: ") and "own" in said and words in said and refused.value.intact


def test_a_metric_that_fails_later_is_left_out() -> None:
    answers: Iterator[dict[str, float] | Exception] = iter([{"x": 1.0}, RuntimeError("no more")])

    def own(task: Any) -> dict[str, float]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    measures = Measures({"mine": own, "half": Half()})
    assert measures.evaluate(Still(), {})["mine/x"] == 1.0
    assert set(measures.evaluate(Still(), {})) == {"half/value", "half/tensor"}
    assert len(measures.troubles) == 1 and "RuntimeError: no more" in measures.troubles[0]


def test_pictures_have_names_and_one_that_fails_is_left_out() -> None:
    black = np.zeros((2, 2, 3), dtype=np.uint8)

    def fails(task: Any) -> Any:
        raise ValueError("nothing to draw")

    measures = Measures(pictures={"one": lambda task: black, "two": lambda task: {"a": black}, "three": fails})
    assert set(measures.draw(Still())) == {"pictures/one", "two/a"}
    assert "pictures.three: " in measures.troubles[0] and "nothing to draw" in measures.troubles[0]


def test_a_task_that_it_is_not_for() -> None:
    class ForOthers(Painter):
        def check(self, task: Any) -> None:
            raise ValueError("is for others")

        def __call__(self, task: Any) -> Any: ...

    with pytest.raises(ConfigError, match=r"pictures\.mine: is for others"):
        Measures(pictures={"mine": ForOthers()}).check(Still())


def test_a_metric_that_changes_the_parameters_is_refused_and_nothing_is_saved() -> None:
    theta = torch.ones(2)

    def shrinks(task: Any) -> dict[str, float]:
        task.learner.players["model"].vector.theta.mul_(0.5)
        return {"a": 1.0}

    task: Any = Still()
    task.learner = SimpleNamespace(players={"model": SimpleNamespace(vector=SimpleNamespace(theta=theta))})
    with pytest.raises(InputError, match=r"metrics.mine: .*shrinks changed the parameters of model; measure") as error:
        Measures({"mine": shrinks}).evaluate(task, {})
    assert not error.value.intact
    assert Measures({"mine": lambda task: {"a": float(theta.sum())}}).evaluate(task, {}) == {"mine/a": 1.0}
