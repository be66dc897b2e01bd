"""What an outsider gets wrong in a task: said in one line before its first step."""

# mypy: disable-error-code="no-untyped-def,override,assignment,attr-defined,misc"

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlgan.runs.config.build import build_settings, build_task
from rlgan.task import Settings, Task
from rlgan.task.errors import ConfigError

HERE = __name__


class Counts(Task):
    best = ("steps/done", "max")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def advance(self):
        self.steps_done += 1

    def metrics(self):
        return {"steps/logged": float(self.steps_done)}

    def evaluate(self):
        return {"steps/done": float(self.steps_done)}

    def state_dict(self):
        return {"steps": self.steps_done, "sums": [1.0, None, "x"], "theta": torch.zeros(2)}

    def load_state_dict(self, state):
        self.steps_done = state["steps"]


class Lacks(Task):
    def advance(self):
        return None


class NoBest(Counts):
    best = "steps/done"


class Forgets(Counts):
    def __init__(self, settings: Settings) -> None:
        self.rate = 1.0


class NoSettings(Counts):
    def __init__(self) -> None:
        return None


class Raises(Counts):
    def __init__(self, settings: Settings) -> None:
        self.settings = self.sittings


class AdvancesBy(Counts):
    def advance(self, steps):
        return None


class EvaluatesNone(Counts):
    def evaluate(self):
        return None


class EvaluatesVectors(Counts):
    def evaluate(self):
        return {"steps/done": torch.ones(3)}


class EvaluatesNowhere(Counts):
    def evaluate(self):
        return {"steps/done": self.done}


class StateOfNone(Counts):
    def state_dict(self):
        return None


class StateOfObjects(Counts):
    def state_dict(self):
        return {"inner": {"rng": object()}}


MISTAKES = [
    (Lacks, "task._target_ = Lacks: does not say evaluate, load_state_dict, metrics, state_dict; write it"),
    (NoBest, "task = NoBest: best is 'steps/done'; say by which metric checkpoints are ranked: best ="),
    (Forgets, "task = Forgets: does not keep its settings; write self.settings = settings into __init__"),
    (NoSettings, "task = NoSettings: making it raised TypeError: NoSettings.__init__() got an unexpected keyword"),
    (Raises, "task = Raises: making it raised AttributeError: 'Raises' object has no attribute 'sittings' (test_task"),
    (AdvancesBy, "task = AdvancesBy: advance wants steps; define it as advance(self)"),
    (EvaluatesNone, "evaluate returned None; return a dict of numbers by tag: {\"steps/done\": 0.0}"),
    (EvaluatesVectors, "evaluate returned a tensor of shape (3,) for steps/done; return one number"),
    (EvaluatesNowhere, "evaluate raised AttributeError: 'EvaluatesNowhere' object has no attribute 'done' (test_task_"),
    (StateOfNone, "state_dict returned None; return a dict of all that a step depends on"),
    (StateOfObjects, "state_dict['inner']['rng'] is a object; a checkpoint holds plain containers, numbers, words"),
]  # fmt: skip


def start(cls: type) -> Task:
    config: dict[str, Any] = {"task": {"_target_": f"{HERE}.{cls.__name__}"}, "steps": 3}
    return build_task(config, build_settings(config))


@pytest.mark.parametrize(("cls", "words"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_mistake_is_said_in_one_line_at_the_start(cls: type, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        start(cls)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_task_that_is_right_is_started_and_made_no_step() -> None:
    assert start(Counts).steps_done == 0
