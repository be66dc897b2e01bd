"""The rounding of a loss is bounded, whatever cancels within it; searches go on by the slopes, at any scale."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from rlgan.optim import BFGS, ConjugateGradient, FullBatch, LineSearchFailed, Newton, SteepestDescent
from rlgan.optim.second_order.line_search import Oracle, strong_wolfe
from tests.optim.problems import with_spectrum

D = 30
A = with_spectrum(torch.logspace(0, 4, D, dtype=torch.float64), 1)
C = torch.randn(D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
B, K = A @ C, (C @ A @ C / 2).item()

FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "centred": lambda x: (x - C) @ A @ (x - C) / 2,
    "expanded": lambda x: x @ A @ x / 2 - B @ x + K,
    "large terms": lambda x: (x @ A @ x / 2 - B @ x + 1000 * K) - 999 * K,
}


def exact(form: str, x: Tensor) -> Fraction:
    """The same expression, of the same numbers, without rounding."""
    a = [[Fraction(v) for v in row] for row in A.tolist()]
    b, c, z = ([Fraction(v) for v in t.tolist()] for t in (B, C, x))

    def form_of(u: list[Fraction]) -> Fraction:
        return sum((p * q * r for p, row in zip(u, a, strict=True) for q, r in zip(row, u, strict=True)), Fraction(0))

    if form == "centred":
        return form_of([p - q for p, q in zip(z, c, strict=True)]) / 2
    value = form_of(z) / 2 - sum((p * q for p, q in zip(b, z, strict=True)), Fraction(0))
    return value + (Fraction(K) if form == "expanded" else Fraction(1000 * K) - Fraction(999 * K))


@pytest.mark.parametrize("form", FORMS)
def test_the_rounding_of_a_loss_is_bounded(form: str) -> None:
    oracle, generator, beyond = Oracle(FORMS[form]), torch.Generator().manual_seed(3), 0
    for k in range(14):
        at = oracle.at(C + torch.randn(D, generator=generator, dtype=torch.float64) * 10.0**-k)
        error = abs(float(Fraction(at.loss) - exact(form, at.theta)))
        assert error <= at.rounding <= 1e-5
        beyond += error > at.least_rounding
    assert (beyond > 0) == (form != "centred"), "what value and gradient cannot know of is measured"


@pytest.mark.parametrize("method", [ConjugateGradient(), BFGS(), Newton()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("form", FORMS)
def test_the_tolerance_is_reached_below_the_noise_of_the_loss(method: FullBatch, form: str) -> None:
    """Condition 1e4, d = 30: there the losses are noise long before |g| = 1e-9, and the slopes still have digits."""
    trace = method.minimize(FORMS[form], torch.zeros(D, dtype=torch.float64), 400, tolerance=1e-9)
    assert trace.converged and trace.gradient_norms[-1] <= 1e-9
    assert (trace.theta - C).norm() < 1e-8


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e18])
@pytest.mark.parametrize("method", [ConjugateGradient(), BFGS(), SteepestDescent()], ids=lambda m: type(m).__name__)
def test_squares_beyond_single_precision_stop_no_search(method: FullBatch, scale: float) -> None:
    """g'd of 1e38 or 1e-38 in single precision is computed in double."""
    weights = torch.tensor([1.0, 2.0, 3.0])

    def loss(x: Tensor) -> Tensor:
        return scale * (weights * (x - 10) ** 2).sum()

    trace = method.minimize(loss, torch.zeros(3), 60, tolerance=1e-4 * scale)
    assert trace.converged and (trace.theta - 10).abs().max() < 1e-4


def test_a_gradient_that_is_not_the_losses_is_still_found_out() -> None:
    """What is measured as noise is no licence for any step."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            return x.square().sum()

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            return -2 * x * grad

    with pytest.raises(LineSearchFailed, match="is the gradient that of the loss"):
        BFGS().minimize(Wrong.apply, torch.ones(3, dtype=torch.float64), 10)


def test_a_jump_in_the_loss_ends_in_words() -> None:
    """The bracket shrinks about it until nothing is between, which was a division by zero."""

    def along(alpha: float) -> tuple[float, float]:
        return 3.0 - alpha + (100.0 if alpha > 2.7 else 0.0), -1.0

    with pytest.raises(LineSearchFailed, match=r"the slope jumps at step length 2.7; is the loss smooth"):
        strong_wolfe(along, *along(0.0), trials=2000)


@pytest.mark.parametrize("method", [ConjugateGradient(), BFGS(), SteepestDescent()], ids=lambda m: type(m).__name__)
def test_a_slope_beyond_the_largest_number_is_said(method: FullBatch) -> None:
    """The gradient is finite and its square is not: the start was given back as if nothing lowered the loss."""
    with pytest.raises(LineSearchFailed, match=r"the slope along the step is -inf, .*; scale the loss"):
        method.minimize(lambda x: 1e200 * (x - 1).square().sum(), torch.zeros(2, dtype=torch.float64), 50)
