"""Construct Python objects from a composed configuration; nothing else constructs from one.

A mapping with `_target_: package.module.Name` becomes `Name(**rest)`. The target's annotated signature IS the schema:
unknown keys, wrong types and missing values are refused by the configuration's own path, with the nearest name that
exists, before anything runs. A ValueError `field = value: what is wrong; remedy` from the constructor gets the path in
front. `_partial_: true` gives `functools.partial(Name, **rest)`, for callables whose other arguments come later, such
as the classes of torch.optim.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rlgan.runs.config.schema import WrongType, coerce
from rlgan.task.errors import ConfigError
from rlgan.task.settings import Settings
from rlgan.task.suggest import closest, nearest
from rlgan.task.task import Task

_SETTINGS = {item.name for item in fields(Settings)}
_FIELD = re.compile(r"^[A-Za-z_][\w.\[\]]* = ")


def plain(config: DictConfig) -> dict[str, Any]:
    """Convert a configuration to plain containers, interpolations resolved.

    Raises:
        ConfigError: a mandatory value is missing, or an interpolation cannot be resolved.
    """
    try:
        container = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = getattr(error, "full_key", None) or str(error).splitlines()[0].rsplit(" ", 1)[-1]
        raise ConfigError(f"{key} = ???: has to be given, for example {key}=VALUE") from None
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "configuration"
        raise ConfigError(f"{key}: {str(error).splitlines()[0]}") from None
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def locate(target: Any, path: str) -> Callable[..., Any]:
    """Import the class or function that a dotted name stands for.

    Raises:
        ConfigError: no such module or name (with the nearest one), or it cannot be called.
    """
    key = _join(path, "_target_")
    if not isinstance(target, str) or "." not in target:
        raise ConfigError(f"{key} = {target}: must be a dotted name such as package.module.Name")
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue
            raise ConfigError(f"{key} = {target}: its module needs {error.name}, which is not installed") from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                close = closest(part, (known for known in vars(found) if not known.startswith("_")))
                hint = f"did you mean {close}?" if close else "check the name"
                raise ConfigError(f"{key} = {target}: {name} has no {part}; {hint}")
            found = getattr(found, part)
        if not callable(found):
            raise ConfigError(f"{key} = {target}: cannot be called; name a class or a function")
        return found
    raise ConfigError(f"{key} = {target}: no module {parts[0]}; start from the folder that holds it, or install it")


def build(node: Any, path: str = "", implied: Callable[..., Any] | None = None, **given: Any) -> Any:
    """Construct the object that a section of the configuration describes.

    Args:
        node: a mapping with `_target_`, or without one where `implied` names the target.
        path: where the node stands in the configuration, for messages.
        implied: target of a node that names none (a dataclass annotation).
        given: arguments that do not come from the configuration; they take precedence.

    Raises:
        ConfigError: anything wrong with the node; the message begins with the path of the key at fault.
    """
    node = plain(node) if isinstance(node, DictConfig) else node
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path or 'configuration'} = {node}: must be a section with _target_")
    values = dict(node)
    target = locate(values.pop("_target_"), path) if "_target_" in values else implied
    partial = bool(values.pop("_partial_", False))
    if target is None:
        raise ConfigError(f"{_join(path, '_target_')}: is missing; say which class, for example _target_: package.Name")
    arguments = _arguments(target, values, path, given, partial)
    if partial:
        return functools.partial(target, **arguments)
    return _call(target, arguments, path)


@dataclass(frozen=True)
class Command:
    """The words typed to start a run, and what they chose.

    Args:
        overrides: the words.
        choices: option of every group.
        changes: values by dotted key that replace a resumed run's.
    """

    overrides: Sequence[str] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSpec:
    """A run's configuration, its settings read once.

    Args:
        config: the composed configuration, plain and resolved.
        settings: its part that every run has.
        command: what was typed.
    """

    config: Mapping[str, Any]
    settings: Settings
    command: Command = Command()

    @staticmethod
    def of(config: Mapping[str, Any], command: Command | None = None) -> RunSpec:
        """Read the settings of a configuration.

        Raises:
            ConfigError: an unusable value.
        """
        return RunSpec(config, build_settings(config), command or Command())

    def with_values(self, **values: Any) -> RunSpec:
        """Return the same run with other values of some settings."""
        return replace(self, config={**self.config, **values}, settings=replace(self.settings, **values))

    def task(self) -> Task:
        """Build the task, with torch's number of threads set.

        Raises:
            ConfigError: see `build_task`.
        """
        import torch

        torch.set_num_threads(self.settings.threads)
        return build_task(self.config, self.settings)


def build_settings(config: Mapping[str, Any]) -> Settings:
    """Build the run's settings from the keys of the root that are fields of `Settings`.

    Raises:
        ConfigError: an unusable value.
    """
    settings = build({key: config[key] for key in config if key in _SETTINGS}, implied=Settings)
    assert isinstance(settings, Settings)
    return settings


def build_task(config: Mapping[str, Any], settings: Settings) -> Task:
    """Build the task that `task._target_` names; every section of the root is an argument of it, by name.

    Raises:
        ConfigError: an unknown key at any depth, an unusable value, or a target that is no task.
    """
    node = config.get("task")
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"task = {node}: choose a task, for example task=wgan or task=ddpg")
    own = {key: value for key, value in node.items() if not str(key).startswith("_")}
    target = locate(node["_target_"], "task")
    if not (inspect.isclass(target) and issubclass(target, Task)):
        raise ConfigError(f"task._target_ = {node['_target_']}: must be a subclass of rlgan.task.task.Task")
    sections = {key: value for key, value in config.items() if key not in _SETTINGS and key != "task"}
    if twice := sorted(set(own) & set(sections)):
        raise ConfigError(f"task.{twice[0]} = {own[twice[0]]}: stands at the root as well; remove one of them")
    known = set(_parameters(target)) - {"settings"}
    for key, value in sections.items():
        if key not in known and not _takes_any(target):
            hint = nearest(str(key), (known - set(own)) | _SETTINGS | {"task"}, "there are")
            raise ConfigError(f"{key} = {_short(value)}: there is no such key; {hint}")
    arguments = _arguments(target, own, "task", {"settings": settings}, partial=True)
    arguments |= _arguments(target, sections, "", {"settings": settings, **arguments}, partial=False)
    try:
        task = _call(target, arguments, "")
    except ConfigError as error:
        raise ConfigError(f"task.{error}" if str(error).split(" = ")[0] in own else str(error)) from error
    assert isinstance(task, Task)
    return task


def _arguments(
    target: Callable[..., Any], values: Mapping[str, Any], path: str, given: Mapping[str, Any], partial: bool
) -> dict[str, Any]:
    parameters = _parameters(target)
    hints = _hints(target)
    known = [name for name in parameters if name not in given]
    arguments = dict(given)
    for key, value in values.items():
        here = _join(path, str(key))
        if key in given:
            continue
        if key not in parameters and not _takes_any(target):
            hint = nearest(str(key), known, "it has")
            raise ConfigError(f"{here} = {_short(value)}: {_name(target)} has no such key; {hint}")
        annotation = hints.get(str(key), Any)
        try:
            arguments[str(key)] = coerce(value, annotation, here, build)
        except WrongType as error:
            default = parameters[key].default if key in parameters else inspect.Parameter.empty
            remedy = "" if ";" in str(error) else _example(default)
            raise ConfigError(f"{here} = {_short(value)}: {error}{remedy}") from None
    if not partial:
        for name, parameter in parameters.items():
            if name not in arguments and parameter.default is inspect.Parameter.empty:
                here = _join(path, name)
                raise ConfigError(
                    f"{here}: is missing; {_name(target)} needs it, for example {here}=VALUE, or _partial_: true where "
                    "it is given later"
                )
    return arguments


def _call(target: Callable[..., Any], arguments: dict[str, Any], path: str) -> Any:
    try:
        return target(**arguments)
    except ConfigError:
        raise
    except (ValueError, ImportError, FileNotFoundError) as error:
        message = " ".join(str(error).split())
        if not path:
            raise ConfigError(message) from error
        separator = "." if _FIELD.match(message) else ": "
        raise ConfigError(f"{path}{separator}{message}") from error


def _parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: item for name, item in inspect.signature(target).parameters.items() if item.kind in kinds}


def _takes_any(target: Callable[..., Any]) -> bool:
    return any(item.kind is inspect.Parameter.VAR_KEYWORD for item in inspect.signature(target).parameters.values())


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Resolved annotations of the parameters; one that only a type checker can resolve counts as Any."""
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


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _name(target: Callable[..., Any]) -> str:
    return getattr(target, "__name__", str(target))


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{...}"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _example(default: Any) -> str:
    if isinstance(default, bool | int | float | str) and default != "":
        return f"; its default is {_short(default)}"
    return ""
