"""A pass of the compiler over an update's graph: matrix products in the form in which a CPU is quick at them."""

import math
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from rlgan.optim.compiled import kernel
from rlgan.optim.compiled.quickest import Quickest, quickest_of_graph, size

THIN = 16
"""Columns below which BLAS is slow at a product of which it is asked for few columns (see `turn`)."""
ROUNDED = 32
"""Rows, columns and terms that a product needs for bfloat16: it is to repay the rounding of both factors."""
LANES = 16
"""Columns that the kernel computes at once."""
aten = torch.ops.aten


class Products(CustomGraphPass):
    """Rewrites the products of a graph, each to the same value but for rounding.

    It has to run after the compiler's own passes: they would put a bias and its product together again.

    Args:
        bfloat16: round the factors of large float32 products to bfloat16, where that is quicker on this machine.
        quickest: what is; None looks it up.
    """

    def __init__(self, bfloat16: bool = False, quickest: Quickest | None = None) -> None:
        self._quickest = quickest or quickest_of_graph()
        self._bfloat16 = bfloat16

    def __call__(self, graph: fx.Graph) -> None:
        for node in list(graph.nodes):
            if node.op == "call_function" and node.target is aten.addmm.default:
                take_bias_out(graph, node)
        for node in list(graph.nodes):
            if node.op == "call_function" and node.target in (aten.mm.default, aten.bmm.default):
                if any(user.target is aten.as_strided.default for user in node.users):
                    continue  # it reads the memory, whose order would be another
                self.rewrite(graph, node)
        graph.lint()

    def rewrite(self, graph: fx.Graph, node: fx.Node) -> None:
        """Write a product as what is quickest for its sizes."""
        a, b = factors(node)
        *batch, rows, inner = a.shape
        columns = b.shape[-1]
        single = a.dtype == torch.float32
        n = size(*batch, rows, inner, columns)
        least = self._quickest.rounded
        if n == 0:
            return  # a sum of no terms is 0, which the kernel would not write
        if inner == 1:
            replace(graph, node, call(graph, node, aten.mul.Tensor, *node.args))
        elif single and self._bfloat16 and 0 < least <= n and inner % 2 == 0 and min(rows, inner, columns) >= ROUNDED:
            by_kernel(graph, node, bfloat16=True)
        elif single and columns == 1 and a.stride(-1) == 1:
            by_loop(graph, node)
        elif single and n <= self._quickest.kernel:
            by_kernel(graph, node, bfloat16=False)
        elif 1 < columns < THIN <= rows:
            turn(graph, node, node.target)

    def uuid(self) -> Any:
        how = f"{self._quickest.words(True, self._bfloat16)}, {torch.get_num_threads()} threads"
        return get_hash_for_files((__file__, kernel.__file__), how)


def by_kernel(graph: fx.Graph, node: fx.Node, bfloat16: bool) -> None:
    """Have the kernel compute a product or, where it then has less to transpose and to compute, its transpose."""
    a, b = factors(node)
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]

    def cost(rows: int, columns: int, *transposed: torch.Tensor) -> int:
        moved = sum(factor.shape[-2] * factor.shape[-1] for factor in transposed)
        return rows * inner * math.ceil(columns / LANES) + moved

    straight = cost(rows, columns, *(x for x in (a, b) if x.stride(-1) != 1))
    turned = cost(columns, rows, *(x for x in (a, b) if x.stride(-2) != 1)) + rows * columns
    if turned < straight:
        turn(graph, node, torch.ops.rlgan.product.default, bfloat16)
    else:
        replace(graph, node, call(graph, node, torch.ops.rlgan.product.default, *node.args, bfloat16))


def by_loop(graph: fx.Graph, node: fx.Node) -> None:
    """Write a matrix times a vector as a sum over each row, which may go into another loop; the kernel has no lanes."""
    a, b = node.args
    products = call(graph, node, aten.mul.Tensor, a, transposed(graph, node, b))
    replace(graph, node, call(graph, node, aten.sum.dim_IntList, products, [-1], True))


def take_bias_out(graph: fx.Graph, node: fx.Node) -> None:
    """Write b + A B as a product and a sum: the sum is made in the loop that follows, with its activation.

    BLAS adds to what its output holds, so the bias would first be copied into every row of it.
    """
    bias, a, b = node.args
    if node.kwargs:  # scaled
        return
    product = call(graph, node, aten.mm.default, a, b)
    replace(graph, node, call(graph, node, aten.add.Tensor, product, bias))


def turn(graph: fx.Graph, node: fx.Node, function: Any, *how: Any) -> None:
    """Write a product as the transpose of its transpose, A B = (B^T A^T)^T, computed by ``function(B^T, A^T, *how)``.

    BLAS takes up to ten times as long for x^T g with 4 columns as for g^T x with 4 rows: the weight gradient of a first
    layer, and the gradient by an action. Stacked over seeds these two cost as much as four square products at 2x64.
    """
    a, b = (transposed(graph, node, factor) for factor in node.args)
    product = call(graph, node, function, b, a, *how)
    replace(graph, node, transposed(graph, node, product))


def factors(node: fx.Node) -> tuple[torch.Tensor, torch.Tensor]:
    """Shapes, types and strides of a product's two factors, as tensors without values."""
    a, b = node.args[:2]
    assert isinstance(a, fx.Node) and isinstance(b, fx.Node)
    return a.meta["val"], b.meta["val"]


def transposed(graph: fx.Graph, before: fx.Node, matrix: Any) -> fx.Node:
    """A new node for the transpose of a matrix or of many."""
    order = [1, 0] if matrix.meta["val"].ndim == 2 else [0, 2, 1]
    return call(graph, before, aten.permute.default, matrix, order)


def call(graph: fx.Graph, before: fx.Node, function: Any, *args: Any) -> fx.Node:
    """A new node with the shape that its value will have."""
    with graph.inserting_before(before):
        node = graph.call_function(function, args)
    values = [arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args]
    node.meta["val"] = function(*values)
    return node


def replace(graph: fx.Graph, old: fx.Node, new: fx.Node) -> None:
    old.replace_all_uses_with(new)
    graph.erase_node(old)
