"""Comparisons: variants of a run, one figure, rules; stopped, gone on with, and from a stranger."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rlgan.gan.wgan import WGAN
from rlgan.runs.compare import Ran
from rlgan.runs.compare.rules import Rule
from rlgan.runs.compare.section import Comparison, Section
from rlgan.runs.compare.variants import composed
from rlgan.task.errors import ConfigError
from tests.small import Ended, checkpoint, differences, metrics, rlgan, status, train

EXPERIMENT = """
# @package _global_
# Two orders of play, a few steps of each
defaults:
  - override /task: wgan
  - override /data: dirac
  - override /optimizer@critic.optimizer: sgd
  - override /optimizer@generator.optimizer: sgd
  - override /lipschitz: clip
  - _self_
steps: 8
batch_size: 1
log_every: 2
eval_every: 0
checkpoint_every: 2
device: cpu
progress: false
tensorboard: false
lipschitz:
  radius: 1e9
compare:
  title: Two orders
  claim: They go other ways.
  deck: A lecture
  slide: A slide
  variants:
    short: [game=simultaneous, steps=4]
    long: [game=alternating, critic.optimizer.lr=0.5]
  rules:
    the short one is short: last_short == 4
    and the long one is long: last_long < wide
  figure:
    _target_: orders.draw
    _partial_: true
    wide: 9
"""

MINE = """
from pathlib import Path

from rlgan.runs.compare import Drawn
from rlgan.task.figure import figure

def draw(runs, wide, tag="critic/loss", harm="") -> Drawn:
    if harm:
        Path(harm).touch()
    made = figure(2, 2)
    axes = made.add_subplot()
    numbers = {"wide": wide}
    for name, ran in runs.items():
        steps, values = ran.curve(tag)
        axes.plot(steps, values[0])
        numbers |= {f"last_{name}": steps[-1], f"loss_{name}": ran.mean("critic/loss")}
    return Drawn(made, numbers)
"""


def write(text: str = EXPERIMENT) -> None:
    """The experiment `two`, where we stand."""
    Path("conf/experiment").mkdir(parents=True, exist_ok=True)
    Path("conf/experiment/two.yaml").write_text(text.lstrip())
    Path("orders.py").write_text(MINE)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of one's own with the experiment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    write()
    yield tmp_path
    sys.modules.pop("orders", None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The comparison, run to its end; not to be changed."""
    folder, former = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    path = list(sys.path)
    try:
        write()
        return folder / "run", rlgan("experiment=two", f"run_dir={folder / 'run'}")
    finally:
        sys.path[:] = path
        os.chdir(former)
        sys.modules.pop("orders", None)


