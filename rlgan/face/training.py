"""Train from Python as from the command line."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import OmegaConf

from rlgan.face.guests import guest, looking, packages_of
from rlgan.face.loading import load
from rlgan.face.trained import Trained
from rlgan.runs.commands.train import REFUSED, as_meant, go_on
from rlgan.runs.config.build import Command, plain
from rlgan.runs.config.overrides import explain, group_choices
from rlgan.runs.config.places import Settler
from rlgan.runs.config.sources import ROOT
from rlgan.runs.config.trust import EVERYONE
from rlgan.runs.config.words import Words, as_text, parse, quoted, text_of
from rlgan.runs.ends import staying
from rlgan.runs.options import conf_directory
from rlgan.runs.prepare import Outcome
from rlgan.runs.ranks.launch import launched
from rlgan.runs.session import launch
from rlgan.task.errors import ConfigError, RunError

_one_at_a_time = threading.Lock()
"""Hydra composes for a whole process."""


def train(*words: str, trust: tuple[str, ...] | list[str] = (), **settings: Any) -> Trained:
    """Train a run, as `rlgan ...` does, and load it.

    Args:
        words: what one types, `"task=ddpg"`, `"critic.optimizer.lr=1e-3"`; also `"resume=RUN"` with what changes.
        trust: of a run that goes on, whose classes it may name.
        settings: more of them as keywords, `steps=1000`; `**{"actor.optimizer.lr": 1e-4}` for keys with a point.

    Returns:
        The run, at its best checkpoint.

    Raises:
        ConfigError: a word or a value cannot be used; nothing has been begun.
        RunError: the run failed; the message is what the command line says.
        KeyboardInterrupt: Ctrl-C; the run's state was saved, and the message says how it goes on.
    """
    for given in words:
        if not isinstance(given, str):
            raise ConfigError(
                f"{given!r}: is no word; each is an argument, as in rlgan.train('task=ddpg', steps=1000), and a list "
                "or dict of them has a star before it: train(*words), train(**settings)"
            )
    if (ranks := launched()) is not None:
        raise ConfigError(
            f"rlgan.train: is called in {ranks.size} processes of torchrun, each of which would train the whole run; "
            f"leave torchrun out, or type torchrun --nproc_per_node={ranks.local_size} -m rlgan with these words"
        )
    typed = [quoted(word) for word in (*words, *(_word(key, value) for key, value in settings.items()))]
    for word in typed:
        _check(word)
    resumed = [word for word in typed if word.lstrip("+").startswith("resume=") and word.partition("=")[2] != "null"]
    own: set[str] = set()
    with guest(), staying(), looking(trust, own=not resumed):
        if resumed:
            outcome = go_on(text_of(resumed[-1]), [word for word in typed if word not in resumed])
        else:
            config, command = _composed(typed)
            own = packages_of(config)
            outcome = launch(config, command)
    return _ended(outcome, (*trust, *sorted(own)))


def _check(word: str) -> None:
    key, equals, value = word.lstrip("+~").partition("=")
    if word.startswith("-") or not equals:
        raise ConfigError(f"{word}: is no key=value; from Python a run is trained by words such as 'task=ddpg'")
    if key in REFUSED:
        raise ConfigError(f"{key} = {value}: {REFUSED[key].format(value=value)}")


def _word(key: str, value: Any) -> str:
    """`key=value` as one would type it."""
    if isinstance(value, str | Path):
        word = f"{key}={value}"
        return word if isinstance(value, str) and not any(sign in value for sign in " ,'\"\\") else as_text(word)
    return f"{key}={_text(value)}"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, str):
        return as_text(f"x={value}").partition("=")[2]
    return str(value)


def _composed(typed: list[str]) -> tuple[dict[str, Any], Command]:
    """The configuration that words choose, and what was typed.

    Raises:
        ConfigError: one of them cannot be used.
    """
    with _one_at_a_time:
        return _composed_alone(typed)


def _composed_alone(typed: list[str]) -> tuple[dict[str, Any], Command]:
    former = Singleton.get_state()  # of somebody's own program with Hydra, around this one
    try:
        typed, rewritten = as_meant(typed)
        for word in typed:
            if parse(word).is_sweep_override():
                key, _, value = word.partition("=")
                raise ConfigError(f"{key} = {value}: are several values; train them one by one, [{value}] is one list")
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            found = compose(ROOT, overrides=rewritten, return_hydra_config=True)
    except Exception as error:
        raise ConfigError(explain(error, typed)) from error
    finally:
        Singleton.set_state(former)
    choices = group_choices(found.hydra.runtime.choices)
    keys = [str(key) for key in found if key != "hydra"]
    config = plain(OmegaConf.masked_copy(found, keys))
    settle = Settler(EVERYONE, Words(tuple(typed)), Path.cwd())
    return settle(config), Command([word.lstrip("+") for word in typed], choices)


def _ended(outcome: Outcome, trust: tuple[str, ...]) -> Trained:
    if outcome.state == "interrupted":
        number = outcome.code - 128
        if number not in (signal.SIGINT, signal.SIGUSR2):
            signal.raise_signal(number)  # somebody wants this process to end
        raise KeyboardInterrupt(f'the run was saved; rlgan.train("resume={outcome.path}") goes on with it')
    if outcome.code:
        raise RunError(outcome.message)
    return load(outcome.path, trust=trust)
