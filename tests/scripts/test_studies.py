"""Studies: cells compose and train, results are kept cell by cell, and tables say what the CSV holds."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from rlgan.gan import evaluation
from rlgan.gan.wgan import WGAN
from rlgan.runs.config.sources import ROOT
from rlgan.runs.options import conf_directory
from scripts.benchmarks.harness import Report
from scripts.studies import gan, gan_truth, rl, study
from tests.small import build

SMALL = ("log_every=0", "compile=false", "batch_size=8", "generator.network.hidden=[8]", "critic.network.hidden=[8,8]")


def small(cell: study.Cell) -> study.Cell:
    """The cell at the size of a test."""
    return study.Cell(cell.labels, (*cell.overrides, *SMALL), cell.averages)


def figures(cell: study.Cell, tags: dict[str, str], value: float, seeds: int = 2) -> list[dict[str, str | float]]:
    """Rows as `study.train` returns them."""
    more = {"seconds": 1.5, "cpu_seconds": 1.0}
    return [
        {**cell.labels, "average": average, "seed": str(k), **dict.fromkeys(tags, value + k), **more}
        for k in range(seeds)
        for average in cell.averages
    ]


def test_the_cells_are_the_whole_table() -> None:
    cells = gan.cells(5, 1000)
    assert len({cell.command for cell in cells}) == len(cells) == 2 * 5 * 4
    assert len({cell.command for cell in gan_truth.cells(5, 200)}) == 10 * 6
    (clip,) = [cell for cell in cells if cell.title == "grid, clip, alternating 3"]
    seeds = "seeds=[10,11,12,13,14]"
    assert {"data=grid", "lipschitz=clip", "game=alternating_3", seeds, "steps=1000"} <= set(clip.overrides)


def test_two_cells_train_and_are_not_trained_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What takes its time and is tested elsewhere: optimal transport of 1,024 samples, and pictures.
    monkeypatch.setattr(evaluation, "PRIMAL_SAMPLES", 64)
    monkeypatch.setattr(evaluation, "pictures", lambda *given: {})
    monkeypatch.setattr("rlgan.runs.study.study.page_at_end", lambda *given: "")
    cells = [
        small(cell)
        for cell in gan.cells(seeds=2, steps=2)
        if cell.title in ("ring, GroupSort, extragradient", "grid, clip, alternating 3")
    ]
    table = gan.study_table(tmp_path / "results" / "study.csv")
    study.work(cells, table, gan.TAGS, "ring")
    assert table.commands == [cells[1].command] and "1 cells to train" in capsys.readouterr().out
    study.work(cells, table, gan.TAGS, "")
    assert table.commands == [cells[1].command, cells[0].command] and "1 cells to train" in capsys.readouterr().out
    rows = table.rows
    assert len(rows) == 2 * 2 * 3
    assert {row["average"] for row in rows} == set(gan.AVERAGES) and {row["seed"] for row in rows} == {"10", "11"}
    assert all(math.isfinite(float(row[column])) for row in rows for column in gan.TAGS)
    groupsort = [row for row in rows if row["control"] == "GroupSort"]
    assert len(groupsort) == 6 and all(0 < float(row["slope"]) < 1 + 1e-5 for row in groupsort)
    # Averages of one run after two steps: three generators, one critic.
    first = [row for row in groupsort if row["seed"] == "10"]
    assert len({row["w1"] for row in first}) > 1 and len({row["slope"] for row in first}) == 1
    lines = gan.summary(rows).splitlines()
    assert len(lines) == 2 + 2 * 3 and all(line.count("|") == lines[0].count("|") for line in lines)


@pytest.mark.parametrize("control", gan_truth.CONTROLS)
def test_the_cells_of_known_distances_build(control: str) -> None:
    (cell,) = [cell for cell in gan_truth.cells(1, 2) if cell.title == f"cone_128, {control}"]
    task = build(*cell.overrides, "device=cpu")
    assert isinstance(task, WGAN) and task.data.shape == (128,)
    assert (type(task.lipschitz).__name__ == "NoControl") == (control == "GroupSort")
    task.close()


def test_a_cell_that_cannot_start_says_why() -> None:
    cell = study.Cell({"control": "none"}, ("experiment=gan/study", "seeds=2", "lipschitz=no_such"))
    with pytest.raises(RuntimeError, match=r"exit code 2\n(.|\n)*no_such"):
        study.train(cell, {})


def test_a_csv_keeps_whole_cells(tmp_path: Path) -> None:
    table = study.Table(tmp_path / "t.csv", ("data", "seed", "w1"), ("what made it",))
    assert table.rows == [] and table.commands == []
    table.add("python scripts/train.py a", [{"data": "ring", "seed": "0", "w1": 0.25}])
    table.add("python scripts/train.py b", [{"data": "grid", "seed": "0", "w1": math.nan}])
    assert (tmp_path / "t.csv").read_text() == (
        "# what made it\ndata,seed,w1\n# python scripts/train.py a\nring,0,0.25\n# python scripts/train.py b\n"
        "grid,0,nan\n"
    )
    assert table.commands == ["python scripts/train.py a", "python scripts/train.py b"]
    with (tmp_path / "t.csv").open() as file:
        assert list(csv.DictReader(line for line in file if line[0] != "#")) == table.rows


def test_a_failed_seed_is_left_out_of_means() -> None:
    rows = [{"w1": "1"}, {"w1": "nan"}, {"w1": "4"}]
    assert study.means(rows, ("w1",)) == {"w1": [2.5, 1.0, 4.0]}
    assert all(math.isnan(value) for value in study.means(rows[1:2], ("w1",))["w1"])


def test_the_interval_of_a_mean_is_students() -> None:
    low, up = study.t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    # t_(0.975, 4) = 2.776 and s = sqrt 2.5, from a table.
    assert low == pytest.approx(3 - 2.776 * math.sqrt(2.5 / 5), abs=1e-3) and low + up == pytest.approx(6)
    assert all(math.isnan(end) for end in study.t_interval([1.0]))


def test_means_that_differ_are_told_apart_and_no_more_often_than_promised() -> None:
    near, far = [0.1, 0.2, 0.3, 0.4, 0.5], [3.1, 3.2, 3.3, 3.4, 3.5]
    groups = {"low": near, "high": far, "alike": [value + 0.01 for value in near], "lost": [0.3]}
    apart, rest = study.told_apart(groups)
    assert {*apart} == {("high", "low"), ("high", "alike")} and len(apart) + len(rest) == 6
    # Of six groups of one mean some pair is told apart in 5 % of the draws at most; without Holm's rule in 30 %.
    draws = np.random.default_rng(0).normal(size=(60, 6, 5))
    wrong = sum(bool(study.told_apart({str(k): list(own) for k, own in enumerate(draw)})[0]) for draw in draws)
    assert wrong <= 0.05 * 60 + 2 * math.sqrt(0.05 * 0.95 * 60)


def test_what_can_be_concluded_is_said_for_controls_and_for_orders_of_play(tmp_path: Path) -> None:
    table = gan.study_table(tmp_path / "study.csv")
    for cell in gan.cells():
        data, control, game = cell.labels.values()
        if data == "grid" and control in ("GP", "clip"):
            high = 0.8 if (control, game) == ("GP", "simultaneous") else 0.2
            rows = figures(cell, gan.TAGS, 0.0, seeds=3)
            table.add(cell.command, [row | {"high_quality": high + 0.01 * int(str(row["seed"]))} for row in rows])
    said = gan.conclusions(table.rows).splitlines()
    assert "- grid, simultaneous: GP > clip; not told apart: none" in said
    assert "- grid, alternating: none; not told apart: clip and GP" in said
    (orders,) = [line for line in said if line.startswith("- grid, GP: ")]
    assert orders.startswith(
        "- grid, GP: simultaneous > alternating, simultaneous > alternating 3, simultaneous > extra"
    )
    assert len(said) == 1 + 4 + 2


def test_tables_and_pictures_are_made_of_what_is_there(tmp_path: Path) -> None:
    table = gan.study_table(tmp_path / "study.csv")
    cell = next(cell for cell in gan.cells() if cell.title == "grid, SN, simultaneous")
    table.add(cell.command, figures(cell, gan.TAGS, 0.5))
    line = gan.summary(table.rows).splitlines()[2]
    # Of two seeds an interval is all that a share can be.
    assert line.startswith("| grid | SN | simultaneous | ema | 1.0 (0) | 100.0 (50) | 0, 100 | 1.00 (0.50) | 1.000 ")
    gan.draw(table.rows, tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes()[:4] == b"\x89PNG"


def test_ratios_are_taken_over_the_truth_seed_by_seed(tmp_path: Path) -> None:
    table = gan_truth.truth_table(tmp_path / "truth.csv")
    cell = next(cell for cell in gan_truth.cells() if cell.title == "atoms, GroupSort")
    rows = figures(cell, gan_truth.TAGS, 3.0)
    table.add(cell.command, [row | {"true": 4.0} for row in rows])
    assert [float(row["estimate_over_true"]) for row in gan_truth.over_true(table.rows)] == [0.75, 1.0]
    assert "| atoms | GroupSort | 4 | 0.875 (0.750 to 1.000) |" in gan_truth.summary(table.rows)


def test_the_bounds_of_all_cells_are_held_against_their_level(tmp_path: Path) -> None:
    table = gan_truth.truth_table(tmp_path / "truth.csv")
    for cell in gan_truth.cells(5):
        rows = figures(cell, gan_truth.TAGS, 3.9, seeds=5)  # of a true 4: at most 4, then four seeds above
        below = cell.labels["control"] != "clip"
        table.add(cell.command, [row | {"true": 4.0, "lower_bound": 3.0 if below else row["dual"]} for row in rows])
    report = Report()
    gan_truth.judge(table.rows, report)
    share = report.marks[-1]
    # Forty of 300 are above; allowed are 5 % and two binomial standard deviations, 22.
    assert str(share["mark"]).startswith("share of 300 bounds") and share["value"] == 1 - 40 / 300
    assert share["met"] == "False"
    assert len(report.marks) == 2 * 10 + 1 and {mark["met"] for mark in report.marks[:-1]} == {"True"}


def evaluations(cell: study.Cell, *seeds: list[float]) -> list[dict[str, str | float]]:
    """Rows of a cell whose seeds had these returns at steps 100, 200, ..."""
    rest = dict.fromkeys((*rl.TAGS, "seconds", "cpu_seconds"), 1.0)
    return [
        {**cell.labels, "seed": str(k), "step": str(100 * (i + 1)), **rest, "return": value}
        for k, seed in enumerate(seeds)
        for i, value in enumerate(seed)
    ]


def explored(id: str, exploration: str) -> study.Cell:
    """The cell of an environment and an exploration."""
    (cell,) = [cell for cell in rl.cells() if cell.title == f"exploration, {id}, ddpg, {exploration}"]
    return cell


def test_the_explorations_are_the_whole_table_at_one_scale_an_environment() -> None:
    cells = [cell for cell in rl.cells() if cell.title.startswith("exploration")]
    assert len({cell.command for cell in cells}) == len(cells) == 2 * 5 + 2 * 6
    for task in rl.TASKS:
        own = [set(cell.overrides) for cell in cells if cell.labels["environment"] == task.id]
        shared = set.intersection(*own)
        assert {*task.overrides, f"steps={task.steps}", "seeds=5", f"eval_every={task.steps // 10}"} <= shared
        noises = [item for given in own for item in given - shared if not item.startswith("exploration=")]
        sparse = task.id in rl.SPARSE
        assert noises.count("exploration.dt=0.01") == sparse
        noises = [item for item in noises if item != "exploration.dt=0.01"]
        assert {item.partition("=")[2] for item in noises} == {str(task.scale)}
        assert len(noises) == 1 + 1 + sparse + 2 + 3
    assert {task.scale for task in rl.TASKS if task.id in rl.SPARSE} == {0.6}
    assert all(task.steps >= 100_000 for task in rl.TASKS if task.id in rl.SPARSE)


def test_the_ready_experiments_are_explored_by_the_defaults_of_each_exploration_on_fresh_seeds() -> None:
    cells = [cell for cell in rl.cells() if cell.labels["table"] == "defaults"]
    assert len(cells) == len(rl.DEFAULTS) * len(rl.OWN)
    ready = [cell for cell in rl.cells() if cell.labels["table"] == "ready"]
    assert [cell.labels["environment"] for cell in ready] == list(rl.READY) and set(rl.READY) <= set(rl.SOLVED)
    for cell in cells + ready:
        assert rl.FRESH in cell.overrides and not any(".sigma=" in word for word in cell.overrides)
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            values = compose(ROOT, overrides=list(cell.overrides))
        assert cell.labels["environment"] in values["env"]["id"]
        assert values["steps"] >= 10 * values["eval_every"]


def test_a_cell_of_explorations_keeps_every_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlgan.rl.trainer.Trainer.pictures", lambda task: {})
    monkeypatch.setattr("rlgan.runs.study.study.page_at_end", lambda *given: "")
    title = "exploration, Pendulum-v1, ddpg, mixed"
    (cell,) = [cell for cell in rl.cells(seeds=2, steps=200) if cell.title == title]
    size = ("compile=false", "batch_size=8", "learning_starts=20", "eval_every=100", "log_every=100", "eval_episodes=2")
    networks = ("critic.network.hidden=[8]", "actor.network.hidden=[8]")
    table = rl.study_table(tmp_path / "study.csv")
    tiny = study.Cell(cell.labels, (*cell.overrides, *size, *networks), evaluations=True)
    study.work([tiny], table, rl.TAGS, "")
    assert [(row["seed"], row["step"]) for row in table.rows] == [(k, n) for k in "01" for n in ("100", "200")]
    assert all(math.isfinite(float(row["return"])) for row in table.rows)
    # Adapted every 50 updates; 80 and 180 were made.
    assert all(float(row["distance"]) > 0 and 0 < float(row["sigma"]) != 0.2 for row in table.rows)
    assert [curve.steps for curve in rl.curves(table.rows)] == [(100, 200)] * 2


def test_the_marks_compose() -> None:
    for cell in rl.cells():
        if cell.labels["table"] == "marks":
            with initialize_config_dir(str(conf_directory()), version_base="1.3"):
                values = compose(ROOT, overrides=list(cell.overrides))
            assert values["steps"] % values["eval_every"] == 0 and values["compile"] is True
            assert values["agent"]["_target_"].lower().endswith(cell.labels["agent"])
            assert values["env"]["id"] == cell.labels["environment"]


def test_solved_seeds_are_counted_at_the_end_and_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = rl.study_table(tmp_path / "study.csv")
    failed: dict[str, str | float] = {"seed": "3", "step": math.nan, "return": math.nan}
    for exploration, seeds in {
        "gaussian": ([0.0, 0.5, 0.4], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        "ou": ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        "parameter": ([0.0, 0.5, 0.5], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]),
    }.items():
        cell = explored("SparseMountainCar", exploration)
        rows = evaluations(cell, *seeds)
        table.add(cell.command, [*rows, {**rows[0], **failed}] if exploration == "gaussian" else rows)
    curve = rl.Curve((100, 200, 300), (0.0, 0.5, 0.4))
    assert curve.first(0.5) == 200 and not curve.ends(0.5) and curve.first(0.6) is None
    lines = rl.summary(table.rows).splitlines()[2:]
    # Of four seeds, one failed: one is solved at the end, two were at some time, at steps 200 and 100.
    assert "| 0.5 | 1 of 4 | 2 of 4 | 150 |" in lines[0]
    assert "| 0.5 | 0 of 2 | 0 of 2 | none |" in lines[1]
    assert "| 0.5 | 3 of 3 | 3 of 3 | 200 |" in lines[2]
    report = Report()
    rl.judge(table.rows, report)
    (mark,) = report.marks
    assert mark["value"] == pytest.approx(1 - 1 / 4) and mark["met"] == "True"
    rl.draw(table.rows, tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes()[:4] == b"\x89PNG"


def test_marks_are_of_the_last_return(tmp_path: Path) -> None:
    table = rl.study_table(tmp_path / "study.csv")
    for cell in rl.cells():
        if cell.labels["table"] == "marks":
            # Four seeds: the least and the largest are left out of the interquartile mean.
            table.add(cell.command, evaluations(cell, [9e9, -9e9], [0.0, -100.0], [0.0, -200.0], [0.0, 9e9]))
    report = Report()
    rl.judge(table.rows, report)
    found = {str(row["mark"]).partition(":")[0]: row["value"] for row in report.marks}
    assert found["Pendulum-v1, ddpg"] == found["Pendulum-v1, td3"] == -150.0
    assert found["InvertedPendulum-v5, td3"] == found["HalfCheetah-v5, td3"] == -75.0
