"""Compose the variants of a comparison: the experiment's choices, then a variant's words, then the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from rlgan.runs.config.build import Command, RunSpec, plain
from rlgan.runs.config.overrides import explain, forced, group_choices, is_group, refuse_setting_for_option, whole_words
from rlgan.runs.config.places import Settler
from rlgan.runs.config.sources import ROOT, register
from rlgan.runs.config.trust import EVERYONE
from rlgan.runs.config.words import Words, parse, quoted
from rlgan.runs.options import conf_directory, options
from rlgan.task.errors import ConfigError

_REFUSED = {
    "compare": "a variant is one run",
    "experiment": "the experiment is the one that compares; write out what the other one sets",
    "resume": "variants are new runs",
    "run_dir": "a variant's directory is its name below the comparison's",
}


def composed(words: Mapping[str, Sequence[str]], typed: Sequence[str]) -> dict[str, RunSpec]:
    """Compose every variant.

    Args:
        words: of the variants, by name.
        typed: what the user typed, as Hydra was given it.

    Raises:
        ConfigError: a word that cannot be used, with the variant's name.
    """
    register()
    groups = options()
    found = {}
    for name, said in words.items():
        try:
            with _apart():
                found[name] = _composed([word for word in said if word], typed, groups)
        except ConfigError as error:
            raise ConfigError(f"compare.variants.{name}: {error}") from error
    return found


def _composed(said: Sequence[str], typed: Sequence[str], groups: Mapping[str, Any]) -> RunSpec:
    own = [quoted(word) for word in said]
    for word in own:
        key = word.lstrip("+~").partition("=")[0]
        if why := _REFUSED.get(key.split(".")[0]):
            raise ConfigError(f"{word.replace('=', ' = ', 1)}: cannot be of a variant ({why}); leave it out")
        if key.startswith("hydra"):
            raise ConfigError(f"{word.replace('=', ' = ', 1)}: Hydra's own settings are of the command; leave it out")
    # An option that the user chooses stands in the place of the variant's; of values the last one counts.
    chosen = {item.get_key_element().lstrip("+~") for item in map(parse, typed) if is_group(item, groups)}
    own = [word for word in own if parse(word).get_key_element().lstrip("+~") not in chosen]
    own = whole_words([*own, *typed])[: len(own)]
    for word in own:
        refuse_setting_for_option(word, [*own, *typed], groups)
    overrides = [*(forced(word, groups) if "=" in word else word for word in own), *typed]
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            config = compose(ROOT, overrides=overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, [word.lstrip("+") for word in overrides])) from error
    choices = group_choices(config.hydra.runtime.choices)
    command = [word.lstrip("+") for word in overrides if not _of_the_comparison(word)]
    settle = Settler(EVERYONE, Words((*own, *Words.of_command(command).typed)), Path.cwd())
    return RunSpec.of(_alone(settle(plain(_without_hydra(config)))), Command(command, choices), EVERYONE)


def _of_the_comparison(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key == "run_dir" or key.split(".")[0] == "compare"


def _alone(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of one run."""
    return {key: value for key, value in config.items() if key != "compare"} | {"run_dir": None}


def _without_hydra(config: DictConfig) -> DictConfig:
    with open_dict(config):
        del config["hydra"]
    return config


@contextmanager
def _apart() -> Iterator[None]:
    """Leave Hydra as it is: a job of its own may be running."""
    instance = GlobalHydra.instance()
    former, instance.hydra = instance.hydra, None
    try:
        yield
    finally:
        instance.hydra = former
