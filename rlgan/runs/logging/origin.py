"""Which commit the code that runs is of, by git; in milliseconds, without a network and without running anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import rlgan

_PATIENCE = 2.0
"""Seconds that git may take; a repository that is slower is left out."""


class Commit(TypedDict):
    """A commit, and whether files that git knows were changed since."""

    commit: str
    dirty: bool


def origin(here: Path | None = None) -> dict[str, Commit]:
    """Ask git where the code comes from; many seeds that start together ask once.

    Args:
        here: where the user stands; None is the current folder.

    Returns:
        `rlgan`: of the repository that holds this package, unless it is installed; `here`: of the one that holds the
        current folder, if it is another. Without git, or outside of a repository, there is none.
    """
    return dict(_origin((here or Path.cwd()).resolve(), int(time.monotonic()) // _PATIENCE))


@lru_cache(1)
def _origin(here: Path, now: float) -> dict[str, Commit]:
    package = Path(rlgan.__file__).resolve().parent
    installed = any(part in ("site-packages", "dist-packages") for part in package.parts)
    own = None if installed else _repository(package)
    mine = _repository(here)
    found = {"rlgan": own, "here": None if mine == own else mine}
    known = {name: _commit(folder) for name, folder in found.items() if folder is not None}
    return {name: commit for name, commit in known.items() if commit is not None}


def _repository(folder: Path) -> Path | None:
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)


def _commit(folder: Path) -> Commit | None:
    if shutil.which("git") is None:
        return None
    # A repository's own configuration may name commands that `status` would run: its file system monitor, and filters
    # of files. None of them is wanted, nor is a missing object worth a network.
    filters = _git(folder, [], "config", "--includes", "--show-scope", "--name-only", "--get-regexp", r"^filter\.")
    own = [line.split("\t")[1] for line in (filters or "").splitlines() if line.startswith(("local\t", "worktree\t"))]
    quiet = [f"{key}={'false' if key.endswith('.required') else ''}" for key in own]
    said = _git(folder, quiet, "status", "--porcelain=v2", "--branch", "-uno", "--ignore-submodules=all")
    lines = (said or "").splitlines()
    head = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "")
    if not head or head == "(initial)":
        return None
    return {"commit": head, "dirty": any(not line.startswith("#") for line in lines)}


def _git(folder: Path, settings: list[str], *words: str) -> str | None:
    """What git prints; None where it fails."""
    always = ["core.fsmonitor=false", "core.hooksPath=/dev/null", "protocol.allow=never"]
    options = [part for setting in (*always, *settings) for part in ("-c", setting)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *options, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
