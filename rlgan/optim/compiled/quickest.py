"""Which way to a matrix product is quickest on this machine: measured once and kept, so that runs repeat bit by bit."""

import functools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlgan.optim.compiled.kept import kept, machine

SIZES = (32, 64, 128, 256, 512)
"""Of the square products that are measured."""
FLOAT32, BFLOAT16 = 1e-5, 2e-2
"""Relative errors that a product of such factors stays below: sums of 512 terms give 1e-6, and 3e-3."""
GAIN = 0.75
"""What bfloat16 takes of the time of float32, or less, where it is to pay for its rounding."""
Way = Callable[[Tensor, Tensor, Tensor], Any]
"""Writes a product: ``way(a, b, out)``."""
Figures = dict[str, dict[str, tuple[float, float]]]
"""Way -> size -> microseconds and relative error."""


class Quickest(NamedTuple):
    """Sizes of float32 products, as in `size`, from or up to which a way is the quickest; 0 where it never is."""

    kernel: int = 0
    """Up to this size the kernel of `rlgan.optim.compiled.kernel` is, of all that compute in float32; MOST for any."""
    rounded: int = 0
    """From this size on that kernel in bfloat16 is."""
    onednn: int = 0
    """From this size on oneDNN's library is quicker than torch's default, if it may compute in bfloat16."""
    exact: bool = True
    """Whether oneDNN's library computes in float32 all the same."""

    def library_from(self, bfloat16: bool) -> int:
        """From this size on oneDNN's library is the one to use; 0 is never."""
        return self.onednn if bfloat16 or self.exact else 0

    def rounds_from(self, compiled: bool) -> int:
        """From this size on a product is rounded to bfloat16, if that is allowed; 0 is never."""
        return self.rounded if compiled else 0 if self.exact else self.onednn

    def words(self, compiled: bool, bfloat16: bool) -> str:
        """What decides about the products of a compiled or an eager update."""
        if not compiled:
            least = self.library_from(bfloat16)
            return f"oneDNN from {least}" if least else "library"
        upto = "" if self.kernel >= MOST else f" up to {self.kernel}"
        words = f"kernel{upto}" if self.kernel else "library"
        return f"{words}, bfloat16 from {self.rounded}" if bfloat16 and self.rounded else words


MOST = 1 << 30


def size(*lengths: int) -> float:
    """n of the square product of as many multiplications as one of such rows, terms and columns, or as many such."""
    return math.cbrt(math.prod(lengths))


def quickest_of_graph() -> Quickest:
    """For the products of a compiled graph. Compiles the kernel at first, for some seconds."""
    return measured_once(torch.get_num_threads(), True)


def quickest_of_library() -> Quickest:
    """For the products of an eager update."""
    return measured_once(torch.get_num_threads(), False)


@contextmanager
def by_onednn() -> Iterator[None]:
    """Have torch call oneDNN for float32 products, which computes in bfloat16 where the CPU has matrices of them."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


@functools.cache
def measured_once(threads: int, graph: bool) -> Quickest:
    """What is kept of this machine, or else measured now, for so many threads."""
    ways = _ways(graph)
    key = f"{'graph' if graph else 'library'}: {machine()}, {threads} threads"
    figures: Figures = kept("products", key, lambda: measured(ways), lambda found: "library" in found)
    sizes = list(figures["library"])

    def took(way: str, n: str, error: float) -> float:
        time, off = figures.get(way, {}).get(n, (math.inf, math.inf))
        return time if off < error else math.inf

    def best(n: str) -> float:
        return min(took("library", n, math.inf), took("kernel", n, FLOAT32))

    by_kernel = [took("kernel", n, FLOAT32) < took("library", n, math.inf) for n in sizes]
    kernel = [0, *map(int, sizes[:-1]), MOST][(*by_kernel, False).index(False)]

    def least(gains: list[bool]) -> int:
        """The size from which on there always is a gain; 0 without one at the largest."""
        return next((int(n) for k, n in enumerate(sizes) if all(gains[k:])), 0)

    return Quickest(
        kernel,
        least([took("rounded", n, BFLOAT16) < GAIN * best(n) for n in sizes]),
        least([took("onednn", n, BFLOAT16) < GAIN * took("library", n, math.inf) for n in sizes]),
        all(off < FLOAT32 for _, off in figures.get("onednn", {}).values()),
    )


def _ways(graph: bool) -> dict[str, Callable[[], Way]]:
    """What makes every way that is asked for, the library first."""
    ways: dict[str, Callable[[], Way]] = {"library": lambda: lambda a, b, out: torch.mm(a, b, out=out)}
    if hasattr(torch.backends.mkldnn, "matmul"):
        ways["onednn"] = lambda: _with_onednn
    if graph:

        def kernel(bfloat16: int) -> Way:
            from rlgan.optim.compiled.kernel import compiled_product  # loads the compiler

            run = compiled_product()
            return lambda a, b, out: run(a, b, out, len(a), bfloat16, torch.get_num_threads())

        ways |= {"kernel": lambda: kernel(0), "rounded": lambda: kernel(1)}
    return ways


def _with_onednn(a: Tensor, b: Tensor, out: Tensor) -> None:
    with by_onednn():
        torch.mm(a, b, out=out)


def measured(ways: dict[str, Callable[[], Way]]) -> Figures:
    """The best of several blocks for each size and way, in turn; what cannot be compiled or run is left out."""
    found: Figures = {}
    runs: dict[str, Way] = {}
    for name, make in ways.items():
        found[name] = {}
        try:
            runs[name] = make()
        except Exception:  # no compiler, or one that cannot compile this
            continue
    g = torch.Generator().manual_seed(0)
    for n in SIZES:
        a, b, out = (torch.randn(n, n, generator=g, dtype=torch.float32) for _ in range(3))
        exact = a.double() @ b.double()
        calls = max(1, 4 * 64**3 // n**3)
        for _ in range(8):
            for name, run in list(runs.items()):
                try:
                    start = time.perf_counter()
                    for _ in range(calls):
                        run(a, b, out)
                    took = 1e6 * (time.perf_counter() - start) / calls
                except RuntimeError:  # the CPU has no such instructions
                    del runs[name]
                    continue
                before = found[name].get(str(n), (math.inf, 0.0))[0]
                off = float((out.double() - exact).norm() / exact.norm())
                found[name][str(n)] = (min(before, round(took, 3)), float(f"{off:.2g}"))
    return found
