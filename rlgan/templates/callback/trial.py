"""The callback by itself, and in a run that it ends."""

import json
from pathlib import Path

import pytest

from rlgan.runs.cli import main
from rlgan.templates.callback.piece import Mine


def test_it_ends_the_run_after_enough_good_evaluations_in_a_row() -> None:
    callback = Mine(metric="error/test", limit=0.5)
    for step, error in enumerate((0.4, 0.6, 0.5)):
        callback.on_evaluation(step, {"error/test": error})
        assert callback.ending is None
    callback.on_evaluation(3, {"error/test": 0.1})
    assert callback.ending is not None and callback.ending.finished


def test_a_run_ends_early(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        small = ["steps=50", "eval_every=2", "progress=false", "logger=[]", "draw=false", "sharpness=false"]
        own = ["callbacks=[my_name]", "callbacks.my_name.limit=1.0"]
        main(["task=erm", *own, *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and json.loads((tmp_path / "run" / "summary.json").read_text())["step"] == 4
