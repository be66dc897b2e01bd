"""The words that may stand first in a command line, a file each.

A command's module has `HELP`, its page, and `run(arguments) -> exit code`. None of them imports torch when it is
loaded, so that tab completion and --help answer at once.
"""

from __future__ import annotations

import importlib
from types import ModuleType

#: Every command with its line in `rlgan --help`; the first may be left out.
COMMANDS = {
    "train": ("[train] [key=value ...]", "train"),
    "evaluate": ("evaluate RUN... [key=value ...]", "measure trained runs in full"),
    "new": ("new KIND NAME", "write a package for an agent, a method, data, ... of your own"),
    "export": ("export RUN to=DIR [key=value ...]", "write what a run has learnt into a folder for others"),
    "plot": ("plot RUNS... [key=value ...]", "compare many runs on one page"),
}


def command(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"rlgan.runs.commands.{name}")


def usage() -> str:
    """The lines of `rlgan --help` that name the commands."""
    width = max(len(words) for words, _ in COMMANDS.values())
    lines = [f"rlgan {words:<{width}}   {what}" for words, what in COMMANDS.values()]
    return "\n       ".join([*lines, "rlgan COMMAND --help says more of a command"])
