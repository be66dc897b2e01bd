"""A run that goes on for longer: its schedules' ends move, which is said, or stay, which is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]
QUIET = (
    "data=dirac", "game.k=1", "batch_size=16", "compile=false", "tensorboard=false", "log_every=1", "eval_every=0",
    "checkpoint_every=0",
)  # fmt: skip


def rates(run: Path, player: str) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row[tag] for row in rows if (tag := f"optim/{player}/effective_lr") in row]


@pytest.fixture
def short(rlgan: Command, outside: Path) -> Path:
    code, _, err = rlgan(
        "steps=4", "run_dir=short", *QUIET, "schedule@critic.schedule=linear", "critic.schedule.end=0.5",
        "schedule@generator.schedule=cool_down", "averaging@generator.averaging=none",
        "optimizer@critic.optimizer=sgd", "optimizer@generator.optimizer=sgd",
        "schedule@temperature=linear",
    )  # fmt: skip
    assert code == 0, err
    return outside / "short"


def test_a_moved_end_is_said_with_both_rates_and_the_switch(rlgan: Command, short: Path) -> None:
    code, _, err = rlgan("resume=short", "steps=8")
    assert code == 0, err
    said = [line for line in err.splitlines() if "laid out" in line]
    assert said[0] == (
        "note: critic.optimizer.lr at step 4 is 0.0075 and not 0.005: it is laid out for 8 steps, and was for 4; "
        "horizon=4 keeps the old end"
    )
    assert said[1].startswith("note: generator.optimizer.lr at step 4 is 0.01 and not 0.005: ")
    assert said[2].startswith("note: temperature at step 4 is ") and len(said) == 3
    notes = [json.loads(line)["note"] for line in (short / "notes.jsonl").read_text().splitlines()]
    assert {line.removeprefix("note: ") for line in said} <= set(notes)
    assert rates(short, "critic")[4] == pytest.approx(0.0075, rel=1e-6)


def test_the_old_end_is_kept_and_nothing_is_said(rlgan: Command, short: Path) -> None:
    code, _, err = rlgan("resume=short", "steps=8", "horizon=4")
    assert code == 0 and "laid out" not in err, err
    assert rates(short, "critic")[3:] == pytest.approx([0.00625] + [0.005] * 4, rel=1e-6)
    code, _, err = rlgan("resume=short", "steps=9")  # it is part of the configuration now
    assert code == 0 and "laid out" not in err
    code, _, err = rlgan("resume=short", "steps=10", "horizon=20")
    assert code == 0 and "critic.optimizer.lr at step 9 is 0.00775 and not 0.005" in err
    code, _, err = rlgan("resume=short", "steps=10", "horizon=0")
    assert code == 2 and "horizon = 0: at least 1 step, or null for the length of the run" in err


def test_an_end_that_moves_ahead_only_is_said_for_where_it_does(rlgan: Command, outside: Path) -> None:
    """A run that is stopped before its schedule cools down: at the present step nothing differs."""
    words = ("schedule@critic.schedule=cool_down", "schedule@generator.schedule=constant")
    code, _, err = rlgan("steps=2", "horizon=8", "run_dir=early", *QUIET, *words, "averaging@generator.averaging=none")
    assert code == 0, err
    code, _, err = rlgan("resume=early", "steps=3", "horizon=40")
    said = [line for line in err.splitlines() if "laid out" in line]
    assert code == 0 and len(said) == 1, err
    assert said[0].startswith("note: critic.optimizer.lr at step ") and "was for 8; horizon=8 keeps" in said[0]


def test_an_agents_exploration_and_replay_are_laid_out_as_well(rlgan: Command, outside: Path) -> None:
    words = ("task=ddpg", "compile=false", "tensorboard=false", "log_every=0", "eval_every=0", "checkpoint_every=0")
    own = ("exploration.schedule._target_=rlgan.optim.Linear", "replay=prioritised", "learning_starts=50")
    nets = ("batch_size=8", "eval_episodes=1", "capacity=1000")
    code, _, err = rlgan(*words, *own, *nets, "steps=60", "run_dir=agent")
    assert code == 0, err
    code, _, err = rlgan("resume=agent", "steps=80")
    assert code == 0, err
    said = {line.split()[1] for line in err.splitlines() if "was for 60; horizon=60 keeps the old end" in line}
    assert said == {"exploration.schedule", "replay.beta"}


def test_the_ring_as_it_comes_has_a_hinge_loss_that_cools_over_the_run(rlgan: Command, outside: Path) -> None:
    code, _, err = rlgan("steps=2", "run_dir=cooling", "batch_size=4", "compile=false", "log_every=1", "eval_every=0")
    assert code == 0, err
    rows = [json.loads(line) for line in (outside / "cooling/metrics.jsonl").read_text().splitlines()]
    cooled = [row["critic/temperature"] for row in rows if "critic/temperature" in row]
    assert cooled == [pytest.approx(factor**2) for factor in (0.58, 0.16)]  # half a cosine from 1 to 0.16, squared
    assert any("critic/gap" in row for row in rows) and not any("wasserstein/dual" in row for row in rows)
