"""Searches by Optuna: a journal that is gone on with, trials that are ended, and the best one's command."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlgan.runs.sweep.folder import Folder
from rlgan.task.hooks.pruning import NAME, PRUNED, Pruning, study_of
from tests.runs.conftest import Command

optuna = pytest.importorskip("optuna")

WORDS = ("-m", "task=quadratic", "steps=6", "progress=false", "logger=[]", "run_dir=s", "hydra/sweeper=optuna")
SPACE = ("task.lr=tag(log,interval(1e-3,1))", "task.stride=choice(1,2,3)")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of all runs takes longer than these runs do."""
    monkeypatch.setattr("rlgan.runs.study.study.page_at_end", lambda *_: "")


def trials() -> list[Any]:
    return study_of(Path("s/journal.log")).trials


def test_a_search_goes_on_and_says_the_best_command(rlgan: Command) -> None:
    code, _, err = rlgan(*WORDS, *SPACE, "hydra.sweeper.n_trials=3")
    assert code == 0 and err.splitlines()[-1] == "3 of 3 runs finished", err
    code, _, err = rlgan(*WORDS, *SPACE, "hydra.sweeper.n_trials=6")
    assert code == 0 and "3 of 6 trials are there already" in err and err.splitlines()[-1] == "6 of 6 runs finished"
    done = trials()
    assert len({trial.params["task.lr"] for trial in done}) == 6  # and no trial of the first start once more
    assert all(1e-3 <= trial.params["task.lr"] <= 1 for trial in done)
    for trial in done:
        run = Path("s") / trial.user_attrs[NAME]
        assert run.name.startswith(f"{trial.number:03d}_lr=")
        assert trial.value == json.loads((run / "summary.json").read_text())["distance/eval"]
        assert json.loads((run / "job.json").read_text())["words"][-2] == f"task.lr={trial.params['task.lr']!r}"
    best = json.loads(Path("s/best.json").read_text())
    assert best["distance/eval"] == min(trial.value for trial in done) and best["command"] in err
    words = shlex.split(best["command"])[1:]
    assert rlgan(*words, "run_dir=again")[0] == 0
    assert json.loads(Path("again/summary.json").read_text())["distance/eval"] == best["distance/eval"]


def test_a_trial_that_was_begun_is_taken_up_and_one_that_failed_is_told(rlgan: Command) -> None:
    code, _, err = rlgan(*WORDS, "task.lr=interval(0.1,0.2)", "task.events={3: SIGINT}", "hydra.sweeper.n_trials=2")
    assert code == 130 and [trial.state.name for trial in trials()] == ["RUNNING"]
    study = study_of(Path("s/journal.log"))
    study.ask({"task.lr": optuna.distributions.FloatDistribution(0.1, 0.2)})  # and killed before it had a name
    code, _, err = rlgan(*WORDS, "task.lr=interval(0.1,0.2)", "task.events={3: SIGINT}", "hydra.sweeper.n_trials=2")
    assert code == 0 and [trial.state.name for trial in trials()] == ["COMPLETE", "FAIL"], err
    assert [one.state for one in Folder(Path("s").absolute()).ended()] == ["finished"]
    words = [word.replace("run_dir=s", "run_dir=t") for word in WORDS]
    code, _, err = rlgan(*words, "task.lr=-1,-2", "hydra.sweeper.n_trials=2", "seeds=2")
    assert code == 2 and "0 of 2 runs finished" in err and err.count("  refused: ") == 2
    assert [trial.state.name for trial in study_of(Path("t/journal.log")).trials] == ["FAIL", "FAIL"]


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    study = study_of(journal, direction="minimize")
    study.tell(study.ask(), 1.0)
    study.ask()
    journal.write_bytes(journal.read_bytes()[:-7])
    study = study_of(journal, direction="minimize")
    study.tell(study.ask(), 2.0)
    assert [trial.value for trial in study_of(journal).trials] == [1.0, 2.0]


def test_seeds_and_another_metric_of_another_direction(rlgan: Command) -> None:
    words = (
        "task.measures={score: ${task.lr}}",
        "task.lr=range(0.1,0.4,step=0.1)",
        "hydra.sweeper.n_trials=4",
        "seeds=2",
    )
    code, _, err = rlgan(*WORDS, *words, "hydra.sweeper.metric=score", "hydra.sweeper.direction=maximize")
    assert code == 0, err
    study = study_of(Path("s/journal.log"))
    assert all(trial.value == trial.params["task.lr"] < 0.31 for trial in study.trials)
    assert study.best_value == max(trial.params["task.lr"] for trial in study.trials)
    assert study.direction.name == "MAXIMIZE" and "score = " in err


