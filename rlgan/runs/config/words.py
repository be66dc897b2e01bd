"""The words of a command, `key=value`: read by Hydra's grammar, and kept as they were typed.

Hydra reads 2024_11_28 as a number and `true` as a switch. What the schema calls a word or a path is the text as typed
(rlgan.runs.config.places), and this is where that text comes from.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from rlgan.task.errors import ConfigError

TYPED = "RLGAN_TYPED"
"""The environment variable by which a command tells its jobs what was typed."""

_KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w.@/]*")


def parse(text: str) -> Override:
    """Parse one `key=value` of the command line.

    Raises:
        ConfigError: it does not follow Hydra's grammar.
    """
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        if "=" not in text:
            raise ConfigError(f"{text}: is no key=value; see --help") from None
        key, _, value = text.partition("=")
        raise ConfigError(f"{key} = {value}: cannot be read; put it in quotes, for example {key}=\"'...'\"") from None


def quoted(text: str) -> str:
    """Quote the value of `key=value` where Hydra's grammar cannot read it, as names of files may be.

    The grammar takes no second `=` outside of quotes, no parenthesis, no letter beyond ASCII; nobody expects that of a
    path that was completed or copied. A list or a section whose brackets do not close is left for a message.
    """
    key, equals, value = text.partition("=")
    if not equals or not _KEY.fullmatch(key) or _open(value):
        return text
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return as_text(text)
    return text


def as_text(text: str) -> str:
    """Quote the value of `key=value`, whatever it is."""
    key, equals, value = text.partition("=")
    # Hydra reads a backslash as one that escapes only before a quote, or before another backslash there.
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", value)
    escaped = re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped)
    return f"{key}{equals}'{escaped}'"


def _open(value: str) -> bool:
    return value[:1] in ("[", "{") and value.count(value[0]) != value.count("]" if value[0] == "[" else "}")


def text_of(word: str) -> str:
    """The value of `key=value` as typed; of a quoted one what stands between the quotes."""
    read = parse(word).value()
    return read if isinstance(read, str) and _strips(word, read) is None else word.partition("=")[2]


def _strips(word: str, read: str) -> str | None:
    """The value as typed, if all that Hydra took of it is space at its ends."""
    value = word.partition("=")[2]
    return value if value != read and value.strip() == read else None


def pieces(value: str) -> list[str]:
    """Split at commas that stand in no bracket and no quotes."""
    found, depth, quote, start = [], 0, "", 0
    for i, sign in enumerate(value):
        if quote:
            quote = "" if sign == quote and value[i - 1] != "\\" else quote
        elif sign in "'\"" and not value[start:i].strip():
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in "]})":
            depth -= 1
        elif sign == "," and not depth:
            found.append(value[start:i])
            start = i + 1
    return [*found, value[start:]]


@dataclass(frozen=True)
class Words:
    """What was typed, to be asked how a value was.

    Args:
        typed: the words, each `key=value`.
    """

    typed: tuple[str, ...] = ()

    @staticmethod
    def of_command(overrides: Sequence[str]) -> "Words":
        """Those of the command: a sweep gives its jobs words that it has made of values, and keeps these in $TYPED."""
        return Words(tuple(json.loads(os.environ.get(TYPED, "[]"))) or tuple(overrides))

    def text(self, path: str, value: Any) -> str | None:
        """The text that was typed for a value of this key, or None where that says nothing more.

        Args:
            path: the key; `key[2]` is an entry of a list.
            value: what Hydra read.
        """
        key, bracket, index = path.partition("[")
        for word in reversed(self.typed):
            name, equals, typed = word.partition("=")
            if not equals or name.lstrip("+~") != key:
                continue
            if bracket:
                inside = pieces(typed.strip()[1:-1]) if typed.strip()[:1] == "[" else []
                entry = int(index[:-1]) if index[:-1].isdecimal() else len(inside)
                return _same(key, inside[entry].strip(), value) if entry < len(inside) else None
            for text in (typed, *pieces(typed)):
                if (found := _same(key, text, value)) is not None:
                    return found
        return None


def _same(key: str, text: str, value: Any) -> str | None:
    """The text, if it is how this value is written."""
    try:
        override = OverridesParser.create().parse_override(quoted(f"{key}={text}"))
    except HydraException:
        return None
    read = override.value()
    if override.is_sweep_override() or type(read) is not type(value) or (read != value and value == value):
        return None
    if isinstance(read, str):
        return None if isinstance(override._value, QuotedString) else _strips(f"{key}={text}", read)
    return text
