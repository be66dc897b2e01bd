"""State that grows by rows: what a save has to know to write only the new ones."""

from typing import Any


class Ring(dict[str, Any]):
    """The state of a ring of rows, of which a checkpoint writes only the rows that were added since the one before.

    An ordinary state besides, and read back as a plain dict. Row i of all that were ever added (0, 1, ...) lies in
    `rows[i % capacity]`, and is not changed until row i + capacity takes its place: what changes otherwise belongs to
    other keys.

    Args:
        capacity: rows that the ring can hold.
        added: rows ever added.
        rows: (min(added, capacity), W), any dtype and device; may be live.
        more: whatever else the state has.
    """

    def __init__(self, *, capacity: int, added: int, rows: Any, **more: Any) -> None:
        super().__init__(capacity=capacity, added=added, rows=rows, **more)
