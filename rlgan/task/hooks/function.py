"""A network as others use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn


class Function(NamedTuple):
    """What a task has learnt, as somebody uses it: a network in the units of what it is about.

    `rlgan.load` calls it and `rlgan export` writes it.

    Args:
        module: in evaluation mode, (n, ...) of every input -> (n, ...); a copy, which training does not move.
        draw: random rows (n, ...) of every input by its name, in the order of the arguments, from a generator of the
            module's device; for a generator of samples these are its latent vectors.
        result: the name of what comes out.
        about: what it gives of what, in one line.
        read: turns one input as it comes from outside, such as an observation of gymnasium's, into a row of numbers;
            None where it comes as numbers.
    """

    module: nn.Module
    draw: Callable[[int, torch.Generator], Mapping[str, torch.Tensor]]
    result: str
    about: str
    read: Callable[[Any], NDArray[Any]] | None = None
