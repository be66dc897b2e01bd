"""A perceptron's answer to one input by numpy against the network's own."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from rlgan.nets import Actor, MLPSpec, Single
from rlgan.nets.layers import ACTIVATIONS
from rlgan.optim.step.vector import Vector
from rlgan.rl.exploration.action_noise import NoExploration
from rlgan.rl.exploration.explorer import Rollout
from rlgan.rl.exploration.parameter_noise import PerturbedActors

OBS = np.array([0.3, -1.2, 5.0], dtype=np.float32)


def actor(dtype: torch.dtype = torch.float32, **settings: Any) -> Actor:
    torch.manual_seed(0)
    spec = MLPSpec(**{"hidden": (24, 16), **settings})
    return spec.actor(3, 2).to(dtype)


def by_torch(module: Actor, obs: np.ndarray = OBS) -> np.ndarray:
    with torch.no_grad():
        like = next(module.parameters())
        answer: np.ndarray = module(torch.from_numpy(obs).to(like.dtype)[None])[0].numpy()
        return answer


@pytest.mark.parametrize("hidden", [(), (24, 16), (128, 96)])
@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equals_the_network(activation: str, norm: str, hidden: tuple[int, ...]) -> None:
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-14)):
        module = actor(dtype, activation=activation, norm=norm, hidden=hidden)
        with torch.no_grad():
            for p in module.parameters():  # norms' weights are ones and zeros at first
                p.add_(0.1 * torch.randn_like(p))
        assert Single.possible(module)
        single = Single(module)
        answer = single(OBS)
        assert answer.dtype == by_torch(module).dtype
        np.testing.assert_allclose(answer, by_torch(module), rtol=0, atol=tolerance)
        assert np.array_equal(answer, single(OBS)), "its input and weights are left as they are"


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_and_bad_inputs_do_as_in_torch(activation: str, norm: str) -> None:
    module = actor(activation=activation, norm=norm)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in (1e4, 1e15, 1e30):
            obs = OBS * np.float32(size)
            np.testing.assert_allclose(Single(module)(obs), by_torch(module, obs), rtol=0, atol=2e-6)
        assert np.isnan(Single(module)(np.array([0.0, np.nan, 1.0], dtype=np.float32))).all()


def test_sees_what_is_done_to_the_parameters_wherever_they_move() -> None:
    module = actor(norm="layer")
    single = Single(module)
    first = single(OBS)
    vector = Vector(module)  # parameters move
    np.testing.assert_array_equal(single(OBS), first)
    with torch.no_grad():
        vector.theta.mul_(0.5)
    assert not np.array_equal(single(OBS), first)
    np.testing.assert_allclose(single(OBS), by_torch(module), rtol=0, atol=2e-6)
    vector.rehome(torch.empty(len(vector.theta)))
    with torch.no_grad():
        vector.theta.mul_(3.0)
    np.testing.assert_allclose(single(OBS), by_torch(module), rtol=0, atol=2e-6)
    last = module.mlp.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.data = torch.ones_like(last.weight)  # one of them alone
    np.testing.assert_allclose(single(OBS), by_torch(module), rtol=0, atol=2e-6)


def test_a_copy_answers_by_its_own_parameters() -> None:
    module = actor()
    explorer = NoExploration().make(Rollout(1, 3, 2, torch.Generator(), module))
    first = explorer.act(OBS[None])
    for copied in (copy.deepcopy(explorer), pickle.loads(pickle.dumps(explorer))):
        assert copied._single is not None and copied._single._at == []
        own = copied.actor
        assert isinstance(own, Actor)
        with torch.no_grad():
            next(own.parameters()).mul_(3.0)
        np.testing.assert_allclose(copied.act(OBS[None])[0], by_torch(own), rtol=0, atol=2e-6)
        np.testing.assert_array_equal(explorer.act(OBS[None]), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_explorer_of_one_environment_takes_arrays_and_tensors(dtype: torch.dtype) -> None:
    module = actor(dtype)
    explorer = NoExploration().make(Rollout(1, 3, 2, torch.Generator(), module))
    for obs in (OBS[None], torch.from_numpy(OBS[None]).double(), torch.from_numpy(OBS[None]).requires_grad_()):
        action = explorer.act(obs)
        assert action.shape == (1, 2) and action.dtype == np.float32
        np.testing.assert_allclose(action[0], by_torch(module), rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match="unpack"):
        explorer.act(np.stack([OBS, OBS]))


@pytest.mark.parametrize("count", [1, 2, 6, 7])
def test_perturbed_perceptrons_answer_by_their_own_parameters(count: int) -> None:
    module = actor(norm="layer")
    copies = PerturbedActors(module, count)
    obs = torch.randn(count, 3)
    for seed in (0, 1):  # the second time in place, after the first answer
        generator = torch.Generator().manual_seed(seed)
        for i in range(count):
            copies.perturb(i, 0.3, generator)
        expected = [
            functional_call(module, {name: rows[i] for name, rows in copies._parameters.items()}, (obs[i],))
            for i in range(count)
        ]
        torch.testing.assert_close(copies(obs), torch.stack(expected), rtol=0, atol=2e-6)


def test_is_not_possible_where_numpy_would_answer_otherwise() -> None:
    assert not Single.possible(actor(norm="batch"))
    assert not Single.possible(actor(torch.bfloat16))
    assert not Single.possible(actor().to("meta"))
    assert not Single.possible(torch.nn.Linear(3, 2))
    hooked = actor()
    hooked.register_forward_hook(lambda *_: None)
    assert not Single.possible(hooked)
