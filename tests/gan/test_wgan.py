"""The WGAN task: what it refuses, its averages, its randomness, divergence, resumption, and what it shows."""

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from rlgan.gan.data import Cones, Data, Digits, Dirac, Ring
from rlgan.gan.lipschitz import Clip, GradientPenalty, Lipschitz, NoControl
from rlgan.gan.wgan import WGAN
from rlgan.nets import DCGANSpec, LinearSpec, MLPSpec, OrthogonalSpec, PointSpec
from rlgan.optim import Alternating, Box, Game, Linear, NoAverage, PlayerSpec, RunEMA, UniformAverage, adam, rmsprop
from rlgan.optim.step.averaging import Several
from rlgan.task.errors import ConfigError, Diverged
from rlgan.task.settings import Settings
from tests.gan.small import CONTROLS, GAMES, SMALL, assert_same, make, train, vectors
from tests.small import build


def test_two_projections_for_one_slot_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^critic.projection = .*slot is taken.*lipschitz=none"):
        build("lipschitz=clip", "projection@critic.projection=box", "device=cpu")
    task = build("lipschitz=none", "projection@critic.projection=box", "device=cpu")
    assert isinstance(task, WGAN)
    assert task.critic.spec.projection == Box(0.01)


def test_clip_is_the_projection_of_the_critic_alone() -> None:
    task = make(lipschitz=Clip(0.03))
    assert task.critic.spec.projection == Box(0.03)
    assert not task.generator.spec.projection.active


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, r"^batch_size = 0: "),
        ({"data": Digits(), "batch_size": 1798}, r"^batch_size = 1798: larger than the data set \(1,438 samples\)"),
        ({"lipschitz": GradientPenalty(), "critic": MLPSpec(norm="batch")}, r"^critic.network.norm = batch: .*layer"),
        ({"critic": DCGANSpec()}, r"^critic.network.shape = .*mlp"),
    ],
)
def test_impossible_tasks_name_key_value_and_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_a_latent_space_needs_a_dimension() -> None:
    with pytest.raises(ConfigError, match=r"^latent_dim = 0: "):
        build("task=wgan", "latent_dim=0", "device=cpu")


# --- averages ------------------------------------------------------------------------------------------------------


def test_the_average_carries_the_buffers_of_batch_norm() -> None:
    task = make(generator=MLPSpec(hidden=(16,), norm="batch"))
    fresh = {k: v.clone() for k, v in task.generator.average.named_buffers()}
    train(task, 6)
    online, average = dict(task.generator.module.named_buffers()), dict(task.generator.average.named_buffers())
    assert_same(dict(online), dict(average))
    for name, value in average.items():
        assert value is not online[name]
        assert not torch.equal(value, fresh[name]), f"{name} was never moved"
    assert not task.generator.average.training
    theta_bar = torch.cat([p.reshape(-1) for p in task.generator.average.parameters()])
    assert not torch.equal(theta_bar, task.generator.vector.theta)
    torch.testing.assert_close(theta_bar, task.generator.state["average"]["theta_bar"], rtol=0, atol=0)


def test_samples_are_those_of_the_average_and_move_no_statistics() -> None:
    task = train(make(generator=MLPSpec(hidden=(16,), norm="batch")), 3)
    before = vectors(task)
    z = torch.randn(5, 2)
    with torch.no_grad():
        alone = task.generator.average(z[:1])
        torch.testing.assert_close(task.generator.average(z)[:1], alone)  # evaluation mode: no sample sees another
    after = vectors(train(make(generator=MLPSpec(hidden=(16,), norm="batch")), 3))
    assert_same(after, before)
    task.subject.generate(7, task.generators)
    own = [name for name in before if not torch.equal(vectors(task)[name], before[name])]
    assert own and all("average_buffers" in name for name in own)  # the average's own, see below


