"""What the ranks of a run agree on: whether all could start, when they stop, and that one is gone.

Every call is made by all ranks at the same point of the run. A process alone is one rank, and agrees with itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed as dist

from rlgan.optim import ranks
from rlgan.optim.ranks import RankLost, reaching
from rlgan.runs.ranks.launch import Launch
from rlgan.task.errors import RunError
from rlgan.task.hooks.callback import Ending
from rlgan.task.settings import Settings

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""For which a rank waits for the others: for an evaluation, which rank 0 makes alone. Who dies is noticed at once."""
PATIENCE_OF_SEEDS = timedelta(days=60)
"""For which rank 0 waits for the seeds of the others."""
PATIENCE_OF_STOPPED = 5.0
"""Seconds for which ranks that a signal has stopped wait for the others; torchrun kills after 30."""
LOOK = 0.25
"""Seconds from one agreement on stopping to the next, roughly."""
_FINISH, _PAUSE = 1000, 1001


class Ranks:
    """This process among the ranks of a run.

    Args:
        launch: how it was started; None alone.

    Attributes:
        joint: whether all ranks train one run, and not each seeds of its own.
    """

    def __init__(self, launch: Launch | None = None) -> None:
        self.launch = launch
        self.rank, self.size = (launch.rank, launch.size) if launch else (0, 1)
        self.joint = False
        self._store: Any = None
        self._every = self._left = 1
        self._since = 0.0

    @property
    def follows(self) -> bool:
        """Whether another rank writes what this one does."""
        return self.rank > 0

    def connect(self) -> None:
        """Find the other ranks.

        Raises:
            RunError: they cannot be reached.
        """
        assert self.launch is not None
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        # After a restart torchrun may lend the store with what the former processes have left in it
        # (https://github.com/pytorch/pytorch/issues/135712); on one machine all know which start this is.
        start = self.launch.restarts if self.launch.local_size == self.size else 0
        try:
            store, _, _ = next(iter(dist.rendezvous("env://")))
            self._store = dist.PrefixStore(f"rlgan, start {start}", store)
            group = dist.PrefixStore("ranks", self._store)
            dist.init_process_group(backend, store=group, rank=self.rank, world_size=self.size, timeout=PATIENCE)
        except (RuntimeError, ValueError, OSError) as error:
            raise RunError(
                f"rank {self.rank}: cannot reach the other ranks ({' '.join(str(error).split())[:160]}); see that "
                "MASTER_ADDR and MASTER_PORT can be reached, or for gloo GLOO_SOCKET_IFNAME"
            ) from error

    def begin(self, settings: Settings) -> None:
        """Before a task is built: train one run with the others, or seeds of one's own.

        Raises:
            RunError: there are more ranks than seeds, or than devices.
        """
        if self.launch is None:
            return
        self.joint = settings.seeds is None
        if not self.joint and len(settings.every_seed) < self.size:
            raise RunError(
                f"seeds = {settings.seeds}: are fewer than the {self.size} ranks, each of which trains seeds of its "
                f"own; use seeds={self.size} or more"
            )
        devices, local = torch.cuda.device_count(), self.launch.local_size
        if settings.device == "auto" and 0 < devices < local and self.joint:
            raise RunError(
                f"device = auto: {local} ranks on a machine of {devices} CUDA device(s); use "
                f"--nproc_per_node={devices}, or device=cpu"
            )
        if settings.torch_device.type == "cuda":
            torch.cuda.set_device(settings.torch_device)
        ranks.leave()
        if self.joint:
            ranks.join()

    def stop(self, number: int | None, ending: Ending | None) -> tuple[int | None, Ending | None]:
        """Which signal, or which end by rank 0's callbacks, all obey from this step on.

        Looked at about every `LOOK` seconds, at the same step by all.

        Raises:
            RankLost: a rank is gone.
        """
        if not self.joint:
            return number, ending
        self._left -= 1
        if self._left > 0:
            return None, None
        now, first = time.monotonic(), self.rank == 0
        pace = (now - self._since) / self._every
        every = max(1, min(1000, int(LOOK / pace))) if self._since and pace > 0 else 1
        word = 0 if ending is None or not first else _FINISH if ending.finished else _PAUSE
        asked = torch.tensor([number or 0, word, every if first else 0])
        reaching(lambda: dist.all_reduce(asked, dist.ReduceOp.MAX))
        number, word, self._every = asked.tolist()
        self._left, self._since = self._every, now
        if not word:
            return number or None, None
        return number or None, ending or Ending("rank 0 ends the run", finished=word == _FINISH)

    def told(self, value: T) -> T:
        """What rank 0 has here, of plain data.

        Raises:
            RankLost: a rank is gone.
        """
        return ranks.of_first(value) if self.joint else value

    def every(self, value: T) -> list[T]:
        """What every rank has here, in their order.

        Raises:
            RankLost: a rank is gone.
        """
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        reaching(lambda: dist.all_gather_object(found, value))
        return found

    def collected(self, key: str, value: Any, stopped: bool = False) -> list[Any]:
        """At rank 0 what all ranks say under a key, of JSON, whenever they come to it; elsewhere what is said here.

        Args:
            key: of what is said.
            value: what this rank says.
            stopped: by a signal: who has said nothing for `PATIENCE_OF_STOPPED` is left out.

        Raises:
            RunError: somebody does not come to it.
        """
        if self._store is None:
            return [value]
        self._store.set(f"{key}/{self.rank}", json.dumps(value))
        if self.follows:
            return [value]
        keys = [f"{key}/{k}" for k in range(self.size)]
        try:
            until = time.monotonic() + PATIENCE_OF_STOPPED
            while stopped and not self._store.check(keys) and time.monotonic() < until:
                time.sleep(0.05)
            if stopped:
                keys = [name for name in keys if self._store.check([name])]
            self._store.wait(keys, PATIENCE_OF_SEEDS)
        except RuntimeError as error:
            raise RunError(f"{key}: a rank does not say its own ({' '.join(str(error).split())[:120]})") from error
        return [json.loads(self._store.get(name)) for name in keys]

    @contextmanager
    def all(self) -> Iterator[None]:
        """Go on from the block only if all ranks come through it.

        Raises:
            RunError: at rank 0, in the words of the one that did not; the others leave, as it says it for them.
        """
        if self.size == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            failed = error
        said = self.every(None if failed is None else " ".join(str(failed).split()) or type(failed).__name__)
        if not any(said):
            return
        if self.follows:
            raise SystemExit(self.end(2, patience=60.0) or 2)
        if failed is not None:
            raise failed
        k = next(k for k, words in enumerate(said) if words)
        raise RunError(f"rank {k}: {said[k]}")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Say in one line that another rank is gone, whatever that has broken.

        Raises:
            RunError: in its place.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not (isinstance(error, RankLost) or ranks.lost()):
                raise
            raise RunError(
                f"another of the {self.size} ranks is gone ({ranks.lost()}); the last checkpoint stands: start all of "
                "them again with run_dir= or resume="
            ) from error

    def end(self, code: int, patience: float = 600.0) -> int | None:
        """The exit code of rank 0, for which the others wait, as torchrun ends all as soon as one fails.

        Args:
            code: of this rank.
            patience: seconds to wait for it; None comes back after that.
        """
        if self._store is None:
            return code
        if dist.is_initialized():  # its threads may end the process by an abort if they outlive the interpreter
            dist.destroy_process_group()
        try:
            if not self.follows:
                self._store.set("end", str(code))
                return code
            until = time.monotonic() + patience
            while not self._store.check(["end"]):
                if time.monotonic() > until:
                    return None
                time.sleep(0.05)
            return int(self._store.get("end"))
        except (RuntimeError, ValueError):  # whoever kept the store is gone
            return None

    @property
    def meta(self) -> dict[str, Any]:
        """What a checkpoint says of the ranks."""
        return {"ranks": self.size} if self.joint else {}

    @property
    def mark(self) -> dict[str, Any]:
        """What status.json says of the launch, so that a restart finds the run."""
        return {} if self.launch is None else {"ranks": self.size, "launch": self.launch.name}


_here = [Ranks()]


def here() -> Ranks:
    """This process among the ranks of a run."""
    return _here[0]


def arrive(launch: Launch) -> Ranks:
    """Be one of several ranks from now on.

    Raises:
        RunError: the others cannot be reached.
    """
    _here[0] = Ranks(launch)
    _here[0].connect()
    return _here[0]
