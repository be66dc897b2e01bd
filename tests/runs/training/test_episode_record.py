"""RUN/episodes.jsonl: every episode of training, also of a run that goes on, of many seeds, in TensorBoard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlgan.rl.border.ended import EndedEpisodes
from rlgan.rl.border.rows import Episode
from rlgan.runs.training.episodes import EpisodeRecord
from rlgan.task.task import Ended
from tests.small import TASKS, rlgan, train

SHORT = (*TASKS["ddpg"], "env.max_episode_steps=20", "env.num_envs=2", "compile=false", "checkpoint_every=60")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlgan.rl.trainer.Trainer.pictures", lambda self: {})


def rows(run: Path) -> list[dict[str, Any]]:
    """episodes.jsonl without its times."""
    lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
    assert all(line.pop("seconds") >= 0 for line in lines)
    return lines


def test_each_is_told_once_with_the_step_after_it() -> None:
    ended = EndedEpisodes()
    ended.note(Episode(1, -3.0, 7))
    assert ended.take() == []  # its step is not counted yet
    ended.stamp(10)
    ended.stamp(12)
    (one,) = ended.take()
    assert one[:4] == (10, 1, -3.0, 7) and ended.take() == []
    assert ended.metrics() == {"return/train": -3.0}


def test_the_file_is_made_with_the_first_and_cut_where_a_run_goes_on(tmp_path: Path) -> None:
    record = EpisodeRecord(tmp_path)
    record.write([], 1.0)
    assert record.flush() == {} and not (tmp_path / "episodes.jsonl").exists()
    record.write([Ended(5, 0, 1.0, 5, 0.0)], 1.0)
    kept = record.flush()
    record.write([Ended(9, 0, 2.0, 4, 0.0)], 2.0)
    record.close()
    later = EpisodeRecord(tmp_path, 5, kept)
    assert [row["step"] for row in rows(tmp_path)] == [5] and later.note == ""
    later.write([Ended(8, 0, 3.0, 3, 0.0)], 2.0)
    later.flush()
    later.settle()
    later.close()
    assert [row["return"] for row in rows(tmp_path)] == [1.0, 3.0]
    assert not (tmp_path / "episodes.jsonl.before").exists()


def test_a_run_that_goes_on_has_the_episodes_of_one_that_was_never_stopped() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = tuple(word for word in SHORT if word != "logger=[]")
    whole = train(*words, "run_dir=whole")
    found = rows(whole)
    assert [row["env"] for row in found] == [0, 1] * 3 and {row["length"] for row in found} == {20}
    assert [row["step"] for row in found] == [40, 40, 80, 80, 120, 120] and all(row["return"] < 0 for row in found)
    events = EventAccumulator(str(whole)).Reload()
    (tag,) = (tag for tag in events.Tags()["scalars"] if tag.endswith("episode/return"))
    assert [event.value for event in events.Scalars(tag)] == pytest.approx([row["return"] for row in found])

    shutil.copytree(whole, "killed")
    for file in Path("killed/checkpoints").glob("step_000000120*"):
        file.unlink()
    assert rlgan("resume=killed").code == 0
    assert rows(Path("killed")) == found

    # A file that is lost is said, and one that starts anew is kept aside.
    (whole / "episodes.jsonl").unlink()
    ended = rlgan("resume=whole", "steps=160")
    assert ended.code == 0 and "episodes.jsonl: is gone; it goes on from here" in ended.err
    assert [row["step"] for row in rows(whole)] == [160, 160]
    assert rlgan("resume=killed", "from=0").code == 0
    (aside,) = Path("killed").glob("episodes.jsonl.before-*")
    assert len(aside.read_text().splitlines()) == len(found) and rows(Path("killed")) == found


def test_seeds_side_by_side_have_their_own() -> None:
    run = train(*SHORT, "seeds=2", "run_dir=run")
    first, second = (rows(run / f"seed={seed}") for seed in (0, 1))
    assert [row["step"] for row in first] == [row["step"] for row in second] == [40, 40, 80, 80, 120, 120]
    assert [row["env"] for row in first] == [row["env"] for row in second] == [0, 1] * 3 and first != second