# --- randomness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lipschitz", CONTROLS[:2], ids=lambda c: type(c).__name__)
def test_a_seed_fixes_every_metric_and_another_gives_others(lipschitz: Lipschitz) -> None:
    def outcome(seed: int) -> dict[str, float]:
        task = train(make(lipschitz=lipschitz, seed=seed), 8)
        return {**task.metrics(), **task.evaluate()}

    first, again, other = outcome(1), outcome(1), outcome(2)
    assert first == again
    assert first.keys() == other.keys()
    for tag in ("wasserstein/dual", "wasserstein/primal", "critic/lipschitz", "critic/loss"):
        assert first[tag] != other[tag], tag


def test_the_global_generator_has_no_say() -> None:
    torch.manual_seed(0)
    a = vectors(train(make(), 3))
    torch.manual_seed(1)
    torch.randn(5)
    assert_same(a, vectors(train(make(), 3)))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_evaluation_and_pictures_do_not_disturb_training(norm: Any) -> None:
    spec = MLPSpec(hidden=(16, 16), norm=norm)
    quiet, watched = make(critic=spec, generator=spec), make(critic=spec, generator=spec)
    train(quiet, 8)
    train(watched, 8, every=4)
    assert_same(vectors(quiet), vectors(watched))
    assert quiet.metrics() == watched.metrics()
    assert quiet.evaluate() == watched.evaluate() == watched.evaluate()


def test_the_scale_in_the_notes_is_that_of_the_real_data() -> None:
    """What a perfect generator would be given: the ring's ceiling of 98.89 %, eight modes."""
    (scale,) = (note for note in make().notes() if "real" in note)
    figures = {tag: float(value) for tag, value in re.findall(r"(\S+/\S+) = ([\d.]+)", scale)}
    assert figures["modes/covered"] == 8
    assert figures["modes/high_quality"] == pytest.approx(0.9889, abs=0.008)
    assert 0.02 < figures["wasserstein/primal"] < 0.12
    assert figures.keys() <= make().evaluate().keys()


# --- divergence ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken(Data):
    """Points in the plane, of which the draw number `at` (0, 1, ...) holds one NaN."""

    draws: list[int]
    at: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x = torch.randn(n, 2, generator=generator)
        if len(self.draws) == self.at:
            x[1, 0] = torch.nan
        self.draws.append(n)
        return x


@pytest.mark.parametrize("game", GAMES, ids=lambda g: type(g).__name__)
@pytest.mark.parametrize("lipschitz", CONTROLS[:2], ids=lambda c: type(c).__name__)
def test_nan_stops_before_the_step(game: Game, lipschitz: Lipschitz) -> None:
    draws = 4 if isinstance(game, Alternating) else 1
    task = make(data=Broken([], at=2 * draws), game=game, lipschitz=lipschitz)
    task.data.draws.clear()  # type: ignore[attr-defined]  # what is drawn at the start is no matter
    train(task, 2)
    before = vectors(task)
    with pytest.raises(Diverged, match=r"^step 3: .*critic.optimizer.lr"):
        task.advance()
    after = vectors(task)
    assert_same(before, after)
    assert all(v.isfinite().all() for v in after.values())
    assert task.steps_done == 2


def test_nan_in_a_later_step_of_the_critic_leaves_the_generator_alone() -> None:
    task = make(data=Broken([], at=2), game=Alternating(3))
    task.data.draws.clear()  # type: ignore[attr-defined]  # what is drawn at the start is no matter
    theta = task.generator.vector.theta.clone()
    with pytest.raises(Diverged):
        task.advance()
    assert torch.equal(theta, task.generator.vector.theta)
    assert all(v.isfinite().all() for v in vectors(task).values())


def test_samples_that_are_not_finite_stop_the_run() -> None:
    task = make()
    task.generator.state["average"]["theta_bar"].fill_(torch.inf)
    with pytest.raises(Diverged, match=r"samples are not finite; lower generator.optimizer.lr"):
        task.evaluate()


