"""The page of the lectures: one HTML file that holds its pictures, needs no script, and can be printed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

CREDITS = (
    "Volkan Cevher, <cite>Mathematics of Data: From Theory to Computation</cite> (EE-556, EPFL): Lecture 7, "
    "Optimization for Deep Learning, Fall 2019, and Lecture 9, Deep Learning III, Fall 2020. Creative Commons "
    "Attribution, Non-Commercial, Share Alike.",
    "Shubhendu Trivedi and Risi Kondor, <cite>CMSC 35246: Deep Learning</cite> (University of Chicago): Lecture 6, "
    "Optimization for Deep Neural Networks, 2017.",
)

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #26292c; --soft: #666c72; --line: #e3e3de; --code: #f3f3ee;
  --link: #1f6f8b; --seen: #2b7a4b; --not: #a65e00; --failed: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #17191b; --ink: #dcdedf; --soft: #969ca2; --line: #2f3337;
  --code: #212427; --link: #6fb7d2; --seen: #6cc08b; --not: #e0a458; --failed: #f0857c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.6 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 50rem; margin: 0 auto; padding: 3.5rem 1.25rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; font-weight: 600; letter-spacing: -.015em; margin: 0 0 .6rem; }
h2 { font-size: 1.35rem; line-height: 1.3; font-weight: 600; letter-spacing: -.01em; margin: 0; }
h2 .number { color: var(--soft); font-weight: 400; margin-right: .45em; font-variant-numeric: tabular-nums; }
p { margin: .7rem 0; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
.lead, .small { color: var(--soft); }
.small { font-size: .85rem; line-height: 1.5; }
nav { margin: 2rem 0 1rem; border-top: 1px solid var(--line); }
nav ol { list-style: none; margin: 0; padding: 0; }
nav li { display: flex; gap: .8rem; align-items: baseline; padding: .38rem 0; border-bottom: 1px solid var(--line); }
nav .number { color: var(--soft); width: 1.7em; text-align: right; font-variant-numeric: tabular-nums; flex: none; }
nav .title { flex: 1; min-width: 0; color: inherit; }
.verdict { font-size: .85rem; white-space: nowrap; color: var(--soft); }
.verdict.seen { color: var(--seen); } .verdict.not { color: var(--not); } .verdict.failed { color: var(--failed); }
section { margin-top: 4rem; padding-top: 2rem; border-top: 1px solid var(--line); scroll-margin-top: 1rem; }
section header { display: flex; gap: 1rem; align-items: baseline; justify-content: space-between; }
figure { margin: 1.3rem 0; }
figure img { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; padding: .6rem; }
pre { margin: 1rem 0; padding: .7rem .9rem; background: var(--code); border-radius: 6px; overflow-x: auto; }
code { font: .82rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre code { user-select: all; -webkit-user-select: all; }
ul.rules { list-style: none; margin: 1.2rem 0; padding: 0; }
ul.rules li { display: grid; grid-template-columns: 3.1rem 1fr; padding: .5rem 0; border-top: 1px solid var(--line); }
ul.rules li:last-child { border-bottom: 1px solid var(--line); }
ul.rules .mark { font-weight: 600; } .yes { color: var(--seen); } .no { color: var(--not); }
ul.rules code { color: var(--soft); overflow-wrap: anywhere; }
ul.rules .measured { display: block; font-size: .85rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .6rem 0; font-size: .85rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 4rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
@media (max-width: 34rem) { body { font-size: 16px; } main { padding-top: 2rem; } h1 { font-size: 1.6rem; }
  section { margin-top: 2.6rem; padding-top: 1.5rem; } figure { margin: 1.1rem -.6rem; }
  figure img { padding: .2rem; } }
@media print { :root { --paper: #fff; --ink: #000; --soft: #444; --line: #ccc; --code: #f6f6f6; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; } section { break-inside: avoid; margin-top: 1.5rem; }
  a { color: inherit; } figure img { max-height: 14cm; width: auto; max-width: 100%; } details { display: none; } }
"""


@dataclass(frozen=True)
class Entry:
    """A lecture on the page.

    Args:
        label: its number.
        title: of it.
        command: to copy.
        said: `claim`, `deck`, `slide`.
        summary: of its run (rlgan.runs.compare.result), empty where it has not finished.
        figure: the PNG.
        state: why there is no result; empty if there is one.
    """

    label: str
    title: str
    command: str
    said: Mapping[str, str]
    summary: Mapping[str, Any]
    figure: bytes | None = None
    state: str = ""

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.state:
            return self.state
        seen = self.summary.get("seen")
        return "measured" if seen is None else "seen" if seen else "not seen"

    @property
    def kind(self) -> str:
        """The verdict's class of style."""
        return {"seen": "seen", "not seen": "not"}.get(
            self.verdict, "failed" if self.state.startswith("failed") else ""
        )


