"""The page of a study: one HTML file that needs nothing else, neither scripts nor the network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from rlgan.runs.record.directory import short_path
from rlgan.runs.study.groups import Section, command_of
from rlgan.runs.study.scores import states
from rlgan.runs.study.tables import Row, shown

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #333; background: #fff; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem } figure { margin: .8rem 0 } img { max-width: 100% }
figcaption, .small { color: #666; font-size: .85rem } code { font-size: .85em; overflow-wrap: anywhere }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; margin: .6rem 0 }
th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #e5e5e5; vertical-align: top }
th { color: #666; font-weight: 600 } td.number { font-variant-numeric: tabular-nums }
summary { cursor: pointer; margin: .6rem 0 } nav a { margin-right: 1rem }
"""
# Nothing is loaded, whatever a run's own words say.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass
class Drawing:
    """A figure on the page.

    Args:
        name: of its file, without ending.
        png: its content.
        caption: how to read it, in plain words.
    """

    name: str
    png: bytes
    caption: str


@dataclass
class Chapter:
    """A section of runs on the page.

    Args:
        section: the runs.
        tables: rows below their headings.
        drawings: figures.
    """

    section: Section
    tables: dict[str, Sequence[Row]]
    drawings: list[Drawing] = field(default_factory=list)


def page(title: str, command: str, when: str, chapters: Sequence[Chapter], passed_over: Sequence[str]) -> str:
    """Write the page.

    Args:
        title: what is compared.
        command: that made it.
        when: it was made.
        chapters: a section each.
        passed_over: runs that could not be read, or lack a value, a line each.
    """
    runs = [run for chapter in chapters for run in chapter.section.runs]
    counted = ", ".join(f"{number} {state}" for state, number in states(runs).items())
    links = "".join(f'<a href="#s{i}">{escape(c.section.title)}</a>' for i, c in enumerate(chapters))
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="small">{escape(when)} · {len(runs)} runs: {counted} · made by <code>{escape(command)}</code></p>',
        f"<nav>{links}</nav>" if len(chapters) > 1 else "",
    ]
    if passed_over:
        parts.append(_list("What does not count, or not as it should:", passed_over))
    for i, chapter in enumerate(chapters):
        parts += _chapter(f"s{i}", chapter)
    body = "\n".join(filter(None, parts))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n'
        "</body>\n</html>\n"
    )


def _chapter(anchor: str, chapter: Chapter) -> list[str]:
    section = chapter.section
    parts = [f'<h2 id="{anchor}">{escape(section.title)}</h2>']
    for title, made in chapter.tables.items():
        parts += [f"<h3>{escape(title)}</h3>", _table(shown(made))]
    for drawing in chapter.drawings:
        data = base64.b64encode(drawing.png).decode()
        parts.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="{escape(drawing.caption)}" '
            f'width="{_width(drawing.png)}"><figcaption>{escape(drawing.caption)}</figcaption></figure>'
        )
    if section.differing:
        cells = [
            {"group": group.label, **{key: values[i] for key, values in section.differing.items()}}
            for i, group in enumerate(section.groups)
        ]
        parts.append(f"<details><summary>What else differs between the groups</summary>{_table(cells)}</details>")
    commands = [{"group": group.label, "command": f"`{command_of(group.runs[0])}`"} for group in section.groups]
    parts.append(f"<details><summary>The commands</summary>{_table(commands)}</details>")
    each = [
        {
            "run": short_path(run.path),
            "group": group.label,
            "seed": str(run.seed),
            "state": f"{run.state}: {run.reason}" if run.reason else run.state,
            "step": str(run.step),
        }
        for group in section.groups
        for run in group.runs
    ]
    parts.append(f"<details><summary>The {len(each)} runs</summary>{_table(each)}</details>")
    if section.repeats:
        names = [short_path(run.path) for run in section.repeats]
        parts.append(_list("Not counted, as another run has the same configuration and seed:", names))
    return parts


def _table(cells: Sequence[Mapping[str, str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in cells[0])
    body = "".join("<tr>" + "".join(map(_cell, row.values())) + "</tr>" for row in cells)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: str) -> str:
    if value.startswith("`"):
        return f"<td><code>{escape(value.strip('`'))}</code></td>"
    return f'<td class="number">{escape(value)}</td>'


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li><code>{escape(line)}</code></li>" for line in lines)
    return f'<p>{escape(title)}</p><ul class="small">{items}</ul>'


def _width(png: bytes) -> int:
    """Pixels on the page; a figure has more of them, for fine screens."""
    return int.from_bytes(png[16:20]) * 3 // 4