# --- states --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("game", GAMES, ids=lambda g: type(g).__name__)
def test_a_saved_task_goes_on_bit_for_bit(game: Game, precision: str) -> None:
    """Through torch's own file format, loaded with weights_only."""
    spec = MLPSpec(hidden=(16,), norm="layer")
    norm = MLPSpec(hidden=(16,), norm="batch")

    def fresh() -> WGAN:
        return make(game=game, precision=precision, critic=spec, generator=norm, lipschitz=GradientPenalty(0.1))

    task = train(fresh(), 5)
    file = io.BytesIO()
    torch.save(task.state_dict(), file)
    expected_at_5 = {**task.metrics(), **task.evaluate()}
    train(task, 6)

    file.seek(0)
    resumed = train(fresh(), 2)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.steps_done == 5
    assert {**resumed.metrics(), **resumed.evaluate()} == expected_at_5
    train(resumed, 6)
    assert_same(vectors(task), vectors(resumed))
    assert {**task.metrics(), **task.evaluate()} == {**resumed.metrics(), **resumed.evaluate()}


def test_float64_is_float64_throughout_and_sees_the_same_samples() -> None:
    double, single = make(precision="float64"), make()
    a, b = double.batch(double.generators), single.batch(single.generators)
    for x, y in zip(a, b, strict=True):
        assert x.dtype == torch.float64 and y.dtype == torch.float32
        assert torch.equal(x.float(), y)
    train(double, 3)
    assert {v.dtype for v in vectors(double).values()} == {torch.float64}
    assert double.subject.generate(4, double.generators).dtype == torch.float64
    assert double.evaluate()["wasserstein/primal"] > 0
    assert isinstance(double.pictures()["samples/generator"], Figure)


# --- what is shown -------------------------------------------------------------------------------------------------


def test_every_headline_and_the_ranking_tag_are_measured() -> None:
    task = make()
    assert task.metrics() == {}
    train(task, 1)
    tags = {**task.metrics(), **task.evaluate()}
    assert {*WGAN.headline, WGAN.best[0]} <= tags.keys()
    expected = {"critic/loss", "generator/loss", "critic/grad_norm", "generator/grad_norm", "critic/lipschitz"}
    assert {*expected, "modes/covered", "modes/high_quality", "modes/smallest_share"} <= tags.keys()
    assert all(np.isfinite(value) for value in tags.values())


def test_images_are_shown_as_a_grid_with_their_own_measures() -> None:
    task = train(make(data=Digits(), steps=2), 1)
    picture = task.pictures()["samples/generator"]
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert {"digits/confident", "digits/classes", "digits/smallest_share"} <= task.evaluate().keys()


def test_other_methods_and_averages_train_too() -> None:
    """The WGAN asks nothing of its players' methods."""
    task = WGAN(
        Settings(steps=4, device="cpu", compile=False),
        Ring(),
        PlayerSpec(SMALL, adam(1e-3, 0.5, 0.9)),
        PlayerSpec(SMALL, adam(1e-3, 0.5, 0.9)),
        Alternating(1),
        GradientPenalty(0.1),
    )
    train(task, 4)
    assert torch.equal(
        torch.cat([p.reshape(-1) for p in task.generator.average.parameters()]), task.generator.vector.theta
    )
    assert task.evaluate()["wasserstein/primal"] > 0


def test_every_average_of_the_generator_is_measured_from_the_same_latent_vectors() -> None:
    averages = Several({"ema": RunEMA(0.5), "uniform": UniformAverage(), "none": NoAverage()})
    task = make(steps=6)
    several = WGAN(
        Settings(steps=6, seed=3, device="cpu", compile=False),
        Ring(),
        PlayerSpec(SMALL, rmsprop(2e-3, 0.9), Linear()),
        PlayerSpec(SMALL, rmsprop(2e-3, 0.9), Linear(), averaging=averages),
        Alternating(3),
        Clip(0.1),
        batch_size=16,
    )
    train(several, 4)
    found = several.evaluate()
    tags = {tag for tag in train(task, 4).evaluate() if tag.startswith(("modes/", "wasserstein/primal"))}
    assert tags | {f"{tag}/{name}" for tag in tags for name in ("uniform", "none")} <= found.keys()
    assert len({found[f"wasserstein/primal{name}"] for name in ("", "/uniform", "/none")}) == 3
    assert torch.equal(several.generator.vector.theta, task.generator.vector.theta)