def test_a_metric_that_no_run_measures_ends_the_search_at_once(rlgan: Command) -> None:
    wrong = ("hydra.sweeper.metric=distance/evl", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=5")
    code, _, err = rlgan(*WORDS, "task.lr=interval(0.1,0.2)", *wrong)
    assert code == 2 and "hydra.sweeper.metric = distance/evl: s/000_lr=" in err, err
    assert "did not measure it; did you mean distance/eval?" in err and len(trials()) == 1


@pytest.mark.parametrize("word", ["n_trials=0", "n_trials=x", "n_jobs=-1"])
def test_how_many_is_a_number_and_nothing_is_left_behind(rlgan: Command, word: str) -> None:
    code, _, err = rlgan(*WORDS, "task.lr=interval(0.1,0.2)", f"hydra.sweeper.{word}")
    said = word.replace("=", " = ")
    assert (code, err) == (2, f"rlgan: hydra.sweeper.{said}: must be a whole number of at least 1\n")
    assert not Path("s").exists()


def test_the_space_may_stand_in_an_experiment(rlgan: Command) -> None:
    Path("conf/experiment").mkdir()
    Path("conf/experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /task: quadratic\n  - override /hydra/sweeper: optuna\n"
        "  - _self_\nsteps: 4\nhydra:\n  sweeper:\n    n_trials: 2\n    params:\n      task.lr: interval(0.1,0.2)\n"
        "      flavour@noise: choice(normal,uniform)\n      steps: 5\n"
    )
    code, _, err = rlgan("-m", "experiment=mine", "progress=false", "logger=[]")
    (sweep,) = Path("outputs/quadratic").iterdir()
    assert code == 0 and sweep.name.endswith("_search") and err.splitlines()[-1] == "2 of 2 runs finished", err
    assert {json.loads(file.read_text())["step"] for file in sweep.glob("*/summary.json")} == {5}
    assert json.loads((sweep / "sweep.json").read_text())["varied"] == ["task.lr", "flavour@noise"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "hydra/sweeper = optuna: nothing is searched; name a space"),
        (("task.lr=tag(log,interval(0,1))",), "task.lr = tag(log,interval(0,1)): is no space ("),
        (
            ("task.lr=1,2", "hydra.sweeper.direction=up"),
            "hydra.sweeper.direction = up: must be auto, minimize or maximize",
        ),
        (
            ("task.lr=1,2", "hydra.sweeper.metric=score"),
            "hydra.sweeper.direction = auto: Quadratic does not say of score what is better; use minimize or maximize",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_line(rlgan: Command, words: Sequence[str], says: str) -> None:
    code, _, err = rlgan(*WORDS, *words)
    assert code == 2 and err.startswith(f"rlgan: {says}") and len(err.splitlines()) == 1, err


def test_a_sweeper_that_is_not_installed_says_which_extra(rlgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ['optuna>=4; extra == "search"'])
    code, _, err = rlgan(*WORDS, *SPACE)
    assert code == 2 and err == 'rlgan: hydra/sweeper = optuna: is not installed; pip install "rlgan[search]"\n'


def test_pruning_ends_what_is_worse_than_the_median_of_the_others(tmp_path: Path) -> None:
    study = study_of(tmp_path / "journal.log", direction="minimize")
    for value in (1.0, 2.0, 3.0):
        trial = study.ask()
        trial.report(value, 2)
        study.tell(trial, value)

    def ended(*values: float) -> list[bool]:
        """Whether the seeds of a new trial with these values at step 2 are ended."""
        study.ask().set_user_attr(NAME, "run")
        number = len(study.trials) - 1
        task = SimpleNamespace(best=("x", "min"), settings=SimpleNamespace(seeds=[1, 2], every_seed=[1, 2], steps=9))
        seeds = [Pruning(first_trials=2) for _ in values]
        for k, seed in enumerate(seeds):
            seed.task, seed.path = task, tmp_path / "run" / f"seed={k}"  # type: ignore[assignment]
            seed.on_start(0)
        for seed, value in zip(seeds, values, strict=True):
            seed.on_evaluation(2, {"x": value})
        for seed in seeds:
            seed.on_step(3)
        assert (PRUNED in study.trials[number].user_attrs) == all(seed.ending for seed in seeds)
        study.tell(number, state=optuna.trial.TrialState.FAIL)
        return [seed.ending is not None and not seed.ending.finished for seed in seeds]

    assert ended(1.0, 2.5) == [False, False]  # of the seeds the mean counts
    assert ended(1.0, 4.0) == [True, True]
    assert ended(0.5, 0.5) == [False, False]
    with pytest.raises(ValueError, match=r"keep = 1: must be between 0 and 1"):
        Pruning(keep=1)


def test_a_pruned_trial_is_no_failure(rlgan: Command) -> None:
    words = ("task.lr=interval(0.001,1)", "eval_every=2", "hydra.sweeper.n_trials=8", "hydra.sweeper.seed=1")
    code, _, err = rlgan(*WORDS, *words, "hydra.sweeper.pruner={keep: 0.5, first_trials: 2}")
    found = [trial.state.name for trial in trials()]
    assert code == 0 and found.count("PRUNED") > 0 and found.count("COMPLETE") >= 2, err
    assert err.splitlines()[-1] == f"{found.count('COMPLETE')} of 8 runs finished, {found.count('PRUNED')} pruned"
    pruned = next(trial for trial in trials() if trial.state.name == "PRUNED")
    code, _, err = rlgan(f"resume=s/{pruned.user_attrs[NAME]}")
    assert code == 0, err  # by itself it goes on
    assert "callbacks.pruning" not in json.loads(Path("s/best.json").read_text())["command"]
