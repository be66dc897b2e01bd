"""Every rank's part of a checkpoint: rank 0 writes the run's own, and rank k RUN/checkpoints/rank=k/, as its own.

A part holds what rank k alone has: its replay, environments and generators, and its copy of the players. It is written
before rank 0's, and the parts of one checkpoint more are kept, so that a checkpoint of rank 0 has all of its parts at
any moment. Rank 0's holds a whole task, which one process can evaluate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rlgan.runs.ends import say
from rlgan.runs.ranks.agreement import Ranks
from rlgan.runs.record.checkpoint import Checkpoint, Checkpoints
from rlgan.runs.record.directory import RunDirectory, short_path
from rlgan.task.errors import CheckpointError


def parts_of(run: Path, rank: int, keep_last: int, best: tuple[str, Literal["min", "max"]]) -> Checkpoints:
    """The parts that a rank keeps of a run's checkpoints."""
    return Checkpoints(run / "checkpoints" / f"rank={rank}", keep_last + 1, best, say=lambda message: None)


def check_size(run: RunDirectory, checkpoint: Checkpoint | None, ranks: Ranks) -> None:
    """Refuse a checkpoint of another number of ranks.

    Raises:
        CheckpointError: it is one.
    """
    size = ranks.size if ranks.joint else 1
    made_by = size if checkpoint is None else int(checkpoint.manifest.meta.get("ranks", 1))
    if made_by != size:
        how = "without torchrun" if made_by == 1 else f"with as many, for example torchrun --nproc_per_node={made_by}"
        raise CheckpointError(
            f"ranks = {size}: {short_path(run.path)} was trained by {made_by}, each with a part of every minibatch and "
            f"generators of its own; go on {how}"
        )


def with_parts(run: RunDirectory, checkpoint: Checkpoint | None, ranks: Ranks, back: bool) -> Checkpoint | None:
    """At rank 0: the checkpoint, or the newest before it, of which every rank has its part.

    Args:
        run: its directory.
        checkpoint: which is sound at rank 0; None to start anew.
        ranks: all of them.
        back: whether one before it may be taken.

    Raises:
        CheckpointError: there is none such.
    """
    while True:
        ranks.told(-1 if checkpoint is None else checkpoint.manifest.step)
        wrong = [f"rank {k}: {what}" for k, what in enumerate(ranks.every("")) if what]
        if checkpoint is None or not wrong:
            return checkpoint
        step, kept = checkpoint.manifest.step, Checkpoints(run.checkpoints, say=say)
        earlier = [item for item in kept.manifests() if item.step < step] if back else []
        if not earlier:
            raise CheckpointError(f"{wrong[0]}; from=0 starts anew (with resume=)")
        say(f"{wrong[0]}; going back to the one before")
        checkpoint = kept.read(earlier[-1])


def part(parts: Checkpoints, ranks: Ranks) -> Checkpoint | None:
    """At another rank: its part of the checkpoint that rank 0 has chosen; None to start anew."""
    while True:
        step: int = ranks.told(-1)
        found: Checkpoint | None = None
        wrong = ""
        try:
            parts.clean()
            found = None if step < 0 else parts.go_back(step)
        except CheckpointError as error:
            wrong = str(error) or "its part is lost"
        if not any(ranks.every(wrong)):
            return found
