"""The files of options: where they are, ours, users' folders and installed packages, and what groups they make.

Neither Hydra nor torch is imported: tab completion goes through this module.
"""

import functools
import os
import re
import sys
from contextlib import suppress
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import rlgan
from rlgan.task.errors import ConfigError

GROUP = "rlgan.conf"
HOOKS = ("callbacks", "metrics", "pictures")
"""Groups of which a run has any number of options, `callbacks=[one,another]`; each is a section by its name."""


def conf_directory() -> Path:
    """Find the package's own conf/: beside pyproject.toml in a source tree, inside the package in a wheel."""
    package = Path(rlgan.__file__).resolve().parent
    source = package.parent / "conf"
    return source if source.is_dir() and (package.parent / "pyproject.toml").is_file() else package / "conf"


def outside_directories() -> list[Path]:
    """List a user's folders of configurations: those of $RLGAN_CONF, then conf/ in the current folder.

    Raises:
        ConfigError: a folder of $RLGAN_CONF does not exist.
    """
    found = []
    for name in filter(None, os.environ.get("RLGAN_CONF", "").split(os.pathsep)):
        path = Path(name).expanduser().resolve()
        if not path.is_dir():
            raise ConfigError(f"RLGAN_CONF = {name}: no such folder; name folders, separated by {os.pathsep}")
        found.append(path)
    here = Path.cwd() / "conf"
    if here.is_dir() and here.resolve() not in (conf_directory(), *found):
        found.append(here.resolve())
    return found


def outside_packages() -> list[str]:
    """List configuration packages of installed distributions: the entry points of the group `rlgan.conf`."""
    return list(_packages(tuple(sys.path)))


@functools.lru_cache(maxsize=4)
def _packages(path: tuple[str, ...]) -> tuple[str, ...]:
    """Of the distributions on this `sys.path`, which a command asks for dozens of times."""
    return tuple(sorted({point.value for point in entry_points(group=GROUP)}))


def roots() -> list[Any]:
    """Every folder of groups: ours, the user's, those of installed packages."""
    roots: list[Any] = [conf_directory(), *outside_directories()]
    for package in outside_packages():
        with suppress(ModuleNotFoundError):
            roots.append(resources.files(package))
    return roots


def options() -> dict[str, list[str]]:
    """List every configuration group with its options, ours and the user's; of Hydra's those in such folders."""
    found: dict[str, set[str]] = {}
    for root in roots():
        for folder in root.iterdir():
            if not folder.is_dir() or folder.name.startswith((".", "_")):
                continue
            groups = {folder.name: folder}
            if folder.name == "hydra":  # its groups have a slash in their names
                groups = {f"hydra/{group.name}": group for group in folder.iterdir() if group.is_dir()}
            for name, group in groups.items():
                _collect(group, "", found.setdefault(name, set()))
    return {group: sorted(names) for group, names in sorted(found.items()) if names}


def options_with(group: str, key: str) -> list[str]:
    """The options of a group whose own file sets this key."""
    line = re.compile(rf"^{re.escape(key)}:", re.MULTILINE)
    files = [item for root in roots() if (folder := root.joinpath(group)).is_dir() for item in folder.iterdir()]
    found = [file for file in files if file.name.endswith(".yaml") and line.search(file.read_text(errors="replace"))]
    return sorted({file.name.removesuffix(".yaml") for file in found})


def _collect(folder: Any, prefix: str, names: set[str]) -> None:
    """Options of one group; those in a folder of their own are called `folder/option`, as Hydra calls them."""
    for item in folder.iterdir():
        if item.is_dir() and not item.name.startswith((".", "_")):
            _collect(item, f"{prefix}{item.name}/", names)
        elif item.name.endswith(".yaml"):
            names.add(prefix + item.name.removesuffix(".yaml"))
