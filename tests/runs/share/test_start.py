"""`init_from=`: where a new run begins, what of it is new, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlgan.erm.erm import ERM
from rlgan.gan.wgan import WGAN
from rlgan.rl.trainer import Trainer
from rlgan.runs.config.build import RunSpec
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.directory import stored_config
from rlgan.runs.record.files import read_lines
from rlgan.runs.share.start import begun, restored
from rlgan.runs.study import study
from rlgan.task.task import Task
from tests.small import ERM as SMALL_ERM
from tests.small import TASKS, checkpoint, rlgan, status, train

WORDS = {"wgan": TASKS["wgan"], "ddpg": (*TASKS["ddpg"], "normalise_obs=true"), "erm": SMALL_ERM}
SHORT = {"wgan": "steps=4", "ddpg": "steps=70", "erm": "steps=4"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small run of each task, trained once."""
    made: dict[str, Path] = {}

    def run(task: str) -> Path:
        if task not in made:
            place = tmp_path_factory.mktemp(task) / "run"
            made[task] = train(*WORDS[task], SHORT[task], "seed=1", f"run_dir={place}")
        return made[task]

    return run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs land in a folder of the test's own, without pictures, which take a second each."""
    monkeypatch.chdir(tmp_path)
    for kind in (ERM, WGAN, Trainer):
        monkeypatch.setattr(kind, "pictures", lambda self: {})
    monkeypatch.setattr(study, "page_at_end", lambda *_: "")


def weights(task: Task) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in task.weights().items()}


def of_new(place: Path, **changes: Any) -> Task:
    return begun(RunSpec.of({**stored_config(place, changes), "run_dir": None}))


@pytest.mark.parametrize("task", WORDS)
def test_a_run_begins_at_the_weights_of_another_one(task: str, source: Callable[[str], Path]) -> None:
    there = source(task)
    found = restored(there)
    wanted = weights(found.task)
    new = of_new(there, init_from=str(there), seed=5)
    mine = weights(new)
    assert wanted.keys() == mine.keys() and new.steps_done == 0
    plain = [key for key in mine if "/average/" not in key]
    assert plain and all(torch.equal(mine[key], wanted[key]) for key in plain)
    for key in mine.keys() - set(plain):
        assert torch.equal(mine[key], wanted[key.replace("/average", "")]), key
    other = RunSpec.of(stored_config(there, {"seed": 5})).task()
    assert not all(torch.equal(weights(other)[key], mine[key]) for key in plain)
    for one in (found.task, new, other):
        one.close()


def test_the_run_says_so_and_needs_the_other_no_more(source: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(source("wgan"), tmp_path / "first")
    run = train(*WORDS["wgan"], "steps=6", "init_from=first", "run_dir=second")
    assert stored_config(run)["init_from"] == str(tmp_path / "first")
    assert checkpoint(run, 6) and "begins at the weights of first, step 4" in str(read_lines(run / "notes.jsonl"))
    manifest = Checkpoints(run / "checkpoints").manifests()[-1]
    assert manifest.meta["config"]["init_from"] == str(tmp_path / "first")
    shutil.rmtree(tmp_path / "first")
    assert rlgan("resume=second", "steps=8", "progress=false").code == 0
    assert status(run)["step"] == 8
    assert rlgan("evaluate", "second").code == 0


def test_a_checkpoint_may_be_named(source: Callable[[str], Path], tmp_path: Path) -> None:
    file = source("wgan") / "checkpoints" / "step_000000004.pt"
    task = of_new(source("wgan"), init_from=str(file))
    assert task.origin.endswith("step 4")
    task.close()


def test_seeds_begin_at_their_own_seed_or_all_at_one(source: Callable[[str], Path], tmp_path: Path) -> None:
    many = train(*WORDS["erm"], "steps=2", "seeds=[3,4]", "run_dir=many")
    again = train(*WORDS["erm"], "steps=1", "optimizer.lr=1e-30", "seeds=[4,3]", "init_from=many", "run_dir=again")
    for seed in (3, 4):
        first, second = (restored(run / f"seed={seed}", "last").task for run in (many, again))
        assert torch.allclose(first.weights()["model/layers.0.weight"], second.weights()["model/layers.0.weight"])
    refused = rlgan(*WORDS["erm"], "steps=1", "seeds=[3,5]", "init_from=many", "run_dir=refused")
    assert refused.code == 2 and not (tmp_path / "refused").exists()
    assert "is a run of the seeds 3, 4, and not of seed 5; name one for all of them" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("task=ddpg", "critic.network.hidden=[32,16]"), "critic/mlp.layers.0.weight: is of shape (16, 4) there and"),
        (("task=wgan",), "has no player generator; it has actor, critic"),
        (("task=ddpg", "normalise_obs=false"), "comes with normaliser, and this run has none"),
    ],
)
def test_what_does_not_fit_is_refused_before_there_is_a_run(
    words: tuple[str, ...], said: str, source: Callable[[str], Path], tmp_path: Path
) -> None:
    small = WORDS["wgan"] if words == ("task=wgan",) else WORDS["ddpg"]
    refused = rlgan(*small, *words, f"init_from={source('ddpg')}", "run_dir=new")
    assert refused.code == 2 and said in refused.err and refused.err.count("\n") == 1, refused.err
    assert not (tmp_path / "new").exists()


def test_a_normaliser_that_is_not_there_is_named(source: Callable[[str], Path], tmp_path: Path) -> None:
    plain = train(*TASKS["ddpg"], "steps=70", "run_dir=plain")
    refused = rlgan(*WORDS["ddpg"], f"init_from={plain}", "run_dir=new")
    assert refused.code == 2 and "has no part normaliser; it has returns" in refused.err


@pytest.mark.parametrize("word", ["nowhere", "latest"])
def test_a_place_without_a_run_is_refused(word: str) -> None:
    refused = rlgan(*WORDS["erm"], f"init_from={word}")
    assert refused.code == 2 and refused.err.count("\n") == 1 and word in refused.err


def test_what_is_wrong_there_is_said_of_the_setting(source: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused = rlgan(*WORDS["erm"], "init_from=empty")
    assert refused.err.startswith(f"rlgan: init_from = {tmp_path / 'empty'}: is not a run"), refused.err
    refused = rlgan(*WORDS["erm"], f"init_from={source('erm')}/checkpoints/step_000000003.pt")
    assert refused.err.startswith("rlgan: init_from = ") and "checkpoint = 3: there is none" in refused.err, refused.err


def test_a_run_that_goes_on_does_not_begin_elsewhere(source: Callable[[str], Path]) -> None:
    train(*WORDS["erm"], "steps=1", f"init_from={source('erm')}", "run_dir=new")
    assert rlgan("resume=new", "steps=2", f"init_from={source('erm')}").code == 0
    shutil.copytree(source("erm"), "other")
    refused = rlgan("resume=new", "steps=3", "init_from=other")
    assert refused.code == 2 and "other: new goes on at its own weights; leave init_from= out" in refused.err
