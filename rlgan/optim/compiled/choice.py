"""Whether an update is compiled: as asked, or, for `auto`, by what its first moves take on this machine."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch

from rlgan.optim.compiled.kept import kept, known, machine
from rlgan.optim.ranks import of_first, world
from rlgan.optim.step.method import Method
from rlgan.optim.tree import tree_leaves

T = TypeVar("T")

TRIAL = 20
"""Moves that are made eagerly and timed; the best of them counts."""
FEWEST = 1_000
"""Moves, over all seeds, below which no compilation was ever repaid."""
SAVED = ((0, 0.6), (20_000, 0.25), (130_000, 0.12))
"""Parameters of all players -> share of an eager move that a compiled one saves, where nobody has measured it here.

Rounded down from DDPG by Adam, 2x64 and batch 64 (0.64), the default WGAN (0.30) and DDPG, 2x256 and batch 256 (0.15);
`python scripts/benchmark.py update` and `seeds` measure both ways.
"""
OPERATORS = 25e6
"""A cold compilation of a DDPG update takes as long as so many calls of a small operator: 28 s where one takes 1.1 us,
46 s where it takes 1.8."""
WARM = 0.3
"""Share of that which it takes where the compiler has made the same graph before."""

Requested = bool | Literal["auto"]


class Figures(NamedTuple):
    """What an equal update has been seen to take on this machine; None where that is not known.

    Args:
        cold, warm: seconds of its first compilation, and of a later one.
        compiled: seconds of a move of one seed.
    """

    cold: float | None = None
    warm: float | None = None
    compiled: float | None = None


class Choice:
    """Decides once about one update, and says why.

    `auto` goes by the clock: the first `TRIAL` moves of a run are eager and timed. From the best of them, from what a
    compilation costs and from what it saves follows whether the rest of the run is worth one. Compiled and eager moves
    differ in their last bits, and equal runs are to have equal bits: so the verdict is kept in the user's cache
    directory, beside the compiled graphs, under everything that it depends on, and the next equal run takes it over,
    after as many eager moves. A run that is resumed keeps to what its checkpoint says.

    Args:
        requested: what the user asked for.
        moves: planned moves of a seed.
        device: of the players.
        what: everything that determines the update, in words: networks, methods, losses, order of play, precision.
        parameters: of all players of a seed together.
        methods: the players'; one that cannot be compiled has the update run eagerly.
        seeds: how many are moved together.

    Raises:
        ValueError: if compilation is demanded on a CPU without a C++ compiler.

    Attributes:
        compiled: True or False; None until it has been decided.
        why: the reason, in one line, with its figures.
    """

    def __init__(
        self,
        requested: Requested,
        moves: int,
        device: torch.device,
        what: str = "",
        parameters: int = 0,
        methods: Sequence[Method] = (),
        seeds: int = 1,
    ) -> None:
        self.compiled, self.why = _at_once(requested, moves * seeds, device, methods)
        self._moves, self._parameters, self._seeds = moves, parameters, seeds
        # Addresses of objects are another at every start.
        ranks = f"{world().size} ranks; " if world().size > 1 else ""
        words = f"{machine()}; {device}; {torch.get_num_threads()} threads; {ranks}{what}"
        self._what = re.sub(r"0x[0-9a-f]+", "", words)
        self._eager, self._compiled = math.inf, list[float]()
        self._of = ""

    @property
    def open(self) -> bool:
        """Whether it has not been decided yet."""
        return self.compiled is None

    @property
    def note(self) -> str:
        """For the user, at the start and after the decision."""
        if self.open:
            return f"eager update for {TRIAL} moves, which are timed; compiled then if the rest is worth a compilation"
        return f"{'compiled' if self.compiled else 'eager'} update: {self.why}"

    @property
    def timing(self) -> bool:
        """Whether the next move is to be made by `time`: while it is open, and for the first compiled moves."""
        return self.open or (bool(self.compiled) and len(self._compiled) <= TRIAL)

    def time(self, move: Callable[[], T], made: int, batches: Any, seeds: int = 1) -> T:
        """Make a move, and take note of what it takes.

        Args:
            move: makes it.
            made: moves of the run before it; the last one of the trial decides.
            batches: its minibatches, of one seed.
            seeds: how many move by it.
        """
        self._of = self._of or f"{self._what}; {[tuple(leaf.shape) for leaf in tree_leaves(list(batches))]}"
        began = time.perf_counter()
        report = move()
        took = (time.perf_counter() - began) / seeds
        if self.compiled:
            self._compiled.append(took)
            if len(self._compiled) > TRIAL:
                self._keep(self._compiled[0] * seeds, min(self._compiled[1:]))
        else:
            self._eager = min(self._eager, took)
            if made + 1 >= TRIAL:
                self._decide(self._eager)
        return report

    def _decide(self, eager: float) -> None:
        """Take the verdict that is known for such a run, or make it."""
        key = _digest(f"{self._of}; {self._moves} moves; {self._seeds} seeds")

        def verdict() -> dict[str, Any]:
            found = Figures(*known("updates", _digest(self._of)) or ())
            cold = found.cold or OPERATORS * _operator()
            cost = found.warm or (WARM * cold if found.cold else cold)
            share = next(own for size, own in reversed(SAVED) if self._parameters >= size)
            saved = (share * eager if found.compiled is None else eager - found.compiled) * self._moves * self._seeds
            pays = saved > cost
            return {
                "compiled": pays,
                "why": f"{self._moves * self._seeds} moves of {1e3 * eager:.2g} ms {'pay' if pays else 'do not pay'} "
                f"for a compilation: {abs(saved):.0f} s "
                + (f"quicker, against {cost:.0f} s" if saved >= 0 else f"slower, and {cost:.0f} s for compiling"),
            }

        found = of_first(kept("verdicts", key, verdict) if world().rank == 0 else {})
        self.compiled, self.why = bool(found["compiled"]), str(found["why"])

    def _keep(self, compilation: float, move: float) -> None:
        """Keep what a compilation and a move of one seed after it took, for later runs."""
        key = _digest(self._of)
        found = Figures(*known("updates", key) or ())
        warm = None if found.cold is None else min(compilation, found.warm or compilation)
        new = Figures(found.cold or compilation, warm, move)
        # A later compilation may have found nothing that it could use: the least of them counts.
        if found.warm is None or (warm is not None and warm < 0.8 * found.warm):
            kept("updates", key, lambda: list(new), lambda old: Figures(*old) != found)


def _at_once(
    requested: Requested, moves: int, device: torch.device, methods: Sequence[Method]
) -> tuple[bool | None, str]:
    """What can be said before anything has been timed."""
    compiler = device.type != "cpu" or any(shutil.which(c) for c in (os.environ.get("CXX", "c++"), "g++", "clang++"))
    if requested is True and not compiler:
        raise ValueError("compile = true: no C++ compiler found; install g++, or use compile=auto to run eagerly")
    if requested != "auto":
        return bool(requested), "as configured"
    eager = [method for method in methods if not method.stackable]
    if eager:
        return False, f"{eager[0]} cannot be compiled"
    if not compiler:
        return False, "no C++ compiler found, so the update runs eagerly"
    if moves < FEWEST:
        return False, f"{moves} moves are too few to pay for a compilation"
    return None, ""


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _operator() -> float:
    """Seconds of a call of a small operator."""
    x = torch.ones(8)
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(200):
            torch.add(x, x)
        best = min(best, (time.perf_counter() - began) / 200)
    return best
