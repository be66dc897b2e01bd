"""Construct Python objects from a composed configuration; nothing else constructs from one.

A mapping with `_target_: package.module.Name` becomes `Name(**rest)`. The target's annotated signature IS the schema:
unknown keys, wrong types and missing values are refused by the configuration's own path, with the nearest name that
exists, before anything runs. A ValueError `field = value: what is wrong; remedy` from the constructor gets the path in
front. `_partial_: true` gives `functools.partial(Name, **rest)`, for callables whose other arguments come later, such
as the classes of torch.optim.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rlgan.runs.config.kinds import hints, parameters, takes_any
from rlgan.runs.config.schema import WrongType, coerce, mismatch
from rlgan.runs.config.trust import EVERYONE, Trust
from rlgan.runs.options import HOOKS
from rlgan.task.errors import ConfigError
from rlgan.task.hooks import Callback
from rlgan.task.settings import SETTINGS, Settings
from rlgan.task.suggest import closest, nearest
from rlgan.task.task import Task

# Of the root as well, and not of one run: see rlgan.runs.compare.
_OF_SEVERAL = ("compare",)
_FIELD = re.compile(r"^[A-Za-z_][\w.\[\]]* = ")


def _if_run_has(key: str, there: str, otherwise: str, *, _root_: Any) -> str:
    """`${if_run_has:key,there,otherwise}`: one word for what is another class in tasks that have another section."""
    return there if key in _root_ else otherwise


OmegaConf.register_new_resolver("if_run_has", _if_run_has, replace=True)


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


def build(
    node: Any,
    path: str = "",
    implied: Callable[..., Any] | None = None,
    annotation: Any = Any,
    trust: Trust = EVERYONE,
    **given: Any,
) -> Any:
    """Construct the object that a section of the configuration describes.

    Args:
        node: a mapping with `_target_`, or without one where `implied` names the target.
        path: where the node stands in the configuration, for messages.
        implied: target of a node that names none (a dataclass annotation).
        annotation: of the place: what it says cannot stand there is not called.
        trust: whose names are looked up.
        given: arguments that do not come from the configuration; they take precedence.

    Raises:
        ConfigError: anything wrong with the node; the message begins with the path of the key at fault.
        WrongType: what it names does not fit the annotation.
    """
    node = plain(node) if isinstance(node, DictConfig) else node
    if not isinstance(node, Mapping):
        raise ConfigError(f"{path or 'configuration'} = {node}: must be a section with _target_")
    values = dict(node)
    partial = bool(values.pop("_partial_", False))
    target = implied
    if "_target_" in values:
        name = values.pop("_target_")
        target = trust.locate(name, path)
        if not trust.admit(target, annotation, partial, _join(path, "_target_"), name):
            raise WrongType(mismatch(target, annotation, partial))
    if target is None:
        raise ConfigError(f"{_join(path, '_target_')}: is missing; say which class, for example _target_: package.Name")
    if lacking := sorted(getattr(target, "__abstractmethods__", ())):
        raise ConfigError(f"{_join(path, '_target_')} = {_name(target)}: does not say {', '.join(lacking)}; write it")
    arguments = _arguments(target, values, path, given, partial, trust)
    if partial:
        return functools.partial(target, **arguments)
    return _call(target, arguments, path)


def function(
    node: Any, path: str, gives: type[Any], later: Sequence[str] = (), trust: Trust = EVERYONE
) -> Callable[..., Any]:
    """The function that a section names, with the section's other keys as its arguments.

    Args:
        node: a mapping with `_target_`.
        path: where the node stands in the configuration, for messages.
        gives: the class of what it returns; a function that is known to return something else is refused.
        later: its arguments that come when it is called.
        trust: whose names are looked up.

    Raises:
        ConfigError: anything wrong with the node; the message begins with the path of the key at fault.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{path} = {_short(node)}: must be a section with _target_, the name of a function")
    values = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    name, key = node["_target_"], _join(path, "_target_")
    target = trust.locate(name, path)
    if not trust.admit(target, gives, False, key, name):
        raise ConfigError(f"{key} = {name}: {mismatch(target, gives, False)}; name a function that returns one")
    if lacking := [word for word in later if word not in parameters(target) and not takes_any(target)]:
        raise ConfigError(f"{key} = {name}: takes no argument {lacking[0]}, which it is called with; add it")
    arguments = _arguments(target, values, path, dict.fromkeys(later), False, trust)
    return functools.partial(target, **{key: value for key, value in arguments.items() if key not in later})


