"""Draw the curves of many seeds: every seed thin, their interquartile mean thick, its interval shaded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlgan.runs.logging.pictures import picture_name
from rlgan.runs.record.files import read_lines, replacing
from rlgan.task.figure import BLUE, REAL, SMALL, figure, quiet
from rlgan.task.statistics import bootstrap_interval, interquartile_mean

RESAMPLES = 500


def read_curve(run: Path, tag: str) -> dict[int, float]:
    """Read the values of `tag` from a run's metrics.jsonl, by step."""
    records = read_lines(run / "metrics.jsonl")
    return {int(record["step"]): float(record[tag]) for record in records if tag in record and "step" in record}


def draw_seeds(path: Path, seeds: Sequence[int], tags: Sequence[str]) -> list[Path]:
    """Draw RUN/pictures/seeds_<tag>.png for every tag that at least one seed has; returns the files."""
    files = []
    for tag in tags:
        curves = {seed: read_curve(path / f"seed={seed}", tag) for seed in seeds}
        curves = {seed: curve for seed, curve in curves.items() if curve}
        if not curves:
            continue
        drawing = figure(6.0, 3.6)
        axes = drawing.subplots()
        for curve in curves.values():
            axes.plot(list(curve), list(curve.values()), color=REAL, alpha=0.5, lw=0.8)
        steps = sorted(set.intersection(*(set(curve) for curve in curves.values())))
        if len(curves) > 1 and steps:
            values = np.array([[curve[step] for curve in curves.values()] for step in steps])
            iqm = [interquartile_mean(row) for row in values]
            bands = [bootstrap_interval(row, resamples=RESAMPLES, statistic=interquartile_mean) for row in values]
            low, high = zip(*bands, strict=True)
            axes.plot(steps, iqm, color=BLUE, lw=2, label="interquartile mean")
            axes.fill_between(steps, low, high, color=BLUE, alpha=0.25, lw=0, label="95 % interval")
            axes.legend(fontsize=SMALL, frameon=False)
        quiet(axes, "steps", tag, f"{len(curves)} seeds", curves=True)
        file = path / "pictures" / f"seeds_{picture_name(tag)}.png"
        file.parent.mkdir(exist_ok=True)
        with replacing(file) as stream:
            drawing.savefig(stream, format="png")
        files.append(file)
    return files
