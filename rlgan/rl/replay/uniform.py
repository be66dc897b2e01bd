"""Uniform experience replay (Lin 1992; Mnih et al. 2015): one transition is one packed row, one batch one gather."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from rlgan.rl.border.rows import Step
from rlgan.rl.replay.n_step import Windows
from rlgan.task.ring import Ring


class Transition(NamedTuple):
    """A batch of B transitions; all fields of the store are views of one gathered (B, W) tensor.

    Shapes: obs (B, obs_dim), action (B, action_dim) in [-1, 1], reward (B,), terminated (B,) as 0 or 1 (the target is
    r + gamma (1 - terminated) Q'; truncation never masks), next_obs (B, obs_dim). Of windows of m steps: the discounted
    rewards of all of them, what ended the last one, and the observation after it.

    The others are of no dimension where there is nothing to say: discount (B,), gamma^m of windows; weight (B,), of
    prioritised samples; noise (B, action_dim) ~ N(0, I), for an agent whose losses want it. ceiling is a number: the
    largest return that training has seen, in the units of the reward, or infinity (`rlgan.rl.replay.ceiling`).
    """

    obs: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    terminated: torch.Tensor
    next_obs: torch.Tensor
    discount: torch.Tensor = torch.ones(())
    weight: torch.Tensor = torch.ones(())
    noise: torch.Tensor = torch.zeros(())
    ceiling: torch.Tensor = torch.full((), torch.inf)


class Layout(NamedTuple):
    """What a replay holds: how many transitions, what each consists of, and where.

    Args:
        capacity: transitions kept; the oldest is overwritten first.
        obs_dim: length of an observation.
        action_dim: length of an action.
        dtype: of the store and of the batches.
        device: of the store and of the batches.
        windows: whether rows are windows of several steps (`rlgan.rl.replay.n_step`); only then there is a discount.
        horizon: transitions that the run is planned to store, for schedules.
    """

    capacity: int
    obs_dim: int
    action_dim: int
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    windows: bool = False
    horizon: int = 0


class ReplaySpec(ABC):
    """A kind of replay, as configured; `make` builds it for one run."""

    @abstractmethod
    def make(self, layout: Layout) -> ReplayStore:
        """An empty replay."""


@dataclass(frozen=True)
class UniformReplay(ReplaySpec):
    """Every stored transition is as likely as any other (Lin 1992; Mnih et al. 2015)."""

    def make(self, layout: Layout) -> ReplayStore:
        return ReplayStore(layout)


class ReplayStore:
    """A ring of the last `capacity` transitions, each a row [obs | action | reward | terminated | next_obs | discount].

    The store is one (capacity, W) tensor, so that several of them stack to (S, capacity, W) and are still sampled by
    one gather.

    Raises:
        ValueError: capacity below 1, or more than the memory holds.
    """

    def __init__(self, layout: Layout) -> None:
        capacity, obs_dim, action_dim, dtype, device, windows, _ = layout
        if capacity < 1:
            raise ValueError(f"capacity = {capacity}: must be at least 1, for example 1_000_000")
        self.capacity = capacity
        self._widths = (obs_dim, action_dim, 1, 1, obs_dim, *((1,) if windows else ()))
        self.width = sum(self._widths)
        try:
            self.rows = untouched((capacity, self.width), dtype, device)
        except (RuntimeError, MemoryError) as error:
            size = capacity * self.width * torch.finfo(dtype).bits / 8 / 2**30
            raise ValueError(f"capacity = {capacity}: its rows need {size:.1f} GiB, which are not to be had") from error
        self._size = 0
        self._next = 0
        self.added = 0
        one = torch.ones((), dtype=dtype, device=device)
        rest = {"noise": torch.zeros_like(one), "ceiling": torch.full_like(one, torch.inf)}
        self._nothing = {"weight": one, **rest, **({} if windows else {"discount": one})}
        self._columns = self.columns_of(self.rows.numpy()) if self.rows.device.type == "cpu" else None

    def laid_out(self, horizon: int, ahead: int) -> dict[str, float]:
        """What goes by the planned length, `ahead` transitions from here, were that `horizon`; by its key."""
        return {}

    def rehome(self, rows: torch.Tensor) -> None:
        """Move into memory given from outside, (capacity, W) zeros."""
        rows[: self._size] = self.rows[: self._size]
        self.rows = rows
        self._columns = self.columns_of(rows.numpy()) if rows.device.type == "cpu" else None

    @property
    def next(self) -> int:
        """Where the next transition goes."""
        return self._next

    def advance(self, count: int) -> None:
        """Take note that `count` rows have been written from `next` on."""
        self._next = (self._next + count) % self.capacity
        self._size = min(self._size + count, self.capacity)
        self.added += count

    def __len__(self) -> int:
        return self._size

    def add(self, step: Step | Windows) -> int:
        """Append the valid rows of `step`; returns how many those are.

        Raises:
            ValueError: more environments than `capacity`.
        """
        count = int(np.count_nonzero(step.valid))
        end = self._next + count
        if self._columns is not None and count == len(step.valid) and end <= self.capacity:
            write(step, self._columns, slice(self._next, end))
        elif count:
            self._add_scattered(step, count)
        self.advance(count)
        return count

    def columns_of(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """The fields of packed rows (n, W), as views of them."""
        obs, action, reward, terminated, next_obs, *more = np.split(rows, np.cumsum(self._widths)[:-1], axis=1)
        return obs, action, reward[:, 0], terminated[:, 0], next_obs, *(column[:, 0] for column in more)

    def _add_scattered(self, step: Step | Windows, count: int) -> None:
        if count > self.capacity:
            raise ValueError(
                f"capacity = {self.capacity}: smaller than one step of {count} environments; make it larger"
            )
        packed = np.empty((len(step.valid), self.width), dtype=np.float64)
        write(step, self.columns_of(packed), slice(None))
        rows = torch.from_numpy(packed[step.valid]).to(self.rows)
        head = min(count, self.capacity - self._next)
        self.rows[self._next : self._next + head] = rows[:head]
        self.rows[: count - head] = rows[head:]

    def sample(self, batch_size: int, generator: torch.Generator) -> Transition:
        """A batch drawn uniformly with replacement, in memory of its own.

        Args:
            batch_size: B; the draw is B integers from `generator`, whatever the contents.
            generator: on the CPU, or on the store's device.

        Raises:
            ValueError: fewer transitions than `batch_size` are stored.
        """
        self.check_filled(batch_size)
        index = torch.randint(self._size, (batch_size,), generator=generator, device=generator.device)
        return self.split(self.rows.index_select(0, index.to(self.rows.device)))

    def sampler(self, batch_size: int) -> Sampler:
        """A sampler into memory that is allocated once: faster, but each batch overwrites the one before."""
        return Sampler(self, batch_size)

    def split(self, rows: torch.Tensor) -> Transition:
        """The fields of packed rows (..., W), as views of them."""
        obs, action, reward, terminated, next_obs, *more = rows.split(self._widths, -1)
        own = dict(self._nothing, discount=more[0].squeeze(-1)) if more else self._nothing
        return Transition(obs, action, reward.squeeze(-1), terminated.squeeze(-1), next_obs, **own)

    def check_filled(self, batch_size: int) -> None:
        """Refuse a batch of more transitions than there are."""
        if batch_size > self._size:
            raise ValueError(
                f"batch_size = {batch_size}: the replay holds only {self._size} transitions; "
                "collect more before the first update or make the batch smaller"
            )

    def state_dict(self) -> dict[str, Any]:
        """The filled rows, which are live, and the position of the ring."""
        return Ring(capacity=self.capacity, next=self._next, added=self.added, rows=self.rows[: self._size])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved.

        Raises:
            ValueError: saved with another capacity, row width or dtype.
        """
        rows = state["rows"]
        if state["capacity"] != self.capacity:
            raise ValueError(f"capacity = {self.capacity}: the saved replay has {state['capacity']}; resume with that")
        if rows.shape[1] != self.width or rows.dtype != self.rows.dtype:
            raise ValueError(
                f"replay rows = {self.width} x {self.rows.dtype}: saved as {rows.shape[1]} x {rows.dtype}; "
                "resume with the environment, precision and n_step of the run"
            )
        self._size, self._next = len(rows), state["next"]
        # Checkpoints of before there was `added`: any number that leads to this place of the ring.
        self.added = state.get("added", self._next + (self.capacity if self._size == self.capacity else 0))
        self.rows[: self._size] = rows.to(self.rows.device)


def untouched(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    """Zeros that on a CPU take no memory before they are overwritten: torch's own are written at once."""
    if torch.device(device).type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(shape, dtype=np.float64 if dtype == torch.float64 else np.float32))


def write(step: Step | Windows, columns: tuple[np.ndarray, ...], where: slice) -> None:
    """Write a step to the rows `where` of a replay's fields."""
    obs, action, reward, terminated, next_obs, *more = columns
    obs[where] = step.obs
    action[where] = step.action
    reward[where] = step.reward
    terminated[where] = step.terminated
    next_obs[where] = step.next_obs
    if more:
        assert isinstance(step, Windows), "windows = True: this replay stores windows of several steps"
        more[0][where] = step.discount


class Sampler:
    """Draws batches of one size from a replay into its own memory, which every call overwrites.

    Draws the same indices as `ReplayStore.sample` from the same generator.
    """

    def __init__(self, replay: ReplayStore, batch_size: int) -> None:
        self.replay = replay
        self.batch_size = batch_size
        self._rows = torch.empty((batch_size, replay.width), dtype=replay.rows.dtype, device=replay.rows.device)
        self._index: torch.Tensor | None = None
        self.batch = replay.split(self._rows)

    def __call__(self, generator: torch.Generator) -> Transition:
        """The next batch; `batch_size` and errors as in `ReplayStore.sample`."""
        replay = self.replay
        replay.check_filled(self.batch_size)
        if self._index is None:
            self._index = torch.empty(self.batch_size, dtype=torch.int64, device=generator.device)
        torch.randint(replay._size, (self.batch_size,), generator=generator, out=self._index)
        torch.index_select(replay.rows, 0, self._index.to(self._rows.device), out=self._rows)
        return self.batch

    def learn(self, errors: Callable[[Transition], torch.Tensor]) -> None:
        """Take note of what has been learnt of the last batch; `errors` gives its |TD errors| (B,), if asked."""
