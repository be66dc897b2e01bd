"""Layers that bound their own slope: spectral norm, orthonormal layers with GroupSort; the smallest players."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from rlgan.nets import DCGANSpec, LinearSpec, MLPSpec, NetworkSpec, OrthogonalSpec, PointSpec, ResNetSpec
from rlgan.nets.lipschitz.orthogonal import Orthonormal, OrthonormalLinear, bjorck, cayley, group_sort, group_sorted
from rlgan.nets.lipschitz.spectral import SpectralConv2d, SpectralLinear, spectrally_normalised

SHAPES = [(5, 5), (7, 3), (3, 7), (1, 6), (6, 1), (1, 1)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def largest(w: Tensor) -> float:
    return float(torch.linalg.matrix_norm(w.flatten(1), 2))


def slopes(f: nn.Module, x: Tensor) -> Tensor:
    """|grad f| at every sample."""
    return vmap(grad(lambda row: f(row[None]).sum()))(x).flatten(1).norm(dim=1)


# --- spectral normalisation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv2d(3, 5, 4, 2, 1), nn.Conv2d(4, 6, 3, padding=1, groups=2)])
def test_a_normalised_layer_is_the_layer_with_its_weight_over_the_largest_singular_value(
    layer: nn.Linear | nn.Conv2d,
) -> None:
    """Before any step of training, in both modes."""
    layer = layer.double()
    plain = copy.deepcopy(layer)
    with torch.no_grad():
        plain.weight /= largest(plain.weight)
    made = spectrally_normalised(nn.Sequential(layer))[0]  # type: ignore[index]
    assert isinstance(made, SpectralLinear | SpectralConv2d) and made.weight is layer.weight
    x = torch.randn(2, 6) if isinstance(layer, nn.Linear) else torch.randn(2, layer.in_channels, 8, 8)
    for training in (True, False):
        made.train(training)
        torch.testing.assert_close(made(x.double()), plain(x.double()), rtol=1e-12, atol=1e-12)


def test_training_follows_a_moving_weight_and_evaluation_keeps_the_buffer() -> None:
    layer = SpectralLinear(nn.Linear(20, 20).double(), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(20, 20))
    far = largest(layer.effective_weight().detach())
    for _ in range(200):
        layer.effective_weight()
    assert far > 1.01 and largest(layer.effective_weight().detach()) == pytest.approx(1, abs=1e-6)
    layer.eval()
    before = layer.v.clone()
    with torch.no_grad():
        layer.weight.add_(0.1 * torch.randn(20, 20))
    assert layer.lipschitz_bound() == pytest.approx(largest(layer.effective_weight().detach()))
    assert layer.lipschitz_bound() == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.v, before) and not layer.training


def test_gradient_of_a_normalised_weight_is_the_derivative_of_the_exact_one() -> None:
    layer = SpectralLinear(nn.Linear(5, 4).double(), 1)
    exact = layer.weight.detach().clone().requires_grad_()
    c = torch.randn(4, 5, dtype=torch.float64)
    (g,) = torch.autograd.grad((layer.effective_weight() * c).sum(), layer.weight)
    (expected,) = torch.autograd.grad((exact / torch.linalg.matrix_norm(exact, 2) * c).sum(), exact)
    torch.testing.assert_close(g, expected, rtol=1e-10, atol=1e-12)


def test_a_weight_of_zeros_is_no_nan() -> None:
    layer = SpectralLinear(nn.Linear(3, 2), 1)
    with torch.no_grad():
        layer.weight.zero_()
    y = layer(torch.ones(1, 3))
    (g,) = torch.autograd.grad(y.sum(), layer.weight)
    assert y.isfinite().all() and not g.isnan().any() and layer.v.norm() == pytest.approx(1)


@pytest.mark.parametrize("spec", [MLPSpec(hidden=(16, 16)), MLPSpec(hidden=(8,), norm="layer"), MLPSpec(hidden=())])
def test_a_normalised_perceptron_keeps_its_parameters_and_its_form(spec: MLPSpec) -> None:
    plain = spec.build((3,), ()).double()
    by_hand = copy.deepcopy(plain)
    with torch.no_grad():
        for m in by_hand.modules():
            if isinstance(m, nn.Linear):
                m.weight /= largest(m.weight)
    names = [name for name, _ in plain.named_parameters()]
    made = spectrally_normalised(plain)
    assert [name for name, _ in made.named_parameters()] == names
    x = torch.randn(6, 3, dtype=torch.float64)
    torch.testing.assert_close(made(x), by_hand(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(copy.deepcopy(made)(x), by_hand(x), rtol=1e-12, atol=1e-12)
    if spec.norm == "none":
        assert slopes(made.eval(), x).max() <= 1 + 1e-12


@pytest.mark.parametrize("spec", [DCGANSpec(width=4, norm="none"), ResNetSpec(width=4, norm="none")])
def test_convolutional_critics_are_normalised_throughout(spec: NetworkSpec) -> None:
    made = spectrally_normalised(spec.build((1, 8, 8), ()))
    assert made(torch.randn(3, 1, 8, 8)).shape == (3,)
    assert not [m for m in made.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    layer = next(m for m in made.modules() if isinstance(m, SpectralConv2d))
    # The bound of the map against the map written as a matrix: all unit images in, all pixels out.
    eye = torch.eye(64).reshape(64, 1, 8, 8)
    matrix = F.conv2d(eye, layer.eval().effective_weight().detach(), None, layer.stride, layer.padding).flatten(1)
    assert largest(matrix) <= layer.lipschitz_bound() * (1 + 1e-5)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 2), (4, 2, 3), (3, 1, 2), (2, 3, 1), (3, 4, 2)])
def test_a_dilated_convolutions_bound_is_above_its_norm(kernel: int, stride: int, dilation: int) -> None:
    layer = nn.Conv2d(1, 2, kernel, stride, padding=4, dilation=dilation, bias=False).double()
    nn.init.ones_(layer.weight)  # as steep as a kernel can be over its spectral norm as a matrix
    made = spectrally_normalised(nn.Sequential(layer))[0].eval()  # type: ignore[index]
    eye = torch.eye(18 * 18, dtype=torch.float64).reshape(-1, 1, 18, 18)
    norm = largest(made(eye).detach().flatten(1))
    assert 0.75 * made.lipschitz_bound() < norm <= made.lipschitz_bound() * (1 + 1e-9)


def test_what_cannot_be_normalised_is_named() -> None:
    with pytest.raises(ValueError, match=r"^network = with a ConvTranspose2d: "):
        spectrally_normalised(nn.Sequential(nn.ConvTranspose2d(2, 2, 3)))
    with pytest.raises(ValueError, match=r"^network = ReLU: has no linear layer"):
        spectrally_normalised(nn.ReLU())


# --- orthonormal layers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_cayley_is_orthonormal_to_rounding(shape: tuple[int, int], scale: float) -> None:
    q = cayley(scale * torch.randn(shape, dtype=torch.float64))
    assert q.shape == shape
    torch.testing.assert_close(
        torch.linalg.svdvals(q), torch.ones(min(shape), dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


def test_cayley_of_a_square_weight_is_the_transform_of_its_skew_part() -> None:
    w = torch.randn(4, 4, dtype=torch.float64)
    a, identity = w - w.t(), torch.eye(4, dtype=torch.float64)
    # (I - A)(I + A)^-1 with the symmetric square of an empty V
    torch.testing.assert_close(cayley(w), (identity - a) @ torch.linalg.inv(identity + a), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_bjorck_is_never_above_one_and_finds_the_polar_factor(shape: tuple[int, int]) -> None:
    """The orthonormal matrix next to w = U S V^T is U V^T."""
    w = torch.randn(shape, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(w, full_matrices=False)
    for iterations in (0, 1, 3, 40):
        assert largest(bjorck(w, iterations)) <= 1 + 1e-12
    torch.testing.assert_close(bjorck(w, 40), u @ vh, rtol=1e-9, atol=1e-9)
    assert not bjorck(torch.zeros(shape), 5).isnan().any()


@pytest.mark.parametrize("group", [2, 3])
def test_group_sort_permutes_within_groups(group: int) -> None:
    x = torch.randn(5, 12)
    y = group_sort(x, group)
    assert torch.equal(x.sort(-1).values, y.sort(-1).values)
    assert not torch.equal(x, y)
    columns, before = y.unflatten(-1, (group, -1)), x.unflatten(-1, (group, -1))
    assert torch.equal(columns.sort(-2).values, before.sort(-2).values)
    steps = columns.diff(dim=-2)
    assert (steps <= 0).all() or (steps >= 0).all()
    jacobian = torch.autograd.functional.jacobian(lambda row: group_sort(row, group), x[0])
    assert torch.equal(jacobian.sum(0), torch.ones(12)) and torch.equal(jacobian.sum(1), torch.ones(12))


@pytest.mark.parametrize("spec", [OrthogonalSpec(hidden=(8, 8)), OrthogonalSpec((12, 6), 3, "bjorck", 25)])
def test_an_orthogonal_network_is_1_lipschitz_for_all_weights_and_not_less(spec: OrthogonalSpec) -> None:
    net = spec.build((3,), ()).double()
    assert isinstance(net.layers[0], OrthonormalLinear) and net.lipschitz_bound() == 1.0
    for scale in (1.0, 5.0):
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(scale * torch.randn(p.shape))
        x, y = torch.randn(2, 500, 3, dtype=torch.float64)
        ratio = (net(x) - net(y)).abs() / (x - y).norm(dim=1)
        assert 0.1 < ratio.max() <= 1 + 1e-12
        steep = slopes(net, x)
        assert steep.max() <= 1 + 1e-12
        if spec.method == "cayley" and len(set(spec.hidden)) == 1:
            assert steep.max() > 0.2


def test_the_constant_scales_the_network_and_its_bound() -> None:
    nets = []
    for constant in (1.0, 7.0):
        torch.manual_seed(1)
        nets.append(OrthogonalSpec(hidden=(8,), constant=constant).build((2,), ()))
    x = torch.randn(5, 2)
    torch.testing.assert_close(nets[1](x), 7 * nets[0](x))
    assert [net.lipschitz_bound() for net in nets] == [1.0, 7.0]


def test_the_absolute_value_is_within_reach() -> None:
    """|x| = max(x, -x): GroupSort has it exactly, as no norm-constrained ReLU network has."""
    net = OrthogonalSpec(hidden=(2,), method="bjorck", iterations=40).build((1,), ()).double()
    r = math.sqrt(0.5)
    with torch.no_grad():
        for p, value in zip(net.parameters(), ([[r], [-r]], [0.0, 0.0], [[r, -r]], [0.0]), strict=True):
            p.copy_(torch.tensor(value))
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(net(x), x[:, 0].abs(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": 1}, "^group = 1: "),
        ({"hidden": (8, 9)}, r"^hidden = \[8, 9\]: .*group = 2"),
        ({"hidden": (0,)}, r"^hidden = \[0\]: "),
        ({"iterations": 0}, "^iterations = 0: "),
        ({"constant": 0.0}, "^constant = 0.0: "),
    ],
)
def test_impossible_orthogonal_networks_name_themselves(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrthogonalSpec(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec",
    [OrthogonalSpec((4, 4)), OrthogonalSpec((6,), 3, "bjorck"), MLPSpec(hidden=(4,)), ResNetSpec(width=2, norm="none")],
)
def test_stacked_seeds_are_the_networks_alone(spec: NetworkSpec) -> None:
    """Gradients under vmap, and the buffers that a spectral norm leaves behind, for two seeds."""
    shape = (1, 8, 8) if isinstance(spec, ResNetSpec) else (3,)
    nets = [spec.build(shape, ()).double() for _ in range(2)]
    if not isinstance(spec, OrthogonalSpec):
        nets = [spectrally_normalised(net) for net in nets]
    params, buffers = stack_module_state(nets)
    x = torch.randn(2, 5, *shape, dtype=torch.float64)

    def loss(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        moved = {key: value.clone() for key, value in b.items()}
        return functional_call(nets[0], (p, moved), (x,)).square().sum(), moved

    grads, after = vmap(grad(loss, has_aux=True))({k: p.detach() for k, p in params.items()}, buffers, x)
    for i, net in enumerate(nets):
        net(x[i]).square().sum().backward()
        for name, p in net.named_parameters():
            torch.testing.assert_close(grads[name][i], p.grad, rtol=1e-9, atol=1e-12)
        for name, b in net.named_buffers():
            torch.testing.assert_close(after[name][i], b, rtol=1e-9, atol=1e-12)


# --- the smallest players ------------------------------------------------------------------------------------------


def test_the_linear_critic_and_the_point_generator_are_what_they_say() -> None:
    critic, point = LinearSpec(-2.0).build((3,), ()), PointSpec(0.5).build((4,), (3,))
    assert critic(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [-12.0]
    assert critic.lipschitz_bound() == pytest.approx(2 * math.sqrt(3))
    assert point(torch.randn(2, 4)).tolist() == [[0.5] * 3] * 2
    assert [p.numel() for net in (critic, point) for p in net.parameters()] == [3, 3]
    assert LinearSpec().build((1, 2, 2), (2,))(torch.ones(5, 1, 2, 2)).shape == (5, 2)


@pytest.mark.parametrize("method", ["cayley", "bjorck"])
def test_a_perceptron_becomes_one_of_slope_k_that_keeps_its_widths_and_draws_nothing(method: Orthonormal) -> None:
    plain = MLPSpec(hidden=(16, 8), activation="tanh").build((3,), ()).double().eval()
    state = torch.get_rng_state()
    made = group_sorted(plain, OrthogonalSpec(hidden=(), method=method, constant=2.5))
    assert torch.equal(torch.get_rng_state(), state) and not made.training
    layers = [layer for layer in made.layers if isinstance(layer, OrthonormalLinear)]
    assert [tuple(layer.weight.shape) for layer in layers] == [(16, 3), (8, 16), (1, 8)]
    for layer in layers:
        assert layer.weight.dtype == torch.float64 and not layer.weight.is_meta and not layer.bias.any()
        assert float(layer.weight.detach().square().mean()) == pytest.approx(1 / max(layer.weight.shape))
        q = layer.effective_weight().detach()
        assert torch.linalg.svdvals(q).sub(1).abs().max() < 1e-9
    assert made.lipschitz_bound() == 2.5
    assert slopes(made, torch.randn(50, 3, dtype=torch.float64)).max() <= 2.5 * (1 + 1e-9)


def test_group_sort_begins_at_weights_that_follow_the_perceptrons() -> None:
    first, second = (group_sorted(MLPSpec(hidden=(4,)).build((2,), ()), OrthogonalSpec(hidden=())) for _ in range(2))
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    torch.manual_seed(0)
    again = group_sorted(MLPSpec(hidden=(4,)).build((2,), ()), OrthogonalSpec(hidden=()))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (MLPSpec(hidden=(8,), norm="layer"), r"^network\.norm: .*norm=none"),
        (MLPSpec(hidden=(8,), norm="batch"), r"^network\.norm: "),
        (MLPSpec(hidden=(8, 7)), r"^network\.hidden = \[8, 7\]: widths must be multiples of group = 2"),
        (DCGANSpec(width=4), r"^network = .*perceptron.*lipschitz=spectral_norm"),
        (OrthogonalSpec(hidden=(8,)), r"^network = orthogonal: .*lipschitz=none"),
    ],
)
def test_what_group_sort_cannot_replace_is_refused(spec: NetworkSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_sorted(spec.build((1, 8, 8), ()), OrthogonalSpec(hidden=()))
