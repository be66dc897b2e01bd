"""The control by itself, and in a run."""

from pathlib import Path

import pytest
import torch

from rlgan.runs.cli import main
from rlgan.templates.control.piece import Mine


def test_a_slope_of_two_costs_two_to_the_power() -> None:
    g = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    assert torch.equal(Mine(power=4.0).phi(g), torch.tensor([16.0, 0.0]))


def test_it_trains(tmp_path: Path) -> None:
    small = ["steps=5", "batch_size=32", "progress=false", "logger=[]"]
    with pytest.raises(SystemExit) as end:
        main(["lipschitz=my_name", "optimizer@critic.optimizer=adam_wgan", *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and (tmp_path / "run" / "summary.json").is_file()
