"""The curves of many seeds in one picture: every seed thin, their interquartile mean thick, its interval shaded."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlgan.runs.record.directory import write_atomically
from rlgan.runs.record.logger import picture_name
from rlgan.task.statistics import bootstrap_interval, interquartile_mean

RESAMPLES = 500


def read_curve(run: Path, tag: str) -> dict[int, float]:
    """The values of `tag` in a run's metrics.jsonl, by step; a last line that a kill cut short is left out."""
    curve: dict[int, float] = {}
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if tag in record:
            curve[int(record["step"])] = float(record[tag])
    return curve


def draw_seeds(path: Path, seeds: Sequence[int], tags: Sequence[str]) -> list[Path]:
    """RUN/pictures/seeds_<tag>.png for every tag that at least one seed has; returns the files."""
    from matplotlib.figure import Figure

    files = []
    for tag in tags:
        curves = {seed: read_curve(path / f"seed={seed}", tag) for seed in seeds}
        curves = {seed: curve for seed, curve in curves.items() if curve}
        if not curves:
            continue
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        for curve in curves.values():
            axes.plot(list(curve), list(curve.values()), color="0.6", linewidth=0.7)
        steps = sorted(set.intersection(*(set(curve) for curve in curves.values())))
        if len(curves) > 1 and steps:
            values = np.array([[curve[step] for curve in curves.values()] for step in steps])
            iqm = [interquartile_mean(row) for row in values]
            bands = [bootstrap_interval(row, resamples=RESAMPLES, statistic=interquartile_mean) for row in values]
            low, high = zip(*bands, strict=True)
            axes.plot(steps, iqm, color="C0", linewidth=2, label="interquartile mean")
            axes.fill_between(steps, low, high, color="C0", alpha=0.25, linewidth=0, label="95 % interval")
            axes.legend(frameon=False)
        axes.set(xlabel="steps", ylabel=tag, title=f"{len(curves)} seeds")
        axes.spines[["top", "right"]].set_visible(False)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=120)
        file = path / "pictures" / f"seeds_{picture_name(tag)}.png"
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, stream.getvalue())
        files.append(file)
    return files
