"""A finished variant of a comparison, as a figure function sees it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rlgan.runs.config.build import RunSpec, build_settings
from rlgan.runs.config.trust import Trust
from rlgan.runs.record.checkpoint import Checkpoints
from rlgan.runs.record.directory import short_path, stored_config
from rlgan.runs.record.files import read_json, read_lines
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.suggest import nearest
from rlgan.task.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class Drawn(NamedTuple):
    """What a figure function returns.

    Args:
        figure: the picture, made by `rlgan.task.figure.figure`.
        numbers: what the rules are about, by names that can stand in an expression, such as `distance_alternating`.
    """

    figure: Figure
    numbers: dict[str, float]


class Ran:
    """A finished variant: its configuration, its curves, and its task for looking at.

    Args:
        name: of the variant.
        path: its run directory.
        trust: whose names the directory may have looked up; None: see `Trust.granted`.
    """

    def __init__(self, name: str, path: Path, trust: Trust | None = None) -> None:
        self.name, self.path = name, path
        self._trust = trust
        self._tasks: list[Task] = []
        self._read: dict[int, list[dict[str, Any]]] = {}

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The composed configuration, plain and resolved."""
        return stored_config(self.path)

    @cached_property
    def seeds(self) -> list[int]:
        """Its seeds; one for a run without `seeds=`."""
        return build_settings(self.config).every_seed

    def curve(self, tag: str, seed: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Read the logged values of a metric.

        Args:
            tag: of metrics.jsonl.
            seed: the one that is asked for: several environments count their steps by several, so that seeds need not
                have steps in common; None: all seeds.

        Returns:
            Steps of shape (n,), at which every seed has a value, and values of shape (number of seeds, n).

        Raises:
            ConfigError: no row has this tag; names the nearest one.
        """
        curves = [
            {int(row["step"]): float(row[tag]) for row in self._rows(seed) if tag in row and "step" in row}
            for seed in ([seed] if seed is not None else self.seeds)
        ]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        if not steps:
            known = {key for seed in self.seeds for row in self._rows(seed) for key in row if key != "step"}
            raise ConfigError(f"{tag}: the variant {self.name} has no such metric; {nearest(tag, known, 'it has')}")
        return np.array(steps), np.array([[curve[step] for step in steps] for curve in curves])

    def last(self, tag: str) -> NDArray[np.float64]:
        """The last value of a metric, of shape (number of seeds,).

        Raises:
            ConfigError: as `curve`.
        """
        return self.curve(tag)[1][:, -1]

    def mean(self, tag: str) -> float:
        """The mean of `last` over the seeds.

        Raises:
            ConfigError: as `curve`.
        """
        return float(self.last(tag).mean())

    def task(self, seed: int | None = None) -> Task:
        """Build the task of one seed and load its newest checkpoint; on the CPU, for looking at.

        Args:
            seed: None is the first.

        Raises:
            ConfigError: there is no such seed, or its configuration cannot be built.
            CheckpointError: there is no checkpoint, or it is damaged.
        """
        task = self.start(seed)
        place = self._place(self.seeds[0] if seed is None else seed)
        Checkpoints(place / "checkpoints", best=task.best).choose("last").restore(task)
        return task

    def start(self, seed: int | None = None) -> Task:
        """Build the task of one seed as it was before its first step; on the CPU, for looking at.

        Args:
            seed: None is the first.

        Raises:
            ConfigError: there is no such seed, or its configuration cannot be built.
        """
        spec = RunSpec.of(stored_config(self._place(self.seeds[0] if seed is None else seed)), trust=self._trust)
        task = spec.with_values(compile=False, device="cpu").task()
        self._tasks.append(task)
        return task

    @property
    def seconds(self) -> float:
        """Wall time of its training, all starts together, in seconds; seeds side by side share it.

        Raises:
            RunError: a summary cannot be read.
        """
        found = []
        for seed in self.seeds:
            file = self._place(seed) / "summary.json"
            try:
                found.append(float(read_json(file)["time/seconds"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RunError(f"{short_path(file)}: cannot be read ({error}); train this variant again") from error
        return max(found)

    def close(self) -> None:
        """Release the tasks that it gave."""
        while self._tasks:
            self._tasks.pop().close()

    def _place(self, seed: int) -> Path:
        """The run directory of a seed."""
        if seed not in self.seeds:
            there = ", ".join(map(str, self.seeds))
            raise ConfigError(f"seed = {seed}: the variant {self.name} was not trained with it; it has {there}")
        return self.path if self.config.get("seeds") is None else self.path / f"seed={seed}"

    def _rows(self, seed: int) -> list[dict[str, Any]]:
        if seed not in self._read:
            self._read[seed] = read_lines(self._place(seed) / "metrics.jsonl")
        return self._read[seed]
