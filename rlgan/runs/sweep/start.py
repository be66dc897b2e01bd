"""Start a sweep, or go on with it: its folder, its jobs by Hydra, and what became of them."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from rlgan.runs.commands.train import by_hydra
from rlgan.runs.config.overrides import composition, explain
from rlgan.runs.config.sources import register
from rlgan.runs.config.trust import VARIABLE
from rlgan.runs.config.words import TYPED, as_text, parse, text_of
from rlgan.runs.ends import say
from rlgan.runs.record.directory import OF_THE_START, is_run, short_path
from rlgan.runs.sweep import plugins
from rlgan.runs.sweep.folder import FILE, Folder, report
from rlgan.runs.sweep.job import STOP, Work, working
from rlgan.runs.sweep.names import key_of, last_seed, short_keys
from rlgan.runs.terminal import complain
from rlgan.task.errors import ConfigError, RunError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def sweep(composed: Sequence[str], switches: Sequence[str], typed: Sequence[str]) -> int:
    """Run every job of `-m`; the exit code is the highest one of a job.

    Args:
        composed: the words as Hydra is to compose them.
        switches: Hydra's own, such as `-m`.
        typed: the words as they were typed.

    Raises:
        ConfigError, RunError: it cannot start.
    """
    words = [word for word in typed if key_of(word) != "run_dir"]
    several = [word for word in words if parse(word).is_sweep_override()]
    fixed = [word for word in words if word not in several]
    values, choices = composition([word for word in composed if key_of(word) in set(map(key_of, fixed))])
    chosen = [text_of(word) for word in typed if key_of(word) == "run_dir" and not _refused(word)]
    if chosen and chosen[-1] != "null":
        folder = _opened(Path(chosen[-1]), words)
    else:
        several = several or ["search="] * (choices.get("hydra/sweeper") == "optuna")
        named = [text_of(word) for word in fixed if key_of(word) == "name"]
        name = named or short_keys(last_seed(map(key_of, several))).values()
        folder = _created(Path("outputs") / choices.get("task", "sweeps"), "_".join(name))
    start = [word for word in composed if key_of(word) != "run_dir"]
    if choices.get("hydra/sweeper") == "basic":
        # Not by `override` in the root's defaults: an experiment could not choose another one then.
        start.append("hydra/sweeper=grid")
    elif choices.get("hydra/sweeper") not in (*plugins.OURS, None):
        known = OmegaConf.create(values)
        # Another sweeper calls its parameters as they are written: `++lr`.
        start = [word.lstrip("+") if OmegaConf.select(known, key_of(word)) is not None else word for word in start]
    place = as_text(f"hydra.sweep.dir={folder.path}")
    environment = {TYPED: json.dumps(words), VARIABLE: os.environ.get(VARIABLE, "")}
    parent, here = (os.uname().nodename, os.getpid()), str(Path.cwd())
    work = Work(uuid.uuid4().hex, tuple(words), tuple(map(key_of, fixed)), environment, parent, here)

    def job(config: DictConfig) -> float:
        return work(config)

    register()
    plugins.register()
    (folder.path / STOP).unlink(missing_ok=True)
    new = not (folder.path / FILE).exists()
    if new:
        folder.write(words, list(map(key_of, several)), None)
    left: BaseException | None = None
    try:
        with working(work):
            by_hydra(job, [*start, place, *switches], words)
    except Exception as error:
        causes = error, error.__cause__, error.__context__  # what a constructor says, Hydra wraps
        code = complain(error, explain(next((e for e in causes if isinstance(e, ConfigError)), error), words))
        if new and all(one.state == "not started" for one in folder.ended()):
            (folder.path / FILE).unlink()
            with suppress(OSError):
                folder.path.rmdir()
            return code
        left = SystemExit(code)
    except (KeyboardInterrupt, SystemExit) as error:
        left = error
    return _conclude(folder, words, left)


def _refused(word: str) -> bool:
    if parse(word).is_sweep_override():
        value = word.partition("=")[2]
        raise ConfigError(f"run_dir = {value}: in a sweep it is the folder of all its runs; give one")
    return False


def _opened(path: Path, words: Sequence[str]) -> Folder:
    """The folder that the user chose: a new one, an empty one, or that of the same sweep.

    Raises:
        RunError: it is something else.
    """
    if is_run(path):
        raise RunError(f"run_dir = {path}: holds a run, and a sweep needs a folder for all its runs; choose another")
    folder = Folder(path.absolute())
    try:
        path.mkdir(parents=True, exist_ok=True)
        strange = sorted(item.name for item in path.iterdir() if not item.name.startswith("."))
    except OSError as error:
        raise RunError(f"run_dir = {path}: cannot be made ({error.strerror}); choose another") from error
    former = folder.read()
    if not former:
        if strange:
            raise RunError(f"run_dir = {path}: holds other files ({strange[0]}); name a new or an empty directory")
        return folder
    there, here = _meant(former["words"]), _meant(words)
    if changed := [key for key in {**there, **here} if there.get(key) != here.get(key)]:
        said = "; ".join(
            f"{key} is {there.get(key, 'not there')} there and {here.get(key, 'not')} here" for key in changed
        )
        raise RunError(f"run_dir = {path}: holds a sweep of other words ({said}); choose another run_dir")
    return folder


def _meant(words: Sequence[str]) -> dict[str, str]:
    """What words say of what is learnt, by key; of a key that is varied that it is: a sweep may get more values."""
    said = {key_of(word): "varied" if parse(word).is_sweep_override() else text_of(word) for word in words}
    return {key: value for key, value in said.items() if not key.startswith("hydra") and key not in OF_THE_START}


def _created(parent: Path, name: str) -> Folder:
    """A new folder below `parent`, named by the time and what is varied."""
    safe = re.sub(r"[^A-Za-z0-9._+@-]+", "-", name)[:80].strip("-_.")
    stamp = "_".join(filter(None, (datetime.now().strftime("%Y-%m-%d_%H-%M-%S"), safe)))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in itertools.count(1):
            path = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            with suppress(FileExistsError):
                path.mkdir()
                break
    except OSError as error:
        raise RunError(f"{parent}: cannot be written ({error.strerror}); choose another place with run_dir=") from error
    return Folder(path.absolute())


def _conclude(folder: Folder, words: Sequence[str], left: BaseException | None) -> int:
    """Say what became of every job, and how the sweep goes on; the exit code."""
    (folder.path / STOP).unlink(missing_ok=True)
    ended = folder.ended()
    if any(one.state not in ("finished", "pruned") for one in ended):
        again = shlex.join(["rlgan", "-m", *words, f"run_dir={short_path(folder.path)}"])
        say(f"what is not finished goes on with: {again}")
    if any(one.state == "finished" for one in ended):
        from rlgan.runs.study.study import page_at_end

        if line := page_at_end([folder.path], folder.path / "study"):
            say(line)
        print(f"tensorboard --logdir {short_path(folder.path)}", flush=True)
    for line in report(ended):
        say(line)
    if isinstance(left, KeyboardInterrupt):
        return 130
    codes = [one.code for one in ended if one.state not in ("finished", "pruned")]
    return max([*codes, left.code if isinstance(left, SystemExit) and isinstance(left.code, int) else 0], default=0)
