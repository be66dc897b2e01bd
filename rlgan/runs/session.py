"""Take a run from its configuration to its end: directory, checkpoint, task, loop, messages."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from rlgan.runs.config.build import Command, RunSpec, plain
from rlgan.runs.config.overrides import group_choices
from rlgan.runs.config.places import Settler
from rlgan.runs.config.trust import EVERYONE, Trust
from rlgan.runs.config.words import Words
from rlgan.runs.ends import Stop, explained, say, started
from rlgan.runs.logging.sinks import sinks_of
from rlgan.runs.prepare import Outcome, Score, prepare, report_failure, report_figures, report_resumed
from rlgan.runs.ranks.agreement import here
from rlgan.runs.ranks.begin import built, run_of
from rlgan.runs.ranks.follow import follow
from rlgan.runs.record.directory import RunDirectory, first_choices, is_run, short_path, stored, stored_config
from rlgan.runs.record.naming import run_name
from rlgan.runs.share.start import check_seeds, settled
from rlgan.runs.terminal import complain
from rlgan.runs.training.exactness import differences
from rlgan.runs.training.films import check_films
from rlgan.runs.training.loop import train
from rlgan.runs.training.seeds import run_seeds
from rlgan.task.errors import ConfigError, InputError, RunError
from rlgan.task.task import Task


def job(config: DictConfig) -> Outcome:
    """Run the one job of a command, for Hydra."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return ended(lambda: launch(*composed(config)))


def composed(config: DictConfig) -> tuple[dict[str, Any], Command]:
    """The configuration of Hydra's present job, plain, with words and paths as they are meant; and what was typed.

    Raises:
        ConfigError: a value is missing, or refers to one that is not there.
    """
    overrides = words_of_job()
    settle = Settler(EVERYONE, Words.of_command(overrides), Path.cwd())
    return settle(plain(config)), Command(overrides, group_choices(HydraConfig.get().runtime.choices))


def words_of_job() -> list[str]:
    """The words of Hydra's present job."""
    # Unresolved: `eval_every=${steps}` is an entry of this list as well, and means nothing there.
    typed = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [str(item).lstrip("+") for item in typed] if isinstance(typed, list) else []


def ended(start: Callable[[], Outcome]) -> Outcome:
    """Call `start`; whatever it raises is printed in a line, a bug with its traceback, and becomes an outcome."""
    try:
        return start()
    except (ConfigError, RunError) as error:
        return Outcome(complain(error, str(error)), "refused", message=str(error))
    except InputError as error:
        return Outcome(complain(error, str(error), 1), "failed", message=str(error))
    except Exception as error:
        reason = explained(error)
        if reason is None:
            say(f"rlgan: {type(error).__name__}: {' '.join(str(error).split())}")
            traceback.print_exc()
            return Outcome(1, "failed", message=f"{type(error).__name__}: {error}")
        return Outcome(complain(error, reason), "refused", message=reason)


def launch(config: Mapping[str, Any], command: Command) -> Outcome:
    """Start a run or a comparison, or continue it where `run_dir` already holds one of the same configuration.

    Args:
        config: the composed configuration, plain and resolved.
        command: what was typed, for the directory's name and the record.

    Raises:
        ConfigError, RunError: it cannot start.
    """
    config = settled(config)
    if config.get("compare") is not None:
        if here().size > 1:
            raise ConfigError(
                "compare: its variants are runs one after another; leave torchrun out, or use compare=null"
            )
        from rlgan.runs.compare.run import begin

        return begin(config, command)
    config = {key: value for key, value in config.items() if key != "compare"}
    spec = RunSpec.of(config, command, EVERYONE)
    settings = spec.settings
    sinks_of(settings)
    chosen = run_of(here(), settings.run_dir)
    if chosen is not None and is_run(chosen):
        return _continue(chosen, spec)
    check_seeds(settings)
    # Built before its directory is made: a configuration that cannot be built must not leave one behind.
    task = built(here(), spec)
    if here().follows:
        return follow(here(), spec, task)
    parent = Path("outputs") / (command.choices.get("task") or type(task).__name__.lower())
    try:
        spec.callbacks()
        check_films(task, settings)
        run = new_directory(chosen, parent, run_name(command.overrides, settings.seeds_word, settings.name), config)
    except BaseException:
        task.close()
        raise
    return train_in(run, spec, task)


