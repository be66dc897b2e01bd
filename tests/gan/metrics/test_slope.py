"""The critic's constant from below and above, against exact norms and slopes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlgan.gan.metrics import LEVEL, Gap, critic_lipschitz, dual_scalars, probe_points, wasserstein_primal
from rlgan.nets import DCGANSpec, MLPSpec, ResNetSpec
from rlgan.nets.lipschitz.bounds import convolution_bound, lipschitz_bound


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_critic_lipschitz_of_known_functions() -> None:
    points = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert critic_lipschitz(lambda x: x @ torch.tensor([3.0, 4.0], dtype=torch.float64), points) == pytest.approx(5.0)
    # |x|^2 / 2 has slope |x|: the largest over the POINTS, one norm per sample.
    assert critic_lipschitz(lambda x: x.square().sum(1) / 2, points) == pytest.approx(5.0)


def test_critic_lipschitz_leaves_the_critic_as_it_was() -> None:
    torch.manual_seed(0)
    critic = DCGANSpec(width=2, norm="batch").build((1, 8, 8), ())
    x = torch.randn(6, 1, 8, 8)
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    with torch.no_grad():
        together = critic_lipschitz(critic, x)
        one_by_one = max(critic_lipschitz(critic, row[None]) for row in x)
    # In training mode batch norm would couple the samples.
    assert together == pytest.approx(one_by_one, rel=1e-5)
    assert critic.training
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    assert all(p.grad is None for p in critic.parameters())


def test_critic_lipschitz_is_below_the_product_of_layer_norms() -> None:
    torch.manual_seed(0)
    critic = MLPSpec(hidden=(16, 16)).build((2,), ())
    norms = [torch.linalg.matrix_norm(m.weight, 2) for m in critic.modules() if isinstance(m, nn.Linear)]
    measured = critic_lipschitz(critic, torch.randn(500, 2, generator=generator()))
    assert 0 < measured <= float(torch.stack(norms).detach().prod())


def test_probe_points_are_real_fake_and_between() -> None:
    points = probe_points(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([0.25, 0.5]))
    assert points.flatten().tolist() == [0.0, 0.0, 1.0, 1.0, 0.75, 0.5]


def operator(layer: nn.Conv2d, channels: int, side: int) -> Tensor:
    """The convolution as a matrix, column by column."""
    basis = torch.eye(channels * side * side, dtype=torch.float64).reshape(-1, channels, side, side)
    return F.conv2d(basis, layer.weight.detach().double(), None, layer.stride, layer.padding).flatten(1).T


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (4, 2, 1), (1, 1, 0), (5, 1, 2), (3, 2, 1)])
def test_a_convolutions_bound_is_above_its_norm_and_met_as_images_grow(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(kernel)
    layer = nn.Conv2d(2, 3, kernel, stride, padding)
    norms = [float(torch.linalg.matrix_norm(operator(layer, 2, side), 2)) for side in (4, 8, 20)]
    quick, seen, tight = (convolution_bound(layer, n) for n in (0, 16, 64))
    assert quick is not None and seen is not None and tight is not None
    assert max(norms) <= tight * (1 + 1e-12) and tight <= seen * 1.01 and seen <= quick * (1 + 1e-12)
    assert norms[-1] > 0.93 * tight  # the largest image is nearly an infinite one


def test_the_bound_of_a_filter_by_hand() -> None:
    """[1, 1] has |W(w)| = |1 + exp(i w)|, at most 2; with stride 2 every pixel is used once, sqrt 2."""
    layer = nn.Conv2d(1, 1, (1, 2), bias=False)
    nn.init.ones_(layer.weight)
    assert convolution_bound(layer, 64) == pytest.approx(2.0, rel=1e-3)
    strided = nn.Conv2d(1, 1, (1, 2), stride=2, bias=False)
    nn.init.ones_(strided.weight)
    assert convolution_bound(strided, 64) == pytest.approx(math.sqrt(2), rel=1e-3)
    assert convolution_bound(nn.Conv2d(2, 2, 3, groups=2)) is None
    assert convolution_bound(nn.Conv2d(2, 2, 3, dilation=2)) is None
    assert convolution_bound(nn.Conv2d(2, 2, 3, padding_mode="circular")) is None


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "elu", "silu"])
def test_an_mlps_bound_is_the_product_of_its_layers(activation: Any) -> None:
    torch.manual_seed(0)
    critic = MLPSpec(hidden=(16, 8), activation=activation).build((3,), ())
    norms = [float(torch.linalg.matrix_norm(m.weight.detach(), 2)) for m in critic.modules() if type(m) is nn.Linear]
    assert len(norms) == 3
    slope = 1.0999 if activation == "silu" else 1.0
    bound = lipschitz_bound(critic)
    assert bound == pytest.approx(math.prod(norms) * slope**2, rel=1e-5)
    assert critic_lipschitz(critic, 3 * torch.randn(500, 3, generator=generator())) <= bound  # type: ignore[operator]


def test_a_residual_critics_bound_is_met_where_it_doubles_bright_images() -> None:
    critic = ResNetSpec(width=1, norm="none").build((1, 8, 8), ())
    with torch.no_grad():
        for p in critic.parameters():
            p.zero_()
        for m in critic.modules():
            if isinstance(m, nn.Conv2d):
                m.weight[0, 0, m.kernel_size[0] // 2, m.kernel_size[1] // 2] = 1.0
            if isinstance(m, nn.Linear):
                m.weight.fill_(1.0)
    # Every block adds its input to itself: f is 2^3 times the mean of 64 pixels, as steep as 8 / sqrt(64).
    assert critic(torch.full((1, 1, 8, 8), 0.5)).tolist() == [4.0]
    assert critic_lipschitz(critic, torch.rand(3, 1, 8, 8, generator=generator())) == pytest.approx(1.0)
    assert lipschitz_bound(critic, 256) == pytest.approx(1.0, rel=5e-3)


def test_silus_slope_is_what_the_bound_says() -> None:
    x = torch.linspace(-10, 10, 200_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(F.silu(x).sum(), x)
    assert 1.0998 < float(slope.abs().max()) < 1.0999


@pytest.mark.parametrize(
    ("critic", "shape"),
    [
        (MLPSpec(hidden=(8, 8), norm="batch"), (2,)),
        (MLPSpec(hidden=(8, 8), norm="layer"), (2,)),
        (DCGANSpec(width=2, norm="none"), (1, 8, 8)),
        (DCGANSpec(width=2, norm="batch"), (3, 16, 16)),
        (DCGANSpec(width=2, norm="layer"), (1, 8, 8)),
        (ResNetSpec(width=2, norm="none"), (1, 8, 8)),
        (ResNetSpec(width=2, norm="batch"), (3, 16, 16)),
    ],
)
def test_no_critic_is_steeper_than_its_bound(critic: Any, shape: tuple[int, ...]) -> None:
    """Looked for where it is steepest, by ascending the slope; with the statistics of batch norm moved."""
    torch.manual_seed(0)
    module = critic.build(shape, ())
    for _ in range(3):
        module(3 * torch.randn(16, *shape))
    module.eval()
    x, y = torch.randn(2, 200, *shape, generator=generator())
    bound = lipschitz_bound(module)
    assert bound is not None
    between = (module(x) - module(y)).abs() / (x - y).flatten(1).norm(dim=1)
    assert max(float(between.detach().max()), critic_lipschitz(module, torch.cat((x, 0.01 * y)))) <= bound


def test_a_module_may_offer_a_bound_of_its_own_and_an_unknown_one_has_none() -> None:
    class Halved(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

        def lipschitz_bound(self, frequencies: int = 0) -> float:
            return 0.5

    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Linear(2, 2)

    assert lipschitz_bound(Halved()) == 0.5
    assert lipschitz_bound(nn.Sequential(Halved(), nn.ReLU(), Halved())) == 0.25
    assert lipschitz_bound(Unknown()) is None
    assert lipschitz_bound(nn.Sequential(nn.ReLU(), Unknown())) is None


def test_the_dual_over_the_bound_is_below_w1_whatever_the_critic() -> None:
    x, y = torch.randn(200, 2, generator=generator()), torch.randn(200, 2, generator=generator(1)) + 1
    w1 = wasserstein_primal(x, y)
    for seed in range(20):
        torch.manual_seed(seed)
        critic = MLPSpec(hidden=(16,)).build((2,), ())
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.mul_(3)
            # The two samples are all there is: their dual is known without error, and so is their W1.
            gap = Gap.of(critic(x), whole=True) - Gap.of(critic(y), whole=True)
        slope, bound = critic_lipschitz(critic, torch.cat((x, y))), lipschitz_bound(critic)
        found = dual_scalars(gap, slope, bound)
        assert abs(found["wasserstein/dual_lower_bound"]) <= w1
        assert found["wasserstein/dual_lower_bound"] == gap.value / bound  # type: ignore[operator]
        assert found["wasserstein/dual_estimate"] == gap.value / slope
        assert (found["wasserstein/dual_eval"], found["wasserstein/dual_error"]) == (gap.value, 0.0)
        assert (found["critic/lipschitz"], found["critic/lipschitz_upper_bound"]) == (slope, bound)
    assert dual_scalars(Gap(1.0, 0.0, 0.0), 0.0, None).keys() == {
        "wasserstein/dual_eval", "wasserstein/dual_error", "critic/lipschitz"
    }  # fmt: skip


def test_a_gaps_error_is_that_of_the_difference_of_two_means() -> None:
    x, y = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0.0, 1.0])
    gap = Gap.of(x) - Gap.of(y)
    assert gap.value == 2.5
    assert gap.error**2 == pytest.approx(float(x.var() / 3 + y.var() / 2))
    # Third central moments: of x (-8 - 1 + 27) / 3 = 6, of y 0.
    assert gap.third == pytest.approx(6 / 9)
    assert Gap.of(x, whole=True) == Gap(3.0, 0.0, 0.0) and Gap(3.0, 0.0, 0.0).at_least() == 3.0
    assert Gap(3.0, 0.25, 0.0).at_least(0.975) == pytest.approx(3 - 0.5 * 1.959964)
    # Skewed upwards is left as it is, skewed downwards lowers the bound.
    assert Gap(3.0, 0.25, 1.0).at_least() == Gap(3.0, 0.25, 0.0).at_least() > Gap(3.0, 0.25, -0.1).at_least()


SCORES: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "Gaussian": (lambda z: z[0], 0.0),
    "Student's t": (lambda z: z[0] / (z[1:4].square().mean(0)).sqrt(), 0.0),
    "lognormal": (lambda z: z[0].exp(), math.exp(0.5)),
    "rare": (lambda z: (z[0] > 2).double(), float(torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64)))),
    "constant": (lambda z: 0 * z[0] + 0.25, 0.25),
}


@pytest.mark.parametrize("scores", SCORES)
def test_the_bound_holds_as_often_as_its_level_says(scores: str) -> None:
    """In 400 replications, within two binomial standard deviations; the gap itself, over half the time, is no bound."""
    of, mean = SCORES[scores]
    g = generator(11)
    draws = torch.randn(400, 5, 1024, generator=g, dtype=torch.float64)
    # Scores of fake samples with a long upper tail skew the gap downwards, which is the side that errs.
    gaps = [Gap.of(0.1 * z[4] + 1) - Gap.of(of(z[:4])) for z in draws]
    true = 1 - mean
    allowed = LEVEL * 400 - 2 * math.sqrt(400 * LEVEL * (1 - LEVEL))
    assert sum(gap.at_least() <= true for gap in gaps) >= allowed
    assert sum(gap.value <= true for gap in gaps) < 0.6 * 400 < allowed
    assert sum(gap.at_least(0.999) <= true for gap in gaps) >= 395
    if scores != "constant":
        assert min(gap.error for gap in gaps) > 0.002
