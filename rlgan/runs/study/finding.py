"""Find runs: in the folders that are named, and in all folders below them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlgan.runs.record.directory import LATEST, find_run, near, short_path
from rlgan.task.errors import RunError

#: Folders of a run that hold no other run.
_OF_A_RUN = ("checkpoints", "pictures", "evaluation", "study")


def find_runs(words: Sequence[str | Path]) -> list[Path]:
    """Find every run in and below the named folders, each once, in the order of their paths.

    Of a run with `seeds=` these are its seeds, of a comparison its variants. Links are followed where they are named,
    and not below.

    Args:
        words: folders, patterns such as `outputs/ddpg/*lr*`, or `latest`.

    Raises:
        RunError: a word names nothing, or no run is there; names runs nearby.
    """
    found: dict[Path, None] = {}
    for word in map(str, words):
        places = [find_run(word)] if os.path.isdir(word) or word == LATEST else sorted(map(Path, glob.glob(word)))
        folders = [place for place in places if place.is_dir()]
        if not folders:
            fault = "is a file; name a run's directory" if places else f"no such run or folder{near(Path(word))}"
            raise RunError(f"{word}: {fault}")
        runs = [run for place in folders for run in _below(str(place.resolve()))]
        if not runs:
            raise RunError(f"{short_path(Path(word))}: there is no run in it or below it{near(Path(word))}")
        found |= dict.fromkeys(map(Path, runs))
    return list(found)


def _below(folder: str) -> Iterator[str]:
    """The runs in a folder, however deep."""
    try:
        with os.scandir(folder) as entries:
            there = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:  # not for this user, or gone meanwhile
        return
    is_run = "config.yaml" in there
    inner = sorted(name for name, is_folder in there.items() if is_folder)
    runs = [
        run
        for name in inner
        if not (is_run and (name in _OF_A_RUN or not os.path.lexists(f"{folder}/{name}/config.yaml")))
        for run in _below(f"{folder}/{name}")
    ]
    if is_run and (not runs or "metrics.jsonl" in there):
        yield folder
    yield from runs
