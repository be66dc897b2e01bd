"""Two processes that train one run together, held against one with the joint minibatch (see ranks_trial.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlgan.optim import ranks
from tests.optim.ranks_trial import CASES, COMPILED

TRIAL = Path(__file__).with_name("ranks_trial.py")


def both(folder: Path, *words: str) -> list[dict[str, Any]]:
    """What the two found."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TRIAL), str(folder / "store")]
    two = [
        subprocess.Popen([*command, str(k), *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for k in range(2)
    ]
    said = [one.communicate(timeout=600) for one in two]
    assert [one.returncode for one in two] == [0, 0], [err[-3000:] for _, err in said]
    return [json.loads(out) for out, _ in said]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return both(tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", [*CASES, "stacked"])
def test_two_ranks_are_one_process_with_the_joint_minibatch(name: str, found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one[name]["theta"] < 1e-12 and one[name]["metrics"] < 1e-12 and one[name]["ranks"] == 0.0
        assert one[name]["moved"] > 1e-4


def test_a_nan_at_one_rank_stops_all_before_anything_is_written(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert "loss of critic" in one["nan"]["said"] and not one["nan"]["moved"] and one["nan"]["moves"] == 1


def test_what_cannot_be_shared_out_is_refused_with_a_size_that_can(found: list[dict[str, Any]]) -> None:
    said = found[1]["refused"]
    assert "batch_size = 33" in said["odd"] and "batch_size=32 or 34" in said["odd"]
    assert "batch_size=1436" in said["all, odd"]
    assert "Newton" in said["newton"] and "2 ranks" in said["newton"]


def test_what_ranks_tell_each_other(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["sum"] == 7 and one["first"] == ["of", 0]
        assert one["rows"] == [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0]]]


def test_no_thread_of_the_group_outlives_it(found: list[dict[str, Any]]) -> None:
    # It may abort the process as the interpreter ends: "terminate called without an active exception".
    assert [one["left"] for one in found] == [[], []]


@pytest.mark.slow
def test_so_are_compiled_ones(tmp_path: Path) -> None:
    for one in both(tmp_path, "compiled"):
        for name in (f"{name}, compiled" for name in COMPILED):
            assert one[name]["theta"] < 1e-12 and one[name]["metrics"] < 1e-12 and one[name]["ranks"] == 0.0
        assert one["nan, compiled"]["said"] and not one["nan, compiled"]["moved"]


def test_alone_nothing_is_asked_of_anybody() -> None:
    assert ranks.world() == ranks.ALONE and ranks.share("batch_size", 7) == 7
    assert ranks.sum_over_ranks(3) == 3 and ranks.of_first("mine") == "mine"
    with pytest.raises(ValueError, match="torchrun"):
        ranks.join()
