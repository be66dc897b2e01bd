"""The study of tasks with a known optimum: what was chosen on is not reported on, and what counts as reached."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from scripts.benchmarks.harness import Options, Report
from scripts.studies import known, study
from scripts.studies.known_peers import environment
from scripts.studies.known_pendulum import STEPS, optimum
from scripts.studies.known_tasks import DRAWN, SETS, KnownTask, drawn
from tests.runs.config.test_conf import composed


def test_nothing_is_reported_on_what_was_chosen_on() -> None:
    (chosen, seeds), (reported, others) = SETS["choosing"], SETS["reporting"]
    assert not set(seeds) & set(others) and len(reported) >= 8 and tuple(reported) == drawn(DRAWN) != drawn(DRAWN + 1)
    same = {str((task.env, task.kwargs, task.limit)) for task in chosen} & {
        str((task.env, task.kwargs, task.limit)) for task in reported
    }
    assert same == {str(("pendulum", {}, None))}
    again, fresh = SETS["again"]
    assert not {str(task.kwargs) for task in again} & {str(task.kwargs) for task in (*chosen, *reported)}
    assert not set(fresh) & {*seeds, *others} and sum(task.title == "LQR unstable" for task in again) == 6


def test_the_words_of_a_task_are_the_environment_of_the_peers() -> None:
    for tasks, _ in SETS.values():
        for task in tasks[1::3]:
            made = environment(task)
            config = composed("task=ddpg", *task.overrides)[0]["env"]
            assert config["id"] == task.id
            given = {key: value for key, value in config["kwargs"].items() if key in task.kwargs}
            assert given == task.kwargs and (config["max_episode_steps"] or 50) == (task.limit or 50)
            if task.env == "lqr":
                physics = made.unwrapped._physics
                assert physics.system.A.shape[0] == made.observation_space.shape[0]
                optimum = made.unwrapped.known.optimum([0, 1, 2], made.spec.max_episode_steps)
                assert (optimum < 0).all() and np.isfinite(optimum).all()


def test_cells_are_different_and_each_composes() -> None:
    every = known.cells()
    wanted = 2 * (sum(len(tasks) for tasks, _ in SETS.values()) + len(known.REMEDIES) * len(SETS["choosing"][0]))
    assert len({cell.command for cell, _ in every}) == len(every) == wanted
    assert not any(cell.labels["method"] in known.REMEDIES for cell, _ in every if cell.labels["set"] != "choosing")
    remedy = composed(*next(cell for cell, _ in every if cell.labels["method"] == "none").overrides)[0]
    assert remedy["critic"]["network"]["norm"] == "none"
    assert (remedy["deploy"], remedy["agent"]["huber"]) == ("last", None)
    cell, task = next(pair for pair in every if pair[0].title == "reporting, Pendulum-v1, rlgan, td3")
    config = composed(*cell.overrides)[0]
    assert (config["steps"], task.title) == (task.steps, "Pendulum-v1") and "agent=td3" in cell.overrides
    peers = known.others()
    assert len({peer.command for peer in peers}) == len(peers) and [peer.seed for peer in peers] == sorted(
        peer.seed for peer in peers
    )


@pytest.mark.parametrize(
    ("env", "score", "optimum", "distance", "reached"),
    [
        ("bandit", -5.0, 0.0, 0.02, True),
        ("bandit", 0.0, 0.0, 0.021, False),
        ("lqr", -1.2, -1.0, np.nan, True),
        ("lqr", -1.21, -1.0, np.nan, False),
        ("sparse_walk", 20.7, 23.0, np.nan, True),
        ("sparse_walk", 20.6, 23.0, np.nan, False),
        ("pendulum", -157.0, -142.0, np.nan, True),
        ("pendulum", -158.0, -142.0, np.nan, False),
        ("lqr", np.nan, -1.0, np.nan, False),
    ],
)
def test_what_counts_as_reached(env: str, score: float, optimum: float, distance: float, reached: bool) -> None:
    assert KnownTask("", env, 1).reached(score, optimum, distance) == reached


def test_the_best_swing_up_is_what_the_environment_pays_for_it() -> None:
    coarse = optimum([0, 1, 2, 3], (60, 61, 9))
    fine = optimum([0, 1, 2, 3], (120, 121, 9))
    assert (coarse < 0).all() and fine.mean() >= coarse.mean() - 1.0
    idle = []
    for seed in range(4):
        env = gymnasium.make("Pendulum-v1")
        env.reset(seed=seed)
        idle.append(sum(float(env.step(np.zeros(1, np.float32))[1]) for _ in range(STEPS)))
    assert (fine > np.array(idle) + 100).all() and (fine > -420).all()


@pytest.mark.slow
def test_a_cell_is_trained_by_its_command_and_its_rows_say_how_far_it_is(tmp_path: Path) -> None:
    table = known.known_table(tmp_path / "known.csv")
    ((cell, task),) = [pair for pair in known.cells(2, 140) if pair[0].title == "choosing, bandit inside, rlgan, ddpg"]
    small = study.Cell(cell.labels, (*cell.overrides, "learning_starts=128", "batch_size=8", "eval_episodes=2"))
    table.add(small.command, [known.judged(row, task) for row in study.train(small, known.TAGS)])
    rows = table.rows
    assert table.commands == [small.command] and [row["seed"] for row in rows] == ["0", "1"]
    assert all(float(row["distance"]) > 0.02 and row["reached"] == "0" for row in rows)
    assert float(rows[0]["optimum"]) == pytest.approx(0.0, abs=1e-9) and float(rows[0]["return"]) < 0


def test_the_table_counts_seeds_and_shows_the_worst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = known.known_table(tmp_path / "known.csv")
    cell, task = next(pair for pair in known.cells() if pair[0].title == "reporting, LQR stable, rlgan, ddpg")
    figures = {**dict.fromkeys(known.TAGS, np.nan), "seconds": 1.0, "cpu_seconds": 1.0, "optimum": -1.0}
    peer = {**cell.labels, "method": "sbx"}
    for labels, command, steps in ((cell.labels, cell.command, None), (peer, "peer one", 400), (peer, "peer two", 500)):
        rows = [
            known.judged({**labels, **figures, "seed": str(seed), "return": score}, task, steps)
            for seed, score in enumerate((-1.2, -3.0))
        ]
        table.add(command, rows)
    assert table.commands == [cell.command, "peer one", "peer two"]
    report = Report()
    known.run(Options(1, table=True, csv=table.path), report)
    shown = capsys.readouterr().out
    assert "| LQR stable | 20,000 | 1 of 2: 1.1 (2) | 1 of 2: 1.1 (2), 500 steps |" in shown
    assert "| all |  | 1 of 2 | 1 of 2 |" in shown and table.path.with_suffix(".png").exists()
    assert [round(known.lost(row), 3) for row in table.rows[:2]] == [0.2, 2.0]


def test_many_methods_are_the_rows_and_tasks_the_columns() -> None:
    cell, task = next(pair for pair in known.cells() if pair[0].title == "choosing, LQR stable, none, ddpg")
    figures = {**dict.fromkeys(known.TAGS, np.nan), "seconds": 1.0, "cpu_seconds": 1.0, "optimum": -1.0}
    rows = [
        {key: str(value) for key, value in known.judged(
            {**cell.labels, **figures, "method": method, "seed": "0", "return": -1.5}, task
        ).items()}
        for method in known.REMEDIES
    ]  # fmt: skip
    lines = known.summary(rows).splitlines()
    assert lines[0] == "|  | LQR stable | all |" and lines[2] == "| steps | 20,000 |  |"
    assert "| PopArt DDPG | 0 of 1: 0.5 (0.5) | 0 of 1 |" in lines and len(lines) == 3 + len(known.REMEDIES)


def test_the_page_shows_the_table_of_the_rows_that_are_kept() -> None:
    page = Path("scripts/README.md").read_text()
    rows = known.known_table(study.RESULTS / "rl" / "known.csv").rows
    for name in SETS:
        own = known.summary([row for row in rows if row["set"] == name])
        assert page.count(own) == 1, f"{name}: replace its table by that of `python scripts/benchmark.py known --table`"