@dataclass(frozen=True)
class Command:
    """The words typed to start a run, and what they chose.

    Args:
        overrides: the words.
        choices: option of every group.
        changes: values by dotted key that replace a resumed run's.
        start: the step to go back to on resume; 0 starts anew, None goes on from the newest checkpoint.
        resumes: the path of the run that was named to go on with, if one was.
    """

    overrides: Sequence[str] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    start: int | None = None
    resumes: str | None = None


@dataclass(frozen=True)
class RunSpec:
    """A run's configuration, its settings read once.

    Args:
        config: the composed configuration, plain and resolved.
        settings: its part that every run has.
        command: what was typed.
        trust: whose names the configuration may have looked up.
    """

    config: Mapping[str, Any]
    settings: Settings
    command: Command = Command()
    trust: Trust = EVERYONE

    @staticmethod
    def of(config: Mapping[str, Any], command: Command | None = None, trust: Trust | None = None) -> RunSpec:
        """Read the settings of a configuration.

        Args:
            config: plain and resolved.
            command: what was typed.
            trust: whose names are looked up; None: as for a run directory, see `Trust.granted`.

        Raises:
            ConfigError: an unusable value.
        """
        trust = trust or Trust.granted()
        return RunSpec(config, build_settings(config, trust), command or Command(), trust)

    def with_values(self, **values: Any) -> RunSpec:
        """Return the same run with other values of some settings."""
        return replace(self, config={**self.config, **values}, settings=replace(self.settings, **values))

    def task(self) -> Task:
        """Build the task, with torch's number of threads set.

        Raises:
            ConfigError: see `build_task`.
        """
        import torch

        from rlgan.runs.hooks import measures_of
        from rlgan.task.seeding import seed_globals

        torch.set_num_threads(self.settings.threads)
        seed_globals(self.settings.seed)  # whatever is made, also by code from outside, is made alike
        task = build_task(self.config, self.settings, self.trust)
        try:
            task.added = measures_of(self.config, self.trust, task)
        except BaseException:
            task.close()
            raise
        return task

    def callbacks(self) -> dict[str, Callback]:
        """Build the callbacks, by name.

        Raises:
            ConfigError: see `rlgan.runs.hooks`.
        """
        from rlgan.runs.hooks import callbacks_of

        return callbacks_of(self.config, self.trust)


def build_settings(config: Mapping[str, Any], trust: Trust = EVERYONE) -> Settings:
    """Build the run's settings from the keys of the root that are fields of `Settings`.

    Args:
        config: plain and resolved.
        trust: whose names are looked up.

    Raises:
        ConfigError: an unusable value.
    """
    settings = build({key: config[key] for key in config if key in SETTINGS}, implied=Settings, trust=trust)
    assert isinstance(settings, Settings)
    return settings


