"""Tab completion: the words that may stand where the cursor is.

A shell asks by `rlgan -sc query=bash` with the line in $COMP_LINE and the cursor in $COMP_POINT, as for any program of
Hydra's, and gets a word a line. Neither torch nor Hydra is imported, and nothing but words is ever printed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlgan.runs.answers.keys import Keys, keys_of, levels
from rlgan.runs.commands import COMMANDS, command
from rlgan.runs.options import options

#: A page of runs; who wants an older one types the beginning of its path.
_RUNS = 40

# Keys whose value is a run, and what else may stand there.
_OF_RUNS = {"resume": ("latest",), "init_from": ("latest",)}
_SWITCHES = ("--help", "--version", "--cfg", "--multirun", "--hydra-help")
_VALUES = {
    "precision": ("auto", "float32", "float64", "bf16"),
    "compile": ("auto", "true", "false"),
    "device": ("auto", "cpu", "cuda", "cuda:0"),
    "checkpoint": ("best", "last"),
    "logger": ("tensorboard", "csv"),
}
_HYDRA = {
    "hydra/launcher": {
        "basic": "hydra",
        "joblib": "hydra_joblib_launcher",
        "submitit_local": "hydra_submitit_launcher",
        "submitit_slurm": "hydra_submitit_launcher",
        "ray": "hydra_ray_launcher",
    },
    "hydra/sweeper": {"basic": "hydra", "optuna": "hydra_optuna_sweeper"},
}


def candidates(line: str, point: int | None = None) -> list[str]:
    """The words that may stand where the cursor is, in the order in which they are to be shown.

    Args:
        line: what was typed, from the name of the program on.
        point: where the cursor is; None is the end.
    """
    before = line[:point]
    *words, word = before.split(" ") if before[-1:].strip() else [*before.split(), ""]
    words = _read(" ".join(words))[1:]
    if word[:1] in "'\"":
        word = word[1:]
    if word.startswith("-"):
        return [name for name in _SWITCHES if name.startswith(word)]
    first = words[0] if words and words[0] in COMMANDS else "train"
    if first != "train":
        found = _of_command(first, words[1:], word)
    else:
        found = [f"{name} " for name in COMMANDS if not words and name.startswith(word) and word != name]
        found += _of_run([item for item in words if "=" in item], word)
    return [one for one in found if one != word]


def _read(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is still open
        return text.split()


def _of_command(name: str, words: Sequence[str], word: str) -> list[str]:
    """Runs, newest first, and the keys that the command's page lists; kinds, where it takes no run."""
    page = command(name).HELP
    takes = re.search(rf"^Usage: rlgan {name} (\S+)", page, re.MULTILINE)
    if takes is None or not takes[1].startswith("RUN"):
        kinds = re.findall(r"^  (\w+) {2,}\S", page, re.MULTILINE)
        return [] if words else [f"{kind} " for kind in kinds if kind.startswith(word)]
    listed = re.findall(r"^  (\w+)=(\S+)", page, re.MULTILINE)
    keys = {key: example for key, example in listed if key != "key"}
    key, equals, value = word.partition("=")
    if equals and key in keys:
        shown = ("true", "false") if keys[key] in ("true", "false") else _VALUES.get(key, ())
        if key == "checkpoint":
            shown = (*shown, *_steps(words))
        return [f"{key}={one}" for one in shown if one.startswith(value)]
    found = [f"{key}=" for key in keys if key.startswith(word) and not any(w.startswith(f"{key}=") for w in words)]
    named = [one for one in words if one.partition("=")[0] not in keys]
    if named and not takes[1].endswith("..."):
        return found
    latest = [] if named or not "latest".startswith(word) else ["latest "]
    return [*latest, *(run for run in _runs(word) if run.strip() not in words), *found]


