"""What was meant by a key that is not there: the same thing under another name, or in another place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlgan.runs.answers.names import ALIASES, CONVERTED, GROUPS, OPTIONS, REMARKS, normal
from rlgan.runs.options import options_with
from rlgan.task.suggest import closest

#: Beyond so many places a line does not help any more.
_MOST = 4


def meant(
    key: str,
    value: Any,
    config: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    others: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
) -> str | None:
    """Say `did you mean …?` of a key that does not exist where it was typed, or None.

    Args:
        key: dotted, as typed.
        value: what was typed for it; a section where it holds one key.
        config: the composed configuration that lacks the key.
        groups: every group with its options.
        others: the configurations of other tasks, by the task's name.
    """
    config = _without(config, key.split("."))
    key, value = unfolded(key, value)
    *before, leaf = key.split(".")
    if remark := REMARKS.get(normal(leaf)):
        return remark
    ends = [leaf, *ALIASES.get(normal(leaf), ())]
    if normal(leaf) in CONVERTED:
        end, convert = CONVERTED[normal(leaf)]
        try:
            ends, value = [end], convert(value)
        except TypeError:
            return None
    if isinstance(value, Mapping):
        return None
    words = _of_folder(key, value, groups) or _of_option(leaf, before, value, config, groups)
    if words := words or _words(ends, before, value, config) or _of_group(leaf, value, config, groups):
        return _question(words)
    for task, other in others().items():
        words = _words(ends, before, value, other, True) or ([] if before else _of_group(leaf, value, other, groups))
        if words:
            here = " ".join(dict.fromkeys(word for _, word in words[:_MOST]))
            return f"task {task} has such a key; did you mean task={task} {here}?"
    return None


def no_pair(words: Sequence[str], at: int, commands: Sequence[str], keys: Sequence[str]) -> str:
    """Say what was meant by a word that is no `key=value`: a command, or a key whose value stands behind it.

    Args:
        words: all that was typed.
        at: where the word stands.
        commands: that may stand first.
        keys: that a run has at its root, and groups.
    """
    word = words[at]
    if (close := closest(word, commands, 0.7)) and not any("=" in one for one in words[:at]):
        return f"{word}: there is no such command; did you mean rlgan {close}?"
    name, _, value = word.lstrip("-").partition("=")
    name = name.replace("-", "_")
    if not value and at + 1 < len(words) and "=" not in words[at + 1] and words[at + 1][:1] != "-":
        value = words[at + 1]
    key = name if name in keys else closest(name, keys, 0.85)
    if key or (value and name.isidentifier()):
        return f"{word}: is no key=value; did you mean {key or name}={value or 'VALUE'}?"
    return f"{word}: no such option; see --help" if word[:1] == "-" else f"{word}: is no key=value; see --help"


def is_alias(key: str) -> bool:
    """Tell whether the end of a key is what others call some key of ours."""
    return normal(key.rpartition(".")[2]) in ALIASES


def unfolded(key: str, value: Any) -> tuple[str, Any]:
    """The whole key of `optimizer = {lr: 0.1}`, `optimizer.lr`, with its value."""
    while isinstance(value, Mapping) and value:
        inner, value = next(iter(value.items()))
        key = f"{key}.{inner}"
    return key, value


def similar(key: str, config: Mapping[str, Any]) -> str | None:
    """Say `did you mean …?` of a misspelt key whose name is found elsewhere in the configuration, or None."""
    config = _without(config, key.split("."))
    *before, leaf = key.split(".")
    leaves = {path.rpartition(".")[2] for path, _ in _values(config)}
    close = closest(leaf, [name for name in leaves if len(name) > 3], 0.8)
    found = [path for path, _ in _found([close], before, config)] if close else []
    return f"did you mean {either(found[:_MOST])}?" if found else None


def either(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def choice(group: str, place: str, option: str) -> str:
    """The word that chooses an option of a group where it stands."""
    return f"{group}={option}" if place == group else f"{group}@{place}={option}"


def places(group: str, config: Mapping[str, Any]) -> list[str]:
    """The dotted keys at which a group stands in a configuration: `critic.optimizer`, `actor.optimizer`."""
    found = [path for path, section in _sections(config) if path.rpartition(".")[2] == group and "_target_" in section]
    return _ordered(found)


def _question(words: list[tuple[str, str]]) -> str:
    keys, written = zip(*words[:_MOST], strict=True)
    if len(words) == 1:
        return f"did you mean {written[0]}?"
    both = "Both" if len(words) == 2 else "All"
    return f"did you mean {either(keys)}? {both}: {' '.join(dict.fromkeys(written))}"


def _words(
    ends: Sequence[str], before: Sequence[str], value: Any, config: Mapping[str, Any], strictly: bool = False
) -> list[tuple[str, str]]:
    """Keys that end so, each with the words to type; `strictly` where they hold all that was typed before the end."""
    if found := _found(ends, before, config, strictly):
        return [(path, f"{path}={_written(value, former)}") for path, former in found]
    for end in ends:
        group, _, leaf = end.rpartition(".")
        if end not in OPTIONS:
            continue
        if at := _nearest(places(group, config), before, strictly):
            option = OPTIONS[end]
            return [(f"{at}.{leaf}", f"{choice(group, at, option)} {at}.{leaf}={_written(value)}") for at in at]
    return []


def _of_folder(key: str, value: Any, groups: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """The word for `lecture=04_momentum`, where that is an option in a group's folder."""
    every = [(group, name) for group, names in groups.items() for name in names if name.startswith(f"{key}/{value}")]
    return [(f"{group}={name}", f"{group}={name}") for group, name in every[:1]]


