"""The agent by itself, and in a run."""

from pathlib import Path

import pytest
import torch

from rlgan.runs.cli import main
from rlgan.templates.agent.piece import Mine


def test_it_never_acts_beyond_its_limit() -> None:
    action = Mine(limit=0.5).act(torch.nn.Linear(3, 2), 100 * torch.randn(50, 3))
    assert action.shape == (50, 2) and action.abs().max() == 0.5


def test_it_trains(tmp_path: Path) -> None:
    small = ["steps=150", "learning_starts=60", "batch_size=32", "capacity=1000", "eval_episodes=1", "progress=false"]
    with pytest.raises(SystemExit) as end:
        main(["task=ddpg", "agent=my_name", *small, "logger=[]", f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and (tmp_path / "run" / "summary.json").is_file()