@pytest.fixture
def copy(made: tuple[Path, Ended], here: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made[0], here / "run"))


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_figure_is_drawn_and_the_rules_are_decided(made: tuple[Path, Ended]) -> None:
    run, ended = made
    assert ended.code == 0, ended.err
    found = summary(run)
    assert found["seen"] is True and found["numbers"]["wide"] == 9
    assert found["rules"]["the short one is short"] == {
        "rule": "last_short == 4",
        "holds": True,
        "measured": {"last_short": 4.0},
    }
    assert (found["title"], found["claim"], found["deck"]) == ("Two orders", "They go other ways.", "A lecture")
    assert found["variants"]["long"] == "game=alternating critic.optimizer.lr=0.5"
    assert found["command"] == "rlgan experiment=two" and found["seconds"] > 0
    assert (run / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert ended.out.splitlines()[0] == "Two orders: seen" and ended.out.splitlines()[-1].endswith("figure.png")
    assert status(run)["state"] == "finished" and status(run / "long")["step"] == 8
    assert "last_long < wide" in (run / "config.yaml").read_text()


def test_a_variant_is_the_run_that_its_words_make(made: tuple[Path, Ended], here: Path) -> None:
    run = train(
        "experiment=two", "compare=null", "game=alternating", "critic.optimizer.lr=0.5", f"run_dir={here / 'alone'}"
    )
    assert metrics(run) == metrics(made[0] / "long")
    assert differences(checkpoint(run, 8)["task"], checkpoint(made[0] / "long", 8)["task"]) == []
    assert (run / "config.yaml").read_text() == (made[0] / "long" / "config.yaml").read_text()


def test_what_is_finished_is_not_trained_again(copy: Path) -> None:
    (copy / "figure.png").unlink()
    before = {file: file.read_bytes() for file in copy.glob("*/*.jsonl")}
    ended = rlgan("resume=run", "trust=[orders]")
    assert ended.code == 0 and "long is trained already" in ended.err
    assert (copy / "figure.png").exists() and before == {file: file.read_bytes() for file in copy.glob("*/*.jsonl")}


@pytest.mark.parametrize(
    "words", [("resume=run", "trust=[orders]"), pytest.param(("experiment=two", "run_dir=run"), marks=pytest.mark.slow)]
)
def test_one_that_was_stopped_goes_on(
    made: tuple[Path, Ended], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    play = WGAN.play

    def stopping(self: WGAN) -> Any:
        if self.steps_done == 5:
            signal.raise_signal(signal.SIGTERM)
        yield from play(self)

    with monkeypatch.context() as patched:
        patched.setattr(WGAN, "play", stopping)
        ended = rlgan("experiment=two", "run_dir=run")
    run = Path("run")
    assert ended.code == 143 and "1 of 2 variants are trained; go on with resume=run" in ended.err
    assert status(run)["state"] == "interrupted" and status(run / "long")["step"] == 6
    assert not (run / "figure.png").exists()
    ended = rlgan(*words)
    assert ended.code == 0 and "resuming at step 6" in ended.err
    assert metrics(run / "long") == metrics(made[0] / "long")
    assert summary(run)["numbers"] == summary(made[0])["numbers"]
    assert summary(run)["command"] == "rlgan experiment=two"


@pytest.mark.slow
def test_a_kill_loses_no_more_than_of_a_run(made: tuple[Path, Ended], server: Callable[..., tuple[int, str]]) -> None:
    assert server("experiment=two", "run_dir=run", kill=5)[0] == -signal.SIGKILL
    code, log = server("resume=run", "trust=[orders]")
    assert code == 0, log
    assert "short is trained already" in log and "resuming at step 4" in log
    assert metrics(Path("run/long")) == metrics(made[0] / "long")
    assert summary(Path("run"))["numbers"] == summary(made[0])["numbers"]


SECTION: dict[str, Any] = yaml.safe_load(EXPERIMENT)["compare"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("variants", {"lo/ng": []}, "compare.variants.lo/ng: is no name for a variant"),
        ("variants", {"checkpoints": []}, "compare.variants.checkpoints: is no name for a variant"),
        ("variants", {"long": ["alternating"]}, "compare.variants.long = alternating: is no key=value"),
        ("variants", {}, "compare.variants = {}: names none"),
        ("rules", {"it is": "last_long <"}, "compare.rules.it is = last_long <: cannot be read"),
        ("rules", {"it is": "open('x') < 3"}, "compare.rules.it is = open('x') < 3: open('x') cannot stand in a rule"),
        (
            "figure",
            {"_target_": "orders.draw", "width": 9},
            "compare.figure.width = 9: draw has no such key; did you me",
        ),
        ("figure", {"_target_": "orders.draw"}, "compare.figure.wide: is missing"),
        (
            "figure",
            {"_target_": "orders.drow"},
            "compare.figure._target_ = orders.drow: orders has no drow; did you mean dr",
        ),
        ("figure", {"_target_": "rlgan.nets.twin"}, "compare.figure._target_ = rlgan.nets.twin: must be a Drawn, and"),
        ("figure", "orders.draw", "compare.figure = orders.draw: must be a section with _target_"),
        ("titel", "Two", "compare.titel = Two: Section has no such key; did you mean title?"),
    ],
)
def test_a_mistake_in_the_section_is_said(key: str, value: Any, said: str) -> None:
    sys.path.append(os.getcwd())
    Comparison.of(SECTION)
    with pytest.raises(ConfigError) as fault:
        Comparison.of({**SECTION, key: value})
    assert str(fault.value).startswith(said)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("game=alternatin", "game = alternatin: game has no such option; did you mean game=alternating?"),
        ("resume=x", "resume = x: cannot be of a variant (variants are new runs); leave it out"),
        ("experiment=gan/dirac", "experiment = gan/dirac: cannot be of a variant (the experiment is the one"),
        ("critic.optimizer=adam", "critic.optimizer = adam: adam is an option of the group optimizer; did you mean"),
    ],
)
def test_a_mistake_in_a_variant_s_words_is_said(word: str, said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        composed({"long": ["seed=2", word]}, ["experiment=two"])
    assert str(fault.value).startswith(f"compare.variants.long: {said}")


def test_a_mistake_in_the_last_variant_is_said_before_the_first_is_trained() -> None:
    write(EXPERIMENT.replace("optimizer.lr=0.5", "optimizer.lrr=0.5"))
    ended = rlgan("experiment=two", "run_dir=run")
    assert ended.code == 2 and ended.err.count("\n") == 1 and not Path("run").exists()
    assert ended.err.startswith(
        "rlgan: compare.variants.long: critic.optimizer.lrr = 0.5: sgd has no such key; did you"
    )


def test_a_typed_word_that_suits_some_variants_only() -> None:
    write(EXPERIMENT.replace("steps=4]", "optimizer@critic.optimizer=heavy_ball]"))
    ended = rlgan("experiment=two", "critic.optimizer.rho=0.1", "run_dir=run")
    assert ended.code == 2 and ended.err.count("\n") == 1 and not Path("run").exists(), ended.err
    assert ended.err.startswith("rlgan: compare.variants.long: critic.optimizer.rho = 0.1: sgd has no such key")
    assert ended.err.endswith("; what you type counts for all: compare.variants.NAME=[key=value] is for one\n")


def test_evaluate_measures_every_variant(copy: Path) -> None:
    ended = rlgan("evaluate", "run")
    assert ended.code == 0, ended.err
    rows = [line.split() for line in ended.out.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["run/long", "run/short"] and [row[2] for row in rows] == ["8", "4"]
    assert (copy / "long/evaluation.json").exists() and not (copy / "evaluation.json").exists()
    for variant in ("long", "short"):
        shutil.rmtree(copy / variant)
    ended = rlgan("evaluate", "run")
    assert ended.code == 2 and "run: is a comparison, and none of its variants has begun" in ended.err


def test_a_claim_that_is_not_seen_is_a_result(copy: Path) -> None:
    for file in (copy / "config.yaml", Path("conf/experiment/two.yaml")):
        edit(file, "last_long < wide", "last_long > wide and nothing < 1")
    ended = rlgan("resume=run", "trust=[orders]")
    assert ended.code == 0 and "Two orders: not seen" in ended.out
    assert summary(copy)["seen"] is False
    assert summary(copy)["rules"]["and the long one is long"]["why"].startswith("the figure gives no number nothing")


def test_a_figure_that_fails_can_be_drawn_later(copy: Path) -> None:
    edit(copy / "config.yaml", "wide: 9", "wide: 9\n    tag: critic/los")
    ended = rlgan("resume=run", "trust=[orders]")
    assert ended.code == 1
    assert "critic/los: the variant short has no such metric; did you mean critic/loss?" in ended.err
    assert status(copy)["state"] == "failed"
    edit(copy / "config.yaml", "tag: critic/los", "tag: critic/loss")
    assert rlgan("resume=run", "trust=[orders]").code == 0


def test_a_variant_that_fails_leaves_the_others(here: Path) -> None:
    write(EXPERIMENT.replace("[game=simultaneous, steps=4]", "[critic.optimizer.lr=1e38, generator.optimizer.lr=1e38]"))
    ended = rlgan("experiment=two", "run_dir=run")
    assert ended.code == 1 and "no figure without short; try again with resume=run" in ended.err
    assert status(Path("run/short"))["state"] == "failed" and status(Path("run/long"))["state"] == "finished"
    assert status(Path("run"))["state"] == "failed" and "variant short: stopped at" in status(Path("run"))["reason"]


def test_other_settings_are_refused(copy: Path) -> None:
    for words, said in {
        ("experiment=two", "steps=9", "run_dir=run"): "rlgan: run_dir = run: holds a comparison with other settings",
        ("experiment=two", "compare=null", "run_dir=run"): "rlgan: run_dir = run: holds a comparison; choose another",
        ("resume=run", "steps=9", "trust=[orders]"): "rlgan: steps = 9: a comparison goes on as it was",
        ("resume=run", "from=0", "trust=[orders]"): "rlgan: from = 0: a comparison goes on with what is there",
        ("experiment=two", "run_dir=run/long"): "rlgan: run_dir = run/long: holds a run, and no comparison",
    }.items():
        ended = rlgan(*words)
        assert ended.code == 2 and ended.err.startswith(said), ended.err
    edit(copy / "long" / "config.yaml", "steps: 8", "steps: 10")
    assert "run/long: went on by itself (steps is 10 there and 8" in rlgan("resume=run", "trust=[orders]").err


def test_a_stranger_s_directory_calls_nothing(copy: Path, here: Path) -> None:
    edit(copy / "config.yaml", "wide: 9", f"wide: 9\n    harm: {here / 'harm'}")
    (copy / "figure.png").unlink()
    ended = rlgan("resume=run")
    assert ended.code == 2 and "compare.figure._target_ = orders.draw: a run directory may name classes of" in ended.err
    edit(copy / "config.yaml", "orders.draw", "os.system")
    assert rlgan("resume=run", "trust=[orders]").code == 2
    edit(copy / "config.yaml", "os.system", "rlgan.runs.cli.main")
    assert rlgan("resume=run", "trust=[orders]").code == 2
    assert not (here / "harm").exists() and not (copy / "figure.png").exists()


def test_a_stranger_s_variants_call_nothing(copy: Path, here: Path) -> None:
    outside = here / "outside"
    (copy / "long").rename(outside)
    (copy / "long").symlink_to(outside)
    assert "run/long: is a link or a file" in rlgan("resume=run", "trust=[orders]").err
    (copy / "long").unlink()
    shutil.rmtree(copy / "short")
    edit(copy / "variants.yaml", "_target_: rlgan.gan.Dirac", "_target_: os.system")
    ended = rlgan("resume=run", "trust=[orders]")
    assert ended.code == 2 and ended.err.startswith("rlgan: compare.variants.short: data._target_ = os.system: a run")
    assert not (copy / "short").exists()
    (copy / "variants.yaml").write_text("[]")
    assert "does not describe the variant short" in rlgan("resume=run", "trust=[orders]").err


def test_the_user_s_words_win_and_a_variant_may_choose_anything() -> None:
    words = {"a": ["game=alternating", "seed=3", "critic.optimizer.lr=0.5"], "b": []}
    found = composed(words, ["experiment=two", "game=extragradient", "++seed=4"])
    assert [spec.config["game"]["_target_"] for spec in found.values()] == ["rlgan.optim.Extragradient"] * 2
    assert found["a"].config["seed"] == 4 and found["a"].config["critic"]["optimizer"]["lr"] == 0.5
    assert found["a"].command.choices["game"] == "extragradient"
    assert "compare" not in found["a"].config and found["b"].config["batch_size"] == 1
    other = composed({"agent": ["task=ddpg", "steps=30"]}, ["++seed=2"])["agent"]
    assert other.command.choices["task"] == "ddpg" and (other.settings.steps, other.settings.seed) == (30, 2)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("[network.hidden=[8,8]]", ["network.hidden=[8,8]"]),
        ("network.hidden=[8,8]", ["network.hidden=[8,8]"]),
        (" [game=alternating, network.hidden=[8, 8]] ", ["game=alternating", "network.hidden=[8, 8]"]),
        (["network.hidden=[8,8]"], ["network.hidden=[8,8]"]),
    ],
)
def test_words_that_are_one_text(said: str | list[str], words: list[str]) -> None:
    assert Section("Two", {"one": said}).words == {"one": words}


