"""The Wasserstein value: sign, closed form, and who gets which gradient."""

import pytest
import torch
from torch import Tensor

from rlgan.gan.losses import wasserstein_generator_loss, wasserstein_value


def test_value_of_a_linear_critic_is_the_difference_of_means() -> None:
    x_real = torch.tensor([[3.0, 0.0], [5.0, 2.0]])
    x_fake = torch.tensor([[1.0, 1.0], [1.0, 1.0], [4.0, 1.0]])
    # w = (1, 10): E f(real) = 4 + 10, E f(fake) = 2 + 10.
    assert float(wasserstein_value(lambda x: x @ torch.tensor([1.0, 10.0]), x_real, x_fake)) == pytest.approx(2.0)


def test_sign_the_critic_maximises_real_minus_fake() -> None:
    """Ascending the value raises the score of the real samples, where the other sign would lower it."""
    w = torch.zeros(1, requires_grad=True)
    x_real, x_fake = torch.ones(4, 1), -torch.ones(4, 1)
    value = wasserstein_value(lambda x: x @ w, x_real, x_fake)
    value.backward()
    assert w.grad is not None
    assert float(w.grad) == 2.0  # d/dw (w - (-w))


def test_generator_loss_has_the_gradient_of_the_value() -> None:
    def critic(x: Tensor) -> Tensor:
        return (x**3).sum(1)

    z, x_real = torch.randn(6, 2, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    theta = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(wasserstein_value(critic, x_real, z @ theta), theta)
    (alone,) = torch.autograd.grad(wasserstein_generator_loss(critic, z @ theta), theta)
    torch.testing.assert_close(whole, alone, rtol=1e-14, atol=0)


def test_wrong_shapes_are_caught() -> None:
    def column(x: Tensor) -> Tensor:
        return x[:, :1]

    x = torch.randn(4, 2)
    with pytest.raises(AssertionError, match="batch"):
        wasserstein_value(column, x, x)
    with pytest.raises(AssertionError, match="batch"):
        wasserstein_generator_loss(column, x)
    with pytest.raises(AssertionError, match="differ"):
        wasserstein_value(lambda x: x.sum(1), x, x[:, :1])
