"""`rlgan evaluate RUN curvature=true`, on both tasks."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from rlgan.gan import wgan
from rlgan.optim import PureField
from rlgan.optim.second_order.landscape import Landscape, Slice, player_loss
from rlgan.rl import sizes
from rlgan.rl.trainer import Trainer
from rlgan.runs.logging.pictures import rasterise
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.landscape import draw
from rlgan.task.errors import ConfigError
from rlgan.task.seeding import Generators
from tests.small import OTHER, TASKS, Ended, build, differences, rlgan, train

#: What changes the code that is run: batch norm; in double precision, for comparisons.
MORE = {"wgan": ("precision=float64", "generator.network.norm=batch"), "ddpg": ("precision=float64",)}
SAMPLES = {"wgan": 64, "ddpg": 256}
HELD = 120
"""Transitions in the replay of the short run: fewer than the batch should have."""


class Evaluated(NamedTuple):
    """A short run of a task, and what evaluating it did."""

    task: str
    path: Path
    before: dict[Path, bytes]
    after: dict[Path, bytes]
    ended: Ended

    @property
    def record(self) -> dict[str, Any]:
        """evaluation.json."""
        found: dict[str, Any] = json.loads(self.after[Path("evaluation.json")])
        return found

    @property
    def players(self) -> set[str]:
        return {"critic", OTHER[self.task]}


def files(path: Path) -> dict[Path, bytes]:
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(scope="module", params=TASKS)
def evaluated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluated]:
    task: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        for module, kind in ((wgan, wgan.WGAN), (sizes, Trainer)):
            patch.setattr(kind, "pictures", lambda self: {})
            patch.setattr(module, "CURVATURE_SAMPLES", SAMPLES[task])
        path = train(*TASKS[task], *MORE[task], f"run_dir={tmp_path_factory.mktemp(task) / 'run'}")
        before = files(path)
        few = ["n=300"] if task == "wgan" else []
        ended = rlgan("evaluate", str(path), "checkpoint=last", "curvature=true", *few)
        assert ended.code == 0, ended.err
        yield Evaluated(task, path, before, files(path), ended)


def test_it_prints_writes_and_draws_and_touches_nothing_else(evaluated: Evaluated) -> None:
    before, after = evaluated.before, evaluated.after
    pictures = {Path("evaluation") / f"curvature_{player}.png" for player in evaluated.players}
    drawn: set[Path] = set()
    if evaluated.task == "wgan":
        drawn = {Path("evaluation") / name for name in ("samples.npz", "samples_generator.png", "samples_modes.png")}
        with np.load(io.BytesIO(after[Path("evaluation/samples.npz")])) as samples:
            assert samples["samples"].shape == (300, 2) and samples["samples"].dtype == np.float32
    assert set(after) - set(before) == pictures | drawn | {Path("evaluation.json")}
    # What a reader of the figures has to know is added to the run's notes.
    notes = Path("notes.jsonl")
    assert after[notes].startswith(before[notes])
    assert {file: after[file] for file in before if file != notes} == {k: v for k, v in before.items() if k != notes}
    assert all(after[picture].startswith(b"\x89PNG") for picture in pictures)
    found = evaluated.record["curvature"]
    assert set(found) == evaluated.players
    assert {values["kind"] for values in found.values()} == {"not_critical"}
    words = evaluated.ended.out.split()
    assert {*evaluated.players, "eigenvalue/largest", "eigenvalue/smallest_error", "not_critical"} <= set(words)
    assert f"{found['critic']['eigenvalue/largest']:.5g}" in words
    note = f"note: curvature on all {HELD} transitions of the replay, which holds fewer than {SAMPLES['ddpg']}"
    assert (note in evaluated.ended.err) is (evaluated.task == "ddpg")


def test_its_numbers_are_those_of_a_dense_computation_and_training_does_not_notice(evaluated: Evaluated) -> None:
    made = build(*TASKS[evaluated.task], *MORE[evaluated.task], "compile=false")
    assert isinstance(made, wgan.WGAN | Trainer)
    Checkpoints(evaluated.path / "checkpoints").choose("last").restore(made)
    state = made.state_dict()
    found = made.curvature()
    assert differences(state, made.state_dict()) == []
    batch: Any
    if isinstance(made, wgan.WGAN):
        field = PureField((made.critic, made.generator), wgan.WassersteinGame(made.lipschitz).losses())
        batch = made.batch(Generators(made.generators.seed("curvature")), SAMPLES["wgan"])
    else:
        field = PureField((made.critic, made.actor), made.agent.losses())
        batch = made.finish(made.replay.split(made.replay.rows[:HELD].clone()), made.generators)
    for name, player in field.players.items():
        numbers = found[name].numbers
        recorded = dict(evaluated.record["curvature"][name])
        assert recorded.pop("kind") == found[name].kind and recorded == numbers
        loss, theta = player_loss(field, name, batch), player.state["theta"]
        gradient: Tensor = torch.func.grad(loss)(theta)
        dense = torch.func.jacrev(torch.func.grad(loss), chunk_size=64)(theta)
        exact = torch.linalg.eigvalsh((dense + dense.t()) / 2)
        assert numbers["loss"] == pytest.approx(loss(theta).item(), rel=1e-12)
        assert numbers["gradient/norm"] == pytest.approx(gradient.norm().item(), rel=1e-10)
        largest, error = numbers["eigenvalue/largest"], numbers["eigenvalue/largest_error"]
        assert (exact - largest).abs().min() <= error + 1e-9 and largest <= exact[-1] + 1e-9
        assert largest == pytest.approx(exact[-1].item(), rel=1e-4)
        smallest, error = numbers["eigenvalue/smallest"], numbers["eigenvalue/smallest_error"]
        assert (exact - smallest).abs().min() <= error + 1e-9 and smallest >= exact[0] - 1e-9
        assert numbers["samples"] == (HELD if evaluated.task == "ddpg" else SAMPLES["wgan"])
        assert ("gradient/mapping" in numbers) is player.projection.active
    made.close()


def test_without_the_switch_nothing_is_said_of_curvature(evaluated: Evaluated) -> None:
    copy = evaluated.path.parent / "copy"
    shutil.copytree(evaluated.path, copy)
    ended = rlgan("evaluate", str(copy), "checkpoint=last", "curvature=false")
    assert ended.code == 0 and "eigenvalue" not in ended.out
    assert "curvature" not in json.loads((copy / "evaluation.json").read_text())
    ended = rlgan("evaluate", str(copy), "curvature=yes please")
    assert ended.code == 2 and "curvature = yes please: is a switch; use true or false" in ended.err


def test_an_empty_replay_is_refused() -> None:
    made = build(*TASKS["ddpg"])
    with pytest.raises(ConfigError, match="the replay of this checkpoint is empty; choose a later"):
        made.curvature()
    made.close()


def test_a_task_without_players_says_so_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(__file__).parents[2] / "runs" / "outside", tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.setenv("RLGAN_TRUST", "quadratic")
    train("task=quadratic", "steps=5", "tensorboard=false", "progress=false", "run_dir=run")
    before = files(Path("run"))
    ended = rlgan("evaluate", "run", "checkpoint=last", "curvature=true")
    assert ended.code == 2 and files(Path("run")) == before
    assert ended.err.startswith("rlgan: curvature = true: the task Quadratic has no players' losses to look at; ")


def quadratic(constant: bool = False, infinite: bool = False) -> Landscape:
    a = torch.linspace(-1, 1, 21)
    plane = torch.zeros(21, 21) if constant else a[:, None].square() + 2 * a[None, :].square()
    if infinite:
        plane[0, 0] = torch.inf
    numbers = {f"eigenvalue/{end}{part}": 2.0 for end in ("largest", "smallest") for part in ("", "_error")}
    line = Slice(a, a.square())
    return Landscape({"loss": 0.0, **numbers}, "minimum", line, line, Slice(a, plane))


def test_the_picture_says_whose_it_is_and_when_and_its_axes_are_named() -> None:
    figure = draw(quadratic(), "critic", 1234)
    assert figure.get_suptitle().startswith("critic   step 1,234   ") and "minimum" in figure.get_suptitle()
    along, steepest, plane = axes(figure)
    assert all(a.get_xlabel() for a in (along, steepest, plane)) and "random" in plane.get_ylabel()
    # a^2 + 2 b^2 with the first direction horizontal: its level sets are wider than high.
    innermost = plane.collections[0].get_paths()[0].get_extents()
    assert innermost.width == pytest.approx(2**0.5 * innermost.height, rel=0.2)
    for odd in (quadratic(constant=True), quadratic(infinite=True)):
        png, _ = rasterise(draw(odd, "critic", 0))
        assert png.startswith(b"\x89PNG")


def axes(figure: Figure) -> list[Any]:
    halves: Any = figure.subfigs
    return [*halves[0].axes, halves[1].axes[0]]
