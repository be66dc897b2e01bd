"""Replays of many seeds in one memory: one write for the steps of all, one gather for the minibatches of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rlgan.rl.border.rows import Step
from rlgan.rl.replay.uniform import ReplayStore, Transition, untouched, write


class ReplayStack:
    """S uniform replays, each of which becomes a part (k, :, :) of one tensor (S, capacity, W) and stays what it is.

    Args:
        parts: of one layout.
        num_envs: n, environments that each is filled from.
        batch_size: B, of every minibatch.
        batches: minibatches of a move.
    """

    def __init__(self, parts: Sequence[ReplayStore], num_envs: int, batch_size: int, batches: int) -> None:
        self.parts = list(parts)
        first = parts[0]
        rows = untouched((len(parts), first.capacity, first.width), first.rows.dtype, first.rows.device)
        for own, part in zip(rows, parts, strict=True):
            part.rehome(own)
        self._flat = rows.view(-1, first.width)
        self._starts = np.arange(len(parts)) * first.capacity
        self._packed = torch.zeros((len(parts) * num_envs, first.width), dtype=rows.dtype)
        self._columns = first.columns_of(self._packed.numpy())
        self._batch_size = batch_size
        self._index = torch.zeros((batches, len(parts), batch_size), dtype=torch.int64, device=rows.device)
        self._at = torch.from_numpy(self._starts)[:, None].to(rows.device)
        self._rows = rows.new_empty((batches, len(parts), batch_size, first.width))
        self._batches = [self._spread(first.split(own)) for own in self._rows]

    @staticmethod
    def possible(part: ReplayStore) -> bool:
        """Whether a replay is written and drawn from as this one is."""
        return type(part) is ReplayStore

    def _spread(self, batch: Transition) -> Transition:
        """What has nothing to say for one seed has nothing to say for each."""
        return batch._replace(
            **{name: leaf.expand(len(self.parts)).clone() for name, leaf in batch._asdict().items() if not leaf.ndim}
        )

    def add(self, step: Step) -> list[int]:
        """Append to each replay the valid ones of its rows of `step`, (S * n, ...); how many those are."""
        write(step, self._columns, slice(None))
        parts, capacity = self.parts, self.parts[0].capacity
        if len(step.valid) == len(parts) and np.count_nonzero(step.valid) == len(parts):  # one transition each
            where = self._starts + [part.next for part in parts]
            counts, rows = [1] * len(parts), self._packed
        else:
            valid = step.valid.reshape(len(parts), -1)
            many = valid.sum(1)
            ahead = (valid.cumsum(1) - 1)[valid]
            where = np.repeat(self._starts, many) + (np.repeat([part.next for part in parts], many) + ahead) % capacity
            counts, rows = many.tolist(), self._packed[torch.from_numpy(step.valid)]
        self._flat.index_copy_(0, torch.from_numpy(where).to(self._flat.device), rows.to(self._flat.device))
        for part, count in zip(parts, counts, strict=True):
            part.advance(count)
        return counts

    def sample(self, generators: Sequence[torch.Generator | None]) -> list[Transition]:
        """The minibatches of a move, each (S, B, ...), in memory that the next call overwrites.

        Args:
            generators: of each replay; a replay without draws nothing, and its rows are what they were.
        """
        for part, generator in zip(self.parts, generators, strict=True):
            if generator is not None:
                part.check_filled(self._batch_size)
        for index, rows in zip(self._index, self._rows, strict=True):
            for part, generator, own in zip(self.parts, generators, index, strict=True):
                if generator is not None:
                    torch.randint(len(part), (self._batch_size,), generator=generator, out=own)
            torch.index_select(self._flat, 0, (index + self._at).view(-1), out=rows.view(-1, rows.shape[-1]))
        return self._batches
