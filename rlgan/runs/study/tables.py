"""The table of a study: a row a group, in Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlgan.runs.record.directory import short_path
from rlgan.runs.study.groups import Group, Section, command_of
from rlgan.runs.study.reading import Record
from rlgan.runs.study.scores import STATISTICS, Score, score, states


@dataclass(frozen=True)
class Row:
    """A group's scores of one metric."""

    section: Section
    group: Group
    tag: str
    direction: str
    score: Score

    def cells(self) -> dict[str, str]:
        """What a reader sees: what makes the group, how many runs, IQM with its interval, mean, median, extremes."""
        cells = dict(self.group.values)
        counted = states(self.group.runs)
        others = [f"{number} {state}" for state, number in counted.items() if state != "finished"]
        cells["n"] = str(self.score.n)
        cells["not finished"] = ", ".join(others)
        if not self.score.n:
            return {**cells, **dict.fromkeys((*STATISTICS, "95 % of the IQM", "least", "largest"), "")}
        cells["IQM"] = number(self.score.points["IQM"])
        interval = self.score.intervals.get("IQM")
        cells["95 % of the IQM"] = "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"
        cells |= {name: number(self.score.points[name]) for name in ("mean", "median")}
        values = self.score.values
        cells |= {"least": number(values.min()), "largest": number(values.max())}
        if self.score.step is not None:
            cells["not finished"] += f"; at step {self.score.step}"
        return cells

    def record(self) -> dict[str, Any]:
        """The same for CSV, in full, with the command."""
        found: dict[str, Any] = {"section": self.section.title, "metric": self.tag, "better": self.direction}
        found |= {"group": self.group.label, **self.group.values, "runs": len(self.group.runs)}
        counted = states(self.group.runs)
        found |= {state: counted.get(state, 0) for state in ("finished", "running", "interrupted", "failed", "killed")}
        found["n"] = self.score.n
        if self.score.n:
            for name in STATISTICS:
                found[name] = self.score.points[name]
                low, high = self.score.intervals.get(name) or ("", "")
                found |= {f"{name}_low": low, f"{name}_high": high}
            found |= {"min": self.score.values.min(), "max": self.score.values.max()}
        return {**found, "command": command_of(self.group.runs[0])}


def rows(section: Section, tag: str, direction: str) -> list[Row]:
    """A section's groups: the best IQM first, groups of which no run has finished behind the others.

    In their own order where it is not known what is better.
    """
    made = [Row(section, group, tag, direction, score(group, tag)) for group in section.groups]
    sign = {"max": -1, "min": 1}.get(direction, 0)

    def place(row: Row) -> tuple[int, float]:
        if not row.score.n:
            return 2, 0.0
        return int(row.score.step is not None), sign * row.score.points["IQM"]

    return sorted(made, key=place) if sign else made


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def heading(tag: str, direction: str) -> str:
    """A metric with what is better of it."""
    return tag + {"max": " (more is better)", "min": " (less is better)"}.get(direction, "")


def markdown(tables: Mapping[str, Sequence[Row]]) -> str:
    """The tables below their headings, in columns that are aligned for a terminal too."""
    blocks = []
    for title, made in tables.items():
        cells = shown(made)
        head = list(cells[0])
        widths = [max(len(name), *(len(row[name]) for row in cells)) for name in head]
        lines = [head, ["-" * width for width in widths], *([row[name] for name in head] for row in cells)]
        body = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
        blocks.append("\n".join([f"**{title}**", "", *body]))
    return "\n\n".join(blocks) + "\n"


def shown(made: Sequence[Row]) -> list[dict[str, str]]:
    """The cells of rows, without columns in which nothing stands; of single runs there is one value."""
    cells = [{key: value.replace("|", "/") for key, value in row.cells().items()} for row in made]
    keys = [key for key in cells[0] if any(row[key] for row in cells)]
    if not made[0].group.values:
        cells, keys = [{"runs": row.group.label, **c} for row, c in zip(made, cells, strict=True)], ["runs", *keys]
    if all(row.score.n < 2 for row in made):
        keys = [key for key in keys if key not in ("mean", "median", "least", "largest")]
    names = {"IQM": "value"} if "mean" not in keys else {}
    return [{names.get(key, key): row[key] for key in keys} for row in cells]


def as_csv(tables: Mapping[str, Sequence[Row]]) -> str:
    """All rows of all tables."""
    return _csv([row.record() for made in tables.values() for row in made])


def runs_csv(sections: Sequence[Section], tags: Sequence[str]) -> str:
    """A row a run, with its last values."""
    made = []
    for section in sections:
        for group in section.groups:
            made += [_run(section, group, run, tags) for run in group.runs]
    return _csv(made)


def _run(section: Section, group: Group, run: Record, tags: Sequence[str]) -> dict[str, Any]:
    last = {tag: run.curves[tag].values[-1] for tag in tags if tag in run.curves}
    return {
        "run": short_path(run.path),
        "section": section.title,
        "group": group.label,
        **group.values,
        "seed": run.seed,
        "state": run.state,
        "step": run.step,
        **last,
    }


def _csv(records: Sequence[Mapping[str, Any]]) -> str:
    names = dict.fromkeys(name for record in records for name in record)
    # What makes a group and what is measured differ from section to section; the command stays last.
    order = [name for name in names if name != "command"] + ["command"] * ("command" in names)
    out = io.StringIO()
    writer = csv.DictWriter(out, order, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()
