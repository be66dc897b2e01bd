"""The task of one player from the command line: what the other tasks promise, it promises too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rlgan.erm import ERM
from rlgan.erm.game import Batch
from rlgan.task.task import Task
from tests.small import ERM as SMALL
from tests.small import build, checkpoint, differences, metrics, rlgan, summary, train

PICTURES = ERM.pictures


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs land in a folder of the test's own. Pictures, a second each, have tests of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ERM, "pictures", lambda self: {})


def erm(*words: str) -> ERM:
    task: Task = build(*SMALL, *words)
    assert isinstance(task, ERM)
    return task


def test_the_same_seed_gives_the_same_run_and_another_does_not() -> None:
    first, second = (train(*SMALL, "seed=1", f"run_dir={name}") for name in ("first", "second"))
    assert metrics(first) == metrics(second)
    assert differences(checkpoint(first, 40), checkpoint(second, 40)) == []
    other = summary(train(*SMALL, "seed=2", "run_dir=other"))
    assert other.keys() == summary(first).keys()
    assert all(other[tag] != summary(first)[tag] for tag in ("model/loss", "risk/train", "gradient/squared"))


def test_its_tags() -> None:
    methods = ("effective_lr", "effective_lr_p10", "effective_lr_p90", "effective_momentum", "update_norm")
    common = {"step", "model/loss", "model/grad_norm", "risk/train", *(f"optim/model/{tag}" for tag in methods)}
    common |= {"gradient/squared", "gradient/squared_mean", "gradient/squared_min", "progress/model_updates"}
    labelled = {"risk/test", "risk/gap", "error/train", "error/test", "error/gap"}
    sharp = {"sharpness/keskar", "sharpness/largest"}
    assert set(summary(train(*SMALL, "sharpness=true", "run_dir=digits"))) == common | labelled | sharp
    known = {"risk/excess", "distance/optimum"}
    words = ("problem=quadratic", "steps=40", "batch_size=null")
    common -= {"optim/model/effective_lr_p10", "optim/model/effective_lr_p90"}  # one for all, of gradient descent
    assert set(summary(train(*SMALL, *words, "run_dir=bowl"))) == common | known
    averaged = set(summary(train(*SMALL, *words, "averaging=uniform", "run_dir=averaged")))
    assert averaged == common | known | {f"{tag}/average" for tag in ("risk/train", *known)}


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sampling=epochs", "problem=two_moons"),
        ("network.norm=batch", "averaging=ema"),
        ("problem=quadratic", "problem.gradient_noise=1.0", "batch_size=4", "averaging=uniform", "optimizer=sgld"),
        ("problem=quadratic", "optimizer=nesterov", "schedule=cosine", "projection=ball", "game=extragradient"),
    ],
)
def test_a_run_that_goes_on_ends_in_the_same_bits(words: tuple[str, ...]) -> None:
    words = (*words, "steps=40", "log_every=5")
    whole = train(*SMALL, *words, "run_dir=whole")
    train(*SMALL, *words, "steps=20", "horizon=40", "run_dir=parts")
    assert rlgan("resume=parts", "steps=40").code == 0
    assert differences(checkpoint(whole, 40)["task"], checkpoint(Path("parts"), 40)["task"]) == []
    assert metrics(whole)[-1] == metrics(Path("parts"))[-1]


def test_pictures_that_are_not_wanted_are_not_drawn_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ERM, "pictures", PICTURES)
    words = (*SMALL, "problem=quadratic", "batch_size=null", "steps=4")
    drawn, plain = train(*words, "run_dir=drawn"), train(*words, "draw=false", "run_dir=plain")
    assert metrics(drawn) == metrics(plain)
    assert [path.name for path in drawn.rglob("*.png")] == ["path_000000004.png"] and not list(plain.rglob("*.png"))


NOISY = ("problem=quadratic", "problem.gradient_noise=1.0")


@pytest.mark.parametrize("words", [(), ("batch_size=null", "optimizer=heavy_ball"), (*NOISY, "batch_size=8")])
def test_seeds_side_by_side_are_what_each_is_alone(words: tuple[str, ...]) -> None:
    words = (*words, "steps=40", "compile=false", "precision=float64")
    group = train(*SMALL, *words, "seeds=3", "run_dir=group")
    for seed in range(3):
        alone = summary(train(*SMALL, *words, f"seed={seed}", f"run_dir=alone_{seed}"))
        beside = summary(group / f"seed={seed}")
        assert beside.keys() == alone.keys()
        assert all(beside[tag] == pytest.approx(alone[tag], rel=1e-9, abs=1e-12) for tag in alone)


@pytest.mark.parametrize(
    "words", [("network.activation=tanh",), pytest.param((*NOISY, "optimizer=amsgrad"), marks=pytest.mark.slow)]
)
def test_compiled_and_eager_agree(words: tuple[str, ...]) -> None:
    ends: list[torch.Tensor] = []
    for mode in ("false", "true"):
        task = erm(*words, "batch_size=32", "precision=float64", f"compile={mode}")
        assert task.compiled is (mode == "true")
        start = task.model.vector.theta.clone()
        for _ in range(30):
            task.advance()
        ends.append(task.model.vector.theta.clone())
        assert (ends[-1] - start).norm() > 1e-3
    assert (ends[1] - ends[0]).norm() <= 1e-12 * ends[0].norm()


@pytest.mark.parametrize("loss", ["auto", "cross_entropy", "logistic", "hinge", "squared"])
@pytest.mark.parametrize("problem", ["digits", "two_moons"])
def test_every_loss_learns(problem: str, loss: str) -> None:
    run = train(*SMALL, f"problem={problem}", f"loss={loss}", "steps=400", "optimizer.lr=1e-2", "run_dir=run")
    assert summary(run)["error/test"] < 0.2


def test_a_step_is_a_step_down_the_gradient_of_the_mean_loss() -> None:
    task = erm("optimizer=sgd", "optimizer.lr=0.1", "batch_size=null", "precision=float64", "compile=false")
    theta, model = task.model.vector.theta.clone(), task.model.module
    loss = torch.nn.functional.cross_entropy(model(task.train.x), task.train.y)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    task.advance()
    assert torch.allclose(task.model.vector.theta, theta - 0.1 * gradient, atol=1e-15)


def test_an_epoch_has_every_sample_once() -> None:
    task = erm("sampling=epochs", "batch_size=100", "problem=two_moons", "problem.samples=400")
    seen: list[Any] = []
    for _ in range(8):
        seen += task.batches()[0].x.clone().tolist()
        task.advance()
    epochs = [sorted(map(tuple, seen[i : i + 400])) for i in (0, 400)]
    everything = sorted(map(tuple, task.train.x.tolist()))
    # `advance` draws its own batch, the same one: which batch it is goes by the moves made.
    assert epochs == [everything, everything] and seen[:400] != seen[400:]


def test_the_variance_of_a_minibatch_gradient_falls_as_one_over_its_size() -> None:
    spreads = []
    for size in (4, 64):
        task = erm("problem=quadratic", "problem.gradient_noise=2.0", "problem.dimension=100", f"batch_size={size}")
        own = torch.stack([task.batches()[0].x.mean(0) for _ in range(200)])
        spreads.append(float(own.var()) * size)
    assert spreads == pytest.approx([4.0, 4.0], rel=0.05)


def test_the_squared_gradient_is_that_of_the_whole_sample() -> None:
    task = erm("compile=false", "precision=float64")
    squares = []
    for _ in range(3):
        task.advance()
        loss = torch.nn.functional.cross_entropy(task.model.module(task.train.x), task.train.y)
        gradients = torch.autograd.grad(loss, list(task.model.module.parameters()))
        squares.append(float(sum(g.square().sum() for g in gradients)))
        found = task.metrics()
    assert found["gradient/squared"] == pytest.approx(squares[-1], rel=1e-12)
    task = erm("compile=false", "precision=float64", "log_every=1")
    rows = metrics(train(*SMALL, "compile=false", "precision=float64", "log_every=1", "steps=3", "run_dir=run"))
    assert [row["gradient/squared"] for row in rows[:3]] == pytest.approx(squares, rel=1e-12)
    assert rows[2]["gradient/squared_mean"] == pytest.approx(sum(squares) / 3, rel=1e-12)
    assert rows[2]["gradient/squared_min"] == min(row["gradient/squared"] for row in rows[:3])


def test_gradient_descent_on_a_bowl_is_known_in_closed_form() -> None:
    last = summary(
        train(*SMALL, "problem=quadratic", "problem.kappa=10", "optimizer.lr=0.5", "steps=20", "run_dir=run")
    )
    eigenvalues = torch.tensor([0.1, 1.0], dtype=torch.float64)
    theta = (1 - 0.5 * eigenvalues) ** 20
    assert last["distance/optimum"] == pytest.approx(float(theta.norm()), rel=1e-12)
    assert last["risk/excess"] == pytest.approx(float((eigenvalues * theta**2).sum() / 2), rel=1e-12)


def test_batch_norm_is_measured_by_its_running_statistics_and_measuring_moves_nothing() -> None:
    task = erm("network.norm=batch", "averaging=ema")
    for _ in range(5):
        task.advance()
    before = checkpointed(task)
    task.metrics(), task.evaluate()
    after = checkpointed(task)
    # The statistics of the average are its own, made at a measurement.
    assert [line for line in differences(before, after) if "average_buffers" not in line] == []


def checkpointed(task: ERM) -> dict[str, Any]:
    saved: dict[str, Any] = task.state_dict()
    return {key: value for key, value in saved.items() if key != "gradients"}


REFUSED = {
    ("batch_size=0",): "batch_size = 0: must be at least 1, or null for all samples at every step",
    ("batch_size=5000",): "batch_size = 5000: larger than the sample (1,437 to train on); use at most 1437, or null",
    ("loss=wasserstein",): "loss = {...}: must be a Loss or null, and a Wasserstein is none",
    (
        "problem=quadratic",
        "loss=hinge",
    ): "loss = Hinge: Quadratic is minimised itself, and has no labels; use loss=auto",
    ("schedule@noise_schedule=cosine",): "noise_schedule = Cosine(end=0.0, end_step=None): this player has no noise",
    ("optimizer=sgld", "noise=sphere"): "noise = Sphere",
    ("problem.random_labels=1.5",): "problem.random_labels = 1.5: the share of labels drawn at random lies in [0, 1]",
    ("problem.held_out=1.0",): "problem.held_out = 1.0: the share of samples to test on lies in [0, 1)",
    ("sampling=epoch",): "sampling = epoch: must be independent or epochs; did you mean epochs?",
    ("problem=quadratic", "problem.kappa=0.5"): "problem.kappa = 0.5: the condition number is at least 1",
    ("problem=quadratic", "problem.start=[1]"): "problem.start = [1.0]: Quadratic has 2 variables; give so many",
    ("optimizer.lr=1e30", "optimizer=sgd", "steps=40"): "",
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_input_is_one_line(words: tuple[str, ...]) -> None:
    ended = rlgan(*SMALL, *words, "run_dir=run")
    if not REFUSED[words]:  # found out on the way
        assert ended.code == 1 and "Try a lower optimizer.lr" in ended.err and "Traceback" not in ended.err
        return
    assert ended.code == 2 and ended.err.startswith(f"rlgan: {REFUSED[words]}") and ended.err.count("\n") == 1
    assert not Path("run").exists()


def test_a_batch_is_what_a_stack_takes() -> None:
    task = erm()
    assert [tuple(part.shape) for part in task.memory((3,))] == [(3, 32, 1, 8, 8), (3, 32)]
    assert isinstance(task.memory(()), Batch) and task.memory(()).y.dtype == torch.int64


def test_the_strict_saddle_check_is_a_command() -> None:
    train(*SMALL, "problem=minmax_saddle", "problem.start=[1,0]", "steps=1500", "run_dir=ridge")
    ended = rlgan("evaluate", "ridge", "strict_saddle=[1,1,0.1,0.1]")
    assert ended.code == 0 and "negative_curvature" in ended.out and "strict_saddle" in ended.out
    # With a beta beyond the curvature that is there, the point breaks the definition.
    assert "violated" in rlgan("evaluate", "ridge", "strict_saddle=[1,3,0.1,0.1]").out
    for wrong in ("[1,1,0.1]", "[1,1,0.1,-1]", "saddle"):
        ended = rlgan("evaluate", "ridge", f"strict_saddle={wrong}")
        assert ended.code == 2 and ended.err.endswith("four positive numbers, for example [0.1,0.1,0.01,0.1]\n")


def test_the_risk_of_a_part_of_a_large_sample_is_not_told_as_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlgan.erm.erm.MOST", 50)
    task = erm("problem=linear_regression", "problem.sigma=1")
    looked, evaluated = task.metrics(), task.evaluate()
    assert {"gradient/squared", "distance/optimum"} <= looked.keys()
    assert not {"risk/train", "risk/excess"} & looked.keys()
    y = task.problem.train.y
    assert evaluated["risk/train"] == pytest.approx(float(y.square().mean()))  # theta = 0
    assert evaluated["risk/excess"] > 0