def page(entries: Sequence[Entry]) -> str:
    """The whole page.

    Args:
        entries: in the order in which they are to stand.
    """
    seen = sum(entry.verdict == "seen" for entry in entries)
    missed = sum(entry.verdict == "not seen" for entry in entries)
    minutes = sum(float(entry.summary.get("seconds", 0)) for entry in entries) / 60
    left = len(entries) - seen - missed
    told = f"{seen} of {len(entries)} claims were seen, {missed} not{f'; {left} have no result yet' if left else ''}."
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Lectures by experiment</title><style>{STYLE}</style></head><body><main>",
        "<h1>Lectures by experiment</h1>",
        "<p class=lead>Figures and claims of lectures on deep learning, each run by one command. The rules that decide "
        "whether a claim is seen were written before the runs. A claim that did not show is said to be not seen.</p>",
        f"<p>{told} {_time(minutes)} of computing.</p>",
        "<nav><ol>",
        *map(_line, entries),
        "</ol></nav>",
        *(_section(entry) for entry in entries if entry.state != "not run yet"),
        _footer(entries),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _line(entry: Entry) -> str:
    title = escape(entry.title)
    if entry.state != "not run yet":
        title = f'<a class=title href="#{_anchor(entry)}">{title}</a>'
    else:
        title = f"<span class=title>{title}</span>"
    return f"<li><span class=number>{escape(entry.label)}</span>{title}{_verdict(entry)}</li>"


def _verdict(entry: Entry) -> str:
    return f'<span class="verdict {entry.kind}">{escape(entry.verdict.split(":")[0])}</span>'


def _section(entry: Entry) -> str:
    deck, slide = entry.said.get("deck", ""), entry.said.get("slide", "")
    source = ": ".join(filter(None, (escape(deck), f"&ldquo;{escape(slide)}&rdquo;" if slide else "")))
    title = f"<span class=number>{escape(entry.label)}</span>{escape(entry.title)}"
    parts = [
        f'<section id="{_anchor(entry)}">',
        f"<header><h2>{title}</h2>{_verdict(entry)}</header>",
        f"<p class=small>{source}</p>" if source else "",
        f"<p>{escape(entry.said.get('claim', ''))}</p>",
    ]
    if entry.figure is not None:
        data = base64.b64encode(entry.figure).decode("ascii")
        parts.append(f'<figure><img alt="{escape(entry.title)}" src="data:image/png;base64,{data}"></figure>')
    if entry.state:
        parts.append(f"<p class=small>{escape(entry.state)}</p>")
    rules = entry.summary.get("rules") or {}
    if rules:
        parts += ["<ul class=rules>", *(_rule(sentence, rule) for sentence, rule in rules.items()), "</ul>"]
    parts.append(f"<pre><code>{escape(entry.command)}</code></pre>")
    if entry.summary:
        parts.append(_details(entry.summary))
    return "\n".join([*filter(None, parts), "</section>"])


def _rule(sentence: str, rule: Mapping[str, Any]) -> str:
    holds = bool(rule.get("holds"))
    measured = ", ".join(f"{name} = {_number(value)}" for name, value in rule.get("measured", {}).items())
    told = "; ".join(filter(None, (str(rule.get("why", "")), measured)))
    return (
        f'<li><span class="mark {"yes" if holds else "no"}">{"yes" if holds else "no"}</span>'
        f"<div>{escape(sentence)}<br><code>{escape(str(rule.get('rule', '')))}</code>"
        f"<span class=measured>{escape(told)}</span></div></li>"
    )


def _details(summary: Mapping[str, Any]) -> str:
    """How it was made, and every number."""
    variants = summary.get("variants", {})
    made = f"{len(variants)} variant{'s' * (len(variants) != 1)}, {_time(float(summary.get('seconds', 0)) / 60)}"
    rows = [
        f"<dt>{escape(name)}</dt><dd><code>{escape(str(words)) or '&mdash;'}</code></dd>"
        for name, words in variants.items()
    ]
    used = {name for rule in summary.get("rules", {}).values() for name in rule.get("measured", {})}
    numbers = {name: value for name, value in summary.get("numbers", {}).items() if name not in used}
    more = [f"<dt>{escape(name)}</dt><dd>{_number(value)}</dd>" for name, value in numbers.items()]
    return (
        f"<details><summary>{made}</summary><dl>{''.join(rows)}</dl>"
        + (f"<dl>{''.join(more)}</dl>" if more else "")
        + "</details>"
    )


def _footer(entries: Sequence[Entry]) -> str:
    versions: dict[str, list[str]] = {}
    for entry in entries:
        for name, version in entry.summary.get("versions", {}).items():
            if str(version) not in versions.setdefault(str(name), []):
                versions[str(name)].append(str(version))
    made = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items())
    return "\n".join(
        [
            "<footer class=small>",
            "<p>The claims follow these lectures, in words and figures of our own:</p>",
            *(f"<p>{credit}</p>" for credit in CREDITS),
            f"<p>Made with {escape(made)}.</p>" if made else "",
            "</footer>",
        ]
    )


def _anchor(entry: Entry) -> str:
    return "lecture-" + "".join(sign if sign.isalnum() else "-" for sign in f"{entry.label} {entry.title}".lower())


def _number(value: Any) -> str:
    return escape(f"{value:.6g}" if isinstance(value, int | float) else str(value))


def _time(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.1f} minutes" if minutes < 10 else f"{minutes:.0f} minutes"
