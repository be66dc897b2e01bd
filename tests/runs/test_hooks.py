"""Callbacks, metrics and pictures in runs: what they are told, what they cannot move, how they end a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlgan.runs.config.trust import EVERYONE, Trust
from rlgan.runs.hooks import callbacks_of, measures_of
from rlgan.task.errors import ConfigError
from rlgan.task.task import Task
from tests.small import ERM, TASKS, build, checkpoint, differences, metrics, rlgan, status, train

MINE = """
import json, random
import numpy as np
import torch
from rlgan.task import Callback, Metric, Painter

def norm(task, scale: float = 1.0) -> dict[str, float]:
    torch.rand(3), random.random(), np.random.rand()
    task.generators.torch("batch").manual_seed(1)
    return {"theta": scale * float(task.model.vector.theta.norm()), "none": float("nan")}

class Square(Painter):
    def __call__(self, task):
        return np.full((4, 4), 7, dtype=np.uint8)

class Diary(Callback):
    def __init__(self):
        self.said = []

    def tell(self, *words):
        torch.rand(1), self.task.generators.torch("batch").manual_seed(1)
        self.said.append(list(words))

    def on_start(self, step):
        self.tell("start", step)

    def on_log(self, step, values):
        assert "model/loss" in values
        self.tell("log", step)

    def on_evaluation(self, step, values):
        assert "risk/train" in values
        values.clear()  # a copy: the run ranks its checkpoints by the numbers all the same
        self.tell("evaluation", step)

    def on_checkpoint(self, step, path):
        assert path.is_file()
        self.tell("checkpoint", step)

    def on_end(self, step, how, values):
        assert "risk/train" in values
        self.tell("end", step, how)
        (self.path / "diary.json").write_text(json.dumps(self.said))

    def state_dict(self):
        return {"said": self.said}

    def load_state_dict(self, state):
        self.said = list(state["said"])

class Broken(Callback):
    def __init__(self, method: str = "on_log"):
        setattr(type(self), method, lambda self, *arguments: {}["nothing"])
"""
SHORT = (
    *ERM,
    "problem=two_moons",
    "draw=false",
    "compile=false",
    "log_every=5",
    "eval_every=10",
    "checkpoint_every=20",
)


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """We stand in a folder with a module and options of our own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    Path("hooks_of_mine.py").write_text(MINE)
    options = {
        "metrics/norm": "norm",
        "pictures/square": "Square",
        "callbacks/diary": "Diary",
        "callbacks/broken": "Broken",
    }
    for option, name in options.items():
        file = Path("conf", f"{option}.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{file.stem}:\n  _target_: hooks_of_mine.{name}\n")
    yield
    sys.modules.pop("hooks_of_mine", None)


def without(run: Path, start: str) -> list[dict[str, object]]:
    return [{tag: value for tag, value in line.items() if not tag.startswith(start)} for line in metrics(run)]


def test_hooks_are_told_and_move_nothing() -> None:
    plain = train(*SHORT, "run_dir=plain")
    hooks = ("metrics=[norm]", "metrics.norm.scale=2.0", "pictures=[square]", "callbacks=[diary]")
    run = train(*SHORT, *hooks, "run_dir=run")
    assert without(run, "norm/") == metrics(plain)
    assert differences(checkpoint(run, 40)["task"], checkpoint(plain, 40)["task"]) == []
    assert [line["norm/theta"] > 0 for line in metrics(run) if "risk/gap" in line] == [True] * 4
    assert (run / "pictures" / "pictures_square_000000040.png").is_file()
    assert "norm/none = nan" in (run / "notes.jsonl").read_text()
    every = [["log", step] for step in range(5, 45, 5)]
    said = json.loads((run / "diary.json").read_text())
    assert (
        said[0] == ["start", 0] and said[-1] == ["end", 40, "finished"] and [x for x in said if x[0] == "log"] == every
    )
    assert said[2:5] == [["log", 10], ["evaluation", 10], ["checkpoint", 10]]  # the best one so far

    # Whose code a run may name holds for them as well.
    refused = rlgan("evaluate", "run")
    assert (
        refused.code == 2
        and "metrics.norm._target_ = hooks_of_mine.norm" in refused.err
        and "trust=[hooks_of_mine]" in refused.err
    )
    measured = rlgan("evaluate", "run", "trust=[hooks_of_mine]")
    assert measured.code == 0 and "\nnorm\n  norm/theta" in measured.out, measured.err
    assert (run / "evaluation" / "pictures_square.png").is_file()

    # What they know is in the checkpoint, and the list can change.
    words = ("steps=50", "trust=[hooks_of_mine]", "metrics=[]")
    assert rlgan("resume=run", *words).code == 0
    longer = json.loads((run / "diary.json").read_text())
    assert longer[: len(said) - 2] == said[:-2] and ["start", 40] in longer and longer[-1] == ["end", 50, "finished"]
    assert "norm/theta" not in metrics(run)[-1]


