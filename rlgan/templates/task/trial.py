"""The task by itself, and as a run that is gone on with."""

import json
from pathlib import Path

import pytest

from rlgan.runs.cli import main
from rlgan.task import Settings
from rlgan.templates.task.piece import Mine


def test_it_learns_the_best_arm() -> None:
    task = Mine(Settings(steps=500))
    first = task.evaluate()["bandit/reward"]
    for _ in range(500):
        task.advance()
    assert first == pytest.approx(0.5) and task.evaluate()["bandit/reward"] > 0.6


def test_a_run_that_is_gone_on_with_is_the_run_in_one_piece(tmp_path: Path) -> None:
    for words in (["task=my_name", "steps=60", "run_dir=whole"], ["task=my_name", "steps=30", "run_dir=parts"]):
        name = words.pop().partition("=")[2]
        with pytest.raises(SystemExit) as end:
            main([*words, "logger=[]", "progress=false", "eval_every=30", f"run_dir={tmp_path / name}"])
        assert end.value.code == 0
    with pytest.raises(SystemExit) as end:
        main([f"resume={tmp_path / 'parts'}", "steps=60", "trust=[my_name]"])
    assert end.value.code == 0
    last = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "parts")]
    assert last[0]["bandit/reward"] == last[1]["bandit/reward"]