@pytest.mark.slow
def test_a_sweep_runs_several_comparisons() -> None:
    ended = rlgan("-m", "experiment=two", "seed=1,2", "compare.variants.long=[game=alternating,steps=2]")
    assert ended.code == 0 and "2 of 2 runs finished" in ended.err
    runs = sorted(Path("outputs/wgan").glob("*/seed=*"))
    assert [run.name for run in runs] == ["seed=1", "seed=2"]
    assert [summary(run)["numbers"]["last_long"] for run in runs] == [2, 2]
    assert "seed: 2" in (runs[1] / "long" / "config.yaml").read_text()


def test_several_seeds_of_a_variant(here: Path) -> None:
    run = train(
        "experiment=two", "compare=null", "seeds=[3,5]", "steps=4", "compile=false", f"run_dir={here / 'seeds'}"
    )
    ran = Ran("both", run)
    steps, values = ran.curve("critic/loss")
    assert ran.seeds == [3, 5] and steps.tolist() == [2, 4] and values.shape == (2, 2)
    logged = [metrics(run / f"seed={seed}") for seed in ran.seeds]
    assert values[1, 0] == next(row["critic/loss"] for row in logged[1] if row["step"] == 2)
    assert ran.curve("critic/loss", seed=5)[1].tolist() == values[1:].tolist()
    assert (
        ran.mean("critic/loss") == pytest.approx(np.mean(values[:, -1])) and ran.last("critic/loss")[1] == values[1, 1]
    )
    assert ran.seconds > 0
    task = ran.task(5)
    assert task.steps_done == 4 and differences(task.state_dict(), checkpoint(run / "seed=5", 4)["task"]) == []
    begun, other = (ran.start(seed) for seed in ran.seeds)
    assert begun.steps_done == 0 and differences(begun.state_dict(), other.state_dict())
    with pytest.raises(ConfigError, match="seed = 4: the variant both was not trained with it; it has 3, 5"):
        ran.task(4)
    with pytest.raises(ConfigError, match="critic/los: the variant both has no such metric; did you mean critic/loss"):
        ran.curve("critic/los")
    ran.close()


