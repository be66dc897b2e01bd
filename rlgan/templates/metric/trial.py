"""The metric by itself, and in a run."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rlgan.runs.cli import main
from rlgan.templates.metric.piece import Mine


def test_it_measures_all_players() -> None:
    players = {
        name: SimpleNamespace(vector=SimpleNamespace(theta=torch.tensor(weights)))
        for name, weights in {"one": [0.0, -3.0], "two": [1.0, 0.1]}.items()
    }
    task = SimpleNamespace(learner=SimpleNamespace(players=players))
    assert Mine(below=0.5)(task) == {"largest": 3.0, "small": 0.5}
    with pytest.raises(ValueError, match="is for a task with players"):
        Mine().check(SimpleNamespace())


def test_a_run_has_its_numbers(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        small = ["steps=10", "progress=false", "logger=[]", "draw=false", "sharpness=false"]
        main(["task=erm", "metrics=[my_name]", *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["my_name/largest"] > 0
