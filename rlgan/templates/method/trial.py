"""The method by itself, and in a run."""

from pathlib import Path

import pytest
import torch

from rlgan.runs.cli import main
from rlgan.templates.method.piece import Mine


def test_a_long_gradient_is_cut_and_a_short_one_is_not() -> None:
    metric, theta = Mine(limit=1.0), torch.zeros(2)
    for g, length in ((torch.tensor([3.0, 4.0]), 1.0), (torch.tensor([0.3, 0.4]), 0.5)):
        state = metric.update(theta, g, metric.init(theta))
        assert float(metric.solve(g, state, {}).norm()) == pytest.approx(length)


def test_it_trains(tmp_path: Path) -> None:
    small = ["problem=quadratic", "steps=20", "progress=false", "logger=[]", "draw=false", "sharpness=false"]
    with pytest.raises(SystemExit) as end:
        main(["task=erm", "optimizer=my_name", *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and (tmp_path / "run" / "summary.json").is_file()
