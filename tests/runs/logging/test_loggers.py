"""`logger=[...]` from the command line: tables, loggers of one's own, resumes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlgan.task.settings import Settings
from tests.runs.conftest import Command

SMALL = ("task=quadratic", "steps=10", "log_every=5", "eval_every=0", "progress=false", "run_dir=run")
MINE = """
from rlgan.task import Sink


class Spoken(Sink):
    def __init__(self, file):
        self.file = file

    def open(self, run):
        self.path = run.path / self.file
        self.path.touch()

    def scalars(self, step, values):
        with open(self.path, "a") as file:
            print(step, file=file)
"""


def rows(run: str = "run") -> list[str]:
    return Path(run, "metrics.csv").read_text().splitlines()


def test_a_table_and_a_logger_of_ones_own_go_on_where_they_were(
    rlgan: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("logger_of_mine.py").write_text(MINE)
    code, _, err = rlgan(*SMALL, "logger=[csv,{_target_: logger_of_mine.Spoken, file: said.txt}]")
    assert code == 0, err
    assert not list(Path("run").glob("events*")) and rows()[0].startswith("step,player/loss,")
    assert [row.split(",")[0] for row in rows()[1:]] == ["5", "10", "10"]
    code, _, err = rlgan("resume=run", "steps=15")
    assert code == 2 and err.startswith("rlgan: logger[1]._target_ = logger_of_mine.Spoken: a run directory may name")
    code, _, err = rlgan("resume=run", "steps=15", "trust=[quadratic,logger_of_mine]")
    assert code == 0, err
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows()[1:]] == [json.loads(line)["step"] for line in lines]
    assert Path("run/said.txt").read_text().split() == ["5", "10", "10", "15", "15"]
    code, _, err = rlgan("resume=run", "steps=20", "logger=[]")
    assert code == 0 and [row.split(",")[0] for row in rows()[1:]] == ["5", "10", "10", "15", "15"]


def test_a_failed_run_is_among_the_hparams_with_what_was_varied(rlgan: Command) -> None:
    code, _, err = rlgan(*SMALL, "task.lr=0.2", "task.events={7: nan}")
    assert code == 1, err
    found = EventAccumulator("run").Reload()
    assert len(found.PluginTagToContent("hparams")) == 2
    assert b"task.lr" in found.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    (about,) = found.Tensors("about/text_summary")
    text = about.tensor_proto.string_val[0].decode()
    assert (
        "| changed | steps=10, task.lr=0.2, task.events={7: nan} |" in text
        and "| command | rlgan task=quadratic " in text
    )
    assert found.Scalars("3 player - quadratic/loss")[0].step == 5


def test_a_former_word_for_tensorboard_still_counts() -> None:
    assert Settings(tensorboard=False).loggers == []
    assert Settings(logger="csv", tensorboard=True).loggers == ["tensorboard", "csv"]
    assert Settings(logger=["csv", "csv"]).loggers == ["csv"]


def test_what_is_no_logger_is_refused_before_anything_is_made(rlgan: Command) -> None:
    for word, said in (
        ("logger=[tensorbord]", "logger = tensorbord: there is no such logger; did you mean tensorboard?"),
        ("logger=[{_target_: pathlib.Path}]", "must be a word or a Sink, and a Path is none"),
    ):
        code, _, err = rlgan(*SMALL, word)
        assert code == 2 and said in err and not Path("run").exists()
    with pytest.raises(ValueError, match="logger = x: there is no such logger; there are csv, tensorboard, wandb"):
        Settings(logger="x")
