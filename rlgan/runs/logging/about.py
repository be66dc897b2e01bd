"""What is said of a run in words: its command, its commit, what was varied, and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlgan.runs.logging.varied import varied
from rlgan.runs.record.directory import starts_of
from rlgan.runs.record.naming import changes
from rlgan.task.sink import Plain


def varied_by(run: Path, config: Mapping[str, Any]) -> dict[str, Plain]:
    """What was varied in a run, as overrides.jsonl tells of all its starts; see `varied`."""
    starts = starts_of(run)
    said = [start["overrides"] for start in starts if isinstance(start.get("overrides"), list)]
    words = [str(word).lstrip("+~").partition("=")[0] for overrides in said for word in overrides]
    choices = starts[0]["choices"] if starts else {}
    typed = {word for word in words if word not in choices}.union(*(start["changes"] for start in starts))
    return varied(config, choices, sorted(typed))


def about_run(run: Path) -> dict[str, str]:
    """Lines on the start of a run that has just been recorded, by name: command, words, commit, versions."""
    start: dict[str, Any] = next(reversed(starts_of(run)), {})
    changed = ", ".join(changes([str(word) for word in start.get("overrides", ())]))
    found = {"command": start.get("command", ""), "changed": changed, "started": start.get("time", "")}
    for name, commit in start.get("git", {}).items():
        where = "commit" if name == "rlgan" else f"commit of the folder {name}"
        found[where] = f"{commit['commit']}{', files were changed since' if commit['dirty'] else ''}"
    found["versions"] = ", ".join(f"{name} {number}" for name, number in start.get("versions", {}).items())
    return {name: line for name, line in found.items() if line}


def table(lines: Mapping[str, str]) -> str:
    """Markdown of lines by name."""
    rows = [f"| {name} | {line.replace('|', '&#124;')} |" for name, line in lines.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def block(text: str) -> str:
    """Markdown that shows text in a fixed-width face."""
    return "\n".join(f"    {line}" for line in text.splitlines())
