"""`rlgan evaluate` of several runs: one table, one JSON document, and failures that leave the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.small import ERM, QUIET, rlgan, train

SMALL = (*ERM, "problem=two_moons", "draw=false", "steps=2")
DIRAC = ("data=dirac", *QUIET, "batch_size=1", "steps=2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep's folder: a run of one seed, one of two, and a folder with a run further down."""
    folder = tmp_path_factory.mktemp("many")
    train(*SMALL, f"run_dir={folder}/sweep/one")
    train(*SMALL, "seeds=2", f"run_dir={folder}/sweep/two")
    train(*DIRAC, f"run_dir={folder}/sweep/deep/gan")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and we stand above."""
    shutil.copytree(made / "sweep", tmp_path / "sweep")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_below_a_folder_are_measured_into_one_table(here: Path) -> None:
    ended = rlgan("evaluate", "sweep", "sweep/one")
    assert ended.code == 0, ended.err
    head, *rows = ended.out.splitlines()[-4:]
    assert head.split()[:3] == ["checkpoint", "step", "wasserstein/primal"] and "risk/train" in head
    assert [row.split()[0] for row in rows] == ["sweep/deep/gan", "sweep/one", "sweep/two"]
    assert ended.out.startswith("sweep/deep/gan\n") and "\nsweep/one\n" in ended.out
    record = json.loads((here / "sweep/one/evaluation.json").read_text())
    assert f"{record['metrics']['risk/train']:.5g}" in rows[1]
    assert (here / "sweep/two/seed=1/evaluation.json").exists()


def test_json_is_one_document_and_all_else_is_on_standard_error(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ended = rlgan("evaluate", "sweep/one", "sweep/two", "json=true", "checkpoint=last")
    assert ended.code == 0, ended.err
    one, two = json.loads(ended.out)
    record = json.loads((here / "sweep/one/evaluation.json").read_text())
    assert one["run"] == "sweep/one" and one["checkpoint"] == "step_000000002.pt" and one["step"] == 2
    assert {"step": 2, **one["metrics"]} == record["metrics"] and one["notes"] == []
    assert [seed["seed"] for seed in two["seeds"]] == [0, 1] and two["checkpoint"] == "last"
    assert two["metrics"]["risk/train"]["mean"] == pytest.approx(
        sum(seed["metrics"]["risk/train"] for seed in two["seeds"]) / 2
    )
    assert "error/test" in ended.err and capfd.readouterr().out == ""


def test_a_run_that_fails_leaves_the_others_and_is_named_at_the_end(here: Path) -> None:
    shutil.rmtree(here / "sweep/one/checkpoints")
    ended = rlgan("evaluate", "sweep/two", "sweep/one")
    assert ended.code == 1 and "sweep/two" in ended.out.splitlines()[-1]
    *_, count, last = ended.err.splitlines()
    assert count == "1 of 2 runs were measured"
    assert last.startswith("  failed: sweep/one: ") and "no checkpoint" in last
    [entry] = json.loads(rlgan("evaluate", "sweep/one", "json=true").out)
    assert entry["run"] == "sweep/one" and "no checkpoint" in entry["error"]
    assert rlgan("evaluate", "sweep/one").code == 2


def test_a_configuration_that_cannot_be_read_leaves_the_others(here: Path) -> None:
    (here / "sweep/one/config.yaml").write_text("[[[")
    ended = rlgan("evaluate", "sweep")
    assert ended.code == 1 and "2 of 3 runs were measured" in ended.err
    assert "failed: sweep/one: " in ended.err and "config.yaml: is damaged" in ended.err


def test_json_is_a_document_whatever_is_wrong(here: Path) -> None:
    ended = rlgan("evaluate", "nowhere", "sweep/two", "json=true")
    lost, two = json.loads(ended.out)
    assert ended.code == 1 and lost["run"] == "nowhere" and lost["error"].startswith("nowhere: no such run")
    assert two["run"] == "sweep/two" and two["metrics"]
    for words, said in ((("sweep", "n=0"), "n = 0: "), ((), "evaluate: name a run's directory")):
        ended = rlgan("evaluate", *words, "json=true")
        [entry] = json.loads(ended.out)
        assert ended.code == 2 and entry["run"] is None and entry["error"].startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep", "nowhere"), "rlgan: nowhere: no such run; runs nearby: "),
        (("sweep", "jsn=true"), "rlgan: jsn = true: there is no such key; did you mean json?"),
        (("sweep", "json=yes"), "rlgan: json = yes: is a switch; use true or false"),
        (("sweep/one", "episodes=3", "json=false"), "rlgan: episodes = 3: this run plays no episodes; leave it out"),
        (("empty",), "rlgan: empty: is not a run (it has no config.yaml)"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is(here: Path, words: tuple[str, ...], said: str) -> None:
    (here / "empty").mkdir()
    ended = rlgan("evaluate", *words)
    assert ended.code == 2 and ended.err.startswith(said) and not ended.out, ended.err
    assert not list(here.rglob("evaluation.json"))
