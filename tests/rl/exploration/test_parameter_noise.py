"""Parameter noise: what is perturbed, when, by how much, and what the adaptation does."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from rlgan.optim.step.vector import Vector
from rlgan.rl.exploration.explorer import Rollout
from rlgan.rl.exploration.parameter_noise import ParameterNoise, PerturbedActors
from tests.optim.problems import linked

OBS, ACTION = 3, 2


def policy(width: int = 16, norm: type[nn.Module] = nn.LayerNorm) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(OBS, width), norm(width), nn.ReLU(), nn.Linear(width, ACTION), nn.Tanh())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d])
def test_all_but_the_normalisation_layers_is_perturbed_with_standard_deviation_sigma(norm: type[nn.Module]) -> None:
    actor = policy(64, norm)
    # A name must not matter: the first linear layer is called like a norm.
    actor = nn.Sequential()
    for name, module in zip(("layer_norm", "b", "c", "d", "e"), policy(64, norm), strict=True):
        actor.add_module(name, module)
    actors = PerturbedActors(actor, 200)
    for i in range(200):
        actors.perturb(i, 0.3, generator(i))
    theta = torch.cat([p.detach().reshape(-1) for p in actor.parameters()])
    difference = dict(
        zip(
            [name for name, _ in actor.named_parameters()],
            (actors.vectors - theta).split([p.numel() for p in actor.parameters()], 1),
            strict=True,
        )
    )
    for name, change in difference.items():
        if name.startswith("b."):
            assert not change.any(), name
        else:
            # At least 400 draws: the standard error of the deviation is below 4 %.
            assert abs(float(change.std()) / 0.3 - 1) < 0.15 and abs(float(change.mean())) < 0.06, name
    everything = torch.cat([change for name, change in difference.items() if not name.startswith("b.")], 1)
    assert abs(float(everything.std()) / 0.3 - 1) < 0.01


def test_the_weights_being_trained_are_never_touched() -> None:
    vector = Vector(policy())
    before = vector.theta.clone()
    noise = ParameterNoise(sigma=1.0).make(Rollout(2, OBS, ACTION, generator(), vector.module))
    for _ in range(5):
        noise.act(np.zeros((2, OBS), np.float32))
        noise.observe(np.array([True, False]), np.array([True, True]))
        noise.adapt(torch.randn(8, OBS))
    assert torch.equal(vector.theta, before) and linked(vector)
    assert all(p.requires_grad for p in vector.parameters)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.BatchNorm1d])
@pytest.mark.parametrize("count", [1, 2, 6, 7, 11])
def test_row_i_is_the_answer_of_copy_i(count: int, norm: type[nn.Module]) -> None:
    actor = policy(norm=norm)
    actor(torch.randn(50, OBS) * 3 + 1)  # statistics other than the first ones
    actors = PerturbedActors(actor, count)
    for i in range(count):
        actors.perturb(i, 0.3, generator(i))
    obs, answer = torch.randn(count, OBS), []
    for i in range(count):
        module = copy.deepcopy(actor).eval()
        torch.nn.utils.vector_to_parameters(actors.vectors[i], module.parameters())
        answer.append(module(obs[i : i + 1]).detach())
    assert torch.allclose(actors(obs), torch.cat(answer), atol=1e-6)
    assert count == 1 or not torch.allclose(actors(obs[:1].expand(count, -1))[0], actors(obs[:1].expand(count, -1))[1])


def test_a_copy_acts_a_whole_episode_and_is_drawn_anew_from_the_actor_as_it_is_then() -> None:
    vector = Vector(policy())
    noise = ParameterNoise(sigma=0.1).make(Rollout(2, OBS, ACTION, generator(), vector.module))
    obs = np.ones((2, OBS), np.float32)
    first = noise.act(obs)
    noise.observe(np.array([False, False]), np.array([True, True]))
    vector.theta.mul_(2.0)
    assert np.array_equal(noise.act(obs), first), "training must not move the copy in mid-episode"
    noise.observe(np.array([False, True]), np.array([True, True]))
    second = noise.act(obs)
    assert np.array_equal(second[0], first[0]) and not np.allclose(second[1], first[1])
    # With a vanishing sigma the new copy is the new actor.
    still = ParameterNoise(sigma=1e-9).make(Rollout(1, OBS, ACTION, generator(), vector.module))
    vector.theta.mul_(0.5)
    still.observe(np.array([True]), np.array([True]))
    assert np.allclose(still.act(obs[:1]), vector.module(torch.from_numpy(obs[:1])).detach(), atol=1e-6)


def test_the_distance_is_the_root_mean_square_over_batch_and_action_dimensions() -> None:
    # A linear actor: mu~ - mu = E s + e with E, e ~ N(0, sigma^2): E d^2 = sigma^2 (|s|^2 + 1).
    actor = nn.Linear(2, ACTION)
    noise = ParameterNoise(sigma=0.1, factor=1 + 1e-12).make(Rollout(1, 2, ACTION, generator(), actor))
    obs = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [0.0, 0.0]])
    squares = []
    for _ in range(3000):
        noise.adapt(obs)
        squares.append(noise.metrics()["exploration/distance"] ** 2)
    expected = 0.01 * float((obs.square().sum(1) + 1).mean())
    assert abs(np.mean(squares) / expected - 1) < 0.06


@pytest.mark.parametrize("start", [0.01, 3.0])
def test_sigma_moves_by_the_factor_until_the_distance_is_delta(start: float) -> None:
    noise = ParameterNoise(sigma=start, delta=0.2, factor=1.05).make(Rollout(1, OBS, ACTION, generator(), policy(64)))
    obs = torch.randn(128, OBS)
    sigmas, distances = [start], []
    for _ in range(400):
        noise.adapt(obs)
        metrics = noise.metrics()
        sigmas.append(metrics["exploration/sigma"])
        distances.append(metrics["exploration/distance"])
        up = distances[-1] <= 0.2
        assert sigmas[-1] == pytest.approx(sigmas[-2] * 1.05 if up else sigmas[-2] / 1.05, rel=1e-12)
    assert abs(np.median(distances[-200:]) / 0.2 - 1) < 0.1


def test_the_trial_copy_is_fresh_and_leaves_the_acting_copies_alone() -> None:
    noise = ParameterNoise(factor=1 + 1e-12).make(Rollout(2, OBS, ACTION, generator(), policy()))
    obs, batch = np.ones((2, OBS), np.float32), torch.randn(32, OBS)
    before, distances = noise.act(obs), set()
    for _ in range(5):
        noise.adapt(batch)
        distances.add(noise.metrics()["exploration/distance"])
    assert len(distances) == 5 and np.array_equal(noise.act(obs), before)


def test_a_fixed_sigma_is_not_adapted() -> None:
    noise = ParameterNoise(sigma=0.3, adapt_every=0).make(Rollout(1, OBS, ACTION, generator(), policy()))
    noise.adapt(torch.randn(8, OBS))
    assert noise.adapt_every is None and noise.metrics() == {"exploration/sigma": 0.3}
    assert ParameterNoise().make(Rollout(1, OBS, ACTION, generator(), policy())).adapt_every == 50
