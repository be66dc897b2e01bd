"""Many seeds in one process: each is the run that it would be alone, fails alone, stops, goes on and is evaluated."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import stats

from rlgan.gan.game import Batch
from rlgan.gan.wgan import WGAN
from rlgan.optim import Stack
from rlgan.rl.trainer import Trainer
from rlgan.runs.training.seeds import drive_together
from rlgan.task.statistics import over_seeds
from rlgan.task.task import Play, Request, Task, drive
from tests.small import COMPILED, QUIET, TASKS, builder, metrics, rlgan, status, summary, train

CLIP = (*TASKS["wgan"], "precision=float64", "steps=200", "log_every=20")
GAMES = {
    "alternating": ("game=alternating", "game.k=2"),
    "simultaneous": ("game=simultaneous",),
    "extragradient": ("game=extragradient",),
}
CASES = {
    "clip": CLIP,
    "gradient penalty": (*CLIP, "lipschitz=gradient_penalty"),
    "DCGAN with batch norm": (
        *("task=wgan", *QUIET, "precision=float64", "data=digits", "steps=200", "batch_size=8"),
        # A box that weights seldom touch: weights of exactly +-r and pixels in sixteenths give scores of exactly 0,
        # where rounding decides on which side of leaky ReLU's kink they lie.
        *("network@critic.network=dcgan", "network@generator.network=dcgan", "lipschitz=clip", "lipschitz.radius=0.5"),
        *("critic.network.width=2", "generator.network.width=2", "generator.network.norm=batch", "log_every=20"),
    ),
    "DDPG with parameter noise": (
        *(*TASKS["ddpg"], "precision=float64", "exploration=parameter", "exploration.adapt_every=5"),
        *("noise@critic.noise=gaussian", "critic.noise.sigma=1e-3", "steps=260", "log_every=20"),
    ),
}


def vectors(task: Task) -> dict[str, torch.Tensor]:
    """theta and theta_bar of every player."""
    assert isinstance(task, WGAN | Trainer)
    players = task.update.players
    thetas = {name: p.vector.theta for name, p in players.items()}
    bars = {
        f"{name} bar": bar for name, p in players.items() if (bar := p.state["average"].get("theta_bar")) is not None
    }
    return {**thetas, **bars}


@pytest.fixture
def stacked_also_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates are made as one as if they were compiled, without the compiler."""
    monkeypatch.setattr(Stack, "pays", True)


def follow(words: tuple[str, ...], seeds: tuple[int, ...], steps: int, tolerance: float) -> None:
    """Train stacked and alone, and compare every vector and every logged figure."""
    alone = [builder(*words, f"seed={seed}")() for seed in seeds]
    stacked = [builder(*words, f"seed={seed}")() for seed in seeds]
    try:
        together = type(stacked[0]).together(stacked)  # type: ignore[attr-defined]

        def run(task: Any) -> Play[None]:
            while task.steps_done < steps:
                yield from task.play()

        for task in alone:
            drive(run(task), task.answer)  # type: ignore[attr-defined]
        assert drive_together([run(task) for task in stacked], together) == [None] * len(seeds)
        for one, other in zip(alone, stacked, strict=True):
            expected, found = vectors(one), vectors(other)
            for name, value in expected.items():
                assert (found[name] - value).abs().max() <= tolerance * value.abs().max(), name
            for tag, figure in one.metrics().items():
                assert other.metrics()[tag] == pytest.approx(figure, rel=1e3 * tolerance, abs=1e3 * tolerance), tag
        assert (vectors(stacked[0])["critic"] - vectors(stacked[1])["critic"]).abs().max() > 1e-3
    finally:
        for task in (*alone, *stacked):
            task.close()


# Every case and every game once; all pairs of them with `-m slow`.
ONCE = {
    ("clip", "alternating"),
    ("gradient penalty", "extragradient"),
    ("DCGAN with batch norm", "simultaneous"),
    ("DDPG with parameter noise", "alternating"),
}
PAIRS = [
    pytest.param(case, game, marks=[] if (case, game) in ONCE else pytest.mark.slow) for case in CASES for game in GAMES
]


