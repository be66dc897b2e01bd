"""What an outsider gets wrong in a problem, a loss or a network: said in one line, with class and method.

test_contract.py has what samples and scores promise.
"""

# mypy: disable-error-code="no-untyped-def,override,attr-defined,assignment,arg-type,misc,call-overload"

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rlgan.erm import Labelled, Loss, Problem, Sample, Surface
from rlgan.nets import NetworkSpec
from rlgan.runs.config.build import build_settings, build_task
from rlgan.task.errors import ConfigError
from tests.small import ERM, composed

HERE = __name__
SAMPLE = Sample(torch.randn(100, 2), torch.randn(100))


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return composed(*ERM, "problem=two_moons")


class Misspelt(Labelled):
    classes = 2

    def make(self):
        return Sample(torch.randn(10, 2), torch.zeros(10).lng()), None


class Asks(Labelled):
    classes = 2

    def make(self, n):
        return None


class Values(Problem):
    kind = "values"
    inputs = (2,)
    train = SAMPLE


class NoField(Values):
    @property
    def train(self):
        return self.x


class InputsMethod(Values):
    def inputs(self):
        return (2,)


class TrainMethod(Values):
    def train(self):
        return SAMPLE


class OneInput(Values):
    inputs = 2


class NoOptimum(Values):
    def optimum(self):
        return self.best


class LeastWord(Values):
    def least(self):
        return "zero"


class NoNotes(Values):
    def notes(self):
        return self.said


class OwnNetwork(Values):
    def network(self, settings, outputs):
        return nn.Linear(2, outputs)


class NoModule(Values):
    def network(self, settings, outputs):
        return lambda x: x


class Valley(Surface):
    usual_start = (1.0, 1.0)

    def value(self, theta):
        return theta.sqare().sum()


class NoTheta(Valley):
    def value(self):
        return 2.0


PROBLEMS = [
    (Misspelt, "inputs raised AttributeError: 'Tensor' object has no attribute 'lng' (test_erm_mistakes.py, line "),
    (Asks, "define it as make(self)"),
    (NoField, "train raised AttributeError: 'NoField' object has no attribute 'x' (test_erm_mistakes.py, line "),
    (InputsMethod, "its inputs is a method; write @property above it"),
    (TrainMethod, "its train is a method; write @property above it"),
    (OneInput, "inputs is 2; give a tuple of lengths, for example (2,)"),
    (NoOptimum, "optimum raised AttributeError: 'NoOptimum' object has no attribute 'best' (test_erm_mistakes.py"),
    (LeastWord, "least returned 'zero'; return a number"),
    (NoNotes, "notes raised AttributeError: 'NoNotes' object has no attribute 'said' (test_erm_mistakes.py, line "),
    (OwnNetwork, "network raised TypeError: empty(): argument 'size'"),
    (NoModule, "network returned a function; return a torch.nn.Module"),
    (Valley, "value raised AttributeError: 'Parameter' object has no attribute 'sqare' (test_erm_mistakes.py, line "),
    (NoTheta, "but 2 were given; define it as value(self, theta)"),
]


class CrossEntropy(Loss):
    def outputs(self, problem):
        return (2,)

    def __call__(self, scores, y):
        return F.cross_entropy(scores, y, reduction="none")


class OneOutput(CrossEntropy):
    def outputs(self, problem):
        return 2


class NoOutputs(CrossEntropy):
    def outputs(self, problem):
        return (problem.labels,)


class NoScores(CrossEntropy):
    def __call__(self, scores, y):
        return scores.entropy(y)


class ScoresAlone(CrossEntropy):
    def __call__(self, scores):
        return scores


LOSSES = [
    (OneOutput, "outputs returned 2; return a tuple, () for one number a sample"),
    (NoOutputs, "outputs raised AttributeError: 'TwoMoons' object has no attribute 'labels' (test_erm_mistakes.py"),
    (NoScores, "__call__ raised AttributeError: 'Tensor' object has no attribute 'entropy' (test_erm_mistakes.py"),
    (ScoresAlone, "but 3 were given; define it as __call__(self, scores, y)"),
]


class Forward(nn.Module):
    def __init__(self, outputs, wrong):
        super().__init__()
        self.layer, self.wrong = nn.Linear(2, *outputs), wrong

    def forward(self, x):
        return {"pair": (self.layer(x), x)}[self.wrong]


class Nothing(NetworkSpec):
    def build(self, inputs, outputs):
        return None


class Shapes(NetworkSpec):
    def build(self, inputs, outputs):
        return nn.Linear(inputs, outputs)


class Pairs(NetworkSpec):
    def build(self, inputs, outputs):
        return Forward(outputs, "pair")


class Misses(NetworkSpec):
    def build(self, inputs, outputs):
        return Forward(outputs, "key")


NETWORKS = [
    (Nothing, "network = Nothing: build returned None; return a torch.nn.Module"),
    (Shapes, "network = Shapes: build raised TypeError: empty(): argument 'size'"),
    (Pairs, "network = Forward: gives a tuple where the loss takes a tensor (2, 2); return the scores alone"),
    (Misses, "network = Forward: forward raised KeyError: 'key' (test_erm_mistakes.py, line "),
]
CASES = [
    pytest.param(group, cls, words, id=f"{group}-{cls.__name__}")
    for group, table in (("problem", PROBLEMS), ("loss", LOSSES), ("network", NETWORKS))
    for cls, words in table
]


@pytest.mark.parametrize(("group", "cls", "words"), CASES)
def test_a_mistake_is_said_in_one_line_at_the_start(config: dict[str, Any], group: str, cls: type, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_task({**config, group: {"_target_": f"{HERE}.{cls.__name__}"}}, build_settings(config))
    said = str(error.value)
    assert said.startswith(f"{group} = {'' if group == 'network' else cls.__name__ + ': '}")
    assert words in said and "\n" not in said


@pytest.mark.parametrize(("group", "cls"), [("problem", Values), ("loss", CrossEntropy)])
def test_what_is_right_is_trained(config: dict[str, Any], group: str, cls: type) -> None:
    task = build_task({**config, group: {"_target_": f"{HERE}.{cls.__name__}"}}, build_settings(config))
    task.advance()
    assert task.steps_done == 1
