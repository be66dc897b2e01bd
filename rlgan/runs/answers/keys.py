"""Which keys and places a command's words lead to, told from the files alone.

Hydra composes a configuration in 0.15 s and has to be imported; tab completion has less time. What is read here are
keys, defaults and how groups are mounted, and no value is resolved. A test holds it against Hydra's own composition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from rlgan.runs.options import roots

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_GLOBAL = re.compile(r"^\s*#\s*@package\s+_global_", re.MULTILINE)
_LINE = re.compile(r"^( *)([A-Za-z_]\w*):[^#\n]*#\s*(.*)$", re.MULTILINE)


@dataclass
class Keys:
    """What the words of a command can be about.

    Args:
        values: every key that holds a value, dotted, with the value as the file has it.
        sections: every key that holds further keys, dotted.
        places: where groups are mounted, as typed (`game`, `optimizer@critic.optimizer`), with the chosen option.
        remarks: comments behind keys, by dotted key.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sections: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)


def keys_of(words: Sequence[str]) -> Keys:
    """The keys and places of a run that these words start.

    Args:
        words: whole ones, each `key=value`.
    """
    chosen: dict[str, str] = {}
    for word in words:
        key, equals, value = word.lstrip("+~").partition("=")
        if equals:
            chosen[key] = value.strip("'\"") if value.startswith("[") else value.split(",")[0].strip("'\"")
    reader = _Reader(chosen, {})
    for _ in range(4):
        reader.file("", "train", "")
        if reader.overridden == reader.former:
            break
        reader = _Reader(chosen, reader.overridden)  # what is overridden may stand before what overrides it
    return reader.found


class _Reader:
    """Reads option after option into `found`.

    Args:
        typed: options by place, from the command line; they win.
        former: options by place, as other options override them.
    """

    def __init__(self, typed: dict[str, str], former: dict[str, str]) -> None:
        self.typed, self.former, self.overridden = typed, former, dict[str, str]()
        self.found = Keys()
        self._deep = 0

    def file(self, group: str, option: str, package: str) -> None:
        """Read an option's file, mounted at a dotted key, after the options that its defaults name."""
        text = _text(f"{group}/{option}" if group else option)
        if text is None or self._deep > 20:
            return
        self._deep += 1
        data = yaml.load(text, _LOADER)
        data = data if isinstance(data, dict) else {}
        at = "" if _GLOBAL.search(text) else package
        for item in data.pop("defaults", None) or []:
            self._default(item, group, package, at)
        if not group:
            data.pop("hydra", None)
        self._keep(data, at)
        for indent, key, remark in _LINE.findall(text):
            if not indent:
                self.found.remarks[_join(at, key)] = remark
        self._deep -= 1

    def _default(self, item: Any, group: str, package: str, at: str) -> None:
        if isinstance(item, str):
            if item.startswith("/"):
                folder, _, option = item[1:].rpartition("/")
                self.file(folder, option, package)
            elif item != "_self_":
                self.file(group, item, package)
            return
        for word, option in item.items():
            name = str(word).removeprefix("override ").removeprefix("optional ").strip()
            absolute = name.startswith("/")
            inner, _, mount = name.removeprefix("/").partition("@")
            inner = inner if absolute or not group else f"{group}/{inner}"
            if inner.startswith("hydra"):
                continue
            where = _join("" if mount.startswith("_global_") else at, mount.removeprefix("_global_").strip("."))
            place = inner if not mount or (where == inner) else f"{inner}@{where}"
            if str(word).startswith("override "):
                self.overridden[place] = option
                continue
            self._mount(inner, place, where if mount else _join(at, inner.replace("/", ".")), option)

    def _mount(self, group: str, place: str, where: str, option: Any) -> None:
        option = self.typed.get(place, self.former.get(place, option))
        several = option if isinstance(option, list) else str(option).strip("[]").split(",")
        self.found.places[place] = "null" if option is None else ",".join(map(str, several))
        for one in several:
            self.file(group, str(one).strip(), where)

    def _keep(self, data: Any, at: str) -> None:
        if isinstance(data, dict):
            if at:
                self.found.sections.add(at)
            for key, value in data.items():
                self._keep(value, _join(at, str(key)))
        else:
            self.found.values[at] = data


def _text(option: str) -> str | None:
    for root in roots():
        file = root.joinpath(f"{option}.yaml")
        if file.is_file():
            return str(file.read_text(encoding="utf-8-sig"))
    return None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def levels(names: Iterator[str] | Sequence[str], start: str, mark: str = ".") -> list[str]:
    """The next piece of every dotted name that begins so: `critic.` of `critic.optimizer.lr`."""
    found: dict[str, None] = {}
    for name in names:
        if name.startswith(start):
            cut = name.find(mark, len(start))
            found[name if cut < 0 else name[: cut + 1]] = None
    return list(found)