NUMBERS = {"a": 1.0, "b": 2.0, "nan": float("nan"), "inf": float("inf")}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a < b", True),
        ("a < b < 2", False),
        ("not a > b and b ** 2 == 4", True),
        ("a > b or abs(a - b) <= 1", True),
        ("max(a, b, 3) / min(a, b) >= 3", True),
        ("-a < +b != 3", True),
        ("inf > 1e300", True),
        ("nan < 1", False),
        ("not nan < 1", False),
        ("inf - inf < 1", False),
        ("a / (a - 1) < 1", False),
        ("9 ** 9 ** 9 > 1", False),
        ("(a - b) ** 0.5 < 1", False),
        ("c < 1", False),
    ],
)
def test_rules(text: str, holds: bool) -> None:
    verdict = Rule(text).decide(NUMBERS)
    assert verdict.holds is holds
    assert set(verdict.measured) <= set(Rule(text).names)


@pytest.mark.parametrize(
    "text",
    ["a", "a +", "a.b < 1", "a[0] < 1", "f(a) < 1", "(lambda: 1)() < 2", "'a' < 'b'", "a in b", "a is b", "True < 2",
     "1j < 2", "a if b else 1", "abs < 1", "min(a) < 1", "abs(a, b) < 1", "max(*a) < 1", "a + (a < b) < 1",
     "(a := 2) < 3", "a and b", "~a < 1", "a // 2 < 1", "[" * 300, "-" * 400 + "a < 1", "a < 1" + " " * 2000],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^compare\.rules\.x = "):
        Rule(text, "compare.rules.x")
