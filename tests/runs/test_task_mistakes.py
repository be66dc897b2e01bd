"""What an outsider gets wrong in a task: said in one line before its first step, or when it comes."""

# mypy: disable-error-code="no-untyped-def,override,assignment,attr-defined,misc"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rlgan.runs.config.build import Command, build_settings, build_task
from rlgan.runs.session import launch
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


class Late(Counts):
    """Right at the start, and wrong after two steps."""

    def __init__(self, settings: Settings, how: str) -> None:
        self.settings, self.how = settings, how

    def advance(self):
        self.steps_done += 0 if self.how == "stands" else 1
        if self.how == "advance" and self.steps_done == 2:
            raise KeyError("x")

    def metrics(self):
        if self.how == "metrics":
            return {"loss": self.nowhere}
        return {"list": [1.0], "word": {"a/b": "good"}, "tag": {3: 1.0}}.get(self.how, super().metrics())

    def evaluate(self):
        late = self.steps_done == 2 and self.how == "evaluate"
        return None if late else super().evaluate()

    def state_dict(self):
        return super().state_dict() | ({"late": object()} if self.steps_done == 2 and self.how == "state" else {})


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("advance", "stopped at step 2: Late.advance raised KeyError: 'x' (test_task_mistakes.py, line "),
        ("stands", "stopped at step 0: task = Late: advance made no step at 0; count it, self.steps_done += 1"),
        ("metrics", "Late.metrics raised AttributeError: 'Late' object has no attribute 'nowhere' (test_task_mist"),
        ("list", "task = Late: metrics returned a list; return a dict of numbers by tag: {\"steps/done\": 0.0}"),
        ("word", "task = Late: metrics returned 'good' for a/b; return one number"),
        ("tag", "task = Late: metrics returned the tag 3; tags are words, such as \"loss/train\""),
        ("evaluate", "stopped at step 2: task = Late: evaluate returned None; return a dict of numbers by tag"),
        ("state", "task = Late: of state_dict, state.task.late is a object: a checkpoint holds plain containers"),
    ],
)  # fmt: skip
def test_a_later_mistake_is_one_line_too(
    how: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"task": {"_target_": f"{HERE}.Late", "how": how}, "steps": 4, "log_every": 2, "eval_every": 2}
    config |= {"run_dir": str(tmp_path / "run"), "progress": False, "logger": []}
    outcome = launch(config, Command([], {"task": "late"}))
    said = capsys.readouterr().err
    assert (outcome.code, outcome.state) == (1, "failed") and words in said and "Traceback" not in said
    reason = json.loads((tmp_path / "run" / "status.json").read_text())["reason"]
    assert f"rlgan: stopped at step {2 if how != 'stands' else 0}: {reason}\n" in said
    if how == "advance":
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        launch(config | {"run_dir": str(tmp_path / "again")}, Command([], {"task": "late"}))
        assert "Traceback" in capsys.readouterr().err
