"""The same numbers for Weights & Biases (wandb), https://docs.wandb.ai."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlgan.runs.record.files import read_json, write_json
from rlgan.task.hooks.callback import How
from rlgan.task.sink import Opening, Sink

if TYPE_CHECKING:
    import wandb

PROJECT = "rlgan"
"""Where runs are put unless $WANDB_PROJECT says otherwise."""


class WandB(Sink):
    """Write a run of Weights & Biases, below RUN/wandb.

    wandb's own environment variables hold: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE=offline, and so on. The run's id is
    kept in RUN/wandb.json, so that all starts go on in one run there. Its x axis is the step of metrics.jsonl.
    """

    what = "Weights & Biases"

    def check(self) -> None:
        """Tell whether wandb is there, and somebody is logged in unless it works offline.

        Raises:
            ImportError, ValueError: naming the remedy.
        """
        if importlib.util.find_spec("wandb") is None:
            raise ImportError('is not installed; pip install "rlgan[wandb]"')
        import wandb

        online = wandb.setup().settings.mode in ("online", "shared")
        if online and not wandb.login(prompt=False):
            raise ValueError("nobody is logged in; call `wandb login` once, or set WANDB_MODE=offline")

    def open(self, run: Opening) -> None:
        import wandb

        kept, folder = run.path / "wandb.json", run.path / "wandb"
        if folder.is_symlink():
            raise OSError(f"{folder} is a link; remove it")
        known = read_json(kept) if kept.exists() else {}
        id = known.get("id") if isinstance(known.get("id"), str) else None
        family = run.task.family or run.task.__name__.lower() if run.task else None
        quiet = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
        self._code = 0
        self._run: wandb.Run = wandb.init(
            dir=str(run.path),
            id=id,
            resume="allow",
            name=f"{run.path.parent.name}/{run.path.name}" if run.path.name.startswith("seed=") else run.path.name,
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            job_type=family,
            config={**run.varied, "config": dict(run.config), "about": dict(run.about)},
            allow_val_change=True,
            reinit="create_new",  # seeds side by side have one each
            settings=quiet,
        )
        if id is None:
            write_json(kept, {"id": self._run.id, "project": self._run.project})
        self._run.define_metric("*", step_metric="step")
        if run.task is not None:
            tag, direction = run.task.best
            self._run.define_metric(tag, step_metric="step", summary=direction)
        if id is None:  # what was logged before it was wanted here
            for row in run.rows():
                self._run.log(dict(row))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def points(self, step: int, values: Mapping[str, float], seconds: float) -> None:
        self._run.log({**values, "step": step})

    def pictures(self, step: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        import wandb

        self._run.log({**{tag: wandb.Image(array.squeeze()) for tag, array in pictures.items()}, "step": step})

    def histograms(self, step: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        import wandb

        found = {tag: wandb.Histogram(np_histogram=np.histogram(array, bins=64)) for tag, array in arrays.items()}
        self._run.log({**found, "step": step})

    def film(self, step: int, tag: str, gif: bytes) -> None:
        import wandb

        self._run.log({tag: wandb.Video(io.BytesIO(gif), format="gif"), "step": step})

    def end(self, state: How, latest: Mapping[str, float]) -> None:
        self._code = 0 if state == "finished" else 1

    def close(self) -> None:
        self._run.finish(exit_code=self._code)
