"""Build the hooks that a configuration lists: callbacks, metrics and pictures.

Apart from rlgan.runs.config.build, whose run asks for them when it is built.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from rlgan.runs.config.build import build, function
from rlgan.runs.config.schema import WrongType
from rlgan.runs.config.trust import Trust
from rlgan.task.errors import ConfigError
from rlgan.task.hooks import Callback, Measures, Metric, Painter
from rlgan.task.suggest import closest
from rlgan.task.task import Task


def callbacks_of(config: Mapping[str, Any], trust: Trust) -> dict[str, Callback]:
    """Build the callbacks, by name.

    Raises:
        ConfigError: see `_built`.
    """
    return _built(config, "callbacks", Callback, trust)


def measures_of(config: Mapping[str, Any], trust: Trust, task: Task) -> Measures:
    """Build the metrics and pictures, and ask each whether it is for this task.

    Raises:
        ConfigError: see `_built`; or one is not for the task.
    """
    found = Measures(_built(config, "metrics", Metric, trust), _built(config, "pictures", Painter, trust))
    found.check(task)
    return found


def _built(config: Mapping[str, Any], key: str, base: type[Any], trust: Trust) -> dict[str, Any]:
    """Build what the sections of `callbacks`, `metrics` or `pictures` describe, by name.

    A section names a class derived from `base`, or, for metrics and pictures, a function of a `task`.

    Raises:
        ConfigError: a name that cannot stand before a tag, an unusable section, or another class.
    """
    node = config.get(key) or {}
    if not isinstance(node, Mapping):
        raise ConfigError(f"{key} = {_short(node)}: must be sections by name; choose options, {key}=[one,another]")
    found: dict[str, Any] = {}
    for name, section in node.items():
        here = f"{key}.{name}"
        if section is None:  # `metrics.mine=null` takes one of an experiment's away
            continue
        if not re.fullmatch(r"[A-Za-z_][\w-]*", str(name)):
            raise ConfigError(f"{here}: is no name; use letters, digits and _, as in {key}.my_own")
        if not isinstance(section, Mapping) or "_target_" not in section:
            whole = [str(other) for other, own in node.items() if isinstance(own, Mapping) and "_target_" in own]
            meant = closest(str(name), whole)
            hint = f"did you mean {key}.{meant}?" if meant else f"choose it by {key}=[{name}]"
            raise ConfigError(f"{here} = {_short(section)}: must be a section with _target_; {hint}")
        target = trust.locate(section["_target_"], here)
        if not inspect.isclass(target) and base is not Callback:
            found[name] = function(section, here, object, ("task",), trust)
            continue
        try:
            found[name] = build(section, here, annotation=base, trust=trust)
        except WrongType:
            raise ConfigError(
                f"{here}._target_ = {section['_target_']}: is no {base.__name__}; derive the class from "
                f"rlgan.task.{base.__name__}"
            ) from None
    return found


def _short(value: Any) -> str:
    text = "{...}" if isinstance(value, Mapping) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
