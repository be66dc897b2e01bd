"""A small task of an outside package: noisy gradient descent on a quadratic, with ways to go wrong at a chosen step."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from rlgan.task.errors import Diverged, InputError
from rlgan.task.seeding import Generators
from rlgan.task.settings import Settings
from rlgan.task.task import Picture, Task


@dataclass(frozen=True)
class Noise:
    """Additive noise of the gradient."""

    sigma: float = 0.1
    kind: Literal["normal", "uniform"] = "normal"

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"sigma = {self.sigma}: must not be negative, for example 0.1")


class Quadratic(Task):
    """theta <- theta - lr (theta + noise); evaluation is |theta|^2 plus noise from a stream of its own."""

    best: ClassVar[tuple[str, Literal["min", "max"]]] = ("distance/eval", "min")

    def __init__(
        self,
        settings: Settings,
        noise: Noise,
        lr: float = 0.1,
        betas: tuple[float, ...] = (0.5,),
        stride: int = 1,
        events: Mapping[int, str] | None = None,
        reads: str = "",
        measures: Mapping[str, float] | None = None,
        draws: str = "",
    ) -> None:
        if lr <= 0:
            raise ValueError(f"lr = {lr}: must be positive, for example 1e-3")
        self.settings = settings
        self.noise = noise
        self.lr = lr
        self.stride = stride
        self.events = dict(events or {})
        self.reads, self.draws = reads, draws
        self.measures = dict(measures or {})
        self.told = ["it is small"]
        self.compiled = settings.compile is True
        self.generators = Generators(settings.seed)
        with self.generators.init("theta"):
            self.theta = torch.randn(8, dtype=settings.dtype)
        self._loss = 0.0
        self._count = 0

    def advance(self) -> None:
        event = self.events.get(self.steps_done, "")
        if event == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if event.startswith("SIG"):
            for name in event.split("+"):
                os.kill(os.getpid(), getattr(signal, name))
        if event == "nan":
            raise Diverged(f"critic/loss = nan at step {self.steps_done}: try a smaller lr than {self.lr}")
        if event == "error":
            raise RuntimeError("a bug")
        self.happens(*event.split(":"))
        noise = torch.randn(8, generator=self.generators.torch("noise"), dtype=self.theta.dtype)
        scale = float(self.generators.numpy("scale").uniform(0.5, 1.5))
        self._loss += float(self.theta.square().sum())
        self._count += 1
        self.theta -= self.lr * (self.theta + self.noise.sigma * scale * noise)
        self.steps_done += self.stride

    def happens(self, what: str, name: str = "", new: str = "") -> None:
        """What befalls the run at this step."""
        if what in ("input", "intact"):
            raise InputError("cat.jpg: is cut short", intact=what == "intact")
        if what == "exit":
            sys.exit(0)
        if what == "memory":
            torch.empty(2**50)
        if what == "note":
            self.told.append(name)
        if what == "rename":
            os.rename(name, new)
        if what == "remove":
            shutil.rmtree(name)
        if what == "mkdir":
            os.mkdir(name)

    def inputs(self) -> dict[str, str]:
        return {"data": self.reads} if self.reads else {}

    def notes(self) -> list[str]:
        return list(self.told)

    def metrics(self) -> dict[str, float]:
        mean = self._loss / self._count
        self._loss, self._count = 0.0, 0
        return {"player/loss": mean}

    def evaluate(self) -> dict[str, float]:
        noise = torch.randn(8, generator=Generators(self.settings.seed).torch("evaluation"), dtype=self.theta.dtype)
        return {"distance/eval": float((self.theta + 0.01 * noise).square().sum())} | {
            tag: math.nan if value == -math.inf else value for tag, value in self.measures.items()
        }

    def pictures(self) -> dict[str, Picture]:
        if self.draws == "nothing":
            raise KeyError("no such colour")
        if self.draws == "floats":
            return {"samples/floats": np.zeros((2, 2))}
        return {"samples/theta": (self.theta.abs() * 50).clamp(0, 255).to(torch.uint8).reshape(2, 4, 1).numpy()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "theta": self.theta,
            "steps": self.steps_done,
            "sums": (self._loss, self._count),
            "generators": self.generators.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.theta.copy_(state["theta"])
        self.steps_done = state["steps"]
        self._loss, self._count = state["sums"]
        self.generators.load_state_dict(state["generators"])


def not_a_task(settings: Settings) -> np.ndarray:
    """A callable that is no Task."""
    return np.zeros(settings.seed)
