"""A pass of the compiler over an update's graph: matrix products in the form in which BLAS is quick."""

from __future__ import annotations

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

THIN = 16
"""Columns below which BLAS is slow at a product of which it is asked for few columns (see `ThinProducts`)."""


class ThinProducts(CustomGraphPass):
    """Asks for products with 2 to 15 columns as their transposes, A B = (B^T A^T)^T.

    BLAS takes up to ten times as long for x^T g with 4 columns as for g^T x with 4 rows: the weight gradient of a first
    layer, and the gradient by an action. Stacked over seeds these two cost as much as four square products at 2x64.
    """

    def __call__(self, graph: fx.Graph) -> None:
        aten = torch.ops.aten
        for node in list(graph.nodes):
            if node.op != "call_function" or node.target not in (aten.mm.default, aten.bmm.default):
                continue
            a, b = node.args
            rows, inner = a.meta["val"].shape[-2:]
            columns = b.meta["val"].shape[-1]
            if not (1 < columns < THIN <= rows and inner > 1):
                continue
            order = [1, 0] if node.target is aten.mm.default else [0, 2, 1]
            with graph.inserting_before(node):
                args = []
                for factor in (b, a):
                    turned = graph.call_function(aten.permute.default, (factor, order))
                    turned.meta["val"] = factor.meta["val"].permute(order)
                    args.append(turned)
                product = graph.call_function(node.target, tuple(args))
                shape = node.meta["val"].shape
                product.meta["val"] = node.meta["val"].new_empty([*shape[:-2], columns, rows])
                back = graph.call_function(aten.permute.default, (product, order))
                back.meta["val"] = product.meta["val"].permute(order)
            node.replace_all_uses_with(back)
            graph.erase_node(node)
        graph.lint()

    def uuid(self) -> bytes:
        return get_hash_for_files((__file__,))
