"""A pass of the compiler over an update's graph: matrix products in the form in which a CPU is quick at them."""

from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

THIN = 16
"""Columns below which BLAS is slow at a product of which it is asked for few columns (see `turn`)."""
aten = torch.ops.aten


class Products(CustomGraphPass):
    """Rewrites the products of a graph, each to the same value but for rounding.

    It has to run after the compiler's own passes: they would put a bias and its product together again.
    """

    def __call__(self, graph: fx.Graph) -> None:
        for node in list(graph.nodes):
            if node.op == "call_function" and node.target is aten.addmm.default:
                take_bias_out(graph, node)
        for node in list(graph.nodes):
            if node.op == "call_function" and node.target in (aten.mm.default, aten.bmm.default):
                if any(user.target is aten.as_strided.default for user in node.users):
                    continue  # it reads the memory, whose order would be another
                rows, inner = node.args[0].meta["val"].shape[-2:]
                columns = node.args[1].meta["val"].shape[-1]
                if inner == 1:
                    replace(graph, node, call(graph, node, aten.mul.Tensor, *node.args))
                elif 1 < columns < THIN <= rows:
                    turn(graph, node)
        graph.lint()

    def uuid(self) -> bytes:
        return get_hash_for_files((__file__,))


def take_bias_out(graph: fx.Graph, node: fx.Node) -> None:
    """Write b + A B as a product and a sum: the sum is made in the loop that follows, with its activation.

    BLAS adds to what its output holds, so the bias would first be copied into every row of it.
    """
    bias, a, b = node.args
    if node.kwargs:  # scaled
        return
    product = call(graph, node, aten.mm.default, a, b)
    replace(graph, node, call(graph, node, aten.add.Tensor, product, bias))


def turn(graph: fx.Graph, node: fx.Node) -> None:
    """Write a product with 2 to 15 columns as the transpose of its transpose, A B = (B^T A^T)^T.

    BLAS takes up to ten times as long for x^T g with 4 columns as for g^T x with 4 rows: the weight gradient of a first
    layer, and the gradient by an action. Stacked over seeds these two cost as much as four square products at 2x64.
    """
    order = [1, 0] if node.target is aten.mm.default else [0, 2, 1]
    a, b = (call(graph, node, aten.permute.default, factor, order) for factor in node.args)
    product = call(graph, node, node.target, b, a)
    replace(graph, node, call(graph, node, aten.permute.default, product, order))


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