def build_task(config: Mapping[str, Any], settings: Settings, trust: Trust = EVERYONE) -> Task:
    """Build the task that `task._target_` names; every section of the root is an argument of it, by name.

    Raises:
        ConfigError: an unknown key at any depth, an unusable value, or a target that is no task.
    """
    node = config.get("task")
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"task = {node}: choose a task, for example task=wgan or task=ddpg")
    own = {key: value for key, value in node.items() if not str(key).startswith("_")}
    target = trust.locate(node["_target_"], "task")
    if not (inspect.isclass(target) and issubclass(target, Task)):
        raise ConfigError(f"task._target_ = {node['_target_']}: must be a subclass of rlgan.task.task.Task")
    if lacking := sorted(getattr(target, "__abstractmethods__", ())):
        raise ConfigError(f"task._target_ = {_name(target)}: does not say {', '.join(lacking)}; write it")
    sections = {key: value for key, value in config.items() if key not in (*SETTINGS, *_OF_SEVERAL, *HOOKS, "task")}
    if twice := sorted(set(own) & set(sections)):
        raise ConfigError(f"task.{twice[0]} = {own[twice[0]]}: stands at the root as well; remove one of them")
    known = set(parameters(target)) - {"settings"}
    for key, value in sections.items():
        if key not in known and not takes_any(target):
            there = (known - set(own)) | SETTINGS | {"task"}
            raise _answered(NoSuchKey(str(key), value, "there is no such key", there, "there are"), config)
    try:
        arguments = _arguments(target, own, "task", {"settings": settings}, True, trust)
        arguments |= _arguments(target, sections, "", {"settings": settings, **arguments}, False, trust)
    except NoSuchKey as error:
        raise _answered(error, config) from None
    try:
        task = _call(target, arguments, "")
    except ConfigError as error:
        raise ConfigError(f"task.{error}" if str(error).split(" = ")[0] in own else str(error)) from error
    assert isinstance(task, Task)
    from rlgan.runs.training.contract import check_task  # which imports torch

    try:
        check_task(task)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return task


class NoSuchKey(ConfigError):
    """A key that its place does not have."""

    def __init__(self, key: str, value: Any, fault: str, known: Collection[str], otherwise: str) -> None:
        self.key, self.value, self.fault = key, value, fault
        self.close = closest(key.rpartition(".")[2], known)
        self.hint = nearest(key.rpartition(".")[2], known, otherwise)
        super().__init__(f"{key} = {_short(value)}: {fault}; {self.hint}")


def _answered(error: NoSuchKey, config: Mapping[str, Any]) -> ConfigError:
    """The error with what was meant, as the whole configuration tells."""
    from rlgan.runs.answers.meant import is_alias, meant, similar, unfolded
    from rlgan.runs.config.overrides import of_other_tasks
    from rlgan.runs.options import options

    elsewhere = not error.close or is_alias(error.key)  # a slip of the finger is not looked for in other tasks
    hint = meant(error.key, error.value, config, options(), lambda: of_other_tasks(config) if elsewhere else {})
    hint = hint or (None if error.close else similar(error.key, config)) or error.hint
    key, value = unfolded(error.key, error.value)
    return ConfigError(f"{key} = {_short(value)}: {error.fault}; {hint}")


def _arguments(
    target: Callable[..., Any],
    values: Mapping[str, Any],
    path: str,
    given: Mapping[str, Any],
    partial: bool,
    trust: Trust,
) -> dict[str, Any]:
    has = parameters(target)
    notes = hints(target)
    known = [name for name in has if name not in given]
    arguments = dict(given)
    for key, value in values.items():
        here = _join(path, str(key))
        if key in given:
            continue
        if key not in has and not takes_any(target):
            raise NoSuchKey(here, value, f"{_name(target)} has no such key", known, "it has")
        annotation = notes.get(str(key), Any)
        trust.admit_word(value, annotation, here)
        try:
            arguments[str(key)] = coerce(value, annotation, here, functools.partial(build, trust=trust))
        except WrongType as error:
            default = has[key].default if key in has else inspect.Parameter.empty
            remedy = "" if ";" in str(error) else _example(default)
            raise ConfigError(f"{here} = {_short(value)}: {error}{remedy}") from None
    if not partial:
        for name, parameter in has.items():
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
        separator = "" if not path else "." if _FIELD.match(message) else ": "
        raise ConfigError(f"{path}{separator}{message}") from error
    except Exception as error:
        if str(getattr(target, "__module__", "")).partition(".")[0] == "rlgan":
            raise  # a fault of ours, which a traceback explains
        from rlgan.optim.contract.calls import told

        raise ConfigError(told(path or "task", target, "", error)) from error


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
