"""A guest in somebody's process leaves it as it was: random numbers, threads, where modules are looked for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from rlgan.runs.config.trust import any_trusted, look_here, trusting
from rlgan.task.seeding import kept_globals

_OURS = ("rlgan", "torch", "gymnasium")
_FROM_OUTSIDE = re.compile(r"([A-Za-z_]\w*)(\.\w+)*:[\w-]+")  # an environment's id, module:Name-v0


@contextmanager
def guest() -> Iterator[None]:
    """Put back the global random generators of Python, numpy and torch, and torch's number of threads."""
    threads = torch.get_num_threads()
    try:
        with kept_globals():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def looking(trust: Iterable[str] = (), own: bool = False) -> Iterator[None]:
    """Look up the names of a configuration as the command line does.

    Args:
        trust: packages whose classes a run directory may name, besides those of rlgan, torch and gymnasium.
        own: the configuration is the user's own words: modules of the current folder are found.

    Raises:
        ConfigError: a word of `trust` is no package's name.
    """
    names = [trust] if isinstance(trust, str) else list(trust)
    with trusting(names):
        path = list(sys.path)
        try:
            look_here(own or any_trusted())
            yield
        finally:
            sys.path[:] = path


def packages_of(config: Any) -> set[str]:
    """The packages whose classes a configuration names, besides those that any may name.

    A run that was just trained is the user's own, and so is what it names.
    """
    if isinstance(config, Mapping):
        target = config.get("_target_")
        own = {target.split(".")[0]} if isinstance(target, str) else set()
        return {name for value in config.values() for name in packages_of(value)} | own - set(_OURS)
    if isinstance(config, list | tuple):
        return {name for value in config for name in packages_of(value)}
    found = _FROM_OUTSIDE.fullmatch(config) if isinstance(config, str) else None
    return {found[1]} - set(_OURS) if found else set()
