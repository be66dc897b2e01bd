"""What was varied in a run, under short names: the chosen options, and the values that somebody typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rlgan.runs.record.naming import is_housekeeping
from rlgan.task.sink import Plain


def varied(config: Mapping[str, Any], choices: Mapping[str, str], typed: Iterable[str]) -> dict[str, Plain]:
    """Flatten a configuration to what tells one run from another.

    These are every group's option (`critic.optimizer: adam` of `optimizer@critic.optimizer=adam`), the numbers at the
    root, every learning rate, and whatever was typed. A class's other values follow from the option.

    Args:
        config: plain and resolved.
        choices: option of every group.
        typed: keys that were given a value.
    """
    found: dict[str, Plain] = {group.rpartition("@")[2]: option for group, option in choices.items()}
    flat = flatten(config)
    keys = {key for key in flat if key.endswith(".lr") or "." not in key}
    keys |= {key for key in flat for word in typed if key == word or key.startswith(f"{word}.")}
    for key in flat:
        if key in keys and not is_housekeeping(key):
            found.setdefault(key, flat[key])
    return found


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Plain]:
    """Flatten a configuration to `a.b.c: value`, without classes and nulls; lists become words."""
    flat: dict[str, Plain] = {}
    for key, value in config.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            flat |= flatten(value, path)
        elif value is not None and not str(key).startswith("_"):
            flat[path] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
