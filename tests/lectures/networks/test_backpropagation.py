"""Backpropagation by hand: autograd's gradients, on networks that no run has trained, and products counted."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rlgan.lectures.networks.backpropagation import (
    SLOPES,
    Layers,
    by_recursions,
    cross_entropy_slope,
    forward,
    layer_by_layer,
    products,
)
from rlgan.nets import MLPSpec
from tests.lectures.shrunken import summary, without


def network(activation: str, hidden: tuple[int, ...]) -> tuple[nn.Module, Layers]:
    torch.manual_seed(1)
    model = MLPSpec(hidden=hidden, activation=activation).build((5,), (3,)).double()  # type: ignore[arg-type]
    linears = model.linears
    return model, Layers(
        [layer.weight.detach() for layer in linears], [layer.bias.detach() for layer in linears], activation
    )


@pytest.mark.parametrize("hidden", [(), (7,), (6, 4, 8, 2)])
@pytest.mark.parametrize("activation", SLOPES)
def test_gradients_by_hand_are_autograds(activation: str, hidden: tuple[int, ...]) -> None:
    model, net = network(activation, hidden)
    x, y = torch.randn(11, 5, dtype=torch.float64), torch.arange(11) % 3
    assert torch.allclose(forward(net, x).x[-1], model(x), rtol=1e-12)
    nn.functional.cross_entropy(model(x), y).backward()
    for way in (by_recursions, layer_by_layer):
        found = way(net, x, cross_entropy_slope(y))
        exact = list(model.parameters())
        for i, (weight, bias) in enumerate(zip(found.weights, found.biases, strict=True)):
            assert torch.allclose(weight, exact[2 * i].grad, rtol=1e-10, atol=1e-14)  # type: ignore[arg-type]
            assert torch.allclose(bias, exact[2 * i + 1].grad, rtol=1e-10, atol=1e-14)  # type: ignore[arg-type]


def test_one_layer_and_one_sample_by_the_slides_formula() -> None:
    # dL/dW = dL/du x^T of L = (y - beta . sigma(W x))^2: the slide's (3) and (4), beta as the second layer.
    w, beta = torch.tensor([[0.3, -0.2]], dtype=torch.float64), torch.tensor([[1.5]], dtype=torch.float64)
    net = Layers([w, beta], [torch.zeros(1).double(), torch.zeros(1).double()], "tanh")
    x, target = torch.tensor([[1.0, 2.0]], dtype=torch.float64), 0.7
    found = by_recursions(net, x, lambda f: -2 * (target - f))
    u = float(w @ x[0])
    h = torch.tensor(u).double().tanh()
    off = -2 * (target - 1.5 * float(h))
    assert float(found.weights[1]) == pytest.approx(off * float(h))
    assert torch.allclose(found.weights[0], off * 1.5 * (1 - h**2) * x)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_products_are_as_many_as_is_said(layers: int) -> None:
    h, n = 4, 3
    net = Layers([torch.ones(h, h)] * layers, [torch.zeros(h)] * layers, "relu")
    for kind, way in (("backpropagation", by_recursions), ("naive", layer_by_layer)):
        with FlopCounterMode(display=False) as counter:
            way(net, torch.ones(n, h), torch.ones_like)
        assert counter.get_total_flops() == products(kind, layers) * 2 * n * h * h


@pytest.mark.slow
def test_the_comparison_shrunken(tmp_path: Path) -> None:
    kept = ["layers_4", "layers_8", "layers_16"]
    found = summary(
        "25_backpropagation",
        tmp_path / "run",
        "steps=3",
        "compare.figure.widths=[8,16]",
        *without("25_backpropagation", kept),
    )
    assert found["seen"], found["rules"]
    assert found["numbers"]["autograd_operations_over_ours"] == 1
