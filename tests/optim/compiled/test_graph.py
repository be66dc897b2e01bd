"""One compiled graph for one function."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlgan.optim.compiled.graph import one_graph


def adding(number: float) -> Callable[[Tensor], Tensor]:
    def add(x: Tensor) -> Tensor:
        return x + number

    return add


@torch._dynamo.config.patch(recompile_limit=1)
def test_functions_of_equal_shapes_have_graphs_of_their_own() -> None:
    """However many there are: torch.compile keeps graphs by code object, and only a few of them for each."""
    functions = [one_graph(adding(number), torch.device("cpu")) for number in (1.0, 2.0, 3.0)]
    x = torch.zeros(3)
    for _ in range(2):
        assert [function(x).tolist() for function in functions] == [[1.0] * 3, [2.0] * 3, [3.0] * 3]
