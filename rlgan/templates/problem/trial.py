"""The problem by itself, and in a run."""

from pathlib import Path

import pytest

from rlgan.runs.cli import main
from rlgan.templates.problem.piece import Mine


def test_there_are_as_many_of_each_class() -> None:
    problem = Mine(samples=100)
    assert problem.inputs == (2,) and int(problem.train.y.sum()) == 50
    assert problem.test is not None and not problem.test.x.equal(problem.train.x)


def test_it_trains(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        small = ["steps=10", "progress=false", "logger=[]", "draw=false", "sharpness=false"]
        main(["task=erm", "problem=my_name", *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and (tmp_path / "run" / "summary.json").is_file()