def new_directory(chosen: Path | None, parent: Path, name: str, config: Mapping[str, Any]) -> RunDirectory:
    """Make the directory of a new run, with its config.yaml.

    Args:
        chosen: by the user; None makes one below `parent`.
        parent, name: of a directory that nobody chose.
        config: plain and resolved.

    Raises:
        RunError: it cannot be made, or another run was quicker.
    """
    try:
        run = RunDirectory.create(parent, name) if chosen is None else RunDirectory.open(chosen)
        if (run.path / "config.yaml").exists():
            run.close()
            raise RunError(f"run_dir = {chosen}: another run was started there at this moment; choose another")
        with started(run):
            run.write_config(stored(config))
    except OSError as error:
        raise RunError(
            f"{error.filename or chosen or parent}: cannot be written ({error.strerror or error}); choose another "
            "place with run_dir="
        ) from error
    return run


def _continue(path: Path, spec: RunSpec) -> Outcome:
    """The same command in the same directory goes on with the run, as a requeued job has to."""
    settle = Settler(Trust.granted(), folder=Path.cwd())  # of an earlier version, whose paths were relative
    # Before the lock: what is no run of this configuration is left as it is.
    there = settle(stored_config(path))
    if there.get("compare") is not None:
        raise RunError(f"run_dir = {path}: holds a comparison; choose another run_dir, or go on with resume=")
    former = differences(there, stored(spec.config))
    if changed := [f"{key} is {was} there and {now} here" for key, was, now in former]:
        raise RunError(
            f"run_dir = {path}: holds a run with other settings ({'; '.join(changed)}); "
            "choose another run_dir, or go on with resume="
        )
    return _go_on(path, spec)


def _go_on(path: Path, spec: RunSpec) -> Outcome:
    """Train further in a run's directory; where there are several ranks, together."""
    ranks = here()
    task = built(ranks, spec) if ranks.size > 1 else None
    if task is not None and ranks.follows:
        return follow(ranks, spec, task)
    with closing(RunDirectory.open(path)) as run:
        return train_in(run, spec, task)


def resume(path: Path, changes: Mapping[str, Any], overrides: Sequence[str], start: int | None = None) -> Outcome:
    """Continue a run, or a comparison, in its own directory.

    Args:
        path: the run.
        changes: values by dotted key that replace stored ones.
        overrides: what was typed, for the record.
        start: the step to go back to; 0 starts anew, None goes on from the newest checkpoint.

    Raises:
        ConfigError, RunError: it cannot go on.
    """
    former = stored_config(path)
    if former.get("compare") is not None:
        from rlgan.runs.compare.run import go_on

        return go_on(path, changes, overrides, start)
    several = former.get("seeds") is not None
    changes = settled(changes)
    if start != 0 and (other := changes.get("init_from")) is not None and other != former.get("init_from"):
        raise ConfigError(
            f"init_from = {other}: {short_path(path)} goes on at its own weights; leave init_from= out, or "
            "resume= for a new run"
        )
    config = stored_config(path, changes)
    spec = RunSpec.of(config, Command(overrides, first_choices(path), changes, start, short_path(path)))
    if several != (spec.settings.seeds is not None) or (several and "seed" in changes):
        what = f"seeds = {config['seeds']}" if "seeds" in changes else f"seed = {config['seed']}"
        kind = "a run of several seeds" if several else "the run of a single seed"
        raise ConfigError(f"{what}: {path} is {kind} and goes on as one; start a new run")
    return _go_on(path, spec)


def train_in(run: RunDirectory, spec: RunSpec, task: Task | None = None, stop: Stop | None = None) -> Outcome:
    """Train a run in its directory, from its newest checkpoint where there is one, and let go of the directory.

    Args:
        run: the locked directory.
        spec: of the run.
        task: built from the specification, if it has been built.
        stop: the installed handler of signals; None installs one.

    Raises:
        ConfigError, RunError: it cannot go on.
    """
    mine = stop or Stop()
    with mine.installed() if stop is None else nullcontext(), closing(run), started(run), here().together():
        here().every(str(run.path))
        if spec.settings.seeds is not None:
            return run_seeds(run, spec, mine, task)
        start = prepare(run, spec, task)
        say(f"run: {short_path(run.path)}")
        report_resumed(start)
        try:
            start.figures = train(start, mine)
        except (Exception, SystemExit) as error:
            return report_failure(start, error)
        report_figures(start)
    print(f"tensorboard --logdir {short_path(run.path)}", flush=True)
    tag, direction = start.task.best
    value = (start.figures or {}).get(tag)
    score = None if value is None else Score(tag, direction, float(value))
    return Outcome(0, "finished", str(run.path), score=score)
