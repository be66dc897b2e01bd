"""What a resumed run needs to have the same bits: the same machine, the same choices, the same random numbers."""

import platform
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlgan.runs.record.directory import stored
from rlgan.runs.record.files import read_lines
from rlgan.task.settings import Settings
from rlgan.task.task import Stackable, Task


def exactness(settings: Settings, task: Task, stacked: int = 1) -> dict[str, Any]:
    """Describe what has to be the same for a resumed run to compute the same bits."""
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "device": str(settings.torch_device),
        "threads": settings.threads,
        "precision": settings.precision,
        "compiled": task.compiled,
        **({"matrix products by": task.learner.update.products} if isinstance(task, Stackable) else {}),
        "seeds stacked": stacked,
    }


def inexact(meta: Mapping[str, Any], settings: Settings, task: Task, stacked: int = 1) -> list[str]:
    """List the differences because of which a resumed run will not compute the same bits, a sentence each."""
    now = exactness(settings, task, stacked)
    return [
        f"resume is not bit-exact: {key} was {meta[key]} and is {value}"
        for key, value in now.items()
        if key in meta and meta[key] != value
    ]


def changed_inputs(meta: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """List what is read from outside and is not what a checkpoint was made with, a sentence each."""
    former = meta.get("inputs")
    if former is None:  # of a version that kept none
        return []
    return [
        f"{name} was {former.get(name, 'not there')} and is {inputs.get(name, 'not there')}"
        for name in dict.fromkeys((*former, *inputs))
        if former.get(name) != inputs.get(name)
    ]


def changed_settings(meta: Mapping[str, Any], config: Mapping[str, Any], typed: Iterable[str]) -> list[str]:
    """List settings that are others than a checkpoint was made with, though nobody asked for it now, a sentence each.

    Args:
        meta: of the checkpoint.
        config: the configuration now.
        typed: keys that this command changes.
    """
    former = meta.get("config")
    if not isinstance(former, Mapping):  # of a version that kept none
        return []
    return [
        f"{key} is {new} and was {old} when the checkpoint was made; config.yaml or overrides.jsonl was changed since"
        for key, old, new in differences(former, stored(config))
        # A seed of a group may go on by itself, and what `auto` decided is kept.
        if not any(key == one or key.startswith(f"{one}.") for one in (*typed, "seed", "seeds", "compile"))
    ]


def typed_after(run: Path, step: int) -> set[str]:
    """The keys that were typed at starts of a run from a step on: its checkpoint does not know of them."""
    starts = [record for record in read_lines(run / "overrides.jsonl") if isinstance(record.get("changes"), dict)]
    return {
        key for start in starts if type(start.get("step")) is int and start["step"] >= step for key in start["changes"]
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two configurations differ: the dotted key, and what stands there in each (None: nothing)."""
    for key in {**old, **new}:
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key}", before, now


def moved_ends(meta: Mapping[str, Any], settings: Settings, task: Task) -> list[str]:
    """List what is laid out over the run and goes another way since the run is longer or shorter, a sentence each."""
    former, now = meta.get("horizon"), settings.planned
    if former is None or former == now:
        return []
    left = max(former, now) - task.steps_done
    found: dict[str, str] = {}
    for ahead in sorted({left * i // 20 for i in range(21)}) if left > 0 else [0]:
        before, after = task.laid_out(former, ahead), task.laid_out(now, ahead)
        for key, value in after.items():
            if value != before[key] and key not in found:
                found[key] = (
                    f"{key} at step {task.steps_done + ahead} is {value:.4g} and not {before[key]:.4g}: it is laid out "
                    f"for {now} steps, and was for {former}; horizon={former} keeps the old end"
                )
    return list(found.values())


def global_random_state() -> dict[str, Any]:
    """Return the states of the global generators, which dropout and outside code use, in plain containers."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_global_random_state(state: Mapping[str, Any]) -> None:
    """Restore the state that `global_random_state()` returned."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
