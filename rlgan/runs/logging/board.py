"""Names and order of what TensorBoard shows: what matters first, and no card of two tasks.

TensorBoard makes a group of cards of all tags with the same beginning, up to the first slash, sorts groups by name, and
opens the first two. So a tag is called `<number> <heading> - <family>/<tag>` there: metrics.jsonl keeps its plain tags.
There are no brackets in it, in which the page CUSTOM SCALARS would look for a run's name.

1 headline      the tag that checkpoints are ranked by, and those of the progress display, numbered as well
2 pictures      of the task
3 ...           the headings of the closing table, in its order
n ...           of tags that the task does not know: a heading each, their own first word
histograms, optimizer, progress, time
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rlgan.runs.record.progress import Legend
from rlgan.task.task import Task

_LATER = {"optim": "optimizer", "progress": "progress", "time": "time"}
_FIRST = ("headline", "pictures")
_BOUNDS = ("_low", "_high")

# What optim/README.md says of a step.
_OPTIMIZER = {
    "effective_lr": "the diagonal of alpha H^-1, its median",
    "effective_lr_p10": "its 10 % quantile",
    "effective_lr_p90": "its 90 % quantile",
    "effective_momentum": "beta H^-1 H of the step before, its median",
    "update_norm": "length of the whole step",
    "noise_norm": "length of the noise",
    "projected_fraction": "share of the parameters on the boundary of K",
}

Layout = dict[str, dict[str, list[str | list[str]]]]
"""Charts by title, by category: `["Multiline", patterns]` or `["Margin", [value, lower, upper]]`."""


class Board:
    """The names of tags in TensorBoard.

    Args:
        task: the class of the task; None keeps the tags as they are.
    """

    def __init__(self, task: type[Task] | None) -> None:
        self._task = task
        self._known: dict[str, str] = {}
        if task is None:
            return
        self._legend = Legend.of(task)
        self._family = task.family or task.__name__.lower()
        self._headline = tuple(dict.fromkeys((task.best[0], *task.headline)))
        self._headings = (*_FIRST, *task.groups)
        self._width = len(str(len(self._headings) + 1))

    def scalar(self, tag: str) -> str:
        """What a metric is called."""
        if self._task is None:
            return tag
        if tag not in self._known:
            self._known[tag] = self._named(tag)
        return self._known[tag]

    def _named(self, tag: str) -> str:
        if tag in self._headline:
            return f"{self._group(_FIRST[0])}/{self._headline.index(tag) + 1} {tag}"
        first, _, rest = tag.partition("/")
        heading = self._heading(tag, first if rest else "other")
        return f"{self._group(heading)}/{rest if rest and (first == heading or first in _LATER) else tag}"

    def _heading(self, tag: str, otherwise: str) -> str:
        assert self._task is not None
        if (later := _LATER.get(otherwise)) is not None:
            return later
        fits = [(len(start), name) for name, own in self._task.groups.items() for start in own if tag.startswith(start)]
        return max(fits)[1] if fits else otherwise

    def picture(self, tag: str) -> str:
        """What a picture is called."""
        return tag if self._task is None else f"{self._group(_FIRST[1])}/{tag.removeprefix('pictures/')}"

    def histogram(self, tag: str) -> str:
        """What a histogram is called."""
        return tag if self._task is None else f"{self._group('histograms')}/{tag}"

    def _group(self, heading: str) -> str:
        name = f"{heading.replace('/', ' ')} - {self._family}"
        if heading in (*_LATER.values(), "histograms"):
            return name
        known = heading in self._headings
        number = self._headings.index(heading) + 1 if known else len(self._headings) + 1
        return f"{number:0{self._width}d} {name}"

    def layout(self, tags: Iterable[str] = ()) -> Layout:
        """What the page CUSTOM SCALARS shows: a category for each heading, a chart for each metric with its meaning.

        TensorBoard puts the layouts of several runs together, category by category. It then leaves out charts that
        only a later run has, of a task that does not come first.

        Args:
            tags: metrics that the run has, besides those of the headline.
        """
        if self._task is None:
            return {}
        own = set(tags)
        bounds = {tag + end for tag in own for end in _BOUNDS if own >= {tag + end for end in _BOUNDS}}
        known = [tag for tag in self._task.explained if tag in own]
        found: Layout = {}
        for tag in dict.fromkeys((*self._headline, *known, *sorted(own))):
            if tag in bounds:  # drawn around the value
                continue
            category = self.scalar(tag).partition("/")[0]
            quantity = tag.rpartition("/")[2]
            if tag.startswith("optim/") and quantity in _OPTIMIZER:  # of all players in one chart
                title, pattern = f"{quantity}: {_OPTIMIZER[quantity]}", f"^{re.escape(category)}/.*/{quantity}$"
                found.setdefault(category, {})[title] = ["Multiline", [pattern]]
            else:
                found.setdefault(category, {})[self._title(tag)] = self._chart(tag, own)
        return dict(sorted(found.items()))

    def _title(self, tag: str) -> str:
        meaning = self._legend.meaning(tag)
        return f"{tag}: {meaning}" if meaning else tag

    def _chart(self, tag: str, own: set[str]) -> list[str | list[str]]:
        bounds = [tag + end for end in _BOUNDS]
        if own.issuperset(bounds):
            return ["Margin", [self.scalar(name) for name in (tag, *bounds)]]
        return ["Multiline", [f"^{re.escape(self.scalar(tag))}$"]]
