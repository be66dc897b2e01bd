"""What torchrun tells every process that it starts; read without torch, as every command asks for it."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

from rlgan.task.errors import ConfigError

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Launch(NamedTuple):
    """One process of several that torchrun has started.

    Args:
        rank: which one, of `size`.
        local_rank: which one on this machine, of `local_size`.
        restarts: how often torchrun has started them all again.
        restartable: whether it may.
        name: of the launch, the same after a restart on the same machines.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    restarts: int
    restartable: bool
    name: str


def launched() -> Launch | None:
    """How this process was started; None if not as one of several.

    Raises:
        ConfigError: the environment says what no launcher says.
    """
    if any(not os.environ.get(key) for key in _NEEDED):
        return None
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    if size < 2:
        return None
    if not 0 <= rank < size:
        raise ConfigError(f"RANK = {rank}: must be below WORLD_SIZE = {size}; start the ranks by torchrun")
    return Launch(
        rank,
        size,
        _number("LOCAL_RANK", rank),
        _number("LOCAL_WORLD_SIZE", size),
        _number("TORCHELASTIC_RESTART_COUNT", 0),
        _number("TORCHELASTIC_MAX_RESTARTS", 0) > 0,
        f"{os.environ.get('TORCHELASTIC_RUN_ID', 'none')} of {os.getppid()} on {socket.gethostname()}",
    )


def speaks() -> bool:
    """Whether what all processes of a machine would say alike is for this one to say."""
    try:
        launch = launched()
    except ConfigError:
        return True
    return launch is None or launch.local_rank == 0


def _number(key: str, default: int | None = None) -> int:
    word = os.environ.get(key, "" if default is None else str(default))
    try:
        return int(word)
    except ValueError:
        raise ConfigError(f"{key} = {word}: torchrun sets a number there; start the ranks by torchrun") from None