def test_evaluate_takes_metrics_and_pictures_that_the_run_had_not() -> None:
    train(*SHORT, "run_dir=run")
    ended = rlgan("evaluate", "run", "metrics=[calibration]", "metrics.calibration.bins=4", "pictures=[reliability]")
    assert ended.code == 0 and "calibration/error" in ended.out, ended.err
    assert Path("run/evaluation/pictures_reliability.png").is_file()
    assert "calibration/error" in json.loads(Path("run/evaluation.json").read_text())["metrics"]
    ended = rlgan("evaluate", "run", "metrics=[calibratoin]")
    assert ended.code == 2 and "did you mean calibration?" in ended.err


@pytest.mark.parametrize(
    ("method", "saved"), [("on_start", False), ("on_step", True), ("on_evaluation", True), ("state_dict", False)]
)
def test_a_callback_that_fails_is_named_and_what_was_done_is_saved(method: str, saved: bool) -> None:
    ended = rlgan(*SHORT, "callbacks=[broken]", f"callbacks.broken.method={method}", "run_dir=run")
    assert ended.code == 1 and "Traceback" not in ended.err, ended.err
    assert f"callbacks.broken: Broken.{method}: KeyError: 'nothing' (hooks_of_mine.py:" in ended.err
    assert status(Path("run"))["state"] == "failed" and "Broken" in status(Path("run"))["reason"]
    assert bool(list(Path("run").glob("checkpoints/*.pt"))) == saved


def test_a_failure_at_the_end_is_a_note() -> None:
    run = train(*SHORT, "callbacks=[broken]", "callbacks.broken.method=on_end", "run_dir=run")
    assert status(run)["state"] == "finished" and "Broken.on_end: KeyError" in (run / "notes.jsonl").read_text()


def test_early_stopping_ends_a_run_and_more_patience_goes_on() -> None:
    whole = train(*SHORT, "run_dir=whole")
    words = (
        "callbacks=[early_stopping]",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=10",
    )
    run = train(*SHORT, *words, "run_dir=run")
    assert (
        status(run)["state"] == "finished" and status(run)["step"] == 20 and "early_stopping" in status(run)["reason"]
    )
    assert checkpoint(run, 20) and json.loads((run / "summary.json").read_text())["step"] == 20
    before = metrics(run)
    assert rlgan("resume=run").code == 0 and metrics(run) == before and status(run)["step"] == 20
    assert rlgan("resume=run", "callbacks.early_stopping.patience=9").code == 0
    assert metrics(run) == metrics(whole) and status(run)["reason"] == ""


def test_a_time_limit_saves_and_the_rest_is_as_if_nothing_had_been() -> None:
    whole = train(*SHORT, "run_dir=whole")
    words = ("callbacks=[time_limit]", "callbacks.time_limit.max_minutes=1e-9")
    ended = rlgan(*SHORT, *words, "run_dir=run")
    run = Path("run")
    assert ended.code == 0 and "go on with resume=run" in ended.err, ended.err
    assert status(run)["state"] == "interrupted" and status(run)["step"] == 1 and checkpoint(run, 1)
    assert rlgan("resume=run", "callbacks.time_limit.max_minutes=9").code == 0
    assert metrics(run) == metrics(whole)