def _of_run(words: Sequence[str], word: str) -> list[str]:
    """What a run is started with: places of groups and their options, keys and their values, runs to go on with."""
    sign = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(sign) :].partition("=")
    if equals and key in _OF_RUNS:
        return [f"{sign}{key}={run}" for run in (*_OF_RUNS[key], *_runs(value)) if run.strip().startswith(value)]
    groups = options()
    if equals and key == "task":  # before anything of it is read
        return [f"{sign}{key}={name}" for name in groups.get(key, ()) if name.startswith(value)]
    keys = keys_of(words)
    if equals:
        return [f"{sign}{key}={one}" for one in _values(key, value, keys, groups)]
    return [f"{sign}{one}" for one in _keys(key, keys, groups, [name.partition("=")[0] for name in words])]


def _values(key: str, value: str, keys: Keys, groups: dict[str, list[str]]) -> list[str]:
    head = value[: max(value.rfind(sign) for sign in ",[") + 1]  # `clip,grad`, `[csv,tens`: the last one is meant
    group = key.partition("@")[0]
    if group in _HYDRA or group in groups:
        known = [*groups.get(group, ()), *_installed(group)]
        return [f"{head}{one}" for one in dict.fromkeys(known) if one.startswith(value[len(head) :])]
    former: Any = keys.values.get(key)
    known = list(_VALUES.get(key, ()))
    if isinstance(former, bool):
        known = ["true", "false"]
    elif not known and (choice := re.match(r"(?:\w+ \| )+\w+", keys.remarks.get(key, ""))):
        known = choice[0].split(" | ")
    return [f"{head}{one}" for one in known if one.startswith(value[len(head) :])]


def _keys(start: str, keys: Keys, groups: dict[str, list[str]], typed: Sequence[str]) -> list[str]:
    """Places and keys that begin so, as far as their next dot."""
    if start.startswith("hydra"):
        names = [*_HYDRA, *(group for group in groups if group.startswith("hydra/"))]
        return [f"{name}=" for name in dict.fromkeys(names) if name.startswith(start)]
    places = [place for place in ("task", *keys.places) if place not in typed or place == start]
    found = [f"{place}=" for place in dict.fromkeys(places) if place.startswith(start) and "@" not in place]
    mounted = [f"{place}=" for place in places if "@" in place]
    found += levels(mounted, start, "=" if "@" in start else "@")
    shown = [name for name in keys.values if not any(part.startswith("_") for part in name.split("."))]
    # At the root a section stands behind its group, of which one thinks first.
    ends = [f"{name}=" for name in shown if name not in typed and name not in keys.places]
    found += sorted(levels(ends, start), key=lambda name: name.endswith("."))
    return list(dict.fromkeys(found))


def _installed(group: str) -> list[str]:
    """Hydra's launchers or sweepers whose plugin is installed."""
    found = []
    for name, module in _HYDRA.get(group, {}).items():
        with suppress(ImportError, ValueError):
            if module == "hydra" or importlib.util.find_spec(f"hydra_plugins.{module}"):
                found.append(name)
    return found


def _runs(start: str) -> list[str]:
    """Runs below outputs/, or below the folder whose path was begun, newest first."""
    folder = start[: start.rfind("/") + 1]
    found = [(_last(path), path) for path in _below(folder or "outputs", 5) if path.startswith(start)]
    return [f"{path} " for _, path in sorted(found, reverse=True)[:_RUNS]]


def _below(folder: str, depth: int) -> list[str]:
    """The runs in a folder; what lies within a run is no other run."""
    try:
        with os.scandir(folder) as entries:
            inner = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []
    paths = [os.path.join(folder, name) for name in inner]
    runs = [path for path in paths if os.path.isfile(f"{path}/config.yaml")]
    rest = [run for path in paths if depth and path not in runs for run in _below(path, depth - 1)]
    return [*runs, *rest]


def _last(run: str) -> float:
    for file in (f"{run}/status.json", run):
        with suppress(OSError):
            return os.stat(file).st_mtime
    return 0.0


def _steps(words: Sequence[str]) -> list[str]:
    """Steps of the checkpoints of the run that was named, newest first."""
    run = next((word for word in words if "=" not in word or os.path.isdir(word)), "")
    if run == "latest":
        run = next(iter(_runs("")), "").strip()
    files = Path(run, "checkpoints").glob("step_*.json") if run else ()
    return sorted((str(int(file.stem[5:])) for file in files if file.stem[5:].isdecimal()), key=int, reverse=True)