@pytest.mark.usefixtures("stacked_also_eagerly")
@pytest.mark.parametrize(("case", "game"), PAIRS)
def test_a_seed_follows_the_run_that_it_would_be_alone_for_200_updates(case: str, game: str) -> None:
    """To 1e-12 of the largest parameter, in float64."""
    words = (*CASES[case], *GAMES[game])
    follow(words, (0, 4), 260 if "DDPG" in case else 200, 1e-12)


@pytest.mark.slow
def test_a_seed_in_a_compiled_stack_follows_the_run_that_it_would_be_alone() -> None:
    follow((*TASKS["ddpg"], *COMPILED["ddpg"], "precision=float64", "compile=true"), (0, 1), 100, 1e-12)


@pytest.mark.slow
def test_sixteen_seeds_of_a_usual_size_compile() -> None:
    words = (*TASKS["ddpg"], "critic.network.hidden=[64,64]", "actor.network.hidden=[64,64]", "batch_size=64")
    follow((*words, "learning_starts=64", "compile=true"), tuple(range(16)), 70, 1e-4)


@pytest.mark.usefixtures("stacked_also_eagerly")
def test_in_float32_a_seed_follows_to_rounding() -> None:
    """Rounding of 6e-8 has grown to 1e-4 at most after 20 moves of three steps by RMSProp."""
    follow((*TASKS["wgan"],), (0, 1, 2), 20, 1e-4)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three seeds."""
    path = tmp_path_factory.mktemp("seeds") / "run"
    words = (*TASKS["wgan"], "tensorboard=true", "seeds=[0,2,5]", "steps=20", "checkpoint_every=10", "eval_every=10")
    return train(*words, f"run_dir={path}")


def test_every_seed_has_a_run_of_its_own_and_the_run_sums_them_up(group: Path) -> None:
    found = []
    for seed in (0, 2, 5):
        run = group / f"seed={seed}"
        assert status(run)["state"] == "finished" and (run / "checkpoints" / "step_000000020.pt").exists()
        assert list(run.glob("events.out.tfevents.*")) and len(metrics(run)) == 4
        found.append(summary(run))
    everything = json.loads((group / "summary.json").read_text())
    assert everything["seeds"] == {"0": "finished", "2": "finished", "5": "finished"}
    primal = everything["metrics"]["wasserstein/primal"]
    values = [one["wasserstein/primal"] for one in found]
    assert len(set(values)) == 3 and primal["seeds"] == 3
    assert primal["mean"] == pytest.approx(np.mean(values)) and primal["iqm"] == pytest.approx(np.mean(values))
    assert primal["min"] == min(values) <= primal["mean_low"] <= primal["mean"]
    assert primal["mean"] <= primal["mean_high"] <= primal["max"] + 1e-12 and primal["max"] == max(values)
    assert "<h2" in (group / "study" / "study.html").read_text()
    assert (group / "study" / "figures" / "curves_wasserstein_primal.png").stat().st_size > 5000
    assert status(group)["state"] == "finished" and status(group)["seeds"] == [0, 2, 5]


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end() -> None:
    figures = over_seeds([{"x": v} for v in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1000.0)])["x"]
    assert figures["iqm"] == 4.5 and figures["mean"] == 128.5 and figures["max"] == 1000 and figures["seeds"] == 8
    assert 2 < figures["iqm_low"] < 4.5 < figures["iqm_high"] < 500
    values = np.arange(8.0)
    rng = np.random.default_rng(0)
    expected = stats.bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=rng).confidence_interval
    plain = over_seeds([{"x": v} for v in values])["x"]
    assert (plain["mean_low"], plain["mean_high"]) == (expected.low, expected.high)


def test_one_seed_is_trained_further_and_evaluated_as_an_ordinary_run(group: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(group / "seed=2", tmp_path / "seed=2"))
    before = summary(copy)
    ended = rlgan(f"resume={copy}", "steps=30")
    assert ended.code == 0 and "resuming at step 20" in ended.err
    assert "seeds stacked was 3 and is 1" in ended.err
    assert summary(copy)["step"] == 30 and summary(copy) != before
    ended = rlgan("evaluate", str(copy), "checkpoint=last")
    assert ended.code == 0 and json.loads((copy / "evaluation.json").read_text())["metrics"]["step"] == 30


def test_evaluate_measures_every_seed(group: Path) -> None:
    ended = rlgan("evaluate", str(group), "checkpoint=20")
    assert ended.code == 0 and "wasserstein/primal" in ended.out and "IQM" in ended.out
    found = json.loads((group / "evaluation.json").read_text())
    single = json.loads((group / "seed=5" / "evaluation.json").read_text())["metrics"]
    assert found["seeds"] == [0, 2, 5] and found["metrics"]["wasserstein/primal"]["seeds"] == 3
    assert found["metrics"]["wasserstein/primal"]["min"] <= single["wasserstein/primal"]


def test_a_seed_that_diverges_is_marked_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = WGAN.batches

    def poisoned(self: WGAN) -> list[Batch]:
        bad = self.settings.seed == 1 and self.steps_done == 15
        return [own._replace(x_real=own.x_real * math.nan) if bad else own for own in batches(self)]

    monkeypatch.setattr(WGAN, "batches", poisoned)
    run = tmp_path / "run"
    ended = rlgan(*TASKS["wgan"], "seeds=3", "steps=30", "checkpoint_every=10", f"run_dir={run}")
    assert ended.code == 1
    assert "seed=1 failed" in ended.err and "step 16" in ended.err and "step_000000010.pt" in ended.err
    assert "2 of 3 seeds finished" in ended.out
    assert [status(run / f"seed={k}")["state"] for k in range(3)] == ["finished", "failed", "finished"]
    assert status(run)["state"] == "failed" and "seed=1" in status(run)["reason"]
    record = json.loads((run / "summary.json").read_text())
    assert record["seeds"]["1"] == "failed" and record["metrics"]["step"]["seeds"] == 2
    monkeypatch.undo()
    whole = train(*TASKS["wgan"], "seeds=[0,2]", "steps=30", f"run_dir={tmp_path / 'whole'}")
    for seed in (0, 2):  # untouched by their neighbour, whatever their number
        expected = summary(whole / f"seed={seed}")
        assert summary(run / f"seed={seed}") == pytest.approx(expected, rel=1e-3, abs=1e-4)
    ended = rlgan(f"resume={run}")  # what made it fail is gone
    assert ended.code == 0 and "3 of 3 seeds finished" in ended.out
    assert summary(run / "seed=1")["step"] == 30


def test_what_cannot_be_stacked_runs_seed_after_seed_and_says_so(tmp_path: Path) -> None:
    words = (*TASKS["wgan"], "optimizer@critic.optimizer=torch", "critic.optimizer.optimizer=Adam", "steps=12")
    ended = rlgan(*words, "seeds=2", f"run_dir={tmp_path / 'run'}")
    assert ended.code == 0 and "critic.optimizer" in ended.err and "one after another" in ended.err
    assert "2 of 2 seeds finished" in ended.out
    for seed in (0, 1):
        alone = train(*words, f"seed={seed}", f"run_dir={tmp_path / f'alone{seed}'}")
        assert metrics(tmp_path / "run" / f"seed={seed}") == metrics(alone)


def test_a_task_from_outside_that_moves_by_itself_runs_seed_after_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1] / "runs" / "outside")
    run = tmp_path / "run"
    ended = rlgan("task=quadratic", "steps=5", "progress=false", "tensorboard=false", "seeds=2", f"run_dir={run}")
    assert ended.code == 0, ended.err
    assert "Quadratic makes its updates by itself; the seeds run one after another" in ended.err
    assert summary(run / "seed=0") != summary(run / "seed=1")


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM in the middle of the second seed's seventh step."""
    play = WGAN.play

    def interrupted(self: WGAN) -> Play[None]:
        if self.settings.seed == 1 and self.steps_done == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        yield from play(self)

    monkeypatch.setattr(WGAN, "play", interrupted)
    yield
    monkeypatch.undo()


