"""Lipschitz controls against closed forms, and the faults of published penalties."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rlgan.gan.lipschitz import (
    R1,
    R2,
    Clip,
    Dragan,
    GradientPenalty,
    GroupSort,
    Lipschitz,
    NoControl,
    OneSided,
    Penalty,
    SpectralNorm,
    interpolate,
    sample_norms,
)  # fmt: skip
from rlgan.nets import DCGANSpec, MLPSpec
from rlgan.optim.step.projection import Box


class AutogradCritic:
    """A critic whose input gradient is taken by autograd and can be differentiated again."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        self.f = f

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(x)

    def input_gradient(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(self.f(x).sum(), x, create_graph=True)
        return g


class FunctionalCritic(AutogradCritic):
    """The same by torch.func, as under compilation and over seeds."""

    def input_gradient(self, x: Tensor) -> Tensor:
        return torch.func.grad(lambda x: self.f(x).sum())(x)


WAYS = [AutogradCritic, FunctionalCritic]
PENALTIES: list[type[Penalty]] = [GradientPenalty, OneSided, Dragan, R1, R2]


def batch(n: int = 5, d: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    x_real, x_fake = torch.randn(2, n, d, generator=g, dtype=torch.float64)
    return x_real, x_fake, torch.rand(n, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("way", WAYS)
def test_penalty_of_a_linear_critic_and_its_gradient(way: type[AutogradCritic]) -> None:
    """f = w.x: |grad f| = |w| everywhere, so the penalty is (|w| - 1)^2, its gradient 2 (|w| - 1) w / |w|."""
    w = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    penalty = GradientPenalty(0.7).penalty(way(lambda x: x @ w), *batch())
    assert float(penalty.detach()) == pytest.approx(0.7 * (3 - 1) ** 2, rel=1e-14)
    (g,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(g, 0.7 * 2 * 2 * w.detach() / 3, rtol=1e-14, atol=0)


@pytest.mark.parametrize("way", WAYS)
def test_one_norm_per_sample_and_epsilon_belongs_to_its_sample(way: type[AutogradCritic]) -> None:
    """f = |x|^2 / 2 has gradient x: the penalty is the mean over samples of (|x_hat_i| - 1)^2, no norm of the batch."""
    x_real, x_fake, epsilon = batch()
    by_hand = [
        (math.dist((e * r + (1 - e) * f).tolist(), [0, 0, 0]) - 1) ** 2
        for r, f, e in zip(x_real, x_fake, epsilon, strict=True)
    ]
    penalty = GradientPenalty(1.0).penalty(way(lambda x: x.square().sum(1) / 2), x_real, x_fake, epsilon)
    assert float(penalty.detach()) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-14)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", PENALTIES, ids=lambda k: k.__name__)
def test_each_penalty_is_taken_at_its_points_of_its_norms(kind: type[Penalty], way: type[AutogradCritic]) -> None:
    """f = |x|^2 / 2 has gradient x: each penalty is a mean over points that are written out here, sample by sample."""
    x_real, x_fake, epsilon = batch()
    noise = torch.randn(x_real.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    rows = zip(x_real.tolist(), x_fake.tolist(), epsilon.tolist(), noise.tolist(), strict=True)
    costs = []
    for r, f, e, n in rows:
        between = math.hypot(*(e * a + (1 - e) * b for a, b in zip(r, f, strict=True)))
        near = math.hypot(*(a + 0.1 * b for a, b in zip(r, n, strict=True)))
        cost = {
            GradientPenalty: (between - 1) ** 2,
            OneSided: max(0.0, between - 1) ** 2,
            Dragan: (near - 1) ** 2,
            R1: math.hypot(*r) ** 2 / 2,
            R2: math.hypot(*f) ** 2 / 2,
        }
        costs.append(cost[kind])
    assert min(costs) < max(costs)
    x_fake.requires_grad_()
    penalty = kind(0.7).penalty(way(lambda x: x.square().sum(1) / 2), x_real, x_fake, epsilon, noise)
    assert float(penalty.detach()) == pytest.approx(0.7 * sum(costs) / len(costs), rel=1e-13)
    # No penalty moves the generator.
    assert not penalty.requires_grad or torch.autograd.grad(penalty, x_fake, allow_unused=True)[0] is None


@pytest.mark.parametrize("way", WAYS)
def test_one_sided_lets_flat_critics_be(way: type[AutogradCritic]) -> None:
    """f = w.x: 0 with gradient 0 for |w| < 1, beyond it as the two-sided one."""
    for slope, value, force in ((0.25, 0.0, 0.0), (1.75, 0.75**2, 2 * 0.75)):
        w = torch.tensor(slope, dtype=torch.float64, requires_grad=True)
        penalty = OneSided(1.0).penalty(way(lambda x, w=w: w * x[:, 0]), *batch())  # type: ignore[misc]
        (g,) = torch.autograd.grad(penalty, w)
        assert [float(penalty.detach()), float(g)] == pytest.approx([value, force])


def test_dragan_wants_a_perturbation_per_sample() -> None:
    with pytest.raises(AssertionError, match="one perturbation per sample"):
        Dragan().penalty(AutogradCritic(lambda x: x.sum(1)), *batch(), torch.zeros(()))
    assert [kind for kind in PENALTIES if kind.noisy] == [Dragan]


@pytest.mark.parametrize("way", WAYS)
def test_two_sided_too_flat_is_penalised_as_too_steep(way: type[AutogradCritic]) -> None:
    for slope in (0.25, 1.75):
        penalty = GradientPenalty(1.0).penalty(way(lambda x, s=slope: s * x[:, 0]), *batch())  # type: ignore[misc]
        assert float(penalty) == pytest.approx(0.75**2, rel=1e-14)


@pytest.mark.parametrize("way", WAYS)
def test_penalty_carries_a_gradient_into_every_weight_of_a_network(way: type[AutogradCritic]) -> None:
    """Against central differences of the penalty itself."""
    torch.manual_seed(0)
    net = MLPSpec(hidden=(4, 4), activation="tanh").build((3,), ()).double()
    control, data = GradientPenalty(0.5), batch()
    parameters = list(net.parameters())
    grads = torch.autograd.grad(control.penalty(way(net), *data), parameters, allow_unused=True, materialize_grads=True)
    for p, g in zip(parameters, grads, strict=True):
        if p.ndim == 2:
            assert g.abs().max() > 0
        for index in [(0,) * p.ndim, tuple(s - 1 for s in p.shape)]:
            values = []
            for h in (1e-6, -1e-6):
                with torch.no_grad():
                    p[index] += h
                values.append(float(control.penalty(way(net), *data).detach()))
                with torch.no_grad():
                    p[index] -= h
            assert float(g[index]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_critic_gives_a_finite_penalty_and_gradient(way: type[AutogradCritic], dtype: torch.dtype) -> None:
    """All ReLUs dead on some samples: sqrt at 0 would make the gradient of the whole batch nan."""
    w = torch.tensor([1.5], dtype=dtype, requires_grad=True)
    x = torch.tensor([[-1.0], [-2.0], [1.0]], dtype=dtype)
    penalty = GradientPenalty(1.0).penalty(way(lambda x: torch.relu(x @ w)), x, x, torch.ones(3, dtype=dtype))
    assert penalty.dtype == dtype
    assert float(penalty.detach()) == pytest.approx((1 + 1 + 0.5**2) / 3)
    (g,) = torch.autograd.grad(penalty, w)
    assert float(g) == pytest.approx(2 * 0.5 / 3)  # from the one sample that is not flat


def test_sample_norms_and_their_derivative_at_zero() -> None:
    g = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-12, 0.0]], dtype=torch.float64, requires_grad=True)
    norms = sample_norms(g)
    torch.testing.assert_close(norms.detach(), torch.tensor([5.0, 0.0, 1e-12], dtype=torch.float64), rtol=1e-14, atol=0)
    norms.sum().backward()
    expected = torch.tensor([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(g.grad, expected, rtol=1e-12, atol=0)
    assert sample_norms(torch.ones(2, 1, 3, 3)).tolist() == [3.0, 3.0]


def test_interpolates_are_detached_and_per_sample() -> None:
    x_real, x_fake = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2, requires_grad=True)
    x_hat = interpolate(x_real, x_fake, torch.tensor([0.25, 1.0]))
    assert not x_hat.requires_grad
    assert x_hat[0].eq(0.75).all() and x_hat[1].eq(0).all()
    with pytest.raises(AssertionError, match="one epsilon per sample"):
        interpolate(x_real, x_fake, torch.tensor([[0.25], [1.0]]))


def test_the_penalty_moves_the_critic_alone() -> None:
    theta = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    x_real, _, epsilon = batch()
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    penalty = GradientPenalty().penalty(AutogradCritic(lambda x: (x @ w) ** 2), x_real, theta, epsilon)
    (for_generator,) = torch.autograd.grad(penalty, theta, allow_unused=True)
    assert for_generator is None


def test_clip_is_a_box_in_the_projection_slot_and_nothing_in_the_loss() -> None:
    controls: list[tuple[Lipschitz, Box | None, bool]] = [
        (Clip(0.03), Box(0.03), False),
        (NoControl(), None, False),
        (SpectralNorm(), None, False),
        (GroupSort(), None, False),
        *((kind(), None, True) for kind in PENALTIES),
    ]
    for control, projection, penalised in controls:
        assert control.projection() == projection
        penalty = control.penalty(AutogradCritic(lambda x: x.sum(1)), *batch(), torch.zeros(5, 3, dtype=torch.float64))
        assert (penalty is not None) == penalised


@pytest.mark.parametrize("spec", [MLPSpec(norm="batch"), DCGANSpec(width=2, norm="batch")])
def test_batch_norm_under_a_per_sample_penalty_is_refused_with_the_reason(spec: MLPSpec | DCGANSpec) -> None:
    critic = spec.build((1, 8, 8), ())
    for kind in PENALTIES:
        with pytest.raises(ValueError, match=r"^critic.network.norm = batch: .* no gradient of its own .*layer"):
            kind().check(critic)
    NoControl().check(critic)
    Clip().check(critic)


@pytest.mark.parametrize("control", [NoControl(), Clip(), SpectralNorm(), *(kind() for kind in PENALTIES)])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_other_norms_are_welcome(control: Lipschitz, norm: str) -> None:
    for spec in (MLPSpec(norm=norm), DCGANSpec(width=2, norm=norm)):  # type: ignore[arg-type]
        control.check(spec.build((1, 8, 8), ()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clip(0.0), r"^radius = 0.0: "),
        (lambda: Clip(-1.0), r"^radius = -1.0: "),
        (lambda: GradientPenalty(-0.1), r"^weight = -0.1: "),
        (lambda: GradientPenalty(0.0), r"^weight = 0.0: .*lipschitz=none"),
        (lambda: GradientPenalty(float("nan")), r"^weight = nan: "),
        (lambda: R1(-1.0), r"^weight = -1.0: "),
        (lambda: OneSided(every=0), r"^every = 0: "),
        (lambda: Dragan(scale=0.0), r"^scale = 0.0: "),
        (lambda: SpectralNorm(0), r"^iterations = 0: "),
        (lambda: GroupSort(0.0), r"^constant = 0.0: "),
        (lambda: GroupSort(group=1), r"^group = 1: "),
        (lambda: GroupSort(method="bjorck", iterations=0), r"^iterations = 0: "),
    ],
)
def test_impossible_values_name_themselves(make: Callable[[], Lipschitz], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("way", WAYS)
def test_penalty_with_image_critic(way: type[AutogradCritic]) -> None:
    """f = sum of all pixels: |grad f| = sqrt(C H W), over ALL axes but the first."""
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    penalty = GradientPenalty(1.0).penalty(way(lambda x: x.sum((1, 2, 3))), x, x, torch.rand(4, dtype=torch.float64))
    assert float(penalty) == pytest.approx((8 - 1) ** 2)


def test_penalty_over_stacked_seeds_equals_one_by_one() -> None:
    torch.manual_seed(0)
    nets: list[nn.Module] = [MLPSpec(hidden=(8,)).build((3,), ()).double() for _ in range(2)]
    params, _ = torch.func.stack_module_state(nets)
    data = [batch(), tuple(t.flip(0) for t in batch())]

    def penalty(p: dict[str, Tensor], x_real: Tensor, x_fake: Tensor, epsilon: Tensor) -> Tensor:
        critic = FunctionalCritic(lambda x: torch.func.functional_call(nets[0], p, (x,)))
        return GradientPenalty().penalty(critic, x_real, x_fake, epsilon)

    stacked = [torch.stack(column) for column in zip(*data, strict=True)]
    grads = torch.func.vmap(torch.func.grad(penalty))(params, *stacked)
    for i, net in enumerate(nets):
        loss = GradientPenalty().penalty(AutogradCritic(net), *data[i])
        names, ps = zip(*net.named_parameters(), strict=True)
        alone = torch.autograd.grad(loss, ps, allow_unused=True, materialize_grads=True)
        for name, g in zip(names, alone, strict=True):
            torch.testing.assert_close(grads[name][i], g, rtol=1e-10, atol=1e-14)
