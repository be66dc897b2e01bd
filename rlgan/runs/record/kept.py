"""Which checkpoint of a run is its best one, and how the last one compares: the closing line of a run."""

import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.task.errors import CheckpointError


class Kept(NamedTuple):
    """The best checkpoint of a run beside its last one.

    Args:
        step, value: of the best one.
        last_step, last_value: of the last one; no value where it was not evaluated.
    """

    step: int
    value: float
    last_step: int
    last_value: float | None


def kept(path: Path, best: tuple[str, Literal["min", "max"]]) -> Kept | None:
    """What stands in the directory of a run's checkpoints; None where none was evaluated, or where it is unreadable.

    Args:
        path: RUN/checkpoints.
        best: tag and direction by which the run ranks them.
    """
    with suppress(CheckpointError):
        found = Checkpoints(path, best=best, say=lambda line: None)
        first, every = found.best(), found.manifests()
        if first is not None:
            tag, last = best[0], every[-1]
            return Kept(first.step, first.metrics[tag], last.step, last.metrics.get(tag))
    return None


def closing_line(found: Sequence[Kept], tag: str) -> str:
    """Of one run, or over the seeds of several: what the best checkpoint reached, at which step, and what the last.

    The best one is chosen by the very evaluation that is shown, which makes it a little hopeful.

    Returns:
        Empty where nothing was found.
    """
    if not found:
        return ""
    if len(found) == 1:
        step, value, last_step, last_value = found[0]
        if step == last_step:
            return f"best checkpoint: the last one, of step {step:,}: {tag} {value:.5g}"
        last = "" if last_value is None else f": {last_value:.5g}"
        return (
            f"best checkpoint: of step {step:,}: {tag} {value:.5g}; the last one, of step {last_step:,}{last} "
            "(evaluate and rlgan.load take the best one; checkpoint=last the other)"
        )
    first, end = min(own.step for own in found), max(own.step for own in found)
    steps = f"step {first:,}" if first == end else f"steps {first:,} to {end:,}"
    line = f"best checkpoints: of {steps}: {tag} {statistics.fmean(own.value for own in found):.5g} in the mean"
    lasts = [own.last_value for own in found if own.last_value is not None]
    return f"{line}; the last ones: {statistics.fmean(lasts):.5g}" if lasts else line
