"""Where configurations come from: ours, users' folders and installed packages; how their files are read.

Nothing here imports torch: tab completion goes through this module.
"""

import functools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

import rlgan
from rlgan.runs.config.reading import content, decoded, header_missing, own_name
from rlgan.task.errors import ConfigError

ROOT = "train"
GROUP = "rlgan.conf"

# Files of these groups set keys of the run itself, at its root.
_OF_THE_RUN = ("experiment", "task")


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


class OutsideConfigurations(SearchPathPlugin):
    """Hydra plugin that adds the configurations of other packages and folders.

    A file of theirs that is called as one of ours, or as one of another's, is refused when it is meant; see `_loaded`.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for package in outside_packages():
            search_path.append(GROUP, f"pkg://{package}")
        for folder in outside_directories():
            search_path.append("RLGAN_CONF", f"file://{folder}")


# Called as what they stand for: a launcher's worker, which is sent the registry, takes no other class for `file`.
class FileConfigSource(file_config_source.FileConfigSource):
    """Configuration files in a folder, as editors write them, each with a name of its own."""

    def load_config(self, config_path: str) -> ConfigResult:
        name = self._normalize_file_name(config_path)
        file = Path(self.path).resolve() / name
        if not file.exists():
            raise ConfigLoadError(f"Config not found : {file}")
        return _loaded(self, file, name)


class ImportlibResourcesConfigSource(importlib_resources_config_source.ImportlibResourcesConfigSource):
    """Configuration files in an installed package; see `FileConfigSource`."""

    def load_config(self, config_path: str) -> ConfigResult:
        if self.provider not in (GROUP, "main"):  # Hydra's own and those of its plugins
            return super().load_config(config_path)
        name = self._normalize_file_name(config_path)
        return _loaded(self, resources.files(self.path).joinpath(name), name)


def _loaded(source: ConfigSource, file: Any, name: str) -> ConfigResult:
    shown = own_name(file) if isinstance(file, Path) else str(file)
    data = file.read_bytes()
    for other in _twins(name):
        if other != file and other.read_bytes() != data:
            raise _twice(name, shown, own_name(other) if isinstance(other, Path) else str(other))
    text = decoded(data, shown)
    ours = isinstance(file, Path) and file.is_relative_to(conf_directory())
    found = content(data, shown, remember=not ours)
    if not ours and _sets_the_run(found, name.rpartition("/")[0]) and (fault := header_missing(text)):
        raise ConfigError(f"{shown}: {fault}")
    config = OmegaConf.create(found)
    # Hydra looks no further than the first comment; a title may stand above the header.
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip() and not re.match(r"\s*#(?!\s*@)", line)), 0)
    header = ConfigSource._get_header_dict("\n".join(lines[first : first + 8]))
    return ConfigResult(config=config, path=source.full_path(), provider=source.provider, header=header)


def _sets_the_run(found: dict[str, Any], group: str) -> bool:
    """Tell whether the keys of a group's file are meant as the run's own and not as its option's."""
    first = group.split("/")[0]
    defaults = found.get("defaults") or []
    words = [str(next(iter(item))) if isinstance(item, dict) and item else str(item) for item in defaults]
    overrides = [word.startswith("override ") for word in words if word != "_self_"]
    return first in _OF_THE_RUN or first in found or (bool(overrides) and all(overrides))


def _twins(name: str) -> Iterator[Any]:
    """Every file that is called so, ours first."""
    for root in _roots():
        file = root.joinpath(name)
        if file.is_file():
            yield file.resolve() if isinstance(file, Path) else file


def _twice(name: str, read: str, other: str) -> ConfigError:
    group, _, option = name.removesuffix(".yaml").rpartition("/")
    if not group:
        return ConfigError(
            f"{other}: rlgan's own root is called {name}, and yours would not be read; rename it, or set "
            "what it sets in conf/experiment/mine.yaml, for experiment=mine"
        )
    return ConfigError(
        f"{group} = {option}: is there twice, {read} and {other}; rename yours, for example to my_{option}.yaml"
    )


def misnamed(option: str) -> str | None:
    """Find the file of a user's that would be this option, were it called .yaml."""
    for folder in outside_directories():
        for ending in (".yml", ".YAML", ".YML", ".yaml.txt"):
            if (file := folder / f"{option}{ending}").is_file():
                return own_name(file)
    return None


def register() -> None:
    """Make Hydra look in users' folders and packages as well, and read files by `_loaded`; once is enough."""
    plugins = Plugins.instance()
    if OutsideConfigurations not in plugins.discover(SearchPathPlugin):
        plugins.register(OutsideConfigurations)
    # Ours of these names stand in the places of the plugins' own, which Hydra would merge with them, with a warning.
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    for file in conf_directory().glob("hydra/launcher/*.yaml"):
        launchers.pop(file.name, None)
    SourcesRegistry.instance().types.update({"file": FileConfigSource, "pkg": ImportlibResourcesConfigSource})


def _roots() -> list[Any]:
    roots: list[Any] = [conf_directory(), *outside_directories()]
    for package in outside_packages():
        with suppress(ModuleNotFoundError):
            roots.append(resources.files(package))
    return roots


def options() -> dict[str, list[str]]:
    """List every configuration group with its options, ours and the user's; of Hydra's those in such folders."""
    found: dict[str, set[str]] = {}
    for root in _roots():
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
    files = [item for root in _roots() if (folder := root.joinpath(group)).is_dir() for item in folder.iterdir()]
    found = [file for file in files if file.name.endswith(".yaml") and line.search(file.read_text(errors="replace"))]
    return sorted({file.name.removesuffix(".yaml") for file in found})


def _collect(folder: Any, prefix: str, names: set[str]) -> None:
    """Options of one group; those in a folder of their own are called `folder/option`, as Hydra calls them."""
    for item in folder.iterdir():
        if item.is_dir() and not item.name.startswith((".", "_")):
            _collect(item, f"{prefix}{item.name}/", names)
        elif item.name.endswith(".yaml"):
            names.add(prefix + item.name.removesuffix(".yaml"))
