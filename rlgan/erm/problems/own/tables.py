"""A table of numbers in a text file, and one of names and labels."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlgan.reading.shown import said

SUFFIXES = (".csv", ".tsv", ".txt", ".data")
_SEPARATORS = ("\t", ";", ",")


def lines(path: Path) -> list[tuple[int, list[str]]]:
    """The cells of every line that is not empty, with its number from 1 on; separated by tabs, semicolons or commas.

    Raises:
        ValueError: the file is missing, empty or no text; naming it.
    """
    name = f"path = {said(path)}"
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: is no text in UTF-8 (byte {error.start}); save it again as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{name}: cannot be read ({error.strerror}); give a table of numbers") from error
    first = text.lstrip().split("\n", 1)[0]
    separator = next((s for s in _SEPARATORS if s in first), ",")
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=True)
    try:
        found = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise ValueError(f"{name}: line {reader.line_num} cannot be read ({error}); save the table again") from error
    if not found:
        raise ValueError(f"{name}: the file is empty; give a table of numbers")
    return found


def number(cell: str) -> float | None:
    """The finite number in a cell; None where there is none (1_000 is one in Python, and in no table)."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def column(cells: list[str]) -> NDArray[Any]:
    """Labels: whole numbers, other numbers, or words; whole numbers beyond 64 bits are names, and so words."""
    kinds: tuple[tuple[type, str], ...] = ((int, "iu"), (float, "f"))
    for kind, dtypes in kinds if not any("_" in cell for cell in cells) else ():
        try:
            found = np.asarray([kind(cell) for cell in cells])
        except ValueError:
            continue
        return found if found.dtype.kind in dtypes else np.asarray(cells)
    return np.asarray(cells)


def table(path: Path, y: str | None, columns: tuple[str, ...] | None) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Inputs ``(n, d)`` and labels ``(n,)`` of a table of numbers, with or without a header.

    Args:
        path: of the file.
        y: name of the column of labels; None: the last one.
        columns: names of the columns of inputs; None: all others.

    Raises:
        ValueError: there is no such column, a line of another length, a cell that is no number; naming line and column.
    """
    name, found = f"path = {said(path)}", lines(path)
    first = found[0][1]
    headed = y in first or all(number(cell) is None for cell in first)
    if not headed and (y is not None or columns is not None):
        what = f"y = {y}" if y is not None else f"columns = {list(columns or ())}"
        raise ValueError(f"{what}: {said(path.name)} has no line of names at its head; leave it out, or add the line")
    header = first if headed else [str(i + 1) for i in range(len(first))]
    if len(set(header)) < len(header):
        twice = next(cell for cell in header if header.count(cell) > 1)
        raise ValueError(f"{name}: two columns have the name {said(twice)}; rename one")
    for what, wanted in (("y", [y] if y is not None else []), ("columns", list(columns or ()))):
        for one in wanted:
            if one not in header:
                raise ValueError(f"{what} = {said(one)}: {said(path.name)} has {', '.join(header)}; choose of these")
    at = header.index(y) if y is not None else len(header) - 1
    inputs = [i for i in range(len(header)) if i != at and (columns is None or header[i] in columns)]
    rows = found[1:] if headed else found
    if not rows or not inputs:
        lacking = "no line of numbers" if not rows else f"no column besides the labels in its line {found[0][0]}"
        raise ValueError(
            f"{name}: has {lacking}; give inputs and a label in each line, separated by tabs, semicolons or commas"
        )
    own = [cells[at] for _, cells in rows if len(cells) == len(header)]
    if not headed and len(own) > 1 and number(own[0]) is None and all(number(cell) is not None for cell in own[1:]):
        raise ValueError(
            f"{name}: line {found[0][0]} has the label {said(own[0])} where all others are numbers; if it is a line of "
            f"names, say which column holds the labels, problem.y={said(own[0])}; if not, mend the label"
        )
    x = np.empty((len(rows), len(inputs)))
    for k, (line, cells) in enumerate(rows):
        if len(cells) != len(header):
            raise ValueError(f"{name}: line {line} has {len(cells)} cells and the first {len(header)}; mend it")
        for j, i in enumerate(inputs):
            if (value := number(cells[i])) is None:
                cell = said(cells[i]) or "nothing"
                raise ValueError(
                    f"{name}: line {line}, column {said(header[i])} holds {cell}, which is no number; replace it, or "
                    "leave the line or the column out"
                )
            x[k, j] = value
        if not cells[at]:
            raise ValueError(f"{name}: line {line} has no label in column {said(header[at])}; leave it out")
    return x, column([cells[at] for _, cells in rows])


def named_labels(path: Path) -> dict[str, str]:
    """Labels by the name of a file: a JSON object, or a table of two columns with or without a header.

    Raises:
        ValueError: it is neither; naming it.
    """
    name = f"labels = {said(path)}"
    if path.suffix.lower() != ".json":
        try:
            found = lines(path)
        except ValueError as error:
            said_here = str(error).replace("path =", "labels =", 1).replace("a table of numbers", "names and classes")
            raise ValueError(said_here) from error
        odd = next((line for line, cells in found if len(cells) != 2), None)
        if odd is not None:
            raise ValueError(f"{name}: line {odd} is not a file's name and a label; give two columns")
        told: dict[str, str] = {}
        for line, (key, label) in found:
            if told.setdefault(key, label) != label:
                raise ValueError(
                    f"{name}: line {line} says that {said(key)} is {said(label)}, and a line above {said(told[key])}; "
                    "remove one of them"
                )
        return told
    try:
        labels = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{name}: cannot be read ({error.strerror}); give a table or JSON") from error
    except ValueError as error:
        raise ValueError(f"{name}: is no JSON ({error}); give an object of names and labels") from error
    if not isinstance(labels, dict) or not all(isinstance(label, str | int) for label in labels.values()):
        raise ValueError(f'{name}: is no object of names and labels; give {{"a.png": "cat", ...}}')
    return {key: str(label) for key, label in labels.items()}