def test_a_signal_saves_every_seed_and_the_same_command_goes_on(
    tmp_path: Path, stopping: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TASKS["wgan"], "seeds=3", "steps=20")
    ended = rlgan(*words, f"run_dir={tmp_path / 'run'}")
    assert ended.code == 128 + signal.SIGTERM and f"resume={tmp_path / 'run'}" in ended.err
    for seed in range(3):
        assert status(tmp_path / "run" / f"seed={seed}")["state"] == "interrupted"
    assert status(tmp_path / "run")["state"] == "interrupted" and not (tmp_path / "run" / "summary.json").exists()
    monkeypatch.undo()
    again = train(*words, f"run_dir={tmp_path / 'run'}")
    whole = train(*words, f"run_dir={tmp_path / 'whole'}")
    for seed in range(3):
        assert metrics(again / f"seed={seed}") == metrics(whole / f"seed={seed}")


@pytest.mark.parametrize(
    ("folder", "change", "says"),
    [
        ("seed=0", "seeds=2", "seeds = 2: {} is the run of a single seed"),
        ("", "seeds=null", "seeds = None: {} is a run of several seeds"),
        ("", "seed=3", "seed = 3: {} is a run of several seeds"),
    ],
)
def test_one_seed_does_not_become_several(group: Path, folder: str, change: str, says: str) -> None:
    ended = rlgan(f"resume={group / folder}", change)
    assert ended.code == 2 and says.format(group / folder) in ended.err


