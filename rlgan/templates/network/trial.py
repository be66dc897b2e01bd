"""The network by itself, and in a run."""

from pathlib import Path

import pytest
import torch

from rlgan.runs.cli import main
from rlgan.templates.network.piece import Mine


@pytest.mark.parametrize(("inputs", "outputs"), [((3,), ()), ((3,), (2,)), ((1, 8, 8), (10,))])
def test_it_is_built_for_any_shapes(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    assert Mine(width=8, depth=1).build(inputs, outputs)(torch.randn(5, *inputs)).shape == (5, *outputs)


def test_it_trains(tmp_path: Path) -> None:
    small = ["problem=two_moons", "steps=10", "progress=false", "logger=[]", "draw=false", "sharpness=false"]
    with pytest.raises(SystemExit) as end:
        main(["task=erm", "network=my_name", *small, f"run_dir={tmp_path / 'run'}"])
    assert end.value.code == 0 and (tmp_path / "run" / "summary.json").is_file()
