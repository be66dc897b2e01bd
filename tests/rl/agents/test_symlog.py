"""Values whose critic puts out symlog: the gradient of their loss, and that its fixed point is the mean of targets."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rlgan.rl import DDPG, TD3
from rlgan.rl.agents.bounds import BoundedAgent
from rlgan.rl.losses import symexp

G = torch.Generator().manual_seed(5)


def output(*shape: int) -> Tensor:
    return (4 * torch.randn(shape, generator=G, dtype=torch.float64)).requires_grad_()


def test_symexp_is_the_inverse_of_symlog_and_finite() -> None:
    x = torch.tensor([-1e12, -3.0, -1e-9, 0.0, 1e-9, 0.5, 1e12], dtype=torch.float64)
    assert torch.allclose(symexp(x.sign() * torch.log1p(x.abs())), x, rtol=1e-12, atol=0)
    assert torch.isfinite(symexp(torch.tensor([-1e30, 1e30]))).all()


@pytest.mark.parametrize("agent", [DDPG(values="symlog"), TD3(values="symlog")], ids=lambda agent: type(agent).__name__)
def test_the_gradient_is_the_relative_error(agent: BoundedAgent) -> None:
    """d loss / d z_i = -(2 / n) (y_i - Q_i) / (1 + |Q_i|), cut at `huber`: not that of the loss through symexp."""
    z, y = output(50), 30 * torch.randn(50, generator=G, dtype=torch.float64)
    q = symexp(z.detach())
    error = (y - q) / (1 + q.abs())
    for one, wanted in ((agent, error), (dataclasses.replace(agent, huber=0.1), error.clamp(-0.1, 0.1))):
        (slope,) = torch.autograd.grad(one.regression(z, y, torch.ones(())), z)
        assert torch.allclose(slope, -2 / 50 * wanted, rtol=1e-12, atol=1e-15)
    assert torch.equal(agent.error(z, y).detach(), error)


def test_weights_of_samples_count() -> None:
    z, y = output(6), torch.zeros(6, dtype=torch.float64)
    weight = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    agent = DDPG(values="symlog")
    (plain,) = torch.autograd.grad(agent.regression(z, y, torch.ones(())), z)
    (weighed,) = torch.autograd.grad(agent.regression(z, y, weight), z)
    assert torch.allclose(weighed, weight * plain, rtol=1e-12, atol=0)


def test_what_is_learnt_of_random_targets_is_their_mean() -> None:
    """Rewards of 100 with probability 0.1: Q = 10; the mean of transformed targets would be symexp(0.46) = 0.6."""
    agent, y = DDPG(values="symlog"), torch.zeros(10, dtype=torch.float64)
    y[0] = 100.0
    z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for _ in range(2000):
        (slope,) = torch.autograd.grad(agent.regression(z.expand(10), y, torch.ones(())), z)
        z = (z - 0.05 * slope).detach().requires_grad_()
    assert symexp(z).item() == pytest.approx(10.0, rel=1e-6)


def test_values_and_errors_are_those_of_q_and_the_ascent_is_by_the_output() -> None:
    agent, z = DDPG(values="symlog"), output(4)

    def critic(obs: Tensor, action: Tensor) -> Tensor:
        return z

    assert torch.equal(agent.value(critic, torch.zeros(4, 1), torch.zeros(4, 1)), symexp(z))
    pair = torch.stack((z, z + 1))

    def twins(obs: Tensor, action: Tensor, first: bool = False) -> Tensor:
        return pair[0] if first else pair

    assert torch.equal(TD3(values="symlog").value(twins, torch.zeros(4, 1), torch.zeros(4, 1)), symexp(z))


def test_unknown_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values = log: unknown; choose linear or symlog"):
        DDPG(values="log")  # type: ignore[arg-type]
