"""Networks: shapes, initialisations and the transformations that the vector foundation puts them through."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from rlgan.nets import DCGANSpec, Init, MLPSpec, NetworkSpec, Norm
from rlgan.nets.layers import linear, thin

NORMS = get_args(Norm)
INITS = get_args(Init)
IMAGE_SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 16, 8)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def weighted(module: nn.Module) -> list[nn.Linear | nn.Conv2d | nn.ConvTranspose2d]:
    return [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("inputs", "outputs"), [((2,), ()), ((2,), (1,)), ((3,), (1, 8, 8)), ((1, 8, 8), ()), ((4,), (2,))]
)
def test_mlp_maps_a_batch_of_any_shapes(norm: Norm, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    module = MLPSpec(hidden=(16, 16), norm=norm).build(inputs, outputs)
    assert module(torch.randn(5, *inputs)).shape == (5, *outputs)


def test_mlp_is_the_composition_written_out() -> None:
    module = MLPSpec(hidden=(7,), activation="tanh").build((2, 3), (4,))
    first, last = weighted(module)
    x = torch.randn(5, 2, 3)
    assert first.bias is not None and last.bias is not None
    by_hand = torch.tanh(x.reshape(5, 6) @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(module(x), by_hand)


def test_mlp_without_hidden_layers_is_linear() -> None:
    module = MLPSpec(hidden=()).build((3,), ())
    a, b, zero = torch.randn(1, 3), torch.randn(1, 3), torch.zeros(1, 3)
    torch.testing.assert_close(module(a + b) + module(zero), module(a) + module(b))


@pytest.mark.parametrize("shape", IMAGE_SHAPES)
@pytest.mark.parametrize("norm", NORMS)
def test_dcgan_is_a_pair_for_every_image_size(shape: tuple[int, ...], norm: Norm) -> None:
    spec = DCGANSpec(width=4, norm=norm)
    generator, critic = spec.build((6,), shape), spec.build(shape, ())
    x_fake = generator(torch.randn(3, 6))
    assert x_fake.shape == (3, *shape)
    assert x_fake.abs().max() < 1  # tanh
    assert critic(x_fake).shape == (3,)
    assert spec.build(shape, (1,))(x_fake).shape == (3, 1)


def test_dcgan_shape_at_64_is_radfords() -> None:
    critic = DCGANSpec(width=32).build((3, 64, 64), ())
    assert [m.out_channels for m in weighted(critic) if isinstance(m, nn.Conv2d)] == [32, 64, 128, 256, 512]
    assert weighted(critic)[-1].weight.shape == (1, 512 * 4 * 4)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [((2,), (2,)), ((2,), ()), ((1, 8, 8), (1, 8, 8)), ((8,), (1, 7, 7)), ((1, 9, 9), ()), ((1, 4, 4), ())],
)
def test_dcgan_refuses_what_is_not_an_image(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^shape = .*: .*; use "):
        DCGANSpec().build(inputs, outputs)


def test_output_activation_follows_the_shape_unless_told() -> None:
    x = 100 * torch.randn(50, 2)
    assert MLPSpec().build((2,), (1, 8, 8))(x).abs().max() <= 1
    assert MLPSpec().build((2,), (2,))(x).abs().max() > 1
    assert MLPSpec(output="identity").build((2,), (1, 8, 8))(x).abs().max() > 1
    assert MLPSpec(output="tanh").build((2,), (2,))(x).abs().max() <= 1


def test_actor_and_q_critic() -> None:
    spec = MLPSpec(hidden=(16, 16), init="ddpg", output="identity")
    actor, q_critic = spec.actor(3, 2), spec.q_critic(3, 2)
    obs = torch.randn(5, 3)
    action = actor(1e6 * obs)
    assert action.shape == (5, 2)
    assert action.abs().max() <= 1
    q = q_critic(obs, action)
    assert q.shape == (5,)
    torch.testing.assert_close(q, q_critic.mlp(torch.cat((obs, action), 1)))
    # One state without a batch, as inside vmap over environments.
    torch.testing.assert_close(q_critic(obs[0], action[0]), q[0])


def test_ddpg_init_bounds() -> None:
    actor = MLPSpec(hidden=(400, 300), init="ddpg").actor(17, 6)
    *hidden, last = weighted(actor)
    for layer, fan_in in zip(hidden, (17, 400), strict=True):
        for p in (layer.weight, layer.bias):
            assert p is not None
            assert p.abs().max() <= 1 / math.sqrt(fan_in)
            assert p.abs().max() > 0.9 / math.sqrt(fan_in)
    assert 2.8e-3 < last.weight.abs().max() <= 3e-3
    assert last.bias is not None
    assert last.bias.abs().max() <= 3e-3


def test_final_bound_holds_for_any_init() -> None:
    last = weighted(MLPSpec(init="orthogonal", final_bound=1e-2).actor(17, 6))[-1]
    assert 9e-3 < last.weight.abs().max() <= 1e-2


def test_orthogonal_init_has_gain_two_for_relu_and_one_at_the_end() -> None:
    first, middle, last = weighted(MLPSpec(hidden=(32, 16), init="orthogonal").build((8,), (4,)))
    torch.testing.assert_close(first.weight.T @ first.weight, 2 * torch.eye(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(middle.weight @ middle.weight.T, 2 * torch.eye(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(last.weight @ last.weight.T, torch.eye(4), atol=1e-5, rtol=0)


def test_xavier_he_and_normal_init_variances() -> None:
    def first_std(init: Init) -> float:
        return float(weighted(MLPSpec(hidden=(400,), init=init).build((300,), (200,)))[0].weight.detach().std())

    assert first_std("xavier") == pytest.approx(math.sqrt(2 / (300 + 400)), rel=0.02)
    assert first_std("he") == pytest.approx(math.sqrt(2 / 300), rel=0.02)
    assert first_std("normal") == pytest.approx(0.02, rel=0.02)
    kernel = weighted(DCGANSpec(width=32, init="he").build((8, 16, 16), ()))[0].weight
    assert float(kernel.detach().std()) == pytest.approx(math.sqrt(2 / (1 + 0.2**2) / (8 * 9)), rel=0.05)


@pytest.mark.parametrize("init", INITS)
def test_every_init_is_reproducible_and_leaves_no_bias_behind(init: Init) -> None:
    def draw(spec: NetworkSpec, inputs: tuple[int, ...]) -> list[Tensor]:
        torch.manual_seed(3)
        return list(spec.build(inputs, ()).parameters())

    for spec, inputs in ((MLPSpec(hidden=(8,), init=init), (4,)), (DCGANSpec(width=4, init=init), (1, 8, 8))):
        first, second = draw(spec, inputs), draw(spec, inputs)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert all(p.isfinite().all() for p in first)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLPSpec(hidden=(0, 4)), r"^hidden = \[0, 4\]: "),
        (lambda: MLPSpec(final_bound=-1.0), r"^final_bound = -1.0: "),
        (lambda: DCGANSpec(width=0), r"^width = 0: "),
        (lambda: DCGANSpec(smallest=0), r"^smallest = 0: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], NetworkSpec], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


SPECS: list[tuple[str, NetworkSpec, tuple[int, ...], tuple[int, ...]]] = [
    (f"{name}-{norm}", spec(norm), inputs, outputs)
    for norm in NORMS
    for name, spec, inputs, outputs in (
        ("mlp", lambda n: MLPSpec(hidden=(8,), activation="tanh", norm=n), (3,), ()),
        ("generator", lambda n: DCGANSpec(width=2, norm=n), (3,), (1, 8, 8)),
        ("critic", lambda n: DCGANSpec(width=2, norm=n), (1, 8, 8), ()),
    )
]


@pytest.mark.parametrize(("spec", "inputs", "outputs"), [s[1:] for s in SPECS], ids=[s[0] for s in SPECS])
def test_grad_and_vmap_over_seeds_equal_modules_one_by_one(
    spec: NetworkSpec, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    """The stacked pure form (functional_call, grad, vmap; buffers in, out, cloned) against .backward() one by one."""
    modules = [spec.build(inputs, outputs).double() for _ in range(3)]
    x = torch.randn(3, 4, *inputs, dtype=torch.float64)
    params, buffers = stack_module_state(modules)

    def loss(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        b = {name: value.clone() for name, value in b.items()}
        return functional_call(modules[0], (p, b), (x,)).pow(2).sum(), b

    before = {name: value.clone() for name, value in buffers.items()}
    gradients, buffers_out = vmap(grad(loss, has_aux=True))(params, buffers, x)
    assert all(torch.equal(buffers[name], before[name]) for name in buffers)
    for i, module in enumerate(modules):
        module(x[i]).pow(2).sum().backward()
        for name, p in module.named_parameters():
            torch.testing.assert_close(gradients[name][i], p.grad, rtol=1e-9, atol=1e-12)
        for name, b in module.named_buffers():
            torch.testing.assert_close(buffers_out[name][i], b)


@pytest.mark.parametrize(
    "spec", [MLPSpec(hidden=(8,), activation="tanh"), DCGANSpec(width=2, norm="layer")], ids=["mlp", "dcgan"]
)
def test_penalty_in_pure_form_carries_the_gradient_of_double_backward(spec: NetworkSpec) -> None:
    """d/dtheta sum |d f/dx|^2, once by torch.func.grad twice under vmap, once by autograd twice."""
    modules = [spec.build((1, 8, 8), ()).double() for _ in range(2)]
    x = torch.randn(2, 3, 1, 8, 8, dtype=torch.float64)
    params, _ = stack_module_state(modules)

    def penalty(p: dict[str, Tensor], x: Tensor) -> Tensor:
        return grad(lambda x: functional_call(modules[0], p, (x,)).sum())(x).pow(2).sum()

    gradients = vmap(grad(penalty))(params, x)
    for i, module in enumerate(modules):
        leaf = x[i].clone().requires_grad_()
        (g,) = torch.autograd.grad(module(leaf).sum(), leaf, create_graph=True)
        expected = torch.autograd.grad(
            g.pow(2).sum(), list(module.parameters()), allow_unused=True, materialize_grads=True
        )
        for (name, _), e in zip(module.named_parameters(), expected, strict=True):
            torch.testing.assert_close(gradients[name][i], e, rtol=1e-9, atol=1e-12)
        assert any(e.abs().max() > 0 for e in expected)


@pytest.mark.parametrize("inputs", [1, 2, 4, 15, 16])
def test_thin_layers_compute_what_linear_computes(inputs: int) -> None:
    x = torch.randn(7, inputs, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(128, inputs, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(128, dtype=torch.float64, requires_grad=True)
    assert thin(x, weight.shape) == (1 < inputs < 16)
    probe = torch.randn(7, 128, dtype=torch.float64)
    ours, plain = linear(x, weight, bias), F.linear(x, weight, bias)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    arguments = (x, weight, bias)
    for got, wanted in zip(
        torch.autograd.grad((ours * probe).sum(), arguments),
        torch.autograd.grad((plain * probe).sum(), arguments),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_a_wide_critic_has_the_same_action_gradient_either_way() -> None:
    critic = MLPSpec(hidden=(128, 16)).q_critic(3, 2).double()
    obs, action = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    together = torch.cat((obs, action), 1).requires_grad_(True)
    (wanted,) = torch.autograd.grad(critic.mlp(together).sum(), together)
    action.requires_grad_(True)
    (got,) = torch.autograd.grad(critic(obs, action).sum(), action)
    torch.testing.assert_close(got, wanted[:, 3:], rtol=1e-12, atol=1e-12)
