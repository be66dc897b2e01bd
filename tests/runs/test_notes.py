"""What a user has to know is said once and kept; what a run read from outside stands in its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from tests.runs.conftest import Command

SMALL = ("task=quadratic", "steps=20", "log_every=5", "eval_every=10", "progress=false", "tensorboard=false")


def notes(run: str) -> list[tuple[int, str]]:
    """Step and text of what is kept."""
    lines = [json.loads(line) for line in (Path(run) / "notes.jsonl").read_text().splitlines()]
    assert all(line.keys() == {"step", "note", "time"} for line in lines)
    return [(line["step"], line["note"]) for line in lines]


def test_a_note_is_said_when_it_comes_up_and_kept_once(rlgan: Command) -> None:
    code, _, err = rlgan(*SMALL, "run_dir=run", "task.events={12: 'note:it is warm'}")
    assert code == 0 and err.count("note: it is small\n") == 1 and err.count("note: it is warm\n") == 1
    assert notes("run") == [(0, "it is small"), (15, "it is warm")]
    with (Path("run") / "notes.jsonl").open("a") as file:
        file.write('{"step": 15, "note": "it is w')  # as a kill leaves it
    code, _, err = rlgan("resume=run", "steps=40", "task.events={32: 'note:it is old'}")
    assert code == 0 and "note: it is small\n" in err and "note: it is old\n" in err
    text = (Path("run") / "notes.jsonl").read_text()
    assert text.count("it is small") == 1 and text.splitlines()[-1].startswith('{"step": 35, "note": "it is old"')


def test_seeds_that_do_not_print_keep_their_notes(rlgan: Command) -> None:
    assert rlgan(*SMALL, "run_dir=run", "seeds=2")[0] == 0
    assert notes("run") == [(0, "Quadratic makes its updates by itself; the seeds run one after another")]
    for seed in range(2):
        assert notes(f"run/seed={seed}") == [(0, "it is small")]


def test_other_inputs_are_named_at_resume_and_at_evaluation(rlgan: Command) -> None:
    assert rlgan(*SMALL, "run_dir=run", "task.reads=40 files")[0] == 0
    says = "note: data was 40 files and is 41 files\n"
    code, out, err = rlgan("evaluate", "run", "task.reads=41 files")
    assert code == 0 and err.count(says) == 1 and "distance/eval" in out
    code, _, err = rlgan("resume=run", "steps=30", "task.reads=41 files")
    assert code == 0 and err.count(says) == 1
    assert [note for _, note in notes("run")].count(says[6:-1]) == 1
    manifest = json.loads(Path("run/checkpoints/step_000000030.json").read_text())
    assert manifest["meta"]["inputs"] == {"data": "41 files"}
    code, _, err = rlgan("resume=run", "steps=40")
    assert code == 0 and " was " not in err
    code, _, err = rlgan("resume=run", "steps=50", "task.reads=''")
    assert code == 0 and "note: data was 41 files and is not there\n" in err


def test_a_run_that_trains_nothing_says_so(rlgan: Command) -> None:
    assert rlgan(*SMALL, "run_dir=run")[0] == 0
    for words in ((), ("steps=10",)):
        code, _, err = rlgan("resume=run", *words)
        assert code == 0 and "the run has done 20 already, and nothing is trained; go on with a larger number" in err
    small = ("batch_size=8", "critic.network.hidden=[4]", "actor.network.hidden=[4]", "eval_episodes=1", "eval_every=0")
    common = ("task=ddpg", *small, "env.id=Pendulum-v1", "tensorboard=false", "compile=false", "capacity=100")
    code, _, err = rlgan(*common, "steps=30", "learning_starts=30", "run_dir=idle")
    assert code == 0 and "note: steps = 30: nothing is learnt, as the first update comes after step 30" in err
    assert any("no update was made in 30 steps" in note for _, note in notes("idle"))
    code, _, err = rlgan(*common, "steps=31", "learning_starts=30", "run_dir=busy")
    assert code == 0 and "nothing" not in err and "no update" not in err
