"""The picture by itself, and in a run."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rlgan.runs.cli import main
from rlgan.templates.picture.piece import Mine


def test_it_draws_a_line_for_each_player() -> None:
    player = SimpleNamespace(vector=SimpleNamespace(theta=torch.randn(20)))
    task = SimpleNamespace(learner=SimpleNamespace(players={"one": player, "two": player}))
    (axes,) = Mine(bins=5)(task).axes
    assert axes.get_legend_handles_labels()[1] == ["one", "two"]


def test_a_run_has_the_picture(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        small = ["steps=10", "progress=false", "logger=[]", "sharpness=false"]
        main(["task=erm", "pictures=[my_name]", *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and list((tmp_path / "run" / "pictures").rglob("*my_name*"))
