"""The closing line: which checkpoint is the best one, and how the last one compares."""

from pathlib import Path
from typing import Literal

from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.kept import Kept, closing_line, kept

BEST: tuple[str, Literal["min", "max"]] = "return/eval", "max"


def test_the_best_and_the_last_checkpoint_are_told(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep_last=1, best=BEST)
    assert kept(tmp_path, BEST) is None and closing_line([], BEST[0]) == ""
    for step, value in ((1000, -3.0), (2000, 94.25), (3000, 2.0)):
        checkpoints.save(step, {}, {"return/eval": value}, {})
    found = kept(tmp_path, BEST)
    assert found == Kept(2000, 94.25, 3000, 2.0)
    line = closing_line([found], BEST[0])
    assert line.startswith("best checkpoint: of step 2,000: return/eval 94.25; the last one, of step 3,000: 2 ")
    checkpoints.save(4000, {}, {}, {})  # not evaluated
    assert kept(tmp_path, BEST) == Kept(2000, 94.25, 4000, None)


def test_a_run_that_ends_at_its_best_says_so() -> None:
    assert closing_line([Kept(5, 1.5, 5, 1.5)], "loss") == "best checkpoint: the last one, of step 5: loss 1.5"


def test_over_seeds_the_means_and_the_span_of_steps_are_told() -> None:
    found = [Kept(1000, 90.0, 3000, -10.0), Kept(3000, 94.0, 3000, 94.0)]
    line = "best checkpoints: of steps 1,000 to 3,000: return/eval 92 in the mean; the last ones: 42"
    assert closing_line(found, "return/eval") == line
    assert "of step 1,000:" in closing_line([found[0]] * 2, "return/eval")
