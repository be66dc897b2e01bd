"""The chain of one-node layers against autograd and finite arithmetic."""

import math

import pytest
import torch

from rlgan.erm import Chain


@pytest.mark.parametrize("start", [(2.0, 3.0, -0.5), (1.2, 1.2, 1.2)])
def test_derivatives_of_the_closed_form_are_autograds(start: tuple[float, ...]) -> None:
    chain = Chain(layers=3, x=1.5, slope=0.7, start=start)
    w = chain.beginning + 0.1
    assert torch.allclose(chain.gradient(w), torch.func.grad(chain.value)(w), rtol=1e-12)
    assert torch.allclose(chain.hessian(w), torch.func.jacrev(torch.func.grad(chain.value))(w), rtol=1e-12)


def test_the_start_has_the_slope_and_the_value_that_are_said_whatever_depth_and_weights() -> None:
    for layers, weight in ((1, 0.5), (20, 0.9), (30, 1.5)):
        chain = Chain(layers=layers, weight=weight, x=2.0, slope=0.4)
        w = chain.beginning
        assert float(chain.value(w)) == pytest.approx(0.04, rel=1e-6)
        assert float(chain.output(w)) == pytest.approx(2 * weight**layers)
        # g'g = slope^2 sum_i q_i^2 with q_i = p / w_i.
        assert float(chain.gradient(w).norm()) == pytest.approx(0.4 * math.sqrt(layers) * 2 * weight ** (layers - 1))
    assert chain.least() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"layers": 0}, "layers = 0"),
        ({"weight": math.inf}, "weight = inf"),
        ({"slope": math.nan}, "slope = nan"),
        ({"layers": 2000, "weight": 10.0}, "beyond the largest"),
        ({"start": (1.0, 2.0)}, "has 10 variables"),
    ],
)
def test_impossible_chains_are_refused(words: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Chain(**words)  # type: ignore[arg-type]
