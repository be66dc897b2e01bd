"""Which sinks a run has: `logger=[tensorboard,csv,wandb]`, and those of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rlgan.runs.logging.events import TensorBoard
from rlgan.runs.logging.table import CSV
from rlgan.runs.logging.weights_and_biases import WandB
from rlgan.task.errors import ConfigError
from rlgan.task.settings import Settings
from rlgan.task.sink import Sink

_KNOWN: Mapping[str, Callable[[], Sink]] = {"tensorboard": TensorBoard, "csv": CSV, "wandb": WandB}


def sinks_of(settings: Settings) -> list[Sink]:
    """The sinks that a run's settings name, none of them open.

    Raises:
        ConfigError: one cannot work here, for example because a package is not installed.
    """
    found = []
    for entry in settings.loggers:
        sink = _KNOWN[entry]() if isinstance(entry, str) else entry
        try:
            sink.check()
        except (ValueError, ImportError) as error:
            name = entry if isinstance(entry, str) else type(sink).__name__
            raise ConfigError(f"logger = {name}: {' '.join(str(error).split())}") from error
        found.append(sink)
    return found
