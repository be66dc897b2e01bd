"""The progress display of a run, and the tables at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rlgan.runs.terminal import printable

if TYPE_CHECKING:
    from rlgan.task.task import Task

_SECONDS_BETWEEN_LINES = 10.0
_OVER_SEEDS = {"mean": "mean", "iqm": "IQM", "iqm_low": "95 % from", "iqm_high": "to", "min": "least", "max": "largest"}


class Progress:
    """Progress bar with rate and key metrics; where there is no terminal a plain line every ten seconds.

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
        self._name, self._done, self._total, self._shown = name, done, total, shown
        self._headline = tuple(headline)
        self._latest: dict[str, float] = {}
        self._tqdm: Any = None
        self._line_at, self._line_step = time.monotonic(), done
        if shown and (sys.stderr.isatty() or in_notebook()):
            if in_notebook():
                from tqdm.auto import tqdm
            else:
                from tqdm import tqdm

            self._tqdm = tqdm(initial=done, total=total, desc=name, unit="step", dynamic_ncols=True, smoothing=0.1)

    def update(self, step: int) -> None:
        """Show that the run has come to `step`."""
        if self._tqdm is not None:
            self._tqdm.update(step - self._done)
        self._done = step

    def metrics(self, values: Mapping[str, float]) -> None:
        """Show new values of the headline's tags."""
        if not self._headline:
            self._headline = tuple(tag for tag in values if not tag.startswith("time/"))[:2]
        self._latest |= {tag: value for tag, value in values.items() if tag in self._headline}
        if self._tqdm is not None:
            self._tqdm.set_postfix({tag: f"{value:.3g}" for tag, value in self._latest.items()}, refresh=False)
        elif self._shown:
            now = time.monotonic()
            if now - self._line_at >= _SECONDS_BETWEEN_LINES:
                rate = (self._done - self._line_step) / (now - self._line_at)
                words = "  ".join(f"{tag} {value:.4g}" for tag, value in self._latest.items())
                self.say(f"{self._name}  {self._done}/{self._total} steps  {rate:.0f}/s  {words}")
                self._line_at, self._line_step = now, self._done

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        if self._tqdm is not None:
            self._tqdm.write(printable(message), file=sys.stderr)
        else:
            print(printable(message), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._tqdm is not None:
            self._tqdm.close()


def in_notebook() -> bool:
    """Tell whether this is a notebook's process, whose pages show HTML."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(interactive, "kernel", None) is not None


class SeedProgress(Progress):
    """One seed's share of a progress display of many: the steps of the slowest seed, and means over the seeds.

    Args:
        bar: what is shown.
        seed: whose loop writes here.
        running: steps done by every seed that has not ended; shared by all of them.
        values: the latest figures of every seed; shared by all of them.
    """

    def __init__(self, bar: Progress, seed: int, running: dict[int, int], values: dict[int, dict[str, float]]) -> None:
        self._bar, self._seed, self._running, self._values = bar, seed, running, values
        self.takes_notes = seed == next(iter(running))

    def update(self, step: int) -> None:
        self._running[self._seed] = step
        if self._seed == next(reversed(self._running)):  # once for all of them
            self._bar.update(min(self._running.values()))

    def metrics(self, values: Mapping[str, float]) -> None:
        self._values[self._seed] |= values
        if self._seed == max(self._running):
            every = [self._values[seed] for seed in self._running]
            tags = [tag for tag in values if not tag.startswith("time/")]
            means = {tag: [own[tag] for own in every if tag in own] for tag in tags}
            self._bar.metrics({tag: sum(own) / len(own) for tag, own in means.items()})

    def say(self, message: str) -> None:
        self._bar.say(message if message.startswith("note: ") else f"seed={self._seed}: {message}")

    def close(self) -> None:
        if len(self._running) > 1:
            del self._running[self._seed]


class Legend(NamedTuple):
    """The headings and explanations that a task gives to its metrics.

    Args:
        groups: tags, or beginnings of tags, by heading.
        explained: a plain line by tag, in the order in which tags are shown.
        reference: the heading of a column of figures to compare with.
        references: these figures by tag.
    """

    groups: Mapping[str, tuple[str, ...]] = {}
    explained: Mapping[str, str] = {}
    reference: str = ""
    references: Mapping[str, float] = {}

    @staticmethod
    def of(task: Task | type[Task]) -> Legend:
        """The headings and explanations of a task, and what to compare its figures with."""
        references = {} if isinstance(task, type) else task.references()
        groups, explained = {**task.groups, **task.added.groups}, {**task.explained, **task.added.explained}
        return Legend(groups, explained, task.reference, references)

    def sections(self, tags: Iterable[str]) -> dict[str, list[str]]:
        """Sort tags under headings, both in the legend's order: unknown tags under `other`, timing last."""
        order = {tag: i for i, tag in enumerate(self.explained)}
        known = sorted(tags, key=lambda tag: order.get(self._known(tag) or "", len(order)))
        found: dict[str, list[str]] = {name: [] for name in (*self.groups, "other", "run")}
        for tag in known:
            found[self._heading(tag)].append(tag)
        return {name: members for name, members in found.items() if members}

    def meaning(self, tag: str) -> str:
        """Explain a tag in a line; `tag/average` and `tag_real` by the line of the tag itself, with what differs."""
        known = self._known(tag)
        if known is None and tag.startswith("progress/"):  # `Task.counts`
            player = tag.removeprefix("progress/").removesuffix("_updates")
            return "steps of the environments together" if player == "environment_steps" else f"steps of the {player}"
        if known is None:
            return ""
        rest = tag[len(known) :].strip("/_")
        return self.explained[known] + (f" ({rest})" if rest else "")

    def _known(self, tag: str) -> str | None:
        fits = [known for known in self.explained if tag == known or tag.startswith((f"{known}/", f"{known}_"))]
        return max(fits, key=len, default=None)

    def _heading(self, tag: str) -> str:
        if tag.startswith(("time/", "progress/")) or (self.groups and tag == "step"):
            return "run"
        fits = [(len(start), name) for name, own in self.groups.items() for start in own if tag.startswith(start)]
        return max(fits)[1] if fits else "other"


NO_LEGEND = Legend()


def table(metrics: Mapping[str, float], legend: Legend = NO_LEGEND) -> str:
    """Lay out tags and values in aligned columns, under the legend's headings and with its explanations.

    Where the legend has figures to compare with, these stand in a column of their own.
    """
    width = max((len(tag) for tag in metrics), default=0)
    beside = {tag: f"{value:.4g}" for tag, value in legend.references.items() if tag in metrics}
    room = max(len(legend.reference), *map(len, beside.values())) if beside else 0
    lines = []
    title = legend.reference if beside else ""  # above the column, in the first line
    for heading, tags in legend.sections(metrics).items():
        if legend.groups or title:
            lines.append(f"{heading if legend.groups else '':<{width + 2}}  {'':>10}  {title:>{room}}".rstrip())
            title = ""
        for tag in tags:
            compared = f"  {beside.get(tag, ''):>{room}}" if beside else ""
            lines.append(f"  {tag:<{width}}  {_number(metrics[tag]):>10}{compared}  {legend.meaning(tag)}".rstrip())
    return "\n".join(lines)


_UNSEEN = ("optim/", "progress/", "time/eval")


def seeds_table(figures: Mapping[str, Mapping[str, float]], legend: Legend) -> str:
    """Lay out `over_seeds` under the legend's headings, without what the methods did, which TensorBoard shows."""
    rows = {tag: row for tag, row in figures.items() if tag != "step" and not tag.startswith(_UNSEEN)}
    sections = legend.sections(rows)
    order = [tag for tags in sections.values() for tag in tags]
    found = {word: {tag: rows[tag][key] for tag in order} for key, word in _OVER_SEEDS.items()}
    if beside := {tag: legend.references[tag] for tag in order if tag in legend.references}:
        found[legend.reference] = beside
    words = columns(found)
    head, *body = words.split("\n")
    lines, rest = [head], iter(body)
    for heading, tags in sections.items():
        lines += [heading] * bool(legend.groups) + [next(rest) for _ in tags]
    return "\n".join(lines)


def columns(found: Mapping[str, Mapping[str, float | str]]) -> str:
    """Lay out a table: a row for each tag and a column for each entry of `found`, blank where it lacks the tag."""
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
