"""What a person sees while a run is under way, and at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """A bar with rate and key metrics on a terminal; a plain line now and then where standard error is none.

    Args:
        name: what is being trained.
        done, total: steps.
        headline: tags that are shown; empty shows the first two that come.
        shown: False keeps silent.

    Attributes:
        takes_notes: whether notes on the task are to be said here.
    """

    takes_notes = True

    def __init__(self, name: str, done: int, total: int, headline: Sequence[str], shown: bool) -> None:
        self._name = name
        self._done = done
        self._total = total
        self._headline = tuple(headline)
        self._latest: dict[str, float] = {}
        self._shown = shown
        self._bar: Any = None
        self._line_at = time.monotonic()
        self._line_step = done
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(initial=done, total=total, desc=name, unit="step", dynamic_ncols=True, smoothing=0.1)

    def update(self, step: int) -> None:
        """The run has come to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._done)
        self._done = step

    def metrics(self, values: Mapping[str, float]) -> None:
        """New values for the headline."""
        if not self._headline:
            self._headline = tuple(tag for tag in values if not tag.startswith("time/"))[:2]
        self._latest |= {tag: value for tag, value in values.items() if tag in self._headline}
        if self._bar is not None:
            self._bar.set_postfix({tag: f"{value:.3g}" for tag, value in self._latest.items()}, refresh=False)
        elif self._shown:
            now = time.monotonic()
            if now - self._line_at >= _SECONDS_BETWEEN_LINES:
                rate = (self._done - self._line_step) / (now - self._line_at)
                words = "  ".join(f"{tag} {value:.4g}" for tag, value in self._latest.items())
                print(
                    f"{self._name}  {self._done}/{self._total} steps  {rate:.0f}/s  {words}",
                    file=sys.stderr,
                    flush=True,
                )
                self._line_at, self._line_step = now, self._done

    def say(self, message: str) -> None:
        """A sentence above the bar."""
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)
        else:
            print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


class SeedsProgress:
    """One progress display for many seeds: the steps of the last one, the means of the headline's figures.

    Args:
        bar: what is shown.
        seeds: those that run.
    """

    def __init__(self, bar: Progress, seeds: Sequence[int]) -> None:
        self.bar = bar
        self._steps = dict.fromkeys(seeds, 0)
        self._values: dict[int, dict[str, float]] = {seed: {} for seed in seeds}
        self.first = seeds[0]

    def of(self, seed: int, step: int) -> SeedProgress:
        """The display as one seed, now at `step`, sees it."""
        self._steps[seed] = step
        return SeedProgress(self, seed)

    def update(self, seed: int, step: int) -> None:
        """A seed has come to `step`."""
        self._steps[seed] = step
        self.bar.update(min(self._steps.values()))

    def metrics(self, seed: int, values: Mapping[str, float]) -> None:
        """A seed's new values; what is shown is the mean over the seeds that have one."""
        self._values[seed] |= values
        if seed == max(self._steps):
            every = [own for other, own in self._values.items() if other in self._steps]
            tags = [tag for tag in values if not tag.startswith("time/")]
            means = {tag: [own[tag] for own in every if tag in own] for tag in tags}
            self.bar.metrics({tag: sum(own) / len(own) for tag, own in means.items()})

    def leave(self, seed: int) -> None:
        """A seed has ended."""
        if len(self._steps) > 1:
            del self._steps[seed]


class SeedProgress(Progress):
    """What the loop of one seed among many writes to."""

    def __init__(self, shared: SeedsProgress, seed: int) -> None:
        self._shared, self._seed = shared, seed
        self.takes_notes = seed == shared.first

    def update(self, step: int) -> None:
        self._shared.update(self._seed, step)

    def metrics(self, values: Mapping[str, float]) -> None:
        self._shared.metrics(self._seed, values)

    def say(self, message: str) -> None:
        self._shared.bar.say(message if message.startswith("note: ") else f"seed={self._seed}: {message}")

    def close(self) -> None:
        self._shared.leave(self._seed)


def table(metrics: Mapping[str, float]) -> str:
    """Tags and values in two aligned columns, tags in their order, timing last."""
    rows = sorted(metrics.items(), key=lambda row: row[0].startswith("time/"))
    width = max((len(tag) for tag, _ in rows), default=0)
    return "\n".join(f"  {tag:<{width}}  {_number(value):>12}" for tag, value in rows)


def columns(found: Mapping[str, Mapping[str, float | str]]) -> str:
    """Tags down, names across: a column for each entry of `found`; what one lacks is left blank."""
    tags = list(dict.fromkeys(tag for values in found.values() for tag in values))
    rows = [["", *found]]
    for tag in tags:
        cells = [values.get(tag, "") for values in found.values()]
        rows.append([tag, *(cell if isinstance(cell, str) else _number(cell) for cell in cells)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _number(value: float) -> str:
    return f"{int(value)}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.5g}"
