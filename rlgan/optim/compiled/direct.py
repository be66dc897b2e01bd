"""Calls of a compiled function that go straight to its graph."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

Key = tuple[Any, ...]
PLAIN = (type(None), bool, str)
Call = tuple[Any, list[Tensor], Any]
"""A graph, its inputs, what it returned."""
SEQUENCES = (list, tuple)


class Route(NamedTuple):
    """From a call's arguments to its result."""

    graph: Callable[[list[Tensor]], Any]
    inputs: list[int]
    """Where the graph's inputs are among the leaves of the arguments."""
    outputs: dict[str, int]
    """Where the values of the result are among those that the graph returns."""


UNKNOWN: Any = object()


class Direct:
    """A compiled function of nested tensors, called without what its compiler puts around the graph.

    To look for the graph, to check guards, to set contexts and to wrap results takes torch.compile as long as the
    arithmetic of a small update. So the first call with arguments of some structure, shapes, strides and types is an
    ordinary one, of which it is noted where the graph's inputs came from and where its outputs went; from the second on
    they are handed over directly. Where that is not plain (a tensor given twice, or beside a view of it; gradients; an
    input or output of the graph that is not one of those given or returned; anything but a flat dictionary returned)
    every call is an ordinary one.

    A tensor that is the same object as in the last call is taken to have its shape, strides and type still.

    What the function does to tensors that it is given happens in the graph; what it would do to other objects, and
    modes such as autocast, are as in the first call.

    Args:
        compiled: by torch.compile with Inductor, for the CPU.
    """

    def __init__(self, compiled: Callable[..., Any]) -> None:
        self._compiled = compiled
        self._routes: dict[Key, Route | None] = {}
        self._last: list[Any] = []
        self._parts: list[Any] = []

    def __call__(self, *args: Any) -> Any:
        given: list[Any] = []
        if not flatten(args, given):
            return self._compiled(*args)
        if not self._like_last(given):
            self._parts = [part(x) for x in given]
            self._route = self._routes.get(key := tuple(self._parts), UNKNOWN)
            if self._route is UNKNOWN:
                self._last = []
                return self._first(key, given, args)
        self._last = given
        route = self._route
        if route is None:
            return self._compiled(*args)
        with torch.no_grad():
            values = route.graph([given[k] for k in route.inputs])
        return {name: values[k] for name, k in route.outputs.items()}

    def _like_last(self, given: list[Any]) -> bool:
        """Whether a call is of the last one's kind; of leaves that are the same objects it need not be asked."""
        if len(given) != len(self._last):
            return False
        leaves = zip(given, self._last, self._parts, strict=True)
        return all(x is last or part(x) == own for x, last, own in leaves)

    def _first(self, key: Key, given: list[Any], args: tuple[Any, ...]) -> Any:
        from torch._inductor.loop_body import LoopBody
        from torch._inductor.output_code import CompiledFxGraph

        calls: list[Call] = []
        ordinary = CompiledFxGraph.__call__

        def noted(graph: CompiledFxGraph, inputs: Any) -> Any:
            kept = list(inputs)  # the graph empties the list that it is given
            values = ordinary(graph, inputs)
            calls.append((graph, kept, values))
            return values

        with patch.object(CompiledFxGraph, "__call__", noted), patch.object(LoopBody, "get_read_expr", read_expr):
            result = self._compiled(*args)
        self._routes[key] = route_of(calls, given, result)
        return result


def read_expr(body: Any, buffer: str) -> Any:
    """Where a loop reads a buffer; None where it only has to run after it.

    Where the compiler asks whether a buffer is read as it was written (`try_outer_loop_fusion_with_local_buf`), it asks
    loops as well that come after the buffer for another reason, and its own function raises a KeyError
    (https://github.com/pytorch/pytorch/issues/196570).
    """
    from torch._inductor.loop_body import MemoryUsageType

    read = [entry for entry in body.memory_usage[MemoryUsageType.LOAD] if entry.buffer_name == buffer]
    return body.indexing_exprs[read[-1].index_name] if read else None


def part(leaf: Any) -> Key:
    """A leaf's part of the key."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device, leaf.requires_grad
    return type(leaf), leaf


def flatten(tree: Any, leaves: list[Any]) -> bool:
    """Append the leaves of nested dictionaries, lists and tuples, before them what holds them.

    Returns:
        Whether all leaves are tensors, None, booleans or strings; what another object holds is not known.
    """
    if isinstance(tree, dict):
        leaves.extend((len(tree), *tree))
        tree = tree.values()
    elif isinstance(tree, SEQUENCES):
        leaves.append(len(tree))
    else:
        leaves.append(tree)
        return isinstance(tree, PLAIN)
    for value in tree:
        if isinstance(value, Tensor):
            leaves.append(value)
        elif not flatten(value, leaves):
            return False
    return True


def route_of(calls: list[Call], given: list[Any], result: Any) -> Route | None:
    """How the graph's inputs are among what was given, and the result among its outputs; None where it is not plain."""
    if len(calls) != 1 or not isinstance(result, Mapping):
        return None
    ((graph, inputs, values),) = calls
    tensors = [k for k, leaf in enumerate(given) if isinstance(leaf, Tensor)]
    source = {id(given[k]): k for k in tensors}
    output = {id(value): k for k, value in enumerate(values)}
    plain = (
        len(source) == len(tensors)
        and all(id(x) in source for x in inputs)
        # Of an output that is not returned the compiler makes something else: it is written to an object, for example.
        and {id(x) for x in result.values()} == set(output)
        and not any(x.requires_grad for x in (*inputs, *result.values()))
        # Of a tensor and its view the graph gets the one and makes the other of it.
        and not any(id(given[k]._base) in source for k in tensors if given[k]._base is not None)
    )
    if not plain or graph.current_callable is None:
        return None
    return Route(
        graph.current_callable, [source[id(x)] for x in inputs], {name: output[id(x)] for name, x in result.items()}
    )
