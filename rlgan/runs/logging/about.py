"""What is said of a run in words: what was varied, and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlgan.runs.logging.varied import varied
from rlgan.runs.record.directory import starts_of
from rlgan.task.sink import Plain


def varied_by(run: Path, config: Mapping[str, Any]) -> dict[str, Plain]:
    """What was varied in a run, as overrides.jsonl tells of all its starts; see `varied`."""
    starts = starts_of(run)
    words = [str(word).lstrip("+~").partition("=")[0] for start in starts for word in start.get("overrides", ())]
    choices = starts[0]["choices"] if starts else {}
    typed = {word for word in words if word not in choices}.union(*(start["changes"] for start in starts))
    return varied(config, choices, sorted(typed))


def block(text: str) -> str:
    """Markdown that shows text in a fixed-width face."""
    return "\n".join(f"    {line}" for line in text.splitlines())
