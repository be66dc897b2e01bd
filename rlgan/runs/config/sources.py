"""Where configurations come from: ours, users' folders and installed packages; how their files are read.

Nothing here imports torch: --help and --cfg go through this module.
"""

import re
from collections.abc import Iterator
from importlib import resources
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

from rlgan.runs.config.reading import content, decoded, header_missing, own_name
from rlgan.runs.options import GROUP, conf_directory, outside_directories, outside_packages, roots
from rlgan.task.errors import ConfigError

ROOT = "train"

# Files of these groups set keys of the run itself, at its root.
_OF_THE_RUN = ("experiment", "task")


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
    for root in roots():
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
