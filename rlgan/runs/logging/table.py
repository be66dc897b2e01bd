"""The same numbers as a table: RUN/metrics.csv."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlgan.runs.record.files import open_lines, write_atomically
from rlgan.task.sink import Opening, Sink


class CSV(Sink):
    """Write RUN/metrics.csv: a row for every line of metrics.jsonl, a column for every tag, blank where it lacks it.

    Columns stay where they are: a tag that comes later gets the next one at the right, for which the file is written
    anew. A run that goes on makes the file from metrics.jsonl, so that both have the same rows.
    """

    what = "metrics.csv"

    def open(self, run: Opening) -> None:
        self._path = run.path / "metrics.csv"
        self._rows: list[dict[str, Any]] = [dict(row) for row in run.rows()]
        self._columns = list(dict.fromkeys(["step", *(tag for row in self._rows for tag in row)]))
        self._anew()

    def _anew(self) -> None:
        write_atomically(self._path, self._text([dict(zip(self._columns, self._columns, strict=True)), *self._rows]))
        self._file = open_lines(self._path)

    def _text(self, rows: Iterable[Mapping[str, Any]]) -> bytes:
        stream = io.StringIO()
        csv.DictWriter(stream, self._columns, lineterminator="\n").writerows(rows)
        return stream.getvalue().encode()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        row = {"step": step, **values}
        self._rows.append(row)
        if new := [tag for tag in row if tag not in self._columns]:
            self._columns += new
            self._file.close()
            self._anew()
        else:
            self._file.write(self._text([row]))

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def move(self, path: Path) -> None:
        self._path = path / self._path.name

    def close(self) -> None:
        self._file.close()
