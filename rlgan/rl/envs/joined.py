"""Batched environments of several owners, the seeds of a run, stepped as one."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from gymnasium import spaces

from rlgan.rl.border.actions import ActionMap
from rlgan.rl.border.rows import Rows, Step
from rlgan.rl.envs.batched import BatchedEnv, share
from rlgan.rl.envs.vector_env import SINGLE, VectorEnvironment
from rlgan.task.errors import Diverged


class Joined:
    """Steps the environments of all parts by one call; each part stays what it is.

    The rows of the whole are the rows of the parts one after the other, and their memory is one: after a step of the
    whole `part.obs`, `part.valid`, `part.steps` and `part.state_dict()` are those of a part that was stepped alone, to
    the last bit. A part may also be stepped, reset or restored by itself at any time.

    Args:
        parts: for which `join` found that they can be joined.
    """

    def __init__(self, parts: Sequence[VectorEnvironment]) -> None:
        first = parts[0]
        self.parts = tuple(parts)
        self.batched = BatchedEnv.joined([cast(BatchedEnv, part.vector) for part in parts])
        self.num_envs, self.action_dim = self.batched.num_envs, first.action_dim
        self.rows = Rows(self.num_envs, first.obs_dim)
        share(self.rows, [part.rows for part in parts], Rows.names)
        ends = np.cumsum([part.num_envs for part in parts]).tolist()
        #: The rows of each part.
        self.slices = [slice(end - part.num_envs, end) for part, end in zip(parts, ends, strict=True)]
        self._map = ActionMap(cast(spaces.Box, self.batched.single_action_space))

    @property
    def obs(self) -> np.ndarray:
        """(n, obs_dim) float32, the observations to act upon, of all parts; the next step overwrites them."""
        return self.rows.obs

    @property
    def valid(self) -> np.ndarray:
        """(n,) bool: False where the next step is a reset."""
        return self.rows.valid

    def step(
        self, action: np.ndarray | torch.Tensor, mask: np.ndarray | None = None
    ) -> tuple[Step, dict[int, Diverged]]:
        """Step the environments of all parts; and of the parts at which that failed, by their index, the reasons.

        A part fails where it would have raised if it were stepped alone: at an action, observation or reward that is
        not finite. Its rows then are no transitions (`valid` False, nothing ended), and the others go on.

        Args:
            action: (n, action_dim), clipped to [-1, 1] here.
            mask: (n,) bool, the environments to step; the others stay where they are, their rows are no transitions.
                All, where none is given.

        Raises:
            ValueError: an action or a mask of another shape.
        """
        chosen = action.detach().cpu().numpy() if isinstance(action, torch.Tensor) else action
        for name, array, shape in (
            ("action", chosen, (self.num_envs, self.action_dim)),
            ("mask", mask, (self.num_envs,)),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} = shape {array.shape}: must be {shape}")
        failed: dict[int, Diverged] = {}
        unit = np.minimum(np.maximum(chosen, -1.0), 1.0).astype(np.float32, copy=False)
        if not _finite(unit):
            mask = self._find("action", unit, mask, failed)
            unit = np.where(mask[:, None], unit, np.float32(0.0))
        raw, reward, terminated, truncated, _ = self.batched.step(self._map(unit), mask)
        with np.errstate(over="ignore"):
            observation = raw.astype(np.float32, copy=False)
        if not (_finite(observation) and np.abs(reward).max() <= SINGLE):
            mask = self._find("observation", observation, mask, failed, raw)
            mask = self._find("reward", reward[:, None], mask, failed)
            reward = np.where(mask, reward, 0.0)
            terminated, truncated = terminated & mask, truncated & mask
        return self.rows.move(unit, reward, observation, terminated, truncated, mask), failed

    def _find(
        self,
        what: str,
        values: np.ndarray,
        mask: np.ndarray | None,
        failed: dict[int, Diverged],
        given: np.ndarray | None = None,
    ) -> np.ndarray:
        """Enter in `failed` the parts with values that are not finite where the mask is True; the mask without them."""
        mask = np.ones(self.num_envs, dtype=np.bool_) if mask is None else mask.copy()
        for k, (part, rows) in enumerate(zip(self.parts, self.slices, strict=True)):
            own = None if given is None else given[rows]
            error = part.diverged(what, np.where(mask[rows, None], values[rows], 0.0), own)
            if error is not None:
                failed[k] = error
                mask[rows] = False
        return mask


def _finite(values: np.ndarray) -> bool:
    # A product with zero is zero for finite values and NaN otherwise.
    flat = values.reshape(-1)
    with np.errstate(invalid="ignore"):
        return bool(np.dot(flat, np.zeros_like(flat)) == 0.0)


def join(parts: Sequence[VectorEnvironment]) -> Joined | None:
    """The environments of all parts as one, or None where they are not batched, or were not made alike."""
    first = parts[0]
    alike = all(type(part.vector) is type(first.vector) and part.made == first.made for part in parts)
    return Joined(parts) if alike and isinstance(first.vector, BatchedEnv) else None
