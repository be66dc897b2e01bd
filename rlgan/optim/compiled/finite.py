"""Whether the moves of a compiled or stacked update were finite: a flag that stays on the device and is read seldom."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from rlgan.optim.compiled.graph import on_device
from rlgan.optim.errors import NonFinite, beyond
from rlgan.optim.step.types import Metrics, Report

CUDA_EVERY = 64
"""Moves between two looks at the flag on a device that a look has to wait for."""
BETWEEN = "\n"
"""Between two tags of `reported`."""
LARGE = 1.8e19
"""The norm from which on squares are beyond single precision."""
Failed: TypeAlias = dict[int, tuple[NonFinite, int]]
"""For each seed that has failed the error, and how many of the moves counted for it were not made."""


class FiniteFlags:
    """One flag per seed: whether everything so far was finite. A seed whose flag has fallen makes no move any more.

    Looked at every move (`every` = 1), metrics and flag are read at once, and a failed seed may try again. Otherwise
    the flag goes back into the next move, which is gated by it, and the metrics of a failed move are kept until
    somebody looks: then the error is that of the move that failed, and all that has been counted since is taken back.

    Args:
        seeds: S.
        device: of the players.
        every: moves from one look to the next; None is 1 on the CPU and 64 on CUDA.

    Raises:
        ValueError: if `every` is below 1.
    """

    def __init__(self, seeds: int, device: torch.device, every: int | None = None) -> None:
        self.every = (CUDA_EVERY if device.type == "cuda" else 1) if every is None else every
        if self.every < 1:
            raise ValueError(f"check_every = {every}: moves from one look at the flag to the next, at least 1")
        self._device = device
        self._all = torch.ones(seeds, dtype=torch.bool, device=device)
        self.reset()

    def reset(self) -> None:
        """Every seed moves."""
        self._alive, self._asked = self._all, self._all
        self._made = torch.zeros_like(self._all, dtype=torch.int64)
        self._table: Tensor | None = None
        self._tags: tuple[str, ...] = ()
        self._counted = [0] * len(self._all)
        self._since = 0

    def active(self, given: Sequence[bool]) -> Tensor:
        """Which seeds make the next move (S,): those that are given a minibatch, and have not failed."""
        self._asked = self._all if all(given) else on_device([float(g) for g in given], self._device) > 0
        return self._alive if self._asked is self._all else self._alive & self._asked

    def settle(self, metrics: Mapping[str, Tensor], given: Sequence[bool], look: bool) -> tuple[list[Report], Failed]:
        """Every seed's metrics of the move that `active` was asked for; and who has failed, where it is looked.

        Args:
            metrics: as `reported`, (S, tags), or (tags,) if there is one seed.
            given: as in `active`.
            look: look now, whatever `every` says.
        """
        ((words, table),) = metrics.items()
        tags = tuple(words.split(BETWEEN))[:-1]
        table = table.reshape(-1, len(tags) + 1)
        if self.every == 1:
            rows = table.tolist()
            failed = {k: (_error(tags, row), 1) for k, row in enumerate(rows) if given[k] and not row[-1]}
            return [dict(zip(tags, row, strict=False)) for row in rows], failed
        asked = self._asked & self._alive
        made = table[:, -1] > 0
        # A new tensor in any case: what a CUDA graph returns is overwritten by its next run.
        self._table = table.clone() if self._table is None else torch.where(asked[:, None], table, self._table)
        self._alive = torch.where(asked, made, self._alive)
        self._made = self._made + made
        self._tags = tags
        self._counted = [n + g for n, g in zip(self._counted, given, strict=True)]
        self._since += 1
        reports: list[Report] = [dict(zip(tags, row.unbind(), strict=False)) for row in self._table.unbind()]
        return reports, self.look() if look or self._since >= self.every else {}

    def look(self) -> Failed:
        """Who has failed since the last look, and a fresh start for all."""
        if not self._since:
            return {}
        assert self._table is not None
        alive, made, rows = self._alive.tolist(), self._made.tolist(), self._table.tolist()
        failed = {
            k: (_error(self._tags, rows[k]), self._counted[k] - made[k]) for k, well in enumerate(alive) if not well
        }
        self.reset()
        return failed


def _error(tags: Sequence[str], row: Sequence[float]) -> NonFinite:
    bad = ", ".join(f"{tag} = {value:.4g}" for tag, value in zip(tags, row, strict=False))
    values = dict(zip(tags, row, strict=False))
    if all(map(math.isfinite, values.values())):
        large = [f"{tag} = {v:.4g}" for tag, v in values.items() if tag.endswith("grad_norm") and v > LARGE]
        if large:
            return NonFinite(beyond(", ".join(large)))
    return NonFinite(f"a loss or gradient is not finite ({bad})")


def reported(metrics: Report, finite: Tensor) -> Metrics:
    """What a move on vectors returns: its metrics (), detached, and after them whether it was made.

    All as one float64 tensor (tags,), to be read at once, under its tags, one a line.
    """
    values = [
        v.detach().double().reshape(()) if isinstance(v, Tensor) else torch.full_like(finite, v, dtype=torch.float64)
        for v in (*metrics.values(), finite)
    ]
    return {BETWEEN.join((*metrics, "finite")): torch.stack(values)}
