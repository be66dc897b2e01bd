"""Slices against closed forms and invariances; the survey of a player against dense matrices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rlgan.nets import DCGANSpec, MLPSpec
from rlgan.optim import Box, Losses, Metrics, Nets, Player, PlayerSpec, PureField, rmsprop, sgd
from rlgan.optim.play.eager_field import EagerField
from rlgan.optim.second_order.curvature import gradient_mapping, keskar_sharpness, optimal_step
from rlgan.optim.second_order.landscape import (
    filter_normalised,
    player_loss,
    player_mapping,
    slice_1d,
    slice_2d,
    survey,
)
from rlgan.optim.step.vector import Vector


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vector_of(module: nn.Module) -> Vector:
    return Vector(module.double())


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [
        MLPSpec(hidden=(5, 4), norm="layer").build((3,), ()),
        DCGANSpec(width=2, norm="batch").build((3,), (1, 8, 8)),
        DCGANSpec(width=2, norm="batch").build((1, 8, 8), ()),
    ]


@pytest.mark.parametrize("index", range(3))
def test_every_filter_of_a_direction_is_as_long_as_theta_s_and_other_parameters_stay(index: int) -> None:
    vector = vector_of(networks()[index])
    theta = vector.theta + 0.1 * normal(len(vector.theta))
    direction = filter_normalised(vector, theta, generator())
    weights, d = vector.split(theta), vector.split(direction)
    checked = 0
    for owner_name, owner in vector.module.named_modules():
        for leaf, parameter in owner._parameters.items():
            if parameter is None:
                continue
            name = f"{owner_name}.{leaf}"
            if leaf == "weight" and isinstance(owner, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                out = 1 if isinstance(owner, nn.ConvTranspose2d) else 0
                for mine, drawn in zip(weights[name].unbind(out), d[name].unbind(out), strict=True):
                    assert drawn.norm().item() == pytest.approx(mine.norm().item(), rel=1e-12)
                    assert mine.numel() == 1 or (drawn - mine).norm() > 1e-3 * mine.norm()
                    checked += 1
            else:
                assert not d[name].any(), name
    assert checked >= 5
    assert torch.equal(direction, filter_normalised(vector, theta, generator()))
    assert not torch.equal(direction, filter_normalised(vector, theta, generator(1)))


def test_slices_of_a_quadratic_are_its_closed_form() -> None:
    root = normal(6, 6)
    matrix, b, theta = root @ root.t(), normal(6, seed=1), normal(6, seed=2)
    d, e = normal(6, seed=3), normal(6, seed=4)

    def loss(t: Tensor) -> Tensor:
        return t @ matrix @ t / 2 - b @ t

    f, g = loss(theta), matrix @ theta - b
    a, losses = slice_1d(loss, theta, d, span=2.0, points=9)
    assert torch.equal(a, torch.linspace(-2, 2, 9, dtype=torch.float64))
    expected = f + a * (g @ d) + a.square() / 2 * (d @ matrix @ d)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-11)
    a, plane = slice_2d(loss, theta, d, e, span=0.5, points=7, chunk=5)
    x, y = a[:, None], a[None, :]
    cross = x * y * (d @ matrix @ e)
    expected = f + x * (g @ d) + y * (g @ e) + x**2 / 2 * (d @ matrix @ d) + cross + y**2 / 2 * (e @ matrix @ e)
    assert plane.shape == (7, 7)
    torch.testing.assert_close(plane, expected, rtol=1e-12, atol=1e-11)
    for chunk in (1, 4, 100):
        torch.testing.assert_close(slice_1d(loss, theta, d, span=2.0, points=9, chunk=chunk).losses, losses)
    for field, value in (("span", 0.0), ("points", 0), ("chunk", 0)):
        with pytest.raises(ValueError, match=rf"^{field} = {value}: .*for example"):
            slice_1d(loss, theta, d, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("c", [0.1, 40.0])
def test_the_picture_does_not_see_how_a_relu_network_shares_its_scale_among_its_layers(c: float) -> None:
    torch.manual_seed(3)
    module = MLPSpec(hidden=(7, 6), activation="relu").build((2,), ()).double()
    vector, x = Vector(module), normal(20, 2)
    names = [name for name in vector.names if name.endswith("weight")]

    def loss(theta: Tensor) -> Tensor:
        outputs: Tensor = torch.func.functional_call(module, vector.split(theta), (x,))
        return outputs.square().mean()

    factors = dict.fromkeys(vector.names, 1.0)
    factors[names[0]] = factors[names[0].replace("weight", "bias")] = c
    factors[names[1]] = 1 / c
    scaled = torch.cat([(p * factors[n]).reshape(-1) for n, p in vector.split(vector.theta).items()])
    assert loss(scaled).item() == pytest.approx(loss(vector.theta).item(), rel=1e-12)
    d, e = (filter_normalised(vector, theta, generator()) for theta in (vector.theta, scaled))
    mine, other = slice_1d(loss, vector.theta, d).losses, slice_1d(loss, scaled, e).losses
    assert mine.max() > 2 * mine.min()
    torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)
    same = slice_1d(loss, scaled, d).losses  # a direction that knows nothing of the scale does see it
    assert (same - mine).abs().max() > 0.1 * mine.max()


class Batch(NamedTuple):
    x: Tensor
    z: Tensor


def critic_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    slope = nets.critic.input_gradient(batch.x).square().sum(-1)
    gap = nets.critic(nets.generator(batch.z)).mean() - nets.critic(batch.x).mean()
    return gap + 0.3 * (slope - 1).square().mean(), {}


def generator_loss(nets: Nets, batch: Batch) -> tuple[Tensor, Metrics]:
    return -nets.critic(nets.generator(batch.z)).mean(), {}


def game(norm: Any = "batch", **spec: Any) -> tuple[list[Player], Losses, Batch]:
    torch.manual_seed(2)
    options: dict[str, Any] = {"hidden": (5,), "activation": "tanh"}
    players = [
        Player("critic", MLPSpec(**options).build((2,), ()).double(), PlayerSpec(None, rmsprop(1e-2), **spec)),
        Player("generator", MLPSpec(**options, norm=norm).build((2,), (2,)).double(), PlayerSpec(None, sgd(1e-2))),
    ]
    losses = Losses({"critic": critic_loss, "generator": generator_loss})
    return players, losses, Batch(normal(12, 2) + 1, normal(12, 2, seed=1))


def everything(players: list[Player]) -> list[Tensor]:
    parts = ("slots", "buffers", "average", "average_buffers")
    return [t.clone() for p in players for t in (p.state["theta"], *(v for k in parts for v in p.state[k].values()))]  # type: ignore[literal-required]


@pytest.mark.parametrize("name", ["critic", "generator"])
def test_the_loss_of_a_player_is_the_one_it_is_trained_on_and_moves_nothing(name: str) -> None:
    players, losses, batch = game()
    own = next(p for p in players if p.name == name)
    before = everything(players)
    loss = player_loss(PureField(players, losses), name, batch)
    theta = own.state["theta"].clone()
    value = loss(theta)
    points = theta + 0.1 * normal(4, len(theta))
    stacked = torch.func.vmap(loss)(points)
    torch.testing.assert_close(stacked, torch.stack([loss(p) for p in points]), rtol=1e-12, atol=1e-13)
    slope: Tensor = torch.func.grad(loss)(theta)
    assert all(torch.equal(a, b) for a, b in zip(before, everything(players), strict=True))
    grads, report = EagerField(players, losses).gradients(batch, (name,), {})
    assert float(report[f"{name}/loss"]) == pytest.approx(value.item(), rel=1e-12)
    torch.testing.assert_close(slope, grads[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["critic", "generator"])
def test_a_survey_finds_what_dense_matrices_say(name: str) -> None:
    players, losses, batch = game(projection=Box(0.3))
    for i in range(3):
        for p in players:
            p.step_in_place(normal(len(p.vector.theta), seed=i), p.scalars(p.steps + 1), None)
            p.steps += 1
    field = PureField(players, losses)
    own = next(p for p in players if p.name == name)
    before = everything(players)
    state = torch.get_rng_state()
    found = survey(field, name, batch, 12, notes=("all there is",), line_points=5, plane_points=3)
    assert all(torch.equal(a, b) for a, b in zip(before, everything(players), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    loss, theta, numbers = player_loss(field, name, batch), own.state["theta"].clone(), found.numbers
    gradient: Tensor = torch.func.grad(loss)(theta)
    exact, vectors = torch.linalg.eigh(torch.func.jacrev(torch.func.grad(loss))(theta))
    assert numbers["eigenvalue/smallest"] == pytest.approx(exact[0].item(), abs=1e-7)
    assert numbers["eigenvalue/largest"] == pytest.approx(exact[-1].item(), abs=1e-7)
    assert numbers["eigenvalue/largest_error"] < 1e-5 and numbers["eigenvalue/smallest_error"] < 1e-5
    assert numbers["loss"] == loss(theta).item() and numbers["samples"] == 12
    assert numbers["gradient/norm"] == pytest.approx(gradient.norm().item(), rel=1e-12)
    assert numbers["sharpness/rise"] == keskar_sharpness(loss, theta).rise
    step = optimal_step(loss, theta)
    assert numbers.get("step/optimal", math.inf) == step
    assert found.kind == "not_critical" and found.notes == ("all there is",)
    d, e = (filter_normalised(own.vector, theta, g) for g in [generator()] * 2)
    assert torch.equal(found.line.losses, slice_1d(loss, theta, d, points=5).losses)
    assert torch.equal(found.plane.losses, slice_2d(loss, theta, d, e, points=3).losses)
    top = vectors[:, int(exact.abs().argmax())] * d.norm()
    along = slice_1d(loss, theta, top, span=0.25, points=5).losses
    mirrored = torch.minimum((found.top.losses - along).abs().max(), (found.top.losses.flip(0) - along).abs().max())
    assert mirrored < 1e-4
    assert ("gradient/mapping" in numbers) is (name == "critic")
    if name == "critic":
        h = own.state["slots"]["mean_square"].sqrt() + 1e-8
        expected = gradient_mapping(theta, gradient, lambda x: x.clamp(-0.3, 0.3), h, 1e-2)
        torch.testing.assert_close(player_mapping(own, gradient), expected, rtol=1e-12, atol=1e-12)
        assert numbers["gradient/mapping"] == pytest.approx(expected.norm().item(), rel=1e-12)
        assert numbers["gradient/unprojected"] == pytest.approx((gradient / h.sqrt()).norm().item(), rel=1e-12)
        assert theta.abs().eq(0.3).any() and numbers["gradient/mapping"] < numbers["gradient/unprojected"]


def test_the_mapping_of_a_clipped_player_is_zero_where_its_bounds_hold_it_back() -> None:
    """A linear critic: at the corner of the box that separates the samples most, with the gradient as large as ever."""
    gap = torch.tensor([2.0, -0.5], dtype=torch.float64)
    critic = Player(
        "critic", nn.Linear(2, 1, bias=False).double(), PlayerSpec(None, rmsprop(1e-2), projection=Box(0.1))
    )
    losses = Losses({"critic": lambda nets, x: (-nets.critic(x).mean(), {})})
    slope: Any = torch.func.grad(player_loss(PureField([critic], losses), "critic", gap[None]))
    critic.step_in_place(normal(2), critic.scalars(1), None)
    critic.steps = 1
    for corner, stationary in (((0.1, -0.1), True), ((0.1, 0.1), False), ((0.05, -0.1), False)):
        critic.state["theta"].copy_(torch.tensor(corner, dtype=torch.float64))
        gradient = slope(critic.state["theta"])
        assert torch.equal(gradient, -gap)
        assert bool(player_mapping(critic, gradient).any()) is not stationary
