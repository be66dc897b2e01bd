"""Whether a saved state is a player's; it is looked at as a whole before anything of it is loaded."""

from typing import Any

import torch
from torch import Tensor

from rlgan.optim.step.types import Slots


def check_part(name: str, part: str, mine: Slots, saved: Any) -> None:
    """Refuse tensors by name that are not those of player `name`.

    Raises:
        ValueError: as ``name = what it is: what is needed; remedy``.
    """
    if not isinstance(saved, dict) or saved.keys() != mine.keys():
        theirs = sorted(map(str, saved)) if isinstance(saved, dict | list) else saved
        raise ValueError(
            f"{name} = saved with {part} {theirs}, configured with {sorted(mine)}: resume with the configuration of "
            "the run"
        )
    for key, value in mine.items():
        check_tensor(name, value, saved[key])


def check_tensor(name: str, mine: Tensor, saved: Any) -> None:
    """Refuse what cannot be copied into `mine`.

    Raises:
        ValueError: as ``name = what it is: what is needed; remedy``.
    """
    tensor = isinstance(saved, Tensor) and saved.layout == torch.strided
    if not tensor or mine.shape != saved.shape or mine.is_complex() != saved.is_complex():
        what = f"vector of shape {tuple(saved.shape)}, {saved.dtype}" if isinstance(saved, Tensor) else repr(saved)[:40]
        raise ValueError(
            f"{name} = {what}: this network needs {tuple(mine.shape)}, {mine.dtype}; resume with the network of the run"
        )


def check_count(name: str, what: str, saved: Any) -> None:
    """Refuse what is no number of steps.

    Raises:
        ValueError: as ``name = ...``.
    """
    if not isinstance(saved, int) or saved < 0:
        raise ValueError(f"{name} = a state with {what} = {saved!r}: a number of steps; load its own")
