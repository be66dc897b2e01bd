"""Networks: shapes, initialisations and the transformations that the vector foundation puts them through."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from rlgan.nets import ConvSpec, DCGANSpec, Init, MLPSpec, NetworkSpec, Norm
from rlgan.nets.layers import ACTIVATIONS, Activation, linear, thin

NORMS = get_args(Norm)
INITS = get_args(Init)
IMAGE_SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 16, 8), (3, 45, 9)]


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
@pytest.mark.parametrize("full", [True, False])
def test_dcgan_is_a_pair_for_every_image_size(shape: tuple[int, ...], norm: Norm, full: bool) -> None:
    spec = DCGANSpec(width=4, norm=norm, full_resolution=full)
    generator, critic = spec.build((6,), shape), spec.build(shape, ())
    x_fake = generator(torch.randn(3, 6))
    assert x_fake.shape == (3, *shape)
    assert x_fake.abs().max() < 1  # tanh
    assert critic(x_fake).shape == (3,)
    assert spec.build(shape, (1,))(x_fake).shape == (3, 1)


def test_dcgan_without_full_resolution_has_no_layer_there() -> None:
    spec = DCGANSpec(width=8, full_resolution=False)
    first, *_ = weighted(spec.build((1, 28, 28), ()))
    *_, last = weighted(spec.build((6,), (1, 28, 28)))
    assert (first.stride, last.stride, last.bias is None) == ((2, 2), (2, 2), False)
    assert isinstance(last, nn.ConvTranspose2d) and (last.in_channels, last.out_channels) == (8, 1)


def test_dcgan_shape_at_64_is_radfords() -> None:
    critic = DCGANSpec(width=32).build((3, 64, 64), ())
    assert [m.out_channels for m in weighted(critic) if isinstance(m, nn.Conv2d)] == [32, 64, 128, 256, 512]
    assert weighted(critic)[-1].weight.shape == (1, 512 * 4 * 4)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [((2,), (2,)), ((2,), ()), ((1, 8, 8), (1, 8, 8)), ((8,), (1, 7, 7)), ((1, 7, 9), ()), ((1, 4, 4), ())],
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


def test_init_scale_multiplies_the_weights_of_the_start_and_not_the_biases() -> None:
    made = []
    for scale in (1.0, 2.5, 0.0):
        torch.manual_seed(0)
        made.append(list(MLPSpec(hidden=(8,), init_scale=scale).build((3,), (2,)).parameters()))
    for one, other, nothing in zip(*made, strict=True):
        factor = 2.5 if one.ndim == 2 else 1.0
        assert torch.equal(other, factor * one) and bool((nothing == 0).all()) == (one.ndim == 2)


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


def drawn(init: Init) -> list[tuple[nn.Linear | nn.Conv2d | nn.ConvTranspose2d, int, int]]:
    """Wide layers of each kind but the last of their networks, with their fans (m, n) written out."""
    linear = weighted(MLPSpec(hidden=(400,), init=init).build((300,), (2,)))[0]
    up = weighted(DCGANSpec(width=16, init=init, norm="none").build((90,), (1, 16, 16)))
    down = weighted(DCGANSpec(width=16, init=init, norm="none").build((1, 16, 16), ()))
    return [
        (linear, 300, 400),
        (up[0], 90, 64 * 4 * 4),
        (up[1], 64 * 16, 32 * 16),
        (up[2], 32 * 16, 16 * 16),
        (down[0], 1 * 9, 16 * 9),
        (down[1], 16 * 16, 32 * 16),
        (down[2], 32 * 16, 64 * 16),
    ]


@pytest.mark.parametrize("init", ["fan_in", "ddpg", "xavier"])
def test_uniform_inits_fill_their_interval_evenly(init: Init) -> None:
    for layer, m, n in drawn(init):
        bound = math.sqrt(6 / (m + n)) if init == "xavier" else 1 / math.sqrt(m)
        w = layer.weight.detach().double().flatten()
        assert w.abs().max() <= bound * (1 + 1e-6) and w.abs().max() > 0.95 * bound
        assert float(w.var()) == pytest.approx(bound**2 / 3, rel=0.15)
        assert stats.kstest(w.numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


@pytest.mark.parametrize("init", ["he", "normal", "sparse"])
def test_gaussian_inits_are_gaussian(init: Init) -> None:
    for layer, m, _ in drawn(init):
        slope = 0.2 if isinstance(layer, nn.Conv2d) else 0.0  # the critic's leaky ReLU
        std = {"he": math.sqrt(2 / (1 + slope**2) / m), "normal": 0.02, "sparse": 1.0}[init]
        w = layer.weight.detach().double().flatten()
        w = w[w != 0] if init == "sparse" else w
        assert float(w.std()) == pytest.approx(std, rel=0.15)
        assert stats.kstest(w.numpy(), stats.norm(0, std).cdf).pvalue > 1e-3


def test_sparse_init_gives_every_unit_exactly_fifteen_inputs_or_all_that_it_has() -> None:
    for layer, m, _ in drawn("sparse"):
        units = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        listens = units.detach().flatten(1) != 0
        assert listens.shape[1] == m
        assert (listens.sum(1) == min(15, m)).all()
        # Every input is as likely as any other: column counts are hypergeometric, hence spread out and not constant.
        counts = listens.sum(0).double()
        assert counts.sum() == min(15, m) * units.shape[0]
        if m > 15:
            share = 15 / m
            assert counts.std() > 0 and float(counts.var() / (units.shape[0] * share * (1 - share))) < 2
            assert not (listens == listens[0]).all()
    *_, last = weighted(MLPSpec(hidden=(40,), init="sparse").build((3,), (8,)))
    assert ((last.weight != 0).sum(1) == 15).all()


def test_torchs_sparse_init_does_not_hold_the_number_of_inputs_of_a_unit() -> None:
    """Why there is one of our own: torch's leaves 15 units per input."""
    w = nn.init.sparse_(torch.empty(40, 300), 1 - 15 / 40, std=1.0)
    assert ((w != 0).sum(0) == 15).all() and len(set((w != 0).sum(1).tolist())) > 5


