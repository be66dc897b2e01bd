"""`rlgan plot`: one page that needs nothing else, tables, figures; what is wrong is said in a line."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from rlgan.runs.study.finding import find_runs
from rlgan.runs.study.groups import sections
from rlgan.runs.study.reading import read_run
from rlgan.runs.study.response import draw_response
from rlgan.runs.study.study import draw_study, page_at_end
from rlgan.runs.study.tables import rows
from rlgan.task.errors import RunError
from rlgan.task.figure import plain
from tests.runs.study.written import write_run
from tests.small import ERM, rlgan


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of two groups of three seeds, a failed run with a hostile reason, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("study")
    for k in range(3):
        for option, worth in (("clip", 1.0), ("penalty", 4.0)):
            target = {"lipschitz._target_": f"mine.{option}", "seed": k}
            named = {"typed": [f"lipschitz={option}", f"seed={k}"], "choices": {"lipschitz": option}}
            write_run(folder / "runs" / f"{option}_{k}", (0.0, worth + k), target, **named)  # type: ignore[arg-type]
    failed = write_run(folder / "runs" / "failed", (), {"lipschitz._target_": "mine.clip", "seed": 9}, state="failed")
    (failed / "status.json").write_text('{"state": "failed", "reason": "<script src=http://evil.example>"}')
    broken = write_run(folder / "runs" / "broken<b>")
    (broken / "config.yaml").write_text("{")
    made = draw_study([folder / "runs"], folder / "to")
    assert made.page == folder / "to" / "study.html" and len(made.notes) == 1 and "broken" in made.notes[0]
    return folder / "to"


def test_the_page_needs_nothing_else_and_calls_nobody(study: Path) -> None:
    page = (study / "study.html").read_text()
    assert not re.search(r"<(script|link|iframe|object|base)\b", page) and "url(" not in page
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in re.findall(r'(?:src|href)="([^"]*)', page))
    assert "&lt;script src=http://evil.example&gt;" in page and "broken&lt;b&gt;" in page and "<of>" not in page
    assert f"<code>rlgan plot {study.parent / 'runs'}</code>" in page
    assert "default-src 'none'" in page and page.count("<img ") == len(list((study / "figures").iterdir())) == 5
    assert "7 runs: 6 finished, 1 failed" in page and "lipschitz=penalty" in page


def test_the_tables_say_what_was_found(study: Path) -> None:
    lines = (study / "table.md").read_text().splitlines()
    assert lines[0] == "**mine, Pendulum-v1: return/eval (more is better)**"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line]
    assert cells[0][:6] == ["lipschitz", "n", "not finished", "IQM", "95 % of the IQM", "mean"]
    assert cells[2] == ["penalty", "3", "", "5", "4 to 6", "5", "5", "4", "6"]  # the best one first
    assert cells[3][:4] == ["clip", "3", "1 failed", "2"]
    best, other = csv.DictReader((study / "table.csv").open())
    assert best["group"] == "penalty" and float(best["IQM_low"]) == 4 and best["command"] == "rlgan lipschitz=penalty"
    assert other["failed"] == "1" and other["finished"] == "3" and float(other["median"]) == 2
    runs = list(csv.DictReader((study / "runs.csv").open()))
    assert len(runs) == 7 and {run["return/eval"] for run in runs} == {"1.0", "2.0", "3.0", "4.0", "5.0", "6.0", ""}


def test_every_figure_is_drawn(study: Path) -> None:
    figures = {file.stem: image.imread(file) for file in (study / "figures").iterdir()}
    assert figures.keys() == {
        "curves_return_eval", "scores_return_eval", "improvement_return_eval", "profiles_return_eval", "curves_loss",
    }  # fmt: skip
    for name, pixels in figures.items():
        blue = (np.abs(pixels[..., :3] - np.array([0, 114, 178]) / 255) < 0.01).all(-1)
        assert blue.sum() > 100, f"{name}: the first group's colour"


def test_many_groups_of_one_seed_have_no_intervals_and_a_response(tmp_path: Path) -> None:
    for k in range(12):
        write_run(tmp_path / "runs" / str(k), (0.0, 1.0 * k), {"critic.optimizer.lr": 10.0 ** (k - 9)})
    made = draw_study([tmp_path / "runs"], tmp_path / "to", metrics=["return/eval"])
    assert "a configuration has one seed alone; no interval is drawn of it" in made.notes[0]
    names = {file.name for file in (tmp_path / "to" / "figures").iterdir()}
    assert names == {"curves_return_eval.png", "scores_return_eval.png", "response_return_eval.png"}
    assert made.table.splitlines()[2].split() == ["|", "critic.optimizer.lr", "|", "n", "|", "value", "|"]
    assert made.table.count("\n") == 12 + 4
    assert "Of the 12 groups the first 8 of the table are drawn" in made.page.read_text()


def test_the_best_comes_first_and_what_has_not_finished_behind(tmp_path: Path) -> None:
    for k, (worth, state) in enumerate([(1.0, "finished"), (9.0, "failed"), (2.0, "finished")]):
        write_run(tmp_path / str(k), (worth,), {"actor.optimizer.lr": k}, state=state)
    write_run(tmp_path / "empty", (), {"actor.optimizer.lr": 3}, state="failed")
    (section,) = sections([read_run(path) for path in find_runs([tmp_path])])
    order = {
        direction: [row.group.values["actor.optimizer.lr"] for row in rows(section, "return/eval", direction)]
        for direction in ("max", "min", "")
    }
    assert order == {"max": ["2", "0", "1", "3"], "min": ["0", "2", "1", "3"], "": ["0", "1", "2", "3"]}


def test_of_a_grid_lines_are_drawn_and_of_a_search_points(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(6):
        values = {"critic.optimizer.lr": 10.0 ** rng.uniform(-4, 0), "lipschitz.radius": float(rng.uniform())}
        typed = [f"{key}={value}" for key, value in values.items()]
        write_run(tmp_path / "search" / str(k), (values["critic.optimizer.lr"],), values, typed=typed)
        for j in range(2):
            write_run(tmp_path / "grid" / f"{k}{j}", (k - 9 * j,), {"critic.optimizer.lr": k, "lipschitz.radius": j})
    drawn = {}
    for name in ("search", "grid"):
        runs = [read_run(path) for path in find_runs([tmp_path / name])]
        (section,) = sections(runs)
        drawn[name] = draw_response(rows(section, "return/eval", "max"))
    search, grid = drawn["search"], drawn["grid"]
    assert search is not None and grid is not None
    assert [axes.get_xlabel() for axes in search.axes] == ["critic.optimizer.lr", "lipschitz.radius"]
    points, best = (np.asarray(line.get_xydata()) for line in search.axes[0].lines)
    assert len(points) == 6 and best.tolist() == [points[points[:, 1].argmax()].tolist()]
    assert search.axes[0].get_xscale() == "log"
    (axes,) = grid.axes
    curves = [np.asarray(line.get_xydata())[:, 1].tolist() for line in axes.lines]
    assert curves == [[0, 1, 2, 3, 4, 5], [-9, -8, -7, -6, -5, -4]]
    assert [line.get_label() for line in axes.lines] == ["lipschitz.radius=0", "lipschitz.radius=1"]


def test_more_than_four_groups_are_compared_in_a_table_of_colours(tmp_path: Path) -> None:
    for lr in range(5):
        for seed in range(2):
            write_run(tmp_path / "runs" / f"{lr}{seed}", (lr + seed / 9,), {"actor.optimizer.lr": lr, "seed": seed})
    draw_study([tmp_path / "runs"], tmp_path / "to")
    assert (tmp_path / "to" / "figures" / "improvement_return_eval.png").stat().st_size > 5000


def test_a_task_that_names_no_metric_is_asked_for_one(tmp_path: Path) -> None:
    write_run(tmp_path / "run", task=None)
    ended = rlgan("plot", str(tmp_path / "run"))
    assert ended.code == 2 and ended.err.endswith("name some, for example metric=loss\n")
    ended = rlgan("plot", str(tmp_path / "run"), "metric=loss", f"to={tmp_path / 'to'}")
    assert ended.code == 0 and "**mine, Pendulum-v1: loss**" in ended.out


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_stand(tmp_path: Path) -> None:
    for k, name in enumerate(("_a$^{", f"字{'x' * 300}", "b$_$")):
        for seed in range(2):
            write_run(tmp_path / "runs" / f"{k}{seed}", (1.0, 2.0 + seed), {"seed": seed, "env.$x": name})
    figures = draw_study([tmp_path / "runs"], tmp_path / "to").page.parent / "figures"
    wide = image.imread(figures / "scores_return_eval.png")[:, :, :3].min(-1) < 0.9
    assert len(list(figures.iterdir())) == 5 and wide[:, wide.shape[1] * 3 // 4 :].any()
    assert plain("_a$") == r" _a\$" and len(plain("x" * 99)) == 60


def test_a_run_without_a_figure_at_its_end_does_not_vanish_unsaid(tmp_path: Path) -> None:
    nan = float("nan")
    for seed, scores in enumerate([(1.0, 2.0), (3.0, nan), (nan, nan)]):
        write_run(tmp_path / "runs" / str(seed), scores, {"seed": seed, "threads": seed}, typed=[f"threads={seed}"])
    write_run(tmp_path / "runs" / "again", (1.0, 2.0), {"threads": 4}, typed=["threads=4"])
    study = draw_study([tmp_path / "runs"], tmp_path / "to")
    assert "configuration and seed: 1; the page names them; by=threads tells them apart" in study.notes[0]
    none, early = study.notes[1:]
    assert none.endswith(f"finished runs with no finite return/eval: not counted: 1 ({tmp_path}/runs/2)")
    assert early.endswith(f"no finite return/eval at the end: an earlier one counts: 1 ({tmp_path}/runs/1)")
    assert none in study.page.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "plot: name runs, or a folder with runs below it, for example: rlgan plot outputs"),
        ("runs metrics=loss", "metrics = loss: there is no such key; did you mean metric?"),
        ("runs by=", "by = : needs a value"),
        ("runs metric=los", "metric = los: no run has such a metric; did you mean loss?"),
        ("runs to=runs/0/config.yaml", "cannot be made"),
        ("gone/*", "gone/*: no such run or folder"),
    ],
)
def test_a_wrong_word_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "0")
    ended = rlgan("plot", *words.split())
    assert ended.code == 2 and says in ended.err and len(ended.err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_a_folder_of_its_own_is_made_and_old_figures_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for k in range(2):
        write_run(tmp_path / "runs" / str(k), changes={"actor.optimizer.lr": k})
    ended = rlgan("plot", "runs", "metric=return/eval")
    page = r"^outputs/studies/[\d_-]+_mine-actor\.optimizer\.lr/study\.html$"
    assert ended.code == 0 and re.search(page, ended.out, re.M)
    to = tmp_path / "to"
    (to / "figures").mkdir(parents=True)
    (to / "figures" / "curves_former.png").touch()
    (to / "study.html").touch()
    draw_study(["runs"], to, metrics=["loss"])
    assert {file.name for file in (to / "figures").iterdir()} == {"curves_loss.png", "scores_loss.png"}
    (to / "figures").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", to / "figures")
    with pytest.raises(RunError, match="its folder figures is a link"):
        draw_study(["runs"], to)
    assert page_at_end([tmp_path / "runs"], to).startswith("note: no page of the runs can be drawn (RunError: to = ")
    assert page_at_end([tmp_path / "runs" / "0"], to) == ""


def test_a_sweep_ends_with_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = (*ERM, "steps=4", "log_every=2", "draw=false", "compile=false", "network.hidden=[4]")
    ended = rlgan("-m", *words, "optimizer=adam,sgd", "run_dir=swept")
    assert ended.code == 0 and "page of all runs: swept/study/study.html" in ended.err
    table = Path("swept/study/table.md").read_text()
    assert "| optimizer | n |" in table and "risk/train (less is better)" in table and table.count("| 1 |") == 2