def test_every_seed_has_callbacks_of_its_own() -> None:
    run = train(*SHORT, "callbacks=[diary]", "metrics=[norm]", "seeds=2", "run_dir=run")
    for seed in (0, 1):
        said = json.loads((run / f"seed={seed}" / "diary.json").read_text())
        assert said.count(["log", 40]) == 1 and said[-1] == ["end", 40, "finished"]
    assert "norm/theta" in json.loads((run / "summary.json").read_text())["metrics"]
    words = ("callbacks=[time_limit]", "callbacks.time_limit.max_minutes=1e-9", "seeds=2", "run_dir=paused")
    ended = rlgan(*SHORT, *words)
    assert ended.code == 0 and status(Path("paused"))["state"] == "interrupted", ended.err
    assert status(Path("paused"))["reason"].startswith("callbacks.time_limit: ")


@pytest.fixture(scope="module")
def task() -> Task:
    return build(*SHORT[:-3])


@pytest.mark.parametrize(
    ("key", "section", "words"),
    [
        ("callbacks", {"_target_": "rlgan.task.Metric"}, "a._target_ = rlgan.task.Metric: is no Callback; derive the"),
        ("metrics", {"_target_": "hooks_of_mine.Diary"}, "is no Metric; derive the class from rlgan.task.Metric"),
        ("metrics", {"_target_": "rlgan.task.Metric"}, "Metric: does not say __call__; write it"),
        ("metrics", {"_target_": "hooks_of_mine.random.seed"}, "takes no argument task"),
        ("metrics", {"_target_": "hooks_of_mine.norm", "scael": 1}, "norm has no such key; did you mean scale?"),
        ("pictures", 3, "pictures.a = 3: must be a section with _target_; choose it by pictures=[a]"),
        (
            "callbacks",
            {"patience": 3},
            "callbacks.a = {...}: must be a section with _target_; choose it by callbacks=[a]",
        ),
        ("callbacks", {"_target_": "rlgan.task.EarlyStopping", "patience": 0}, "callbacks.a.patience = 0: must be at"),
        ("metrics", {"_target_": "rlgan.rl.Acting"}, "metrics.a: is for agents"),
    ],
)
def test_what_is_wrong_with_a_hook_is_said_in_a_line(key: str, section: object, words: str, task: Task) -> None:
    config = {key: {"a": section}}
    with pytest.raises(ConfigError) as refused:
        callbacks_of(config, EVERYONE)
        measures_of(config, EVERYONE, task)
    assert words in str(refused.value)
    chosen = {"early_stoping": {"patience": 3}, "early_stopping": {"_target_": "rlgan.task.EarlyStopping"}}
    with pytest.raises(ConfigError, match=r"callbacks.early_stoping = .*; did you mean callbacks.early_stopping\?"):
        callbacks_of({"callbacks": {**chosen}}, EVERYONE)
    for odd, said in (({key: 3}, "must be sections by name"), ({key: {"a/b": section}}, f"{key}.a/b: is no name")):
        with pytest.raises(ConfigError, match=said):
            callbacks_of(odd, EVERYONE)
            measures_of(odd, EVERYONE, task)


@pytest.mark.parametrize(
    "name", ["os.system", "torch.load", "rlgan.runs.cli.main", "hooks_of_mine.norm", "torch.nn.init.ones_"]
)
@pytest.mark.parametrize("key", ["callbacks", "metrics", "pictures"])
def test_a_strangers_run_directory_calls_no_function_by_a_hook(key: str, name: str, task: Task) -> None:
    config = {key: {"a": {"_target_": name}}}
    with pytest.raises(ConfigError):
        callbacks_of(config, Trust(frozenset()))
        measures_of(config, Trust(frozenset()), task)
    assert "hooks_of_mine" not in sys.modules


def test_a_task_without_films_refuses_them_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for words, name in ((SHORT, "ERM"), (TASKS["wgan"], "WGAN")):
        ended = rlgan(*words, "video_every=2", "run_dir=run")
        assert ended.code == 2 and f"video_every = 2: the task {name} shows no films" in ended.err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = rlgan(*TASKS["ddpg"], "video_every=2", "run_dir=run")
    assert ended.code == 2 and 'pip install "rlgan[video]"' in ended.err and not Path("run").exists()
