"""Export from Python as `rlgan export` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rlgan.face.guests import guest, looking
from rlgan.face.trained import Trained
from rlgan.runs.record.directory import find_run
from rlgan.runs.share.export import FORMATS, export_run


def export(
    run: str | Path | Trained,
    to: str | Path,
    checkpoint: str | int | None = None,
    formats: Sequence[str] = FORMATS,
    *,
    trust: Iterable[str] = (),
) -> Path:
    """Write what a run has learnt into a folder for others: weights, networks, a model card.

    Args:
        run: its folder, `latest`, or what `rlgan.load` gave.
        to: a new or empty folder.
        checkpoint: best, last or a step; None is best, or that of the loaded run.
        formats: some of safetensors, onnx, torch.
        trust: packages whose classes the run's configuration may name.

    Returns:
        The folder.

    Raises:
        RunError: there is no such run or checkpoint, or the folder holds other files.
        ConfigError: an unknown format, a library is missing, or a network cannot be written as it was.
    """
    if isinstance(run, Trained):
        path, which, trust = run.path, run.at_checkpoint, run.trusted
    else:
        path, which = find_run(str(run)).expanduser(), "best"
    with guest(), looking(trust):
        return export_run(path, Path(to), which if checkpoint is None else str(checkpoint), formats)
