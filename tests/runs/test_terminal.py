"""What the commands say: help for each of them, the latest run, words in unusual places, the closing table."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from rlgan.runs.record.progress import Legend, seeds_table, table
from rlgan.task.statistics import over_seeds
from tests.runs.conftest import Command
from tests.small import TASKS

SMALL = ("task=quadratic", "steps=4", "progress=false", "tensorboard=false")


def test_each_command_has_help_that_speaks_of_it_alone(rlgan: Command) -> None:
    code, training, _ = rlgan("train", "--help")
    assert code == 0 and training.startswith("rlgan train:") and "  flavour" in training
    assert "checkpoint=best" not in training
    code, measuring, _ = rlgan("evaluate", "--help")
    assert code == 0 and measuring.startswith("rlgan evaluate:") and "checkpoint=best" in measuring
    assert "keep_last" not in measuring and "flavour" not in measuring
    assert max(map(len, (training + measuring).splitlines())) <= 120


def test_train_may_be_said(rlgan: Command) -> None:
    assert rlgan("train", *SMALL, "run_dir=run")[0] == 0 and Path("run/summary.json").exists()


def test_evaluate_without_a_run_names_the_latest_and_latest_takes_the_first(rlgan: Command) -> None:
    code, _, err = rlgan("evaluate")
    assert code == 2 and "there is none below outputs/" in err and len(err.splitlines()) == 1
    for name in ("older", "newer"):
        assert rlgan(*SMALL, f"name={name}")[0] == 0
    runs = {name: next(Path("outputs/quadratic").glob(f"*{name}*")) for name in ("older", "newer")}
    os.utime(runs["older"] / "status.json", (1.0, 1.0))
    code, _, err = rlgan("evaluate")
    assert code == 2
    assert [line.split()[-1] for line in err.splitlines() if line.startswith("  rlgan evaluate ")] == [
        str(runs["newer"]), str(runs["older"])
    ]  # fmt: skip
    code, _, err = rlgan("evaluate", "latest")
    assert code == 0 and err.startswith(f"latest: {runs['newer']}\n") and (runs["newer"] / "evaluation.json").exists()
    os.utime(runs["newer"] / "status.json", (0.0, 0.0))
    code, _, err = rlgan("resume=latest", "steps=6")
    assert code == 0 and err.startswith(f"latest: {runs['older']}\n"), err
    assert json.loads((runs["older"] / "summary.json").read_text())["step"] == 6


def test_many_seeds_are_one_run_to_latest(rlgan: Command) -> None:
    assert rlgan(*SMALL, "seeds=2")[0] == 0
    (group,) = Path("outputs/quadratic").iterdir()
    code, _, err = rlgan("evaluate")
    assert code == 2 and err.count("rlgan evaluate outputs") == 1 and f"rlgan evaluate {group}\n" in err
    assert rlgan("evaluate", "latest")[0] == 0 and (group / "seed=1/evaluation.json").exists()


def test_latest_without_runs_is_one_line(rlgan: Command) -> None:
    for words in (["evaluate", "latest"], ["resume=latest"]):
        code, _, err = rlgan(*words)
        assert code == 2 and err.startswith("rlgan: latest: there is no run below ") and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("hydra.run.dir=here", "hydra.run.dir = here: a run's directory is chosen by run_dir=here"),
        ("hydra.sweep.dir=here", "hydra.sweep.dir = here: every run has a directory of its own"),
        ("hydra.job.chdir=true", "hydra.job.chdir = true: a run stays in the folder where it was started"),
        ("task=wgan critic.optimizer=adam", "did you mean optimizer@critic.optimizer=adam?"),
        ("task=wgan critic.optimizer=adm", "adm: adam is an option of the group optimizer; did you mean optimizer@"),
        ("task=wgan seed=1,2", "seed = 1,2: are several values; -m runs each of them, [1,2] is one list"),
        ("data=ring,grid", "data = ring,grid: are several values; -m runs each of them"),
        ("task=wgan optimizer.critic=adam", "did you mean optimizer@critic.optimizer=adam?"),
        ("task=ddpg actor.averaging=periodic", "did you mean averaging@actor.averaging=periodic?"),
        ("task=wgan optimizer.optimizer=adam", "optimizer@generator.optimizer=adam"),
    ],
)
def test_a_word_in_the_wrong_place_says_the_right_one(rlgan: Command, words: str, meant: str) -> None:
    code, _, err = rlgan(*words.split())
    assert code == 2 and meant in err and len(err.splitlines()) == 1
    assert sorted(item.name for item in Path.cwd().iterdir() if item.name != "__pycache__") == ["conf", "quadratic.py"]


@pytest.mark.parametrize(
    "words",
    [
        ("seed=1,2", "-m", *SMALL),
        ("-m", *SMALL, "seed=1,2"),
        ("seed=1,2", *SMALL, "hydra.mode=MULTIRUN"),
        ("--multirun", "seed=1,2", *SMALL),
    ],
    ids=["both sides", "in front", "by its mode", "in full"],
)
def test_a_sweep_is_asked_for_in_any_place_and_summed_up(rlgan: Command, words: tuple[str, ...]) -> None:
    code, _, err = rlgan(*words)
    assert code == 0 and err.splitlines()[-1] == "2 of 2 runs finished"
    assert len(list(Path("outputs/quadratic").glob("*_seed/seed=*/summary.json"))) == 2
    shutil.rmtree("outputs")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("resume=run --cfg job", "resume = run: cannot be combined with --cfg; leave it out"),
        ("resume=run,other", "resume = run,other: cannot be combined with -m"),
        ("resume=", "resume = : name a run's directory"),
        ("resume=damaged", "damaged/config.yaml: is damaged (it holds no keys and values)"),
        ("resume=torn", "torn/config.yaml: is damaged ("),
        ("-m task=wgan critic.optimizer=adam,rmsprop", "did you mean optimizer@critic.optimizer=adam,rmsprop?"),
        ("task=wgan hydra/launcher=jobli", "hydra/launcher = jobli: there is no such launcher; did you mean joblib?"),
        ("task=quadratic run_dir=/proc/nowhere", "run_dir = /proc/nowhere: cannot be made ("),
    ],
)
def test_odd_commands_and_damaged_runs_are_one_line(rlgan: Command, words: str, says: str) -> None:
    for name, text in (("damaged", "[1, 2]\n"), ("torn", "a: [1,\n")):
        Path(name).mkdir()
        (Path(name) / "config.yaml").write_text(text)
    code, _, err = rlgan(*words.split())
    assert code == 2 and says in err and len(err.splitlines()) == 1, err


def test_hydras_switches_may_stand_last(rlgan: Command) -> None:
    code, out, err = rlgan("task=quadratic", "steps=7", "steps=7", "--cfg", "job")
    assert code == 0 and "steps: 7" in out, err


def test_the_latest_run_may_lie_deep(rlgan: Command) -> None:
    assert rlgan(*SMALL, "run_dir=outputs/a/b/c/d")[0] == 0
    code, _, err = rlgan("evaluate", "latest")
    assert code == 0 and err.startswith("latest: outputs/a/b/c/d\n")


LEGEND = Legend(
    {"distance": ("w/",), "loss": ("critic/loss", "critic/norm")},
    {"w/primal": "exact W1", "w/dual": "the gap", "critic/loss": "what is minimised"},
)
METRICS = {
    "step": 9.0, "critic/norm": 1.0, "critic/loss": 2.0, "w/dual": 3.0, "w/primal": 0.5, "w/primal/ema": 0.4,
    "mine": 7.0, "time/seconds": 1.5,
}  # fmt: skip


def test_the_closing_table_is_grouped_explained_and_the_most_telling_first() -> None:
    lines = [" ".join(line.split()) for line in table(METRICS, LEGEND).splitlines()]
    assert lines == [
        "distance", "w/primal 0.5 exact W1", "w/primal/ema 0.4 exact W1 (ema)", "w/dual 3 the gap",
        "loss", "critic/loss 2 what is minimised", "critic/norm 1",
        "other", "mine 7",
        "run", "step 9", "time/seconds 1.5",
    ]  # fmt: skip


def test_the_table_of_seeds_has_the_same_headings() -> None:
    figures = over_seeds([METRICS, METRICS])
    lines = [line.split()[0] for line in seeds_table(figures, LEGEND).splitlines()[1:]]
    assert lines == [
        "distance", "w/primal", "w/primal/ema", "w/dual", "loss", "critic/loss", "critic/norm", "other", "mine",
        "run", "time/seconds",
    ]  # fmt: skip


def test_what_real_samples_would_have_stands_beside_and_the_narrowest_mode_is_named(rlgan: Command) -> None:
    code, out, err = rlgan(*TASKS["wgan"])
    assert code == 0, err
    cells = {line.split()[0]: line.split()[1:3] for line in out.splitlines() if line.startswith("  ")}
    real = dict(re.findall(r"(\S+/\S+) = ([\d.e-]+)", next(x for x in err.splitlines() if "real samples" in x)))
    assert len(real) == 6 and all(float(cells[tag][1]) == float(value) for tag, value in real.items())
    (remark,) = (line for line in out.splitlines() if line.startswith("the narrowest mode is number "))
    assert remark.split(": ")[1].split()[0] == f"{float(cells['modes/smallest_spread'][0]):.3g}"
    code, again, err = rlgan("evaluate", "latest", "n=300")
    assert code == 0 and again.splitlines()[-1].startswith("the narrowest mode is number "), err


@pytest.mark.parametrize("task", ["wgan", "ddpg"])
def test_a_runs_table_explains_all_it_prints_within_100_columns(rlgan: Command, task: str) -> None:
    code, out, err = rlgan(*TASKS[task])
    assert code == 0, err
    lines = out.splitlines()[: -3 if task == "wgan" else -2]
    assert max(map(len, lines)) <= 100
    rows = [line for line in lines if line.startswith("  ")]
    assert "other" not in lines and lines[0].split() == (["distance", "real"] if task == "wgan" else ["return"])
    assert all(len(row.split()) > 2 for row in rows if not row.split()[0].startswith(("step", "time/")))
