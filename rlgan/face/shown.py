"""A run as a notebook shows it: what it is, its numbers, its pictures."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlgan.face.trained import Trained

_MOST, _LARGEST = 6, 2_000_000
"""Pictures that are shown, and bytes of one."""


def as_html(run: Trained) -> str:
    """A heading, the first numbers of the summary and the latest pictures; what is in the run's files is escaped."""
    parts = [f"<p><code>{escape(repr(run)[1:-1])}</code></p>", _table(run.summary)]
    for file in pictures_of(run.path):
        data = base64.b64encode(file.read_bytes()).decode()
        parts.append(
            f'<figure style="display:inline-block;margin:4px"><img style="max-width:420px" alt="{escape(file.stem)}" '
            f'src="data:image/png;base64,{data}"><figcaption>{escape(file.stem)}</figcaption></figure>'
        )
    return "\n".join(part for part in parts if part)


def pictures_of(path: Path) -> list[Path]:
    """The run's latest pictures; of a comparison its figure."""
    files = [*sorted((path / "pictures").glob("*.png")), path / "figure.png"]
    return [f for f in files if f.is_file() and not f.is_symlink() and f.stat().st_size <= _LARGEST][:_MOST]


def _table(summary: dict[str, Any]) -> str:
    numbers = {tag: x for tag, x in summary.items() if isinstance(x, int | float) and not tag.startswith("optim/")}
    over = summary.get("metrics")
    if isinstance(over, dict):  # of several seeds
        numbers |= {f"{tag} (IQM)": own["iqm"] for tag, own in over.items() if isinstance(own, dict) and "iqm" in own}
    first = [(tag, x) for tag, x in numbers.items() if not tag.startswith(("optim/", "time/"))]
    rows = "".join(f"<tr><td>{escape(tag)}</td><td>{x:.5g}</td></tr>" for tag, x in first)
    return f"<details><summary>{len(first)} numbers</summary><table>{rows}</table></details>" if rows else ""
