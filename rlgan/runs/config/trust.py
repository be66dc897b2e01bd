"""Whose names a configuration may have called, decided before anything is imported or called.

What the user composes from words and folders of their own is their own doing: every name is looked up. A run directory
may be a stranger's. Of what it names only this is looked up:

- of rlgan, classes and functions that give what the place is annotated with;
- of torch, optimizers, modules of torch.nn, activations and initialisations;
- of gymnasium, wrappers that write no files, and spaces;
- all of a package that announces itself by an entry point `rlgan.conf`, or that the user lists: `trust=[my_agent]`, or
  $RLGAN_TRUST, names separated by commas or the system's path separator.

A name counts where its object is DEFINED, so that no walk through a module's own imports leads anywhere else.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from importlib.metadata import entry_points
from typing import Any

from rlgan.runs.config.kinds import DOTTED, ID, gives, imported_by, is_open, parameters
from rlgan.runs.config.renames import current
from rlgan.task.errors import ConfigError
from rlgan.task.suggest import closest

VARIABLE = "RLGAN_TRUST"
GROUP = "rlgan.conf"

_KNOWN = "a run directory may name classes of rlgan, torch and gymnasium only"
_OURS = "rlgan"
_KINDS = {
    _OURS: "what gives the kind of object that the place asks for",
    "torch": "optimizers, layers of torch.nn and activations",
    "gymnasium": "spaces and wrappers that write no files",
}
# Modules of others that hold what the kinds below admit; none else is imported for a run directory.
_MODULES = ("torch.optim", "torch.nn", "gymnasium.wrappers", "gymnasium.spaces")
_ACTIVATIONS = frozenset(
    {
        *("celu", "elu", "gelu", "glu", "leaky_relu", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "silu"),
        *("hardshrink", "hardsigmoid", "hardswish", "hardtanh", "softplus", "softshrink", "softsign", "tanhshrink"),
        *("log_softmax", "logsigmoid", "sigmoid", "softmax", "softmin", "tanh", "threshold"),
    }
)
_WRITES = re.compile(r"folder|path|file|dir(ectory)?$")


@dataclass(frozen=True)
class Trust:
    """Whose names are looked up.

    Args:
        packages: packages whose every name is, besides rlgan, torch and gymnasium; None: everybody's.
    """

    packages: frozenset[str] | None

    @staticmethod
    def granted() -> Trust:
        """What a run directory may have: packages that announce themselves, and those of $RLGAN_TRUST.

        Raises:
            ConfigError: $RLGAN_TRUST holds what is no package's name.
        """
        listed = _names(re.split(rf"[,\s{re.escape(os.pathsep)}]+", os.environ.get(VARIABLE, "")), VARIABLE)
        announced = {point.value.split(":")[0].split(".")[0] for point in entry_points(group=GROUP)}
        return Trust(frozenset({*listed, *announced}))

    def locate(self, target: Any, path: str) -> Callable[..., Any]:
        """Import the class or function that a dotted name stands for.

        Raises:
            ConfigError: no such module or name (with the nearest one), it cannot be called, or it is not to be looked
                up; then nothing was imported.
        """
        key = f"{path}._target_" if path else "_target_"
        if not isinstance(target, str) or "." not in target:
            raise ConfigError(f"{key} = {target}: must be a dotted name such as package.module.Name")
        target = current(target)
        if self.packages is not None and not self._whole(target):
            return self._of_known(target, key)
        found = _walk(target, key)
        where = _defined(found)
        if self.packages is not None and not self._whole(where) and where.split(".")[0] not in _KINDS:
            raise _refused(key, target, where)
        return found

    def admit(self, found: Any, annotation: Any, partial: bool, key: str, target: str) -> bool:
        """Tell whether what a name stands for may be called for a place of this annotation.

        Args:
            found: of `locate`.
            annotation: of the place; Any where nothing is said of it.
            partial: its other arguments come later, so that a callable is what the place gets.
            key, target: for the message.

        Raises:
            ConfigError: the place may hold anything, and a run directory names what it may not put there.
        """
        fits = gives(found, annotation, partial)
        whole = self.packages is None or self._whole(_defined(found))
        if fits is False or (fits is None and not whole and not is_open(annotation)):
            return False
        if whole or (fits and _defined(found).split(".")[0] == _OURS) or _kind(found):
            return True
        raise _refused(key, target, _defined(found))

    def admit_word(self, value: Any, annotation: Any, key: str) -> None:
        """Refuse a word that would have a module imported, `module:Name-v0` or `package.module.Class`.

        Raises:
            ConfigError: it names a module that is not trusted.
        """
        form = imported_by(annotation)
        if self.packages is None or form is None or not isinstance(value, str):
            return
        module = value.rpartition(":" if form == ID else ".")[0]
        if form == ID and value.startswith("GymV"):  # the old gym's, which import by an id of their own
            module = "gym"
        if module and not self._whole(module) and not (form == DOTTED and module.startswith("torch.optim")):
            raise _refused(key, value, module)

    def _whole(self, name: str) -> bool:
        assert self.packages is not None
        return any(name == package or name.startswith(f"{package}.") for package in self.packages)

    def _of_known(self, target: str, key: str) -> Callable[..., Any]:
        module, _, name = target.rpartition(".")
        package, *inner = module.split(".")
        if package not in _KINDS:
            raise _refused(key, target, target)
        ours = package == _OURS and inner[:1] != ["runs"]
        if not (ours or any(module == one or module.startswith(f"{one}.") for one in _MODULES)):
            raise _refused(key, target, target)
        if not all(part.isidentifier() for part in (*inner, name)):
            raise ConfigError(f"{key} = {target}: is no dotted name such as package.module.Name")
        if any(part.startswith("_") for part in (*inner, name)):
            raise _refused(key, target, target)
        try:
            holder = importlib.import_module(module)
        except ModuleNotFoundError:
            # `rlgan.gan.os.system` as well: only what stands in a module by its own name.
            raise ConfigError(
                f"{key} = {target}: there is no module {module}; name a class by its module, package.module.Name"
            ) from None
        if not hasattr(holder, name):
            raise _unknown(key, target, module, name, holder)
        found = getattr(holder, name)
        if not callable(found):
            raise ConfigError(f"{key} = {target}: cannot be called; name a class or a function")
        where = _defined(found)
        if where.split(".")[0] not in _KINDS and not self._whole(where):
            raise _refused(key, target, where)
        return found


EVERYONE = Trust(None)
"""For what the user composes from words and folders of their own."""


@contextmanager
def trusting(packages: Sequence[str]) -> Iterator[None]:
    """Add packages to $RLGAN_TRUST, so that workers know them as well.

    Raises:
        ConfigError: a word that is no package's name.
    """
    former = os.environ.get(VARIABLE)
    words = [*([former] if former else []), *_names(packages, "trust")]
    if words:
        os.environ[VARIABLE] = ",".join(words)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if former is not None:
            os.environ[VARIABLE] = former


def any_trusted() -> bool:
    """Tell whether the user lists any package."""
    return bool(os.environ.get(VARIABLE, "").strip(f", {os.pathsep}"))


def look_here(trusted: bool) -> None:
    """Let modules of the current folder be imported, or, where the folder is not trusted, see that they are not.

    A folder is found all the same if it is on $PYTHONPATH or holds this very package.
    """
    here = os.getcwd()
    if trusted:
        if here not in sys.path:
            sys.path.append(here)
        return
    asked = [os.path.abspath(name) for name in os.environ.get("PYTHONPATH", "").split(os.pathsep) if name]
    home = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["rlgan"].__file__ or "")))
    if here not in (*asked, home):
        sys.path[:] = [name for name in sys.path if name not in ("", here)]


def _names(words: Sequence[str], key: str) -> list[str]:
    names = [word for word in words if word]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"{key} = {name}: must be names of packages, for example trust=[my_agent]")
    return names


def _refused(key: str, target: str, where: str) -> ConfigError:
    package = where.split(".")[0] or "builtins"
    via = "" if target.split(".")[0] == package or ":" in target else f" is of {package}:"
    only = f"of {package} a run directory may name {_KINDS[package]} only" if package in _KINDS else _KNOWN
    return ConfigError(f"{key} = {target}:{via} {only}; add trust=[{package}] if you know what it does")


def _unknown(key: str, target: str, module: str, name: str, holder: Any) -> ConfigError:
    close = closest(name, (known for known in vars(holder) if not known.startswith("_")))
    return ConfigError(
        f"{key} = {target}: {module} has no {name}; {f'did you mean {close}?' if close else 'check the name'}"
    )


def _walk(target: str, key: str) -> Callable[..., Any]:
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                continue
            raise ConfigError(f"{key} = {target}: its module needs {error.name}, which is not installed") from error
        except ValueError:  # an empty part: `a..b`
            continue
        except Exception as error:  # it runs what its author wrote
            raise ConfigError(f"{key} = {target}: importing {name} raised {_said(error)}; mend it there") from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                raise _unknown(key, target, name, part, found if hasattr(found, "__dict__") else type(found))
            found = getattr(found, part)
        if not callable(found):
            raise ConfigError(f"{key} = {target}: cannot be called; name a class or a function")
        return found
    raise ConfigError(f"{key} = {target}: no module {parts[0]}; start from the folder that holds it, or install it")


def _said(error: Exception) -> str:
    """What a module raised, and in which line of whose code."""
    from rlgan.optim.contract.calls import line_of

    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({os.path.basename(error.filename)}, line {error.lineno})"
    where = line_of(error)
    return " ".join(f"{type(error).__name__}: {error}".split()) + (f" ({where})" if where else "")


def _defined(found: Any) -> str:
    """The module in which a class or function is defined; of any other object, that of its class."""
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        found = type(found)
    if inspect.ismethod(found) and not inspect.isclass(found.__self__):
        return type(found.__self__).__module__
    return str(getattr(found, "__module__", None) or "builtins")


def _kind(found: Any) -> bool:
    """Tell whether it is of a kind that may stand wherever anything may."""
    import gymnasium
    import torch

    where = _defined(found)
    if not inspect.isclass(found):
        module = sys.modules.get(f"torch.nn.{'init' if str(found.__name__).endswith('_') else 'functional'}")
        named = found.__name__ in _ACTIVATIONS or module is torch.nn.init
        return where.split(".")[0] == "torch" and named and getattr(module, found.__name__, None) is found
    if issubclass(found, torch.optim.Optimizer):
        return where.startswith("torch.optim.")
    if issubclass(found, torch.nn.Module):
        return where.startswith("torch.nn.modules.")
    if issubclass(found, gymnasium.spaces.Space):
        return where.startswith("gymnasium.spaces.")
    if issubclass(found, gymnasium.Wrapper):
        own = where.startswith(("gymnasium.wrappers.", f"{_OURS}."))
        return own and not any(map(_WRITES.search, parameters(found)))
    return where.split(".")[0] == _OURS and is_dataclass(found)
