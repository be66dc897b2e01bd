"""A run that comes to no update says so."""

from __future__ import annotations

import pytest

from rlgan.rl.sizes import idle
from tests.small import TASKS, rlgan


@pytest.mark.parametrize(
    ("steps", "starts", "ratio", "move", "said"),
    [(500, 1000, 1.0, 1, True), (60, 60, 1.0, 1, True), (61, 60, 1.0, 1, False), (100, 0, 0.01, 2, True),
     (200, 0, 0.01, 2, False), (10, 0, 0.1, 1, False)],
)  # fmt: skip
def test_a_run_without_an_update_is_known(steps: int, starts: int, ratio: float, move: int, said: bool) -> None:
    assert bool(idle(steps, starts, ratio, move)) == said


def test_it_stands_in_the_notes_of_the_run() -> None:
    words = (*TASKS["ddpg"], "compile=false", "steps=20")
    (note,) = [line for line in rlgan(*words).err.splitlines() if "nothing is trained" in line]
    assert "updates begin after 60 random steps" in note and "learning_starts=" in note
