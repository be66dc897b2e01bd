"""The environment by itself, and in a run."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from rlgan.runs.cli import main
from rlgan.templates.env.piece import Mine


def test_a_push_to_the_right_moves_to_the_right() -> None:
    env = gymnasium.make("Mine-v0")
    first, _ = env.reset(seed=0)
    second, reward, terminated, truncated, _ = env.step(np.ones(1, np.float32))
    assert isinstance(Mine(1), Mine) and second[1] > 0.98 * first[1]
    assert reward == pytest.approx(np.cos(second[0])) and not terminated and not truncated


def test_it_trains(tmp_path: Path) -> None:
    small = ["steps=150", "learning_starts=60", "batch_size=32", "capacity=1000", "eval_episodes=1", "progress=false"]
    with pytest.raises(SystemExit) as end:
        main(["task=ddpg", "env=my_name", *small, "logger=[]", f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and (tmp_path / "run" / "summary.json").is_file()
