"""Tasks whose minibatches do not depend on what was learnt: many of them draw into one memory and move as one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from rlgan.task.task import Asked, Stackable, Together, attempt


class Drawing(Stackable):
    """A task that draws its minibatches by itself. A batch is a named tuple of tensors; `play` asks for `learn`."""

    @abstractmethod
    def memory(self, rows: tuple[int, ...]) -> Any:
        """Memory for a minibatch, or for so many `rows` of them."""

    @abstractmethod
    def batches(self, into: Sequence[Any] | None = None) -> list[Any]:
        """The minibatches of the next move, in memory that the next call overwrites unless it is given some."""

    def learn(self, watch: bool) -> Any:
        """Draw the minibatches of a move, and make it; see `move`."""
        return self.move(self.batches(), watch)

    @classmethod
    def together(cls, tasks: Sequence[Any]) -> Together[Any]:
        return DrawnTogether(tasks)


D = TypeVar("D", bound=Drawing)


class DrawnTogether(Together[D]):
    """Several of them: each draws from its own streams into one memory, and their updates are made as one."""

    order = ("learn", "evaluate")

    def __init__(self, tasks: Sequence[D]) -> None:
        super().__init__(tasks)
        first, seeds = self.tasks[0], range(len(self.tasks))
        self._drawn = [first.memory((len(seeds),)) for _ in range(first.learner.update.batches)]
        self._rows = [[type(batch)(*(leaf[k] for leaf in batch)) for batch in self._drawn] for k in seeds]

    def learn(self, asked: Asked) -> Sequence[Any]:
        """`Drawing.learn` of many."""
        if not self.stack.pays:
            return self.move_drawn(asked)
        failed = {
            k: error
            for k, (task, own) in enumerate(zip(self.tasks, asked, strict=True))
            if own is not None and isinstance(error := attempt(task.batches, self._rows[k]), Exception)
        }
        here = [own is not None and k not in failed for k, own in enumerate(asked)]
        if not any(here):
            return [failed.get(k) for k in range(len(here))]
        watch = [bool(own and own[0]) for own in asked]
        moved = self.timed(lambda: self.stack.move(self._drawn, here, watch), self._rows[0])
        return [failed.get(k, report) for k, report in enumerate(moved)]

    def move_drawn(self, asked: Asked) -> Sequence[Any]:
        """The same by `move`."""
        drawn = [None if own is None else attempt(task.batches) for task, own in zip(self.tasks, asked, strict=True)]
        moved = self.move(
            [
                None if own is None or isinstance(batches, Exception) else (batches, *own)
                for own, batches in zip(asked, drawn, strict=True)
            ]
        )
        return [own if isinstance(own, Exception) else report for own, report in zip(drawn, moved, strict=True)]