@pytest.mark.parametrize("activation", get_args(Activation))
def test_orthogonal_init_has_the_gain_of_the_activation(activation: Activation) -> None:
    gain = {
        "relu": nn.init.calculate_gain("relu"),
        "leaky_relu": nn.init.calculate_gain("leaky_relu", 0.2),
        "tanh": nn.init.calculate_gain("tanh"),
        "sigmoid": nn.init.calculate_gain("sigmoid"),
        "identity": nn.init.calculate_gain("linear"),
        "polynomial": 1 / math.sqrt(stats.norm.expect(lambda z: (z + z**2 / 2) ** 2)),
    }.get(activation, math.sqrt(2))
    assert ACTIVATIONS[activation].gain == pytest.approx(gain, rel=1e-8 if activation == "polynomial" else 1e-15)
    first, last = weighted(MLPSpec(hidden=(32,), init="orthogonal", activation=activation).build((8,), (4,)))
    torch.testing.assert_close(first.weight.T @ first.weight, gain**2 * torch.eye(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(last.weight @ last.weight.T, torch.eye(4), atol=1e-5, rtol=0)
    for layer in weighted(DCGANSpec(width=4, init="orthogonal").build((1, 16, 16), ()))[1:-1]:
        rows = layer.weight.flatten(1)
        expected = 2 / (1 + 0.2**2) * torch.eye(len(rows))
        torch.testing.assert_close(rows @ rows.T, expected, atol=1e-5, rtol=0)


def test_the_initial_gain_keeps_the_scale_through_fifty_layers() -> None:
    """A ReLU passes half of the mean square of a symmetric value; the gain makes up for it."""
    module = MLPSpec(hidden=(256,) * 50, init="he").build((256,), (256,))
    with torch.no_grad():
        x = torch.randn(64, 256)
        y = module(x)
    # The first layer, with no ReLU before it, doubles it, the last, of gain 1, halves it. Without gains: 2^-50.
    assert 0.05 < float(y.pow(2).mean() / x.pow(2).mean()) < 5


@pytest.mark.parametrize("init", [i for i in INITS if i not in ("torch", "ddpg")])
def test_biases_begin_at_zero(init: Init) -> None:
    for spec, inputs in ((MLPSpec(hidden=(8,), init=init), (4,)), (DCGANSpec(width=4, init=init), (1, 8, 8))):
        biases = [layer.bias for layer in weighted(spec.build(inputs, ())) if layer.bias is not None]
        assert len(biases) == 2 and not any(b.any() for b in biases)


@pytest.mark.parametrize("init", INITS)
def test_every_init_is_reproducible(init: Init) -> None:
    def draw(spec: NetworkSpec, inputs: tuple[int, ...]) -> list[Tensor]:
        torch.manual_seed(3)
        return list(spec.build(inputs, ()).parameters())

    for spec, inputs in ((MLPSpec(hidden=(8,), init=init), (4,)), (DCGANSpec(width=4, init=init), (1, 8, 8))):
        first, second = draw(spec, inputs), draw(spec, inputs)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert all(p.isfinite().all() for p in first)
        torch.manual_seed(4)
        others = spec.build(inputs, ()).parameters()
        alike = all(torch.equal(a, b) for a, b in zip(first, others, strict=True))
        assert alike == (init in ("constant", "zeros"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLPSpec(hidden=(0, 4)), r"^hidden = \[0, 4\]: "),
        (lambda: MLPSpec(init_scale=-1.0), r"^init_scale = -1.0: "),
        (lambda: MLPSpec(final_bound=-1.0), r"^final_bound = -1.0: "),
        (lambda: DCGANSpec(width=0), r"^width = 0: "),
        (lambda: DCGANSpec(smallest=0), r"^smallest = 0: "),
        (lambda: ConvSpec(channels=()), r"^channels = \[\]: "),
        (lambda: ConvSpec(channels=(8, 0)), r"^channels = \[8, 0\]: "),
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
        ("conv", lambda n: ConvSpec(channels=(2, 3), activation="tanh", norm=n), (1, 8, 8), ()),
    )
]


NORMED = [case for case in SPECS if not case[0].endswith("none")]
_NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm


def norms(module: nn.Module) -> list[_NORMS]:
    return [m for m in module.modules() if isinstance(m, _NORMS)]


def by_hand(module: nn.Module, x: Tensor, training: bool, running: dict[str, Tensor]) -> Tensor:
    """A network written out with every norm as its formula; in training `running` receives the new statistics."""
    if hasattr(module, "project"):
        x = module.project(x).reshape(-1, *module.start)  # type: ignore[operator, misc]
    assert isinstance(module.layers, nn.Sequential)
    for name, layer in module.layers.named_children():
        if not isinstance(layer, _NORMS):
            x = layer(x)
            continue
        shape = (1, -1, *(1,) * (x.dim() - 2))
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            dims = tuple(d for d in range(x.dim()) if d != 1)
            assert layer.running_mean is not None and layer.running_var is not None
            mean, var = layer.running_mean.clone(), layer.running_var.clone()
            if training:
                count = x.numel() // x.shape[1]
                new = x.mean(dims)
                biased = (x - new.view(shape)).pow(2).mean(dims)
                running[f"layers.{name}.running_mean"] = 0.9 * mean + 0.1 * new
                running[f"layers.{name}.running_var"] = 0.9 * var + 0.1 * biased * count / (count - 1)
                mean, var = new, biased
            mean, var = mean.view(shape), var.view(shape)
        else:
            dims = tuple(range(1, x.dim()))
            mean = x.mean(dims, keepdim=True)
            var = (x - mean).pow(2).mean(dims, keepdim=True)
        assert layer.weight is not None and layer.bias is not None
        x = (x - mean) / torch.sqrt(var + layer.eps) * layer.weight.view(shape) + layer.bias.view(shape)
    if hasattr(module, "head"):
        x = module.head(x.flatten(1))  # type: ignore[operator]
    return torch.tanh(x) if x.dim() == 4 else x.squeeze(1)


@pytest.mark.parametrize(("spec", "inputs", "outputs"), [s[1:] for s in NORMED], ids=[s[0] for s in NORMED])
def test_norms_are_their_formulas_and_evaluation_uses_running_averages(
    spec: NetworkSpec, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    module = spec.build(inputs, outputs).double()
    for layer in norms(module):
        for p in (layer.weight, layer.bias):
            nn.init.normal_(p, 1.0, 0.5)
    batch = spec.norm == "batch"  # type: ignore[attr-defined]
    assert bool(dict(module.named_buffers())) == batch
    for _ in range(3):  # training
        x = torch.randn(6, *inputs, dtype=torch.float64) * 2.0 + 1.0
        running: dict[str, Tensor] = {}
        expected = by_hand(module, x, True, running)
        torch.testing.assert_close(module(x), expected, rtol=1e-10, atol=1e-12)
        buffers = dict(module.named_buffers())
        assert len(running) == (2 * len(norms(module)) if batch else 0)
        for name, value in running.items():
            torch.testing.assert_close(buffers[name], value, rtol=1e-12, atol=1e-14)
    module.eval()
    before = {name: value.clone() for name, value in module.named_buffers()}
    x = torch.randn(5, *inputs, dtype=torch.float64)
    y = module(x)
    torch.testing.assert_close(y, by_hand(module, x, False, {}), rtol=1e-10, atol=1e-12)
    # At evaluation a sample's output depends on no other sample, and looking moves nothing.
    torch.testing.assert_close(module(x[2:3]), y[2:3], rtol=1e-10, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
    module.train()
    assert torch.allclose(module(x), y, rtol=1e-6) != batch


def test_where_norms_stand() -> None:
    """Between every linear map and its activation; not at the output, and not at a convolutional critic's input."""
    for norm, kinds in (("batch", (nn.BatchNorm1d, nn.BatchNorm2d)), ("layer", (nn.LayerNorm, nn.GroupNorm))):
        mlp = norms(MLPSpec(hidden=(8, 4), norm=norm).build((3,), ()))  # type: ignore[arg-type]
        assert [type(m) for m in mlp] == [kinds[0]] * 2
        generator = DCGANSpec(width=2, norm=norm).build((3,), (1, 16, 16))  # type: ignore[arg-type]
        critic = DCGANSpec(width=2, norm=norm).build((1, 16, 16), ())  # type: ignore[arg-type]
        assert [type(m) for m in norms(generator)] == [kinds[1]] * 3
        assert [type(m) for m in norms(critic)] == [kinds[1]] * 2
        # A norm subtracts the bias before it.
        assert [layer.bias is None for layer in weighted(generator)] == [True] * 3 + [False]
        assert [layer.bias is None for layer in weighted(critic)] == [False] + [True] * 2 + [False]
    assert not norms(MLPSpec(norm="none").build((3,), ()))


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


@pytest.mark.parametrize("activation", get_args(Activation))
def test_an_activation_is_one_function_in_all_its_forms(activation: Activation) -> None:
    act, x = ACTIVATIONS[activation], torch.linspace(-6, 6, 101, dtype=torch.float64)
    wanted = act.module()(x)
    torch.testing.assert_close(act.in_place(x.clone()), wanted, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(torch.from_numpy(act.array(x.numpy().copy())), wanted, rtol=1e-13, atol=1e-15)
    if activation == "polynomial":
        torch.testing.assert_close(wanted, x + x**2 / 2, rtol=1e-14, atol=1e-15)
    if activation == "identity":
        assert torch.equal(wanted, x)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_network_of_polynomials_is_a_polynomial_and_one_of_identities_linear(depth: int) -> None:
    """Along a line the (degree + 1)-th difference is zero: 2^depth is the degree, 1 without an activation."""
    for activation, degree in (("polynomial", 2**depth), ("identity", 1)):
        spec = MLPSpec(hidden=(6,) * depth, activation=activation, init="xavier")  # type: ignore[arg-type]
        y = spec.build((1,), ()).double()(torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]).detach()
        scale = float(y.abs().max())
        assert float(y.diff(n=degree + 1).abs().max()) < 1e-12 * scale < float(y.diff(n=degree).abs().max())


def test_units_that_begin_alike_stay_alike() -> None:
    """The gradient of a constant start is the same for every unit of a layer: symmetry is not broken."""
    x, y = torch.randn(32, 5), torch.randn(32)
    for init, distinct in (("constant", 1), ("xavier", 8)):
        module = MLPSpec(hidden=(8, 8), activation="tanh", init=init).build((5,), ())  # type: ignore[arg-type]
        for _ in range(5):
            for p, g in zip(
                module.parameters(),
                torch.autograd.grad((module(x) - y).square().mean(), list(module.parameters())),
                strict=True,
            ):
                p.data.sub_(0.1 * g)
        first = weighted(module)[0].weight.detach()
        assert len(torch.unique((first * 1e5).round(), dim=0)) == distinct
    zero = MLPSpec(hidden=(8,), init="zeros").build((5,), ())
    gradients = torch.autograd.grad((zero(x) - y).square().mean(), list(zero.parameters()))
    assert [bool(g.any()) for g in gradients] == [False, False, False, True]


def test_a_constant_layer_takes_the_mean_of_its_inputs() -> None:
    (layer,) = weighted(MLPSpec(hidden=(), init="constant").build((5,), (3,)))
    x = torch.randn(4, 5)
    torch.testing.assert_close(layer(x), x.mean(1, keepdim=True).expand(4, 3))
    kernel = weighted(ConvSpec(channels=(4,), init="constant").build((3, 8, 8), ()))[0].weight
    assert kernel.shape == (4, 3, 3, 3) and bool((kernel == 1 / 27).all())
