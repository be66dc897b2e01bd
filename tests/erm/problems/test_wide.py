"""A wide network: its kernel, and that gradient descent is the linear system that the kernel says."""

from __future__ import annotations

import math

import pytest
import torch

from rlgan.erm import Wide
from rlgan.erm.problems.wide import WideNet


@pytest.mark.parametrize(("last", "trains_last"), [("signs", False), ("uniform", False), ("uniform", True)])
def test_the_kernel_is_the_mean_product_of_gradients_of_a_very_wide_network(last: str, trains_last: bool) -> None:
    problem = Wide(samples=6, dimension=4, width=200_000, last=last, trains_last=trains_last)  # type: ignore[arg-type]
    torch.manual_seed(0)
    net = WideNet(4, problem.width, problem.last, trains_last).double()
    rows = []
    for x in problem.train.x:
        net.zero_grad()
        net(x).backward()
        rows.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    gradients = torch.stack(rows)
    # A mean over 200,000 units: an error of the order of 1 / sqrt(200,000) = 0.002.
    torch.testing.assert_close(gradients @ gradients.T, problem.kernel, atol=0.01, rtol=0)
    assert torch.equal(problem.eigenvalues, torch.linalg.eigvalsh(problem.kernel)) and problem.eigenvalues[0] > 0


def test_two_orthogonal_points_by_hand() -> None:
    problem = Wide(samples=2, dimension=2)
    problem.__dict__["train"] = problem.train._replace(x=torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(problem.kernel, torch.eye(2, dtype=torch.float64) / 2)  # cos = 0 off the diagonal
    torch.testing.assert_close(
        Wide(last="uniform").kernel * 3,
        Wide().kernel,  # E a^2 = 1/3
    )


def test_points_lie_on_the_sphere_and_the_network_is_as_it_is_said_to_be() -> None:
    problem = Wide(samples=30, dimension=7)
    torch.testing.assert_close(problem.train.x.norm(dim=1), torch.ones(30, dtype=torch.float64))
    torch.manual_seed(1)
    net = WideNet(7, 500, "signs", False)
    assert net.last.abs().unique().tolist() == [1.0] and [n for n, _ in net.named_parameters()] == ["hidden"]
    assert float(net.start.std()) == pytest.approx(1, abs=0.05) and torch.equal(net.hidden, net.start)
    x = torch.randn(3, 7)
    by_hand = sum(a * torch.relu(x @ w) for a, w in zip(net.last, net.hidden, strict=True)) / math.sqrt(500)
    torch.testing.assert_close(net(x), by_hand)
    assert float(WideNet(7, 9999, "uniform", True).last.square().mean()) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"dimension": 1}, {"width": 0}])
def test_impossible_numbers_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} = "):
        Wide(**wrong)  # type: ignore[arg-type]
