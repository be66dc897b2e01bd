"""Action noise: its law, its independence between environments, its restarts, its state."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlgan.optim.step.schedule import Linear
from rlgan.rl.exploration.action_noise import GaussianActionNoise, NoExploration, OrnsteinUhlenbeckActionNoise
from rlgan.rl.exploration.explorer import Exploration, Explorer, Rollout
from rlgan.rl.exploration.mixed import MixedNoise
from rlgan.rl.exploration.parameter_noise import ParameterNoise

OBS, ACTION = 3, 2


class Zero(nn.Module):
    """A policy that always stands still, so that its actions are the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(ACTION))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(obs), ACTION)


def explorer(
    spec: Exploration, num_envs: int = 1, seed: int = 0, actor: nn.Module | None = None, **more: Any
) -> Explorer:
    return spec.make(Rollout(num_envs, OBS, ACTION, torch.Generator().manual_seed(seed), actor or Zero(), **more))


def through_file(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def roll(explorer: Explorer, count: int, ended: tuple[bool, ...] = (), valid: tuple[bool, ...] = ()) -> np.ndarray:
    n = explorer.num_envs
    flags = np.array(ended or (False,) * n), np.array(valid or (True,) * n)
    actions = []
    for _ in range(count):
        actions.append(explorer.act(np.zeros((n, OBS), np.float32)))
        explorer.observe(*flags)
    return np.array(actions)


def test_gaussian_noise_has_its_sigma_and_no_memory() -> None:
    noise = roll(explorer(GaussianActionNoise(sigma=0.1)), 20_000)[:, 0]
    assert noise.dtype == np.float32
    # Standard errors: 0.1 / sqrt(40000) = 5e-4 of the mean, 0.5 % of sigma, 1 / sqrt(20000) = 0.007 of a correlation.
    assert abs(noise.mean()) < 2.5e-3 and abs(noise.std() / 0.1 - 1) < 0.02
    assert abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.035
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.035


@pytest.mark.parametrize(("theta", "sigma", "dt"), [(0.15, 0.2, 1.0), (0.5, 0.1, 0.1), (1.5, 0.2, 1.0)])
def test_ornstein_uhlenbeck_has_its_exact_discrete_variance_and_correlation(
    theta: float, sigma: float, dt: float
) -> None:
    spec, chains = OrnsteinUhlenbeckActionNoise(theta, sigma, dt), 400
    noise = explorer(spec, num_envs=chains)
    decay = 1 - theta * dt
    roll(noise, int(np.ceil(6 / abs(np.log(abs(decay))))))
    path = roll(noise, 200).reshape(200, -1)
    stationary = sigma**2 / (theta * (2 - theta * dt))
    # 800 chains over many correlation times: the variance is known to about 3 % at worst.
    assert abs(path.var() / stationary - 1) < 0.1
    assert abs((path[1:] * path[:-1]).mean() / path.var() - decay) < 0.03


def test_ornstein_uhlenbeck_follows_its_recursion_from_zero() -> None:
    spec, white = (
        OrnsteinUhlenbeckActionNoise(theta=0.3, sigma=0.2, dt=0.25),
        roll(explorer(GaussianActionNoise(sigma=0.001)), 30)[:, 0] / 0.001,
    )
    x, path = np.zeros(ACTION), []
    for xi in white:
        x = x + 0.3 * (0 - x) * 0.25 + 0.2 * np.sqrt(0.25) * xi
        path.append(x)
    assert np.allclose(roll(explorer(spec), 30)[:, 0], path, atol=1e-5)


@pytest.mark.parametrize("spec", [GaussianActionNoise(0.1), OrnsteinUhlenbeckActionNoise()])
def test_each_environment_has_a_stream_that_depends_on_its_own_steps_only(spec: Exploration) -> None:
    calm, busy = explorer(spec, 3), explorer(spec, 3)
    wanted = roll(calm, 300)
    assert not np.allclose(wanted[0, 0], wanted[0, 1])
    found: list[list[np.ndarray]] = [[], [], []]
    pattern = np.random.default_rng(0)
    while len(found[0]) < 250:
        valid = pattern.random(3) < (0.9, 0.5, 1.0)
        for i, action in enumerate(busy.act(np.zeros((3, OBS), np.float32))):
            if valid[i]:
                found[i].append(action)
        busy.observe(np.zeros(3, bool), valid)
    for i in range(3):
        assert np.array_equal(found[i][:120], wanted[:120, i])


def test_ornstein_uhlenbeck_restarts_at_an_environments_own_end_only() -> None:
    spec = OrnsteinUhlenbeckActionNoise(theta=0.01, sigma=0.05)
    one, two = explorer(spec, 2), explorer(spec, 2)
    assert np.array_equal(roll(one, 50), roll(two, 50))
    one.observe(np.array([True, False]), np.array([True, True]))
    after, straight = one.act(np.zeros((2, OBS), np.float32)), two.act(np.zeros((2, OBS), np.float32))
    assert np.array_equal(after[1], straight[1])
    # The restarted path is one increment away from zero: x_1 = x_50' - decay x_50.
    previous = roll(explorer(spec, 2), 50)[-1]
    assert np.allclose(after[0], straight[0] - 0.99 * previous[0], atol=1e-6) and not np.allclose(after[0], straight[0])


def test_steps_that_are_not_acted_by_the_explorer_take_no_noise() -> None:
    warm, cold = explorer(GaussianActionNoise(0.1)), explorer(GaussianActionNoise(0.1))
    for _ in range(10):
        warm.observe(np.array([False]), np.array([True]))
    assert np.array_equal(roll(warm, 5), roll(cold, 5)) and warm.steps == 15


@pytest.mark.parametrize(
    "spec",
    [
        GaussianActionNoise(5.0),
        OrnsteinUhlenbeckActionNoise(sigma=5.0),
        ParameterNoise(sigma=50.0),
        MixedNoise(action=GaussianActionNoise(5.0)),
    ],
)
def test_actions_stay_within_the_bounds(spec: Exploration) -> None:
    actions = roll(explorer(spec, 2), 100)
    assert abs(actions).max() <= 1 and abs(actions).max() == 1


def test_a_schedule_scales_sigma_with_the_environment_steps() -> None:
    spec = GaussianActionNoise(0.4, schedule=Linear(end=0.0, end_step=100))
    noise = explorer(spec, 2)
    assert noise.metrics() == {"exploration/sigma": 0.4}
    roll(noise, 25)
    assert noise.metrics()["exploration/sigma"] == pytest.approx(0.2)
    roll(noise, 30)
    assert noise.metrics()["exploration/sigma"] == 0 and not roll(noise, 1).any()
    planned = explorer(GaussianActionNoise(0.4, schedule=Linear(end=0.0)), horizon=50)
    roll(planned, 25)
    assert planned.metrics()["exploration/sigma"] == pytest.approx(0.2)


SHRINKING = Linear(end=0.5, end_step=100)


@pytest.mark.parametrize(
    ("spec", "tag"),
    [
        (GaussianActionNoise(0.4, schedule=SHRINKING), "sigma"),
        (OrnsteinUhlenbeckActionNoise(sigma=0.4, schedule=SHRINKING), "sigma"),
        (ParameterNoise(sigma=0.4, adapt_every=0, schedule=SHRINKING), "sigma"),
        (MixedNoise(ParameterNoise(sigma=0.4, adapt_every=0, schedule=SHRINKING)), "sigma"),
        (MixedNoise(action=GaussianActionNoise(0.4, schedule=SHRINKING)), "action_sigma"),
    ],
)
def test_every_exploration_takes_a_schedule(spec: Exploration, tag: str) -> None:
    noise = explorer(spec, 2)
    assert noise.metrics()[f"exploration/{tag}"] == pytest.approx(0.4)
    roll(noise, 25)
    assert noise.metrics()[f"exploration/{tag}"] == pytest.approx(0.3)


def test_mixed_exploration_is_a_perturbed_copys_action_and_noise_on_it() -> None:
    torch.manual_seed(0)
    actor = nn.Sequential(nn.Linear(OBS, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, ACTION), nn.Tanh())
    parameter, gaussian = ParameterNoise(sigma=0.3, adapt_every=7), GaussianActionNoise(0.05)
    mixed = explorer(MixedNoise(parameter, gaussian), 2, actor=actor)
    source = torch.Generator().manual_seed(0)
    copies = parameter.make(Rollout(2, OBS, ACTION, source, actor))
    noise = gaussian.make(Rollout(2, OBS, ACTION, source, Zero()))
    obs = np.random.default_rng(0).normal(size=(20, 2, OBS)).astype(np.float32)
    ended, valid = np.array([False, True]), np.array([True, False])
    for t, seen in enumerate(obs):
        wanted = copies.act(seen) + noise.act(seen)
        assert np.allclose(mixed.act(seen), np.clip(wanted, -1, 1), atol=1e-6)
        for each in (mixed, copies, noise):
            each.observe(ended & (t == 9), valid | (t % 2 == 0))
    batch = torch.randn(64, OBS)
    mixed.adapt(batch)
    copies.adapt(batch)
    assert mixed.adapt_every == 7 and mixed.steps == copies.steps
    assert mixed.metrics() == {**copies.metrics(), "exploration/action_sigma": 0.05}


@pytest.mark.parametrize("spec", [NoExploration(), GaussianActionNoise(1e-9), ParameterNoise(sigma=1e-9), MixedNoise()])
def test_an_actor_with_batch_norm_acts_by_its_running_averages_and_keeps_them(spec: Exploration) -> None:
    torch.manual_seed(0)
    actor = nn.Sequential(nn.Linear(OBS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, ACTION), nn.Tanh())
    actor(torch.randn(50, OBS) * 2 + 1)
    before = [buffer.clone() for buffer in actor.buffers()]
    obs = torch.randn(1, OBS)
    found = explorer(spec, actor=actor).act(obs.numpy())  # one sample, which batch statistics cannot be had of
    assert all(torch.equal(a, b) for a, b in zip(before, actor.buffers(), strict=True)) and actor[1].training
    if not isinstance(spec, MixedNoise):
        assert np.allclose(found, actor.eval()(obs).detach(), atol=1e-6)


def test_no_exploration_is_the_actor_itself_and_says_so() -> None:
    actor = nn.Sequential(nn.Linear(OBS, ACTION), nn.Tanh())
    none = explorer(NoExploration(), actor=actor)
    obs = torch.randn(1, OBS)
    assert np.allclose(none.act(obs), actor(obs).detach()) and none.metrics() == {"exploration/sigma": 0.0}
    assert "exploration is none" in none.notes()[0] and explorer(GaussianActionNoise()).notes() == []


@pytest.mark.parametrize(
    "spec",
    [
        NoExploration(),
        GaussianActionNoise(0.1),
        OrnsteinUhlenbeckActionNoise(),
        ParameterNoise(),
        MixedNoise(),
        MixedNoise(action=OrnsteinUhlenbeckActionNoise()),
    ],
)
@pytest.mark.parametrize("count", [40, 127, 128])
def test_a_restored_explorer_goes_on_exactly(spec: Exploration, count: int) -> None:
    torch.manual_seed(0)
    actor = nn.Sequential(nn.Linear(OBS, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, ACTION), nn.Tanh())
    one, two = explorer(spec, 2, seed=0, actor=actor), explorer(spec, 2, seed=5, actor=actor)
    roll(one, count, valid=(True, False))
    one.adapt(torch.randn(16, OBS))
    roll(two, 3, ended=(True, False))
    two.load_state_dict(through_file(one.state_dict()))
    batch = torch.randn(16, OBS)
    for each in (one, two):
        each.adapt(batch)
    assert np.array_equal(roll(one, 30, ended=(False, True)), roll(two, 30, ended=(False, True)))
    assert one.metrics() == two.metrics() and one.steps == two.steps


def test_double_precision_actors_are_fed_their_own_dtype() -> None:
    actor = nn.Linear(OBS, ACTION).double()
    for spec in (NoExploration(), GaussianActionNoise(), ParameterNoise()):
        action = explorer(spec, 2, actor=actor).act(np.zeros((2, OBS), np.float32))
        assert action.dtype == np.float32 and action.shape == (2, ACTION)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GaussianActionNoise(sigma=-0.1),
            r"^sigma = -0.1: must be positive, for example 0.1; for no noise take exploration=none",
        ),
        (lambda: GaussianActionNoise(sigma=float("nan")), r"^sigma = nan: must be positive"),
        (lambda: OrnsteinUhlenbeckActionNoise(theta=0.0), r"^theta = 0.0: must be positive, for example 0.15"),
        (
            lambda: OrnsteinUhlenbeckActionNoise(theta=0.5, dt=4.0),
            r"^dt = 4.0: must be positive and below 2 / theta = 4",
        ),
        (lambda: ParameterNoise(factor=1.0), r"^factor = 1.0: must be above 1, for example 1.01"),
        (
            lambda: ParameterNoise(adapt_every=-1),
            r"^adapt_every = -1: must be positive, for example 50, or 0 for a fixed sigma",
        ),
        (lambda: ParameterNoise(delta=0.0), r"^delta = 0.0: must be positive"),
    ],
)
def test_impossible_settings_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
