"""Which products of a graph become which."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from rlgan.optim.compiled import products
from rlgan.optim.compiled.products import Products
from rlgan.optim.compiled.quickest import MOST, Quickest

aten, rounded = torch.ops.aten, torch.ops.rlgan.product.default
SHAPES = ((256, 128, 64), (256, 7, 64), (64, 64, 1), (64, 1, 64), (3, 64, 64), (5, 0, 4))
"""Rows, terms and columns of products; the last is a sum of no terms, which is left to the library."""


def multiply(given: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [a @ b for a, b in given]


def traced(bfloat16: bool, dtype: torch.dtype) -> tuple[torch.fx.GraphModule, list[tuple[Tensor, Tensor]]]:
    g = torch.Generator().manual_seed(0)
    given = [
        (torch.randn(m, k, generator=g, dtype=dtype), torch.randn(k, n, generator=g, dtype=dtype)) for m, k, n in SHAPES
    ]
    module = make_fx(multiply, tracing_mode="fake")(given)
    Products(bfloat16)(module.graph)
    module.recompile()
    return module, given


@pytest.mark.parametrize(
    ("found", "bfloat16", "kernels"),
    [
        (Quickest(MOST, rounded=64), False, [False, False, False]),
        (Quickest(MOST, rounded=64), True, [True, False, False]),
        (Quickest(MOST, rounded=512), True, [False, False, False]),
        (Quickest(kernel=64), False, [False, False]),
        (Quickest(), True, []),
    ],
)
def test_products_are_computed_in_the_quickest_way(
    found: Quickest, bfloat16: bool, kernels: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The large one, with few terms, and with few rows; with one column or one term by a loop."""
    monkeypatch.setattr(products, "quickest_of_graph", lambda: found)
    module, given = traced(bfloat16, torch.float32)
    calls = [node for node in module.graph.nodes if node.target is rounded]
    assert [node.args[2] for node in calls] == kernels
    assert len([node for node in module.graph.nodes if node.target is aten.mm.default]) == 4 - len(kernels)
    for ours, wanted in zip(module(given), multiply(given), strict=True):
        error = 1e-2 if bfloat16 else 1e-5
        assert ours.shape == wanted.shape and (ours - wanted).norm() <= error * wanted.norm()


def test_double_precision_stays_with_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "quickest_of_graph", lambda: Quickest(MOST, rounded=64))
    module, given = traced(True, torch.float64)
    assert not [node for node in module.graph.nodes if node.target is rounded]
    for ours, wanted in zip(module(given), multiply(given), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
