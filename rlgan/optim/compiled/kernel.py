"""A matrix product as a kernel of the compiled graph: oneDNN's inner kernel, called without a library's call around it.

MKL and oneDNN take 5 and 12 us for a product of 64 x 64 matrices on a CPU of which the inner kernel takes 2: the rest
is finding the kernel, and checks. PyTorch has it as a C++ function (``at::native::cpublas::brgemm``), which where there
is none calls a library. Here it is a template of the compiler's, which transposes a factor, rounds both to bfloat16,
cuts into blocks that fit the cache and shares them among threads, as need be.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._inductor import config, ir, lowering
from torch._inductor.codecache import CppPythonBindingsCodeCache
from torch._inductor.codegen.cpp_template import CppTemplate
from torch._inductor.codegen.cpp_template_kernel import CppTemplateKernel
from torch._inductor.kernel.mm_common import mm_args

HEADER = "#include <torch/csrc/inductor/cpp_prefix.h>\n"
SOURCE = r"""
#ifndef RLGAN_PRODUCT
#define RLGAN_PRODUCT
#include <ATen/native/CPUBlas.h>
#include <memory>

struct Factor { const float* at; int64_t batch, row, column; };  // strides

template <typename T> static T* room(int which, int64_t size) {
    thread_local std::unique_ptr<T[]> kept[3];
    thread_local int64_t held[3] = {0, 0, 0};
    if (held[which] < size) { kept[which].reset(new T[size]); held[which] = size; }
    return kept[which].get();
}

// Rows that lie one after the other: the factor itself, or its transpose's transpose.
static Factor by_rows(Factor x, int64_t rows, int64_t columns, int which) {
    if (x.column == 1) return x;
    float* to = room<float>(which, rows * columns);
    at::vec::transpose_mxn<float>(x.at, x.column, to, columns, columns, rows);
    return {to, 0, columns, 1};
}

static const at::BFloat16* rounded(Factor x, int64_t rows, int64_t columns, int which) {
    at::BFloat16* to = room<at::BFloat16>(which, rows * columns);
    for (int64_t i = 0; i < rows; ++i)
        at::vec::convert<float, at::BFloat16>(x.at + i * x.row, to + i * columns, columns);
    return to;
}

// c (rows, columns) = a (rows, inner) b (inner, columns)
static void rlgan_block(
    Factor a, Factor b, float* c, int64_t rows, int64_t inner, int64_t columns, bool bfloat16
) {
    constexpr int64_t deep = 512, wide = 256;  // a block of b stays in the second cache
    const Factor x = by_rows(a, rows, inner, 0), y = by_rows(b, inner, columns, 1);
    const at::BFloat16* half = bfloat16 ? rounded(x, rows, inner, 0) : nullptr;
    for (int64_t j = 0; j < columns; j += wide) {
        const int64_t width = std::min(wide, columns - j);
        for (int64_t i = 0; i < inner; i += deep) {
            const int64_t depth = std::min(deep, inner - i);
            const Factor block{y.at + i * y.row + j, 0, y.row, 1};
            if (bfloat16) {
                at::BFloat16* packed = room<at::BFloat16>(2, depth * width);
                at::vec::pack_vnni2(rounded(block, depth, width, 1), packed, width, depth, width);
                at::native::cpublas::brgemm(
                    rows, width, depth, inner, width, columns, i > 0, half + i, packed, c + j, true);
            } else {
                at::native::cpublas::brgemm(
                    rows, width, depth, x.row, y.row, columns, i > 0, x.at + i, block.at, c + j, false);
            }
        }
    }
    if (bfloat16) at::native::cpublas::brgemm_release(true);  // others may use the same registers (AMX)
}

