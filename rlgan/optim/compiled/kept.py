"""Figures that were measured on this machine, kept in the user's cache directory: decisions by them repeat."""

import functools
import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

WAIT = 120.0
"""Seconds for which another process may be measuring."""


def kept(table: str, key: str, make: Callable[[], Any], fits: Callable[[Any], bool] = lambda found: True) -> Any:
    """What the table says under the key; where it says nothing, what `make` makes, which from then on it says.

    Whoever makes holds the lock: of processes that start together one does, and all take what it found. Where nothing
    can be written it is made anew by every process.

    Args:
        table: file name without suffix, in `cache_folder`.
        key: of this machine (see `machine`).
        make: gives plain data.
        fits: whether an entry can be used; the others are made anew.
    """
    folder = cache_folder()
    if folder is None:
        return make()
    path = folder / f"{table}.json"
    found = _read(path)
    if key in found and fits(found[key]):
        return found[key]
    try:
        with FileLock(folder / f"{table}.lock", timeout=WAIT):
            found = _read(path)
            if key not in found or not fits(found[key]):
                found[key] = make()
                with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
                    json.dump(found, file, indent=1)
                os.replace(file.name, path)
            return found[key]
    except (OSError, Timeout):
        return make()


def known(table: str, key: str) -> Any:
    """What the table says under the key, or None."""
    folder = cache_folder()
    return None if folder is None else _read(folder / f"{table}.json").get(key)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@functools.cache
def machine() -> str:
    """The processor with what it can do, and torch."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    said = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    said = {name.strip(): value.strip() for name, value in said.items()}
    processor = said.get("model name") or platform.processor() or platform.machine()
    model = "/".join(said.get(name, "") for name in ("cpu family", "model", "stepping"))
    return f"{processor} {model} {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def cache_folder(*names: str) -> Path | None:
    """The user's cache directory of this package or one in it, made if need be; None where it cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        path = (Path(base) if base else Path.home() / ".cache").joinpath("rlgan", *names)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return None
    return path if os.access(path, os.W_OK) else None
