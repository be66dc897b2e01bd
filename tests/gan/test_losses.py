"""The GAN losses: sign, closed form, and who gets which gradient."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rlgan.gan.losses import GANLoss, Hinge, LeastSquares, NonSaturating, Wasserstein, gap


def test_value_of_a_linear_critic_is_the_difference_of_means() -> None:
    x_real = torch.tensor([[3.0, 0.0], [5.0, 2.0]])
    x_fake = torch.tensor([[1.0, 1.0], [1.0, 1.0], [4.0, 1.0]])
    # w = (1, 10): E f(real) = 4 + 10, E f(fake) = 2 + 10.
    w = torch.tensor([1.0, 10.0])
    assert float(gap(x_real @ w, x_fake @ w)) == pytest.approx(2.0)


def test_sign_the_critic_maximises_real_minus_fake() -> None:
    """Ascending the value raises the score of the real samples, where the other sign would lower it."""
    w = torch.zeros(1, requires_grad=True)
    x_real, x_fake = torch.ones(4, 1), -torch.ones(4, 1)
    gap(x_real @ w, x_fake @ w).backward()
    assert w.grad is not None
    assert float(w.grad) == 2.0  # d/dw (w - (-w))


def test_generator_loss_has_the_gradient_of_the_value() -> None:
    def critic(x: Tensor) -> Tensor:
        return (x**3).sum(1)

    z, x_real = torch.randn(6, 2, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    theta = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(gap(critic(x_real), critic(z @ theta)), theta)
    (alone,) = torch.autograd.grad(Wasserstein().generator(critic(z @ theta)), theta)
    torch.testing.assert_close(whole, alone, rtol=1e-14, atol=0)
    assert Wasserstein().zero_sum


def test_wrong_shapes_are_caught() -> None:
    column = torch.randn(4, 1)
    with pytest.raises(AssertionError, match="batch"):
        gap(column, column)


def log1p_exp(t: float) -> float:
    return math.log(1 + math.exp(t))


#: Each loss, and what real and fake scores of it cost the critic and fake ones the generator, as scalar functions.
Scalar = Callable[[float], float]
BY_HAND: list[tuple[GANLoss, Scalar, Scalar, Scalar]] = [
    (Wasserstein(), lambda r: -r, lambda f: f, lambda f: -f),
    (Hinge(), lambda r: max(0.0, 1 - r), lambda f: max(0.0, 1 + f), lambda f: -f),
    (NonSaturating(), lambda r: log1p_exp(-r), lambda f: log1p_exp(f), lambda f: log1p_exp(-f)),
    (LeastSquares(), lambda r: (r - 1) ** 2 / 2, lambda f: f**2 / 2, lambda f: (f - 1) ** 2 / 2),
    (LeastSquares(1.0, -1.0, 0.0), lambda r: (r - 1) ** 2 / 2, lambda f: (f + 1) ** 2 / 2, lambda f: f**2 / 2),
]


@pytest.mark.parametrize(("loss", "real", "fake", "generator"), BY_HAND, ids=lambda v: type(v).__name__)
def test_every_loss_is_the_mean_of_its_scalar_form(
    loss: GANLoss, real: Scalar, fake: Scalar, generator: Scalar
) -> None:
    r, f = [-2.0, -0.3, 0.0, 1.7, 3.0], [-3.0, 0.2, 0.9]
    f_real, f_fake = torch.tensor(r, dtype=torch.float64), torch.tensor(f, dtype=torch.float64)
    expected = sum(map(real, r)) / len(r) + sum(map(fake, f)) / len(f)
    assert float(loss.critic(f_real, f_fake)) == pytest.approx(expected, rel=1e-14)
    assert float(loss.generator(f_fake)) == pytest.approx(sum(map(generator, f)) / len(f), rel=1e-14)


@pytest.mark.parametrize("loss", [row[0] for row in BY_HAND], ids=lambda v: type(v).__name__)
def test_the_critic_raises_real_scores_and_the_generator_its_own(loss: GANLoss) -> None:
    """And only a zero-sum loss has the generator's gradient in the critic's, with the other sign."""
    f_real = torch.tensor([0.2, -1.3], dtype=torch.float64, requires_grad=True)
    f_fake = torch.tensor([-1.2, -0.1], dtype=torch.float64, requires_grad=True)  # one beyond hinge's margin
    for_real, for_fake = torch.autograd.grad(loss.critic(f_real, f_fake), (f_real, f_fake))
    (for_generator,) = torch.autograd.grad(loss.generator(f_fake), f_fake)
    assert (for_real < 0).all() and (for_generator < 0).all()
    assert torch.allclose(for_fake, -for_generator) == loss.zero_sum


def test_scores_of_thousands_stay_finite() -> None:
    big = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = NonSaturating().critic(big, big) + NonSaturating().generator(big)
    (g,) = torch.autograd.grad(loss, big)
    assert loss.isfinite() and g.isfinite().all()


def test_labels_that_do_not_differ_name_themselves() -> None:
    with pytest.raises(ValueError, match=r"^real = 0.0: .*for example"):
        LeastSquares(real=0.0)
    with pytest.raises(ValueError, match=r"^wanted = 0.0: .*1.0"):
        LeastSquares(wanted=0.0)