def test_a_run_of_several_seeds_takes_on_more_of_them(group: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(group, tmp_path / "run"))
    ended = rlgan(f"resume={copy}", "seeds=[2,5,9]")
    assert ended.code == 0 and "3 of 3 seeds finished" in ended.out
    assert summary(copy / "seed=9")["step"] == 20 and ended.err.count("note: seed=9 has no directory yet") == 1


def test_a_seed_without_its_configuration_is_named_and_nothing_recorded(group: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(group, tmp_path / "run"))
    (copy / "seed=5/config.yaml").unlink()
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file() and file.name != "lock"}
    ended = rlgan(f"resume={copy}", "steps=30")
    assert ended.code == 2 and "seed=5/config.yaml: is gone" in ended.err and len(ended.err.splitlines()) == 1
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0", "seeds = 0: must be at least 1"),
        ("[]", "seeds = []: must be at least 1"),
        ("[1,1]", "1 is there twice"),
        ("1000000000", "seeds = 1000000000: are more than 10,000"),
        ("[-1]", "-1 is not between"),
        ("many", "seeds = many"),
        ("1.5", "seeds = 1.5"),
    ],
)
def test_impossible_seeds(value: str, says: str) -> None:
    ended = rlgan(*TASKS["wgan"], f"seeds={value}")
    assert ended.code == 2 and says in ended.err


def test_replies_reach_the_play_that_asked_and_errors_the_one_at_fault() -> None:
    def play(n: int) -> Play[list[Any]]:
        got = []
        for i in range(n):
            try:
                got.append((yield Request("move", (i,))))
            except FloatingPointError:
                return ["failed", *got]
        return got

    calls = []

    class Noted:
        order = ("move",)

        def serve(self, work: str, asked: Any) -> list[Any]:
            calls.append((work, list(asked)))
            return [None if own is None else FloatingPointError() if n == 2 and own == (1,) else (n, *own)
                    for n, own in enumerate(asked)]  # fmt: skip

    ended = drive_together([play(1), play(3), play(3)], cast(Any, Noted()))
    assert ended == [[(0, 0)], [(1, 0), (1, 1), (1, 2)], ["failed", (2, 0)]]
    assert calls == [
        ("move", [(0,), (0,), (0,)]), ("move", [None, (1,), (1,)]), ("move", [None, (2,), None])
    ]  # fmt: skip
