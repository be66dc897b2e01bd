"""What a class or function gives, told from annotations, before it is called; and annotations of arguments."""

from __future__ import annotations

import inspect
import sys
import types
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

ID = "module:name"
"""Annotated[str, "module:name"]: what stands before a colon in this word is imported."""

DOTTED = "module.name"
"""Annotated[str, "module.name"]: what stands before the last dot in this word is imported."""


def gives(found: Any, annotation: Any, partial: bool = False) -> bool | None:
    """Tell whether calling a class or function gives what a place is annotated with; None: it does not say.

    Args:
        found: the class or function.
        annotation: of the place, resolved.
        partial: the place gets the callable itself, with some arguments.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return gives(found, get_args(annotation)[0], partial)
    if origin is Union or origin is types.UnionType:
        every = [gives(found, member, partial) for member in get_args(annotation)]
        return True if True in every else None if None in every else False
    kind = origin or annotation
    if origin is Literal:  # one of a few words, which are written out
        return False
    if is_open(annotation):
        return None
    if partial or not inspect.isclass(kind) or kind is type(None):
        return False
    if inspect.isclass(found):
        # numpy's and Python's own are converted, see rlgan.runs.config.schema.
        return issubclass(found, kind)
    result = hints(found).get("return", Any)
    result = get_origin(result) or result
    if result is None or result is type(None):
        return False
    if not inspect.isclass(result):
        # What is written in C says nothing of itself.
        return False if inspect.isbuiltin(found) else None
    return True if issubclass(result, kind) else None if issubclass(kind, result) else False


def is_open(annotation: Any) -> bool:
    """Tell whether a place asks for no class of its own: anything, a callable, what has some methods."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return is_open(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return any(map(is_open, get_args(annotation)))
    if origin is Literal:
        return False
    kind = origin or annotation
    open_ = kind is Any or isinstance(kind, TypeVar | str) or kind in (abc.Callable, object)
    return open_ or getattr(kind, "_is_protocol", False) or not (kind is None or inspect.isclass(kind))


def imported_by(annotation: Any) -> str | None:
    """The form `ID` or `DOTTED` of a word by which its argument has a module imported, or None."""
    if get_origin(annotation) is Annotated:
        return next((note for note in get_args(annotation)[1:] if note in (ID, DOTTED)), None)
    return next(filter(None, map(imported_by, get_args(annotation))), None)


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that a configuration can give by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: item for name, item in _signature(target).parameters.items() if item.kind in kinds}


def _signature(target: Callable[..., Any]) -> inspect.Signature:
    """What it takes; what is written in C may not say, and is given whatever the configuration holds."""
    try:
        return inspect.signature(target)
    except (ValueError, TypeError):
        return inspect.Signature([inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD)])


def takes_any(target: Callable[..., Any]) -> bool:
    """Tell whether it takes any keyword."""
    return any(item.kind is inspect.Parameter.VAR_KEYWORD for item in _signature(target).parameters.values())


def hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Resolved annotations, of a function `return` too; one that only a type checker can resolve counts as Any."""
    owners: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    function: Any = target
    if inspect.isclass(target):
        for base in reversed(target.__mro__) if is_dataclass(target) else ():
            owners.append((inspect.get_annotations(base), vars(sys.modules[base.__module__])))
        function = target.__dict__.get("__init__", target.__init__)
    function = inspect.unwrap(function)
    # The __init__ that dataclass() writes repeats the class's annotations in a scope where they do not resolve.
    if getattr(getattr(function, "__code__", None), "co_filename", "<string>") != "<string>":
        owners.append((getattr(function, "__annotations__", {}), getattr(function, "__globals__", {})))
    return {name: _resolved(note, scope) for notes, scope in owners for name, note in notes.items()}


def _resolved(annotation: Any, scope: Mapping[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(scope))
    except (NameError, AttributeError, TypeError, SyntaxError):
        return Any