// c (batch, rows, columns) = a (batch, rows, inner) b (batch, inner, columns); of each factor's last two strides one is
// 1, and for bfloat16 `inner` is even. Threads share the batch and, where it is short, the rows.
__attribute__((noinline)) static void rlgan_product(
    Factor a, Factor b, float* c, int64_t batch, int64_t rows, int64_t inner, int64_t columns, bool bfloat16,
    int threads
) {
    constexpr int64_t least = 100 * 100 * 100, few = 32;  // what is worth a thread: multiplications, rows
    const int64_t whole = batch * rows * inner * columns;
    const int team = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, whole / least)));
    const int64_t wanted = batch < team ? (team + batch - 1) / batch : 1;
    const int64_t pieces = std::max<int64_t>(1, std::min(wanted, rows / few));
    const int64_t tall = (rows + pieces - 1) / pieces;
    const auto piece = [&](int64_t t) {
        const int64_t k = t / pieces, from = (t % pieces) * tall, n = std::min(tall, rows - from);
        if (n <= 0) return;
        const Factor own{a.at + k * a.batch + from * a.row, 0, a.row, a.column};
        const Factor other{b.at + k * b.batch, 0, b.row, b.column};
        rlgan_block(own, other, c + (k * rows + from) * columns, n, inner, columns, bfloat16);
    };
    if (team == 1) {
        for (int64_t t = 0; t < batch * pieces; ++t) piece(t);
        return;
    }
    #pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t t = 0; t < batch * pieces; ++t) piece(t);
}
#endif
"""


@torch.library.custom_op("rlgan::product", mutates_args=())
def product(a: Tensor, b: Tensor, bfloat16: bool) -> Tensor:
    """A B in float32, (rows, columns) or (batch, rows, columns).

    Args:
        a: (..., rows, inner) float32.
        b: (..., inner, columns) float32.
        bfloat16: round both to bfloat16 before; products of two are exact and their sums are float32. `inner` is even.
    """
    return a.bfloat16().float() @ b.bfloat16().float() if bfloat16 else a @ b


@product.register_fake
def _(a: Tensor, b: Tensor, bfloat16: bool) -> Tensor:
    return a.new_empty((*a.shape[:-1], b.shape[-1]))


def compiled_product() -> Callable[[Tensor, Tensor, Tensor, int, int, int], None]:
    """The kernel outside of a graph: ``run(a, b, out, n, bfloat16, threads)`` for contiguous (n, n), to be timed.

    Raises:
        Exception: the compiler's, where it does not get along with the code.
    """
    entry = """
extern "C" void kernel(const float* a, const float* b, float* c, int64_t n, int64_t bfloat16, int64_t threads) {
    rlgan_product({a, 0, n, 1}, {b, 0, n, 1}, c, 1, n, n, n, bfloat16 != 0, threads);
}
"""
    types = ["const float*", "const float*", "float*", "int64_t", "int64_t", "int64_t"]
    run: Callable[[Tensor, Tensor, Tensor, int, int, int], None] = CppPythonBindingsCodeCache.load_pybinding(
        types, HEADER + SOURCE + entry
    )
    return run


class ProductTemplate(CppTemplate):
    """The kernel's code in a graph."""

    def __init__(self, factors: list[Any], layout: ir.Layout) -> None:
        super().__init__("product", factors, layout, num_threads=1)

    def render(  # type: ignore[override]
        self,
        kernel: CppTemplateKernel,
        bfloat16: bool,
        template_buffer_node: ir.CppTemplateBuffer | None = None,
        epilogue_nodes: list[ir.IRNode] | None = None,
        **_: Any,
    ) -> str:
        a, b = self.input_nodes
        c: Any = self.output_node if template_buffer_node is None else template_buffer_node
        define = kernel.def_kernel(inputs={"A": a, "B": b}, outputs={"C": c})
        *batch, rows, inner = a.get_size()
        zeros = [0] * len(a.get_size())

        def factor(node: Any) -> str:
            *leading, row, column = node.get_stride()
            if node.get_size()[-1] == 1:
                column = 1
            return f"Factor{{&({kernel.index(node, zeros)}), {leading[0] if leading else 0}, {row}, {column}}}"

        sizes = f"{batch[0] if batch else 1}, {rows}, {inner}, {b.get_size()[-1]}"
        how = f"{str(bfloat16).lower()}, {torch.get_num_threads()}"
        call = f"rlgan_product({factor(a)}, {factor(b)}, C, {sizes}, {how});"
        mark = 'torch::aot_inductor::RAIIAtenRecordFunctionHandle mark("product", nullptr);' if profiled() else ""
        return f'{self.header().getvalue()}\n{SOURCE}\nextern "C"\n{define}\n{{\n    {mark}\n    {call}\n}}\n'


def profiled() -> bool:
    """Whether kernels are to name themselves to the profiler."""
    return bool(config.cpp.enable_kernel_profile)


@lowering.register_lowering(torch.ops.rlgan.product.default, type_promotion_kind=None)
def _lowered(a: Any, b: Any, bfloat16: bool) -> Any:
    *_, layout, a, b = mm_args(a, b)
    factors = [_readable(factor) for factor in (a, b)]
    template = ProductTemplate(factors, layout)
    return template.generate(bfloat16=bfloat16).output_node()


def _readable(factor: Any) -> Any:
    """A factor as memory, with one of its last two strides 1."""
    *_, row, column = factor.get_stride()
    sizes = factor.get_size()
    if not (column == 1 or row == 1 or sizes[-1] == 1):
        factor = ir.ExternKernel.require_contiguous(factor)
    factor.freeze_layout()
    return ir.InputsKernel.unwrap_storage_for_input(factor)
