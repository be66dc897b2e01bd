"""Environments of the kinds that people bring, made from one by changing a word of it."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces


class Line(gymnasium.Env):
    """A point on a line that the action pushes, for `length` steps; the reward is minus the square of its place.

    Args:
        fault: what is strange about it, one of the names in the methods below.
    """

    length = 20

    def __init__(self, fault: str = "") -> None:
        self.observation_space: spaces.Space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.fault = fault
        self.place, self.time = 0.0, 0
        self.given: list[np.ndarray] = []
        self.same = np.zeros(2, np.float32)
        self.weight = np.random.uniform(1, 2) if fault == "draws when made" else 1.0
        if fault == "parts":
            box = spaces.Box(-9.0, 9.0, (1,), np.float32)
            self.observation_space = spaces.Dict({"a": box, "b": spaces.Tuple((box, spaces.Discrete(3, start=3)))})
        if fault == "modes":
            torch.set_default_dtype(torch.float64)
            np.seterr(over="raise")
            os.chdir("/")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if fault == "exits when made":
            sys.exit("no licence")
        if fault == "whole":
            self.observation_space = spaces.Box(0, 255, (2,), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place, self.time = float(self.np_random.uniform(-1, 1)), 0
        draws = {
            "python": lambda: random.uniform(-1, 1),
            "numpy": lambda: float(np.random.uniform(-1, 1)),
            "torch": lambda: float(torch.rand(())),
            "no seed": lambda: float(np.random.default_rng().uniform(-1, 1)),
        }
        if self.fault == "new generator":
            self.place = float(np.random.default_rng(seed).uniform(-1, 1))
        self.place = draws.get(self.fault, lambda: self.place)()
        return self.seen() if self.fault == "old reset" else (self.seen(), self.info())

    def seen(self) -> Any:
        now = np.array([self.place, self.time / 20], np.float32)
        self.same[:] = now
        box = np.array([self.place], np.float32)
        return {
            "same array": self.same,
            "view": np.concatenate([self.same, self.same])[:2],
            "parts": {"a": box, "b": (box, 3 + self.time % 3)},
            "whole": np.array([1, self.time % 3]),
            "shape": now[None],
            "list": now.tolist(),
            "double": now.astype(np.float64),
            "tensor": torch.tensor(now, requires_grad=True),
            "nothing": None,
            "masked": np.ma.masked_array(now, [True, False]),
            "beyond": now.astype(np.float64) * 1e200,
        }.get(self.fault, now)

    def info(self) -> Any:
        return {
            "info none": None,
            "info list": [1],
            "info ragged": {"found": np.zeros((self.time % 3, 2))},
            "info lock": {"lock": threading.Lock()},
            "info clash": {"episode": 3, "_episode": "a", "final_obs": np.zeros(9), "final_info": None},
        }.get(self.fault, {})

    def step(self, action: np.ndarray) -> Any:
        if self.fault == "scales the action":
            action *= 0.1
        if self.fault == "keeps the action":
            for former in self.given:
                former[...] = 0.5
            self.given = [action]
        if self.fault == "exits" and self.time == 7:
            sys.exit(0)
        if self.fault == "modes":
            assert np.geterr()["over"] == "raise" and os.getcwd() == "/" and torch.get_default_dtype() == torch.float64
            torch.set_grad_enabled(False)
        noise = np.random.normal() if self.fault == "noise" else 0.0
        self.place += 0.1 * float(np.asarray(action).ravel()[0]) + 0.1 * noise
        self.time += 1
        reward = -self.weight * self.place**2
        rewards = {
            "reward array": np.array([reward]),
            "reward scalar": np.float64(reward),
            "reward tensor": torch.tensor(reward, dtype=torch.float64, requires_grad=True),
            "reward list": [reward],
            "reward none": None,
            "reward word": "1.0",
            "reward vector": np.ones(2),
            "reward huge": 10**400,
            "reward beyond": -1e300 if self.time == 7 else reward,
        }
        over = self.time >= self.length and self.fault != "never"
        ends = {
            "end array": (np.array([False]), np.array([[over]])),
            "end number": (0, int(over)),
            "end tensor": (torch.tensor(False), torch.tensor([over])),
            "end none": (None, over),
            "end word": ("False", over),
            "end vector": (np.zeros(2, np.bool_), over),
        }
        terminated, truncated = ends.get(self.fault, (False, over))
        given = self.seen(), rewards.get(self.fault, reward), terminated, truncated, self.info()
        return (*given[:3], given[4]) if self.fault == "old step" else given


class Unseeded(Line):
    """Whose reset takes no seed."""

    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class Few(Line):
    """A simulator of which only so many can be open at a time.

    Args:
        most: that number.
        wild: it draws from the operating system, so that no state of it can be saved.
    """

    opened = 0

    def __init__(self, most: int = 1, wild: bool = False) -> None:
        self.open = False
        if Few.opened >= most:
            raise OSError("its port is in use")
        self.open = True
        Few.opened += 1
        super().__init__("no seed" if wild else "")

    def close(self) -> None:
        Few.opened -= self.open
        self.open = False


for name, kind in {"Line-v0": Line, "Unseeded-v0": Unseeded, "Few-v0": Few}.items():
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=kind)  # type: ignore[arg-type]
