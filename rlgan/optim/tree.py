"""Nested containers of tensors: minibatches, players' states, what an optimizer saves."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor


def tree_map(leaf: Callable[..., Any], *trees: Any) -> Any:
    """`leaf` of the corresponding leaves of `trees`, in a tree of the structure of the first.

    Dictionaries, lists, tuples and named tuples are walked through; all else is a leaf. (torch.utils._pytree takes
    ten times as long for the minibatches of 16 seeds, and is no public name.)
    """
    first = trees[0]
    if isinstance(first, Tensor):
        return leaf(*trees)
    if isinstance(first, dict):
        return {key: tree_map(leaf, *[tree[key] for tree in trees]) for key in first}
    if isinstance(first, list | tuple):
        parts = [tree_map(leaf, *own) for own in zip(*trees, strict=True)]
        return type(first)(parts) if type(first) in (list, tuple) else type(first)(*parts)
    return leaf(*trees)


def tree_leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tree."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from tree_leaves(part)
