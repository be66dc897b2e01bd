"""What several commands read from their words: a checkpoint's step, changes of a run's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def step_of_file(word: str) -> str:
    """The step in a checkpoint's file name, `step_000001000.pt`; any other word as it is."""
    digits = word.removesuffix(".pt").removesuffix(".json").removeprefix("step_").replace("_", "")
    return str(int(digits)) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else word


def changes_of(path: Path, words: list[str]) -> dict[str, Any]:
    """What words change of a run's configuration: values by dotted key, words and paths as they are meant."""
    from rlgan.runs.config.overrides import changes, whole_words
    from rlgan.runs.config.places import Settler, changed
    from rlgan.runs.config.trust import Trust
    from rlgan.runs.config.words import Words
    from rlgan.runs.record.directory import first_choices, stored_config

    words = whole_words(words, stored_config(path))
    values = changes(words, first_choices(path))
    if not values:
        return values
    return changed(stored_config(path, values), values, Settler(Trust.granted(), Words(tuple(words)), Path.cwd()))
