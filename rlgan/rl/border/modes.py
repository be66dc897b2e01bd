"""What belongs to the whole process: an environment that changes it has it to itself, and everybody else as before."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class Modes(NamedTuple):
    """torch's gradients on or off and its default dtype, how numpy's floating errors are treated, and the folder."""

    gradients: bool
    dtype: torch.dtype
    errors: dict[str, Any]
    folder: str | None

    @classmethod
    def now(cls) -> "Modes":
        """Those that are set."""
        try:
            folder = os.getcwd()
        except OSError:  # it was removed
            folder = None
        return cls(torch.is_grad_enabled(), torch.get_default_dtype(), dict(np.geterr()), folder)

    def install(self) -> None:
        """Set them."""
        torch.set_grad_enabled(self.gradients)
        torch.set_default_dtype(self.dtype)
        np.seterr(**self.errors)
        if self.folder is not None:
            with contextlib.suppress(OSError):
                os.chdir(self.folder)


@contextlib.contextmanager
def kept_signals() -> Iterator[None]:
    """A block that leaves alone who is told of a signal: a run saves at these."""
    main = threading.current_thread() is threading.main_thread()
    former = {number: signal.getsignal(number) for number in _SIGNALS if main}
    try:
        yield
    finally:
        for number, handler in former.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
