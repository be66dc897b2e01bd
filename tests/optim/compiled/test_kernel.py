"""The product kernel of compiled graphs against products in double precision, whatever its factors look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from rlgan.optim.compiled import kernel

FLOAT32, BFLOAT16 = 2e-6, 1e-2
product = torch.ops.rlgan.product


def runs_bfloat16() -> bool:
    """Whether this CPU has what the kernel packs bfloat16 with."""
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def within(found: Tensor, a: Tensor, b: Tensor, error: float) -> bool:
    exact = a.double() @ b.double()
    return found.shape == exact.shape and float((found.double() - exact).norm() / exact.norm()) < error


FACTORS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "by rows": lambda a, b: (a, b),
    "both transposed": lambda a, b: (a.mT.contiguous().mT, b.mT.contiguous().mT),
    "slices": lambda a, b: (torch.cat([a, a], -1)[..., 1 : a.shape[-1] + 1], torch.cat([b, b], -2)[..., 1::2, :]),
    "every other column": lambda a, b: (torch.cat([a, a], -1)[..., ::2], torch.cat([b, b], -1)[..., ::2]),
}


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", FACTORS)
def test_products_are_those_of_double_precision_to_rounding(name: str, two_threads: None) -> None:
    """Vectors, odd lengths, more than one block of the cache's, and batches; the last two are shared by threads."""
    shapes = [
        ((7, 5), (5, 3)),
        ((1, 33), (33, 20)),
        ((40, 18), (18, 1)),
        ((20, 600), (600, 300)),
        ((3, 9, 34), (3, 34, 8)),
        ((205, 120), (120, 100)),
        ((3, 90, 120), (3, 120, 101)),
    ]

    rounds = runs_bfloat16()

    def function(given: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        made = [FACTORS[name](a, b) for a, b in given]
        even = [(a, b) for a, b in made if a.shape[-1] % 2 == 0 and rounds]
        return [product(a, b, False) for a, b in made] + [product(a, b, True) for a, b in even]

    run = torch.compile(function, fullgraph=True, options={"cpp_wrapper": True, "epilogue_fusion": False})
    g = torch.Generator().manual_seed(0)
    given = [(torch.randn(one, generator=g), torch.randn(other, generator=g)) for one, other in shapes]
    found = run(given)
    for (a, b), ours in zip(given, found, strict=False):
        assert within(ours, *FACTORS[name](a, b), FLOAT32)
    if rounds:
        even = [both for both in given if both[0].shape[-1] % 2 == 0]
        for (a, b), ours in zip(even, found[len(given) :], strict=True):
            x, y = FACTORS[name](a, b)
            assert within(ours, x.bfloat16(), y.bfloat16(), FLOAT32), "sums are float32"
            assert within(ours, x, y, BFLOAT16) and not within(ours, x, y, FLOAT32)


def test_outside_of_a_graph_it_computes_the_same() -> None:
    a, b = torch.randn(2, 24, 24, generator=torch.Generator().manual_seed(0))
    assert within(product(a, b, False), a, b, FLOAT32)
    assert within(product(a, b, True), a.bfloat16(), b.bfloat16(), FLOAT32)
    for n, threads in ((24, 1), (240, 1), (240, 3)):
        x, y = torch.randn(2, n, n, generator=torch.Generator().manual_seed(1))
        out = torch.empty(n, n)
        kernel.compiled_product()(x, y, out, n, 0, threads)
        assert within(out, x, y, FLOAT32)