def test_a_pair_of_known_distance_trains_the_critic_alone() -> None:
    """An orthogonal critic's dual is below the truth, and rises towards it; the generator stays what it is."""
    task = make(data=Cones(), critic=OrthogonalSpec(hidden=(16, 16)), lipschitz=NoControl(), lr=1e-2, batch_size=64)
    assert task.latent_dim == Cones().latent_dim and any("W1 = 1" in note for note in task.notes())
    theta = task.generator.vector.theta.clone()
    before = task.evaluate()["wasserstein/dual_over_true"]
    after = train(task, 20).evaluate()["wasserstein/dual_over_true"]
    assert before < after <= 1.0 and after > 0.5
    assert torch.equal(theta, task.generator.vector.theta)


def test_the_players_of_a_dirac_gan_leave_a_path_that_a_checkpoint_keeps() -> None:
    def dirac() -> WGAN:
        return make(data=Dirac(), critic=LinearSpec(), generator=PointSpec(), game=Alternating(1))

    task, resumed = train(dirac(), 3), dirac()
    assert "players/path" in task.pictures() and "players/path" not in make().pictures()
    resumed.load_state_dict(task.state_dict())
    for run in (task, resumed):
        train(run, 2)
    assert task.state_dict()["path"].shape == (6, 2)
    assert torch.equal(task.state_dict()["path"], resumed.state_dict()["path"])


def test_an_average_is_measured_and_saved_with_statistics_of_its_own() -> None:
    """Batch norm's first layer sees W z + b, z ~ N(0, I): mean b and variance |w_i|^2 of the AVERAGE's weights."""
    averages = Several({"uniform": UniformAverage(), "ema": RunEMA(0.2), "none": NoAverage()})
    spec = PlayerSpec(MLPSpec(hidden=(16, 16), norm="batch"), rmsprop(2e-2, 0.9), averaging=averages)
    settings = Settings(steps=20, device="cpu", compile=False)
    critic = PlayerSpec(SMALL, rmsprop(2e-3))
    task = WGAN(settings, Ring(), critic, spec, Alternating(2), Clip(0.1), batch_size=16)
    train(task, 12)
    last = {name: value.clone() for name, value in task.generator.module.state_dict().items()}
    saved = task.state_dict()["players"]["generator"]["average_buffers"]
    for name, module in task.subject.generators.items():
        linear = next(m for m in module.modules() if isinstance(m, nn.Linear))
        norm = next(m for m in module.modules() if isinstance(m, nn.BatchNorm1d))
        assert norm.running_mean is not None and norm.running_var is not None and norm.momentum == 0.1
        own = torch.allclose(norm.running_mean, linear.bias, atol=0.05) and torch.allclose(
            norm.running_var, linear.weight.square().sum(1), rtol=0.1, atol=1e-3
        )
        kept = any(torch.equal(norm.running_mean, value) for value in saved.values())
        assert own == kept == (name != "none")
    assert all(torch.equal(value, last[name]) for name, value in task.generator.module.state_dict().items())


@pytest.mark.parametrize("data", [Ring(), Digits()])
def test_a_closing_remark_names_the_worst_mode_with_the_figure_of_the_table(data: Data) -> None:
    task = make(data=data)
    train(task, 3)
    tag = "modes/smallest_spread" if isinstance(data, Ring) else "digits/smallest_share"
    for found in (task.evaluate(), task.examine(300).metrics):
        (remark,) = task.remarks()
        assert f"{found[tag]:.3g} of" in remark
    assert task.references()[tag] > 0.05
