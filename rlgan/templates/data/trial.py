"""The data by themselves, and in a run."""

from pathlib import Path

import pytest
import torch

from rlgan.runs.cli import main
from rlgan.templates.data.piece import Mine


def test_samples_lie_about_the_circle() -> None:
    x = Mine(radius=3.0, sigma=0.1).sample(2000, torch.Generator().manual_seed(0))
    assert x.shape == (2000, 2) and abs(float(x.norm(dim=1).mean()) - 3.0) < 0.02


def test_it_trains(tmp_path: Path) -> None:
    small = ["steps=5", "batch_size=32", "progress=false", "logger=[]"]
    with pytest.raises(SystemExit) as end:
        main(["data=my_name", *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and (tmp_path / "run" / "summary.json").is_file()
