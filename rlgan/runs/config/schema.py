"""Check values of a configuration against the type annotations of the arguments they are for."""

import inspect
import math
import types
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from rlgan.task.suggest import closest

Builder = Callable[..., Any]

_SEQUENCES = (list, tuple, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


class WrongType(Exception):
    """A value does not fit its type; the message says what would, in the words of a user."""


def coerce(value: Any, annotation: Any, path: str, build: Builder) -> Any:
    """Check a value against a type annotation and convert it to that type where nothing is lost.

    A whole float counts as int (`1e5`), an int as float and as str; nothing else is converted: `3.5` is no int, `1` no
    bool, `"1"` no number. NaN is no number. Mappings with `_target_`, and mappings where a dataclass is wanted, are
    built.

    Args:
        value: plain containers and scalars of a configuration, or objects already built.
        annotation: a resolved type annotation; what the schema cannot express (Any, Callable, protocols) passes.
        path: where the value stands, for messages of nested nodes.
        build: `build(node, path, implied, annotation)`, called for nested nodes; it refuses what cannot fit, uncalled.

    Raises:
        WrongType: the value does not fit.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return coerce(value, get_args(annotation)[0], path, build)
    if origin is Union or origin is types.UnionType:
        return _union(value, get_args(annotation), path, build)
    if origin is Literal:
        return _literal(value, get_args(annotation))
    if isinstance(value, Mapping) and "_target_" in value:
        return _fits(build(value, path, None, annotation), annotation)
    if annotation is None or annotation is type(None):
        if value is not None:
            raise WrongType("must be null")
        return None
    if annotation in _SCALARS:
        fits, words = _SCALARS[annotation]
        if not fits(value):
            raise WrongType(f"must be {words}")
        return annotation(value)
    kind = origin or annotation
    if kind in _SEQUENCES and not isinstance(value, str):
        return _sequence(value, kind, get_args(annotation), path, build)
    if kind in _MAPPINGS:
        if not isinstance(value, Mapping):
            raise WrongType("must be a section of keys and values")
        of = (get_args(annotation) or (Any, Any))[1]
        return {key: _nested(item, of, f"{path}.{key}", build) for key, item in value.items()}
    if isinstance(value, Mapping) and is_dataclass(annotation) and not inspect.isabstract(annotation):
        return build(value, path, annotation)
    if annotation is Any or isinstance(annotation, TypeVar) or not inspect.isclass(kind):
        return _anything(value, path, build)
    return _fits(value, kind)


def _anything(value: Any, path: str, build: Builder) -> Any:
    if isinstance(value, Mapping):
        return {key: coerce(item, Any, f"{path}.{key}", build) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [coerce(item, Any, f"{path}[{index}]", build) for index, item in enumerate(value)]
    return value


def _fits(value: Any, annotation: Any) -> Any:
    kind = get_origin(annotation) or annotation
    if kind is Any or not inspect.isclass(kind) or getattr(kind, "_is_protocol", False) or isinstance(value, kind):
        return value
    # Libraries annotate numbers and arrays as numpy's own.
    if issubclass(kind, np.number) and _number(value):
        return value
    if kind is np.ndarray and isinstance(value, list):
        return np.array(value)
    name = kind.__name__
    if value is None or isinstance(value, bool | int | float | str | list | Mapping):
        raise WrongType(f"must be a section that describes a {name}; choose it as a group's option")
    raise WrongType(f"must be a {name}, and a {type(value).__name__} is none")


def mismatch(found: Callable[..., Any], annotation: Any, partial: bool) -> str:
    """Say that what a class or function gives is not what a place is annotated with."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    words: list[str] = []
    for member in members:
        kind = get_origin(member) or member
        if kind is Literal:
            words += map(str, get_args(member))
            continue
        name = "null" if kind in (None, type(None)) else f"a {getattr(kind, '__name__', kind)}"
        words.append(_SCALARS[kind][1] if kind in _SCALARS else name)
    given = "partial" if partial else getattr(found, "__name__", type(found).__name__)
    what = f"a {given} is none" if partial or inspect.isclass(found) else f"{given} is not known to give one"
    if not partial and inspect.isfunction(found) and "return" not in found.__annotations__:
        what += f"; annotate what it gives, def {given}(...) -> {words[0].removeprefix('a ')}"
    return f"must be {_either(words)}, and {what}"


def _union(value: Any, members: tuple[Any, ...], path: str, build: Builder) -> Any:
    if value is None and type(None) in members:
        return None
    if isinstance(value, Mapping) and "_target_" in value:
        value = build(value, path, None, Union[members])  # noqa: UP007 - of a tuple
    elif isinstance(value, Mapping):
        for member in members:
            if is_dataclass(member):
                return build(value, path, member)
    # The exact type first: of `int | float`, 3.0 stays a float and 3 an int.
    exact = [member for member in members if inspect.isclass(member) and type(value) is member]
    messages: dict[str, None] = {}
    for member in [*exact, *members]:
        try:
            return coerce(value, member, path, build)
        except WrongType as error:
            messages[str(error)] = None
    entry = next((message for message in messages if message.startswith("entry ")), "")
    if entry:  # a list it is, and one of its entries is at fault
        raise WrongType(entry)
    words = [message.removeprefix("must be ").split(";")[0] for message in messages if message != "must be null"]
    hints = [message[message.index(";") :] for message in messages if ";" in message]
    raise WrongType("must be " + _either(words + ["null"] * (type(None) in members)) + "".join(hints[:1]))


def _either(words: list[str]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _literal(value: Any, options: tuple[Any, ...]) -> Any:
    for option in options:
        if value == option and type(value) is type(option):
            return option
    names = [str(option).lower() if isinstance(option, bool) else str(option) for option in options]
    close = closest(str(value), names)
    hint = f"; did you mean {close}?" if close else ""
    raise WrongType(f"must be {_either(names)}{hint}")


def _sequence(value: Any, kind: Any, of: tuple[Any, ...], path: str, build: Builder) -> Any:
    if not isinstance(value, list | tuple):
        raise WrongType("must be a list, for example [1, 2]")
    if kind is tuple and of and of[-1] is not Ellipsis:
        if len(value) != len(of):
            raise WrongType(f"must have {len(of)} entries and has {len(value)}")
        return tuple(_nested(item, of[i], f"{path}[{i}]", build) for i, item in enumerate(value))
    item_type = of[0] if of else Any
    items = [_nested(item, item_type, f"{path}[{index}]", build) for index, item in enumerate(value)]
    return tuple(items) if kind is tuple else items


def _nested(value: Any, annotation: Any, path: str, build: Builder) -> Any:
    try:
        return coerce(value, annotation, path, build)
    except WrongType as error:
        raise WrongType(f"entry {path.rsplit('.', 1)[-1]} = {value}: {error}") from None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# What a type takes and converts, and how a user would call it.
_SCALARS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: _number(value) and math.isfinite(value) and value == int(value), "a whole number"),
    float: (lambda value: _number(value) and not math.isnan(value), "a number"),
    str: (lambda value: _number(value) or isinstance(value, str), "a word"),
    Path: (lambda value: isinstance(value, str | Path), "a path"),
}
