"""Where in a configuration a word or a path stands, by the annotations of what it names.

There the value is the text as it was typed or written in a file, whatever YAML and Hydra made of it: 2024_11_28, 1e3,
007, on. A path is taken from the folder where the run was launched, so that the run reads the same from elsewhere.
"""

from __future__ import annotations

import types
from collections import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from rlgan.runs.config.kinds import hints
from rlgan.runs.config.reading import written
from rlgan.runs.config.renames import current
from rlgan.runs.config.trust import Trust
from rlgan.runs.config.words import Words
from rlgan.task.errors import ConfigError
from rlgan.task.settings import Settings

Place = Literal["word", "path"]


@dataclass(frozen=True)
class Settler:
    """Puts words and paths into a configuration as they are meant.

    Args:
        trust: whose names are looked up; what another holds stays as it is.
        words: what was typed.
        folder: from which a relative path is taken; None leaves it.
    """

    trust: Trust
    words: Words = field(default_factory=Words)
    folder: Path | None = None

    def __call__(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with every word as text and every path absolute."""
        return {key: self._walk(value, self._at_root(config, str(key)), str(key)) for key, value in config.items()}

    def place(self, config: Mapping[str, Any], key: str) -> Place | None:
        """What stands at a dotted key."""
        annotation: Any = None
        node: Any = config
        for depth, part in enumerate(parts := key.split(".")):
            annotation = self._at_root(config, part) if depth == 0 else self._of(annotation, node).get(part, Any)
            node = node.get(part) if isinstance(node, Mapping) else None
            if depth < len(parts) - 1 and node is None:
                return None
        return place(annotation)

    def _at_root(self, config: Mapping[str, Any], key: str) -> Any:
        own = hints(Settings)
        if key in own or key == "task":
            return own.get(key, Any)
        node = config.get("task")
        return self._of(Any, node).get(key, Any) if isinstance(node, Mapping) else Any

    def _of(self, annotation: Any, node: Any) -> Mapping[str, Any]:
        """Annotations of a section's keys."""
        if isinstance(node, Mapping) and "_target_" in node:
            try:
                return hints(self.trust.locate(node["_target_"], ""))
            except (ConfigError, TypeError):  # what is wrong with it is said when it is built
                return {}
        for member in _members(annotation):
            if is_dataclass(member) and isinstance(member, type):
                return hints(member)
            if (get_origin(member) or member) in (dict, abc.Mapping, abc.MutableMapping):
                of = (get_args(member) or (Any, Any))[1]
                return dict.fromkeys(map(str, node), of) if isinstance(node, Mapping) else {}
        return {}

    def _walk(self, value: Any, annotation: Any, path: str) -> Any:
        kind = place(annotation)
        if kind is not None and value is not None:
            return self._text(value, path, kind)
        if isinstance(value, Mapping):
            notes = self._of(annotation, value)
            return {
                key: current(item)
                if key == "_target_" and isinstance(item, str)
                else self._walk(item, notes.get(str(key), Any), f"{path}.{key}")
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._walk(item, _entry(annotation, index), f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    def _text(self, value: Any, path: str, kind: Place) -> Any:
        if isinstance(value, Mapping) and "_target_" in value:
            return value
        text = self.words.text(path, value)
        if text is None and not isinstance(value, str | Mapping | list):
            text = written(path, value)
        value = value if text is None else text
        if kind == "path" and isinstance(value, str) and self.folder is not None:
            return str(self.folder / _home(value))
        return value


def changed(config: Mapping[str, Any], changes: Mapping[str, Any], settle: Settler) -> dict[str, Any]:
    """Values by dotted key that are to replace those of a run's configuration, words and paths as they are meant.

    Args:
        config: the run's, with the changes in it.
        changes: by dotted key.
        settle: with what was typed.
    """
    settled = settle(config)
    found: dict[str, Any] = {}
    for key in changes:
        node: Any = settled
        for part in key.split("."):
            node = node[part]
        found[key] = node
    return found


def place(annotation: Any) -> Place | None:
    """Tell what an argument of this annotation is: a word, a path, or something else.

    Of `str | int` a number stays one.
    """
    kinds = set(_members(annotation)) - {type(None), None}
    if Path in kinds:
        return "path"
    return "word" if kinds == {str} else None


def _members(annotation: Any) -> Sequence[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return [kind for member in get_args(annotation) for kind in _members(member)]
    return [annotation]


def _entry(annotation: Any, index: int) -> Any:
    for member in _members(annotation):
        of = get_args(member)
        if of and get_origin(member) is tuple:
            return of[0] if of[-1] is Ellipsis else of[min(index, len(of) - 1)]
        if of and get_origin(member) in (list, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection):
            return of[0]
    return Any


def _home(text: str) -> Path:
    """`~/pictures` in the home folder; `~pictures` is a name like any other."""
    path = Path(text)
    if path.parts[:1] != ("~",) or path.exists():
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # there is no home
        return path