def _of_option(
    leaf: str, before: Sequence[str], value: Any, config: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> list[tuple[str, str]]:
    """The words for a key that another option of the same place has."""
    group, place = before[-1] if before else "", ".".join(before)
    if group not in groups or place not in places(group, config):
        return []
    options = options_with(group, leaf)
    usual = OPTIONS.get(f"{group}.{leaf}")
    if not options:
        return []
    option = usual if usual in options else min(options, key=len)
    return [(f"{place}.{leaf}", f"{choice(group, place, option)} {place}.{leaf}={_written(value)}")]


def _of_group(
    name: str, value: Any, config: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> list[tuple[str, str]]:
    """The words that choose an option, where the key is what others call a group."""
    group = GROUPS.get(normal(name))
    option = closest(str(value), groups.get(group, ())) if group else None
    if group is None or option is None:
        return []
    return [(choice(group, at, option).partition("=")[0], choice(group, at, option)) for at in places(group, config)]


def _found(
    ends: Sequence[str], before: Sequence[str], config: Mapping[str, Any], strictly: bool = False
) -> list[tuple[str, Any]]:
    """Keys that end in the first of these ends that any key ends in."""
    known = dict(_values(config))
    for end in ends:
        paths = [path for path in known if path == end or path.endswith(f".{end}")]
        if near := _nearest(paths, before, strictly):
            return [(path, known[path]) for path in _ordered(near)]
    return []


def _nearest(paths: Sequence[str], before: Sequence[str], strictly: bool) -> list[str]:
    """Those that share most with what was typed before the end of the key."""
    shared = {path: len(set(before) & set(path.split("."))) for path in paths}
    most = len(set(before)) if strictly else max(shared.values(), default=0)
    return [path for path in paths if shared[path] == most]


def _without(config: Mapping[str, Any], key: Sequence[str]) -> dict[str, Any]:
    """The configuration without what was typed and is not there."""
    first, *rest = key
    inner = config.get(first)
    if not rest or not isinstance(inner, Mapping):
        return {name: value for name, value in config.items() if name != first}
    return {**config, first: _without(inner, rest)}


def _ordered(paths: Sequence[str]) -> list[str]:
    """The nearest to the root first, and the critic before the other player."""
    return sorted(paths, key=lambda path: (path.count("."), not path.startswith("critic."), path))


def _values(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if str(key).startswith("_") or path + str(key) in ("task", "compare"):
            continue
        if isinstance(value, Mapping):
            yield from _values(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _sections(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and path + str(key) not in ("task", "compare"):
            yield f"{path}{key}", value
            yield from _sections(value, f"{path}{key}.")


def _written(value: Any, former: Any = None) -> str:
    """A value as one types it; alone where a list stands, as a list of one."""
    if isinstance(former, list) and not isinstance(value, list):
        value = [value]
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
