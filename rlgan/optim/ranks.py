"""Ranks: processes that train one run together, each on its own part of every minibatch.

    g = (1/W) sum_k g_k,    g_k the gradient on the part of rank k, W ranks

All parts are of one size and a loss is a mean over samples, so g is the gradient on the joint minibatch, and replicas
that start alike and step by g stay alike to the last bit. The processes are torch.distributed's; nothing here does
anything before `join`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

if dist.is_available():
    # torch.compile imports it, and what it imports once there is a group keeps that group as the default of its
    # arguments; destroy_process_group would not end its threads then, and they may abort the process as it ends.
    import torch.distributed.nn.functional

T = TypeVar("T")


class World(NamedTuple):
    """Which of how many ranks this process is."""

    rank: int = 0
    size: int = 1


class RankLost(RuntimeError):
    """Another rank is gone, or cannot be reached: nothing can be agreed on any more."""


ALONE = World()
_now = [ALONE]
_lost = [""]


def world() -> World:
    """The ranks of the run that this process trains; one of one, unless it has joined others."""
    return _now[0]


def join() -> World:
    """From now on what is built trains together with the other processes of torch.distributed's group.

    Raises:
        ValueError: there is no such group.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise ValueError("world = 1: torch.distributed has no group; start by torchrun, or call init_process_group")
    _operator()
    _now[0] = World(dist.get_rank(), dist.get_world_size())
    return _now[0]


def leave() -> None:
    """From now on what is built trains alone."""
    _now[0] = ALONE


def share(key: str, n: int) -> int:
    """This rank's part of `n` samples, which is the same of every rank.

    Raises:
        ValueError: as ``key = n: what is wrong; remedy``.
    """
    size = world().size
    if n % size:
        below, above = n - n % size, n - n % size + size
        near = f"{key}={above}" if not below else f"{key}={below} or {above}"
        raise ValueError(f"{key} = {n}: cannot be shared out evenly among {size} ranks; use {near}")
    return n // size


def part(n: int) -> int:
    """This rank's part of `n` that need not be even, such as steps that are planned."""
    return -(-n // world().size)


def mean_over_ranks(x: Tensor) -> Tensor:
    """(1/W) sum_k x_k, elementwise, the same bits at every rank; under vmap one call for all.

    Raises:
        RankLost: see there.
    """
    mean: Tensor = _operator()(x)
    return mean


def sum_over_ranks(n: int) -> int:
    """sum_k n_k.

    Raises:
        RankLost: see there.
    """
    if world().size == 1:
        return n
    total = torch.tensor(n)
    reaching(lambda: dist.all_reduce(total))
    return int(total)


def rows_of_ranks(x: Tensor) -> list[Tensor]:
    """x_k (n, ...) of every rank, in their order; n may differ from one to the next.

    Raises:
        RankLost: see there.
    """
    if world().size == 1:
        return [x]
    counts = [torch.zeros((), dtype=torch.int64) for _ in range(world().size)]
    reaching(lambda: dist.all_gather(counts, torch.tensor(len(x))))
    most = max(map(int, counts))
    if not most:
        return [x] * len(counts)
    padded = torch.cat([x, x.new_zeros((most - len(x), *x.shape[1:]))])
    every = [torch.empty_like(padded) for _ in counts]
    reaching(lambda: dist.all_gather(every, padded))
    return [rows[: int(n)] for rows, n in zip(every, counts, strict=True)]


def of_first(value: T) -> T:
    """What rank 0 has here, of plain data.

    Raises:
        RankLost: see there.
    """
    if world().size == 1:
        return value
    box: list[Any] = [value]
    reaching(lambda: dist.broadcast_object_list(box, 0))
    found: T = box[0]
    return found


def reaching(call: Callable[[], Any]) -> Any:
    """Call a collective; what fails in it is that another rank does not answer.

    Raises:
        RankLost: in place of torch.distributed's errors.
    """
    try:
        return call()
    except (RuntimeError, ValueError) as error:  # gloo, NCCL, the store, a time limit
        said = re.sub(r"\[/[^]]*\] *", "", " ".join(str(error).split()))  # where in gloo's source
        _lost[0] = said.partition(". ")[0][:100]
        raise RankLost(f"a rank does not answer any more ({_lost[0]})") from error


def lost() -> str:
    """What a collective failed of; a compiled graph says only that something did. Empty while all answer."""
    return _lost[0]


@functools.cache
def _operator() -> Any:
    """The operator that a compiled graph, vmap and eager play have in common."""

    @torch.library.custom_op("rlgan::mean_over_ranks", mutates_args=())
    def mean(x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        reaching(lambda: dist.all_reduce(total))
        return total.div_(dist.get_world_size())

    @mean.register_fake
    def _(x: Tensor) -> Tensor:
        return torch.empty_like(x, memory_format=torch.contiguous_format)

    @mean.register_vmap
    def _(info: Any, in_dims: tuple[int | None], x: Tensor) -> tuple[Tensor, int | None]:
        (of,) = in_dims
        return mean(x if of is None else x.movedim(of, 0)), None if of is None else 0

    return mean
