"""Run directories as they would be left, written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

CONFIG: dict[str, Any] = {
    "steps": 100,
    "seed": 0,
    "seeds": None,
    "device": "cpu",
    "task": {"_target_": "mine.Task"},
    "lipschitz": {"_target_": "rlgan.gan.Clip", "radius": 0.01},
    "critic": {"optimizer": {"_target_": "rlgan.optim.rmsprop", "lr": 5e-5}, "network": {"hidden": [16, 16]}},
    "actor": {"optimizer": {"_target_": "rlgan.optim.adam", "lr": 1e-3}},
    "env": {"id": "Pendulum-v1"},
}
TASK = {"class": "Task", "best": ["return/eval", "max"], "better": {"loss": "min"}, "headline": ["loss", "return/eval"],
        "explained": {"return/eval": "mean return <of> the evaluation"}}  # fmt: skip


def write_run(
    path: Path,
    scores: Sequence[float] = (1.0, 2.0),
    changes: Mapping[str, Any] | None = None,
    *,
    typed: Sequence[str] = (),
    choices: Mapping[str, str] | None = None,
    state: str = "finished",
    steps: Sequence[int] | None = None,
    task: Mapping[str, Any] | None = TASK,
) -> Path:
    """A run whose return/eval takes `scores`, one a logged step.

    Args:
        path: its directory.
        scores: values, at 10, 20, ... or `steps`.
        changes: of the configuration, by dotted key; None removes the key.
        typed, choices: of overrides.jsonl.
        state: of status.json.
        steps: at which the values were logged.
        task: of task.json; None: there is none.
    """
    path.mkdir(parents=True)
    config = json.loads(json.dumps(CONFIG))
    for key, value in (changes or {}).items():
        node = config
        *parents, last = key.split(".")
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    start = {"overrides": list(typed), "changes": {}, "choices": {"task": "mine", **(choices or {})}}
    (path / "overrides.jsonl").write_text(json.dumps(start) + "\n")
    at = list(steps or range(10, 10 * len(scores) + 1, 10))
    lines = [json.dumps({"step": step, "loss": -value}) for step, value in zip(at, scores, strict=True)]
    lines += [json.dumps({"step": step, "return/eval": value}) for step, value in zip(at, scores, strict=True)]
    (path / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
    (path / "status.json").write_text(json.dumps({"state": state, "step": at[-1] if at else 0, "reason": "", "pid": 1}))
    if task is not None:
        (path / "task.json").write_text(json.dumps(task))
    return path
