"""`init_from=`: a new run begins at the weights of another one, or of a folder that `rlgan export` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from rlgan.optim.weights import Beginning, Unlike, beginning
from rlgan.runs.config.build import RunSpec
from rlgan.runs.ends import of_config
from rlgan.runs.record.checkpoint import Checkpoint, Checkpoints
from rlgan.runs.record.directory import find_run, near, short_path, stored_config
from rlgan.runs.share.exported import is_exported, read_weights
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.settings import Settings
from rlgan.task.task import Task

_BY_PATH = "checkpoints"


class Restored(NamedTuple):
    """A run's task as a checkpoint left it.

    Args:
        task: to be closed.
        spec: of the run.
        checkpoint: what it was restored from.
    """

    task: Task
    spec: RunSpec
    checkpoint: Checkpoint


def restored(path: Path, which: str = "best", changes: Mapping[str, Any] | None = None) -> Restored:
    """Build a run's task and restore a checkpoint, to be used and not to be trained.

    Args:
        path: the run of one seed.
        which: `best`, `last` or a step.
        changes: values by dotted key that replace stored ones.

    Raises:
        RunError: this is no run, or it has no such checkpoint.
        ConfigError: a value cannot be used, or the run names what is not trusted.
    """
    with of_config(path, changes or {}):
        spec = RunSpec.of(stored_config(path, changes))
        task = spec.with_values(compile=False).task()
    try:
        checkpoint = Checkpoints(path / "checkpoints", best=task.best).choose(which)
        checkpoint.restore(task)
    except BaseException:
        task.close()
        raise
    return Restored(task, spec, checkpoint)


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A composed configuration with the full path of its `init_from`, so that it reads the same from elsewhere."""
    word = config.get("init_from")
    return {**config, "init_from": str(find_run(word).expanduser().resolve())} if isinstance(word, str) else {**config}


def check_seeds(settings: Settings) -> None:
    """Refuse a run of more seeds than there are weights for.

    Raises:
        ConfigError: naming the seed.
    """
    if settings.init_from is None or is_exported(place := _checkpoint_of(Path(settings.init_from))[0]):
        return
    if not place.is_dir():
        raise RunError(f"init_from = {settings.init_from}: no such run or exported folder{near(place)}")
    with _named(settings.init_from):
        for seed in settings.every_seed:
            _of_seed(place, seed)


def begun(spec: RunSpec) -> Task:
    """Build the task of a new run, at the weights of `init_from` where it is given.

    Every player's network begins there, and with it the averages; normalisation of observations too. The optimizers'
    state is new, and steps count from 0. Of a run of several seeds each seed of the new one begins at the same seed's
    weights.

    Raises:
        ConfigError, RunError: it cannot be built, or not begin there.
    """
    word = spec.settings.init_from
    if word is None:
        return spec.task()
    with _named(word):
        weights, said = _weights(*_checkpoint_of(Path(word)), spec.settings.seed)
    try:
        with beginning(weights) as start:
            task = spec.task()
    except Unlike as error:
        remedy = "configure the networks as they were there, or leave init_from out"
        raise ConfigError(f"init_from = {word}: {error}; {remedy}") from error
    if unused := _unused(start, task):
        task.close()
        raise ConfigError(f"init_from = {word}: {unused}")
    task.origin = said
    return task


@contextmanager
def _named(word: str) -> Iterator[None]:
    """Say of which setting it is what is wrong with that run or folder."""
    try:
        yield
    except (ConfigError, RunError) as error:
        if str(error).startswith("init_from = "):
            raise
        kind = ConfigError if isinstance(error, ConfigError) else RunError
        raise kind(f"init_from = {word}: {str(error).removeprefix(f'{word}: ')}") from error


def _weights(place: Path, which: str, seed: int) -> tuple[Mapping[str, Tensor], str]:
    """The tensors by name, and where they are from."""
    if is_exported(place):
        return read_weights(place), short_path(place)
    place = _of_seed(place, seed)
    found = restored(place, which)
    with closing(found.task):
        weights = {key: tensor.detach().cpu().clone() for key, tensor in found.task.weights().items()}
    return weights, f"{short_path(place)}, step {found.checkpoint.manifest.step}"


def _of_seed(place: Path, seed: int) -> Path:
    """The run that a seed begins at: of a run of several seeds, the same seed's."""
    config, shown = stored_config(place), short_path(place)
    if isinstance(config.get("compare"), dict):
        raise ConfigError(f"init_from = {shown}: is a comparison; name one of its variants, init_from={shown}/NAME")
    if config.get("seeds") is None:
        return place
    there = RunSpec.of(config).settings.every_seed
    if seed not in there:
        some = ", ".join(map(str, there[:8])) + (", ..." if len(there) > 8 else "")
        raise ConfigError(
            f"init_from = {shown}: is a run of the seeds {some}, and not of seed {seed}; name one for all of them, "
            f"init_from={shown}/seed={there[0]}"
        )
    return place / f"seed={seed}"


def _checkpoint_of(path: Path) -> tuple[Path, str]:
    """The run and the checkpoint that a path means: RUN is its best one, RUN/checkpoints/step_000001000.pt that one."""
    digits = path.stem.removeprefix("step_")
    if path.suffix == ".pt" and path.parent.name == _BY_PATH and digits.isdecimal():
        return path.parent.parent, str(int(digits))
    return path, "best"


def _unused(start: Beginning, task: Task) -> str:
    """What of the weights a task has not begun at, though it is nothing without; empty if all is well."""
    if not start.taken:
        return f"the networks of the task {type(task).__name__} are no players of TwoPlayers, and none begins there"
    if parts := sorted(start.parts - start.taken):
        return (
            f"comes with {parts[0]}, and this run has none, so that its networks would see other numbers; set "
            "it as in that run (normaliser: normalise_obs=true; returns: normalise_returns=scale, or as it was)"
        )
    return ""
