"""An update as one compiled graph: when that pays, how it is compiled, and where compiled graphs are kept."""

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from rlgan.optim.compiled.kept import cache_folder
from rlgan.optim.compiled.package import Packaged
from rlgan.optim.tree import tree_leaves

T = TypeVar("T")

GUARDS = ("TENSOR_MATCH", "DUPLICATE_INPUT")
"""What torch.compile looks at before it runs a graph again."""


def keep_graphs() -> None:
    """Have compiled graphs kept in the user's cache directory, unless TORCHINDUCTOR_CACHE_DIR says where.

    torch's own default lies in the directory for temporary files, which is emptied when the machine starts.
    """
    if "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        return
    path = cache_folder("inductor")
    if path is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(path)


def one_graph(function: Callable[..., T], device: torch.device, bfloat16: bool = False) -> Callable[..., T]:
    """One graph for one update; calls check the shapes of its tensors, whether one is given twice, and nothing else.

    On a CPU it is a library of its own (`rlgan.optim.compiled.package`). Elsewhere it is torch.compile's: the players,
    losses and game of an update never change, so guards on them are dropped. Dynamo keeps graphs by code object, a few
    for each: every update gets a code object of its own, so that any number of them can be compiled, and none runs the
    graph of another.

    Args:
        function: of nested tensors, on a CPU to a flat dictionary of tensors.
        device: theirs.
        bfloat16: on a CPU, round the factors of large products to bfloat16 where that is quicker.
    """
    keep_graphs()
    if device.type == "cpu":
        return cast(Callable[..., T], Packaged(cast(Callable[..., dict[str, Tensor]], function), bfloat16))

    def run(*args: Any) -> T:
        return function(*args)

    run.__code__ = run.__code__.replace()
    options: dict[str, Any] = {"guard_filter_fn": lambda guards: [g.guard_type in GUARDS for g in guards]}
    if cuda_graphs(device):
        options["triton.cudagraphs"] = True
    compiled: Callable[..., T] = torch.compile(run, fullgraph=True, dynamic=False, options=options)
    return compiled


def cuda_graphs(device: torch.device) -> bool:
    """Whether a compiled update is recorded as one CUDA graph: on CUDA, unless RLGAN_CUDA_GRAPHS=0."""
    return device.type == "cuda" and os.environ.get("RLGAN_CUDA_GRAPHS", "1") != "0"


def fixed_in_memory(state: Any) -> None:
    """Tell CUDA graphs that the tensors of a tree stay where they are, and may be written: they are not copied."""
    for leaf in tree_leaves(state):
        torch._dynamo.mark_static_address(leaf, guard=False)


def on_device(numbers: list[float] | list[list[float]], device: torch.device) -> Tensor:
    """Numbers as a float64 tensor on the device, without waiting for it."""
    if device.type != "cuda":
        return torch.tensor(numbers, dtype=torch.float64, device=device)
    # From pinned memory the copy is queued; torch keeps that memory until it has been made.
    return torch.tensor(numbers, dtype=torch.float64, pin_memory=True).to(device, non_blocking=True)
