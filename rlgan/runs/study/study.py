"""Make a study of runs: read them, group them, draw them, write table and page.

TO/study.html    the page, with all figures in it
TO/table.md      a row a group; the same in full in TO/table.csv
TO/runs.csv      a row a run
TO/figures/      the figures
"""

from __future__ import annotations

import io
import re
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rlgan.runs.logging.pictures import picture_name
from rlgan.runs.record.directory import short_path
from rlgan.runs.record.files import write_atomically
from rlgan.runs.record.naming import HOUSEKEEPING
from rlgan.runs.study.finding import find_runs
from rlgan.runs.study.groups import Section, sections
from rlgan.runs.study.page import Chapter, Drawing, page
from rlgan.runs.study.reading import Record, read_run, tags_of
from rlgan.runs.study.tables import Row, as_csv, heading, markdown, rows, runs_csv
from rlgan.runs.sweep.names import key_of
from rlgan.task.errors import ConfigError, RunError
from rlgan.task.suggest import nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160


@dataclass(frozen=True)
class Study:
    """What was made.

    Args:
        page: its file.
        table: the Markdown table.
        notes: a line each on what was passed over or left out.
    """

    page: Path
    table: str
    notes: Sequence[str]


def draw_study(
    paths: Sequence[str | Path],
    to: Path | None = None,
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    command: str = "",
) -> Study:
    """Compare all runs in and below some folders.

    Args:
        paths: folders, patterns, or `latest`.
        to: where page, tables and figures go; None: a new folder below outputs/studies/.
        by: keys that make the groups; empty: whatever differs.
        metrics: tags that are compared; empty: the best one of every task, and curves of its headline.
        command: that made it, for the page; empty: the one that makes it of `paths`.

    Raises:
        ConfigError: a key or a metric that no run has.
        RunError: no run is there, or none can be read; the folder cannot be written.
    """
    found = find_runs(paths)
    runs, notes = _read(found, metrics)
    if lacking := [tag for tag in metrics if not any(tag in run.curves for run in runs)]:
        known = {tag for run in runs[:20] for tag in tags_of(run.path)}
        raise ConfigError(f"metric = {lacking[0]}: no run has such a metric; {nearest(lacking[0], known, 'they have')}")
    if unknown := [run for run in runs if not metrics and not run.measures.best]:
        raise ConfigError(
            f"metric: {short_path(unknown[0].path)} does not say which metric is its best one; name some, for example "
            f"metric={next(iter(sorted(tags_of(unknown[0].path))), 'return/eval')}"
        )
    made = sections(runs, by)
    for section in made:
        notes += [*_said(section), *_missing(section, metrics or [section.runs[0].measures.best])]
    chapters = [_chapter(section, metrics) for section in made]
    tables = {f"{c.section.title}: {title}": table for c in chapters for title, table in c.tables.items()}
    what = " and ".join(dict.fromkeys(section.title for section in made))
    keys = list(dict.fromkeys(key for section in made for key in section.keys))
    title = f"{what} by {', '.join(keys)}" if keys else what
    tags = list(dict.fromkeys(tag for run in runs for tag in run.curves))
    table = markdown(tables)
    words = [*dict.fromkeys(run.choices.get("task", "") for run in runs), *keys]
    folder = _folder(to, words)
    numbers = [f"{i}_" if len(chapters) > 1 else "" for i in range(1, len(chapters) + 1)]
    try:
        for chapter, number in zip(chapters, numbers, strict=True):
            for drawing in chapter.drawings:
                write_atomically(folder / "figures" / f"{number}{drawing.name}.png", drawing.png)
        when = f"{datetime.now():%Y-%m-%d %H:%M}"
        made_by = command or shlex.join(["rlgan", "plot", *(short_path(path.absolute()) for path in map(Path, paths))])
        html = page(title, made_by, when, chapters, [n for n in notes if "passed over" in n or "no finite" in n])
        for name, text in {
            "table.md": table,
            "table.csv": as_csv(tables),
            "runs.csv": runs_csv(made, tags),
            "study.html": html,
        }.items():
            write_atomically(folder / name, text.encode())
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error}); choose another with to=") from error
    return Study(folder / "study.html", table, notes)


def page_at_end(paths: Sequence[Path], to: Path | None = None) -> str:
    """Draw the study of runs that have just ended; a failure in that is none of the runs.

    Args:
        paths, to: as of `draw_study`.

    Returns:
        A line that says where the page is, or why there is none; empty for less than two runs.
    """
    try:
        if len(find_runs(paths)) < 2:
            return ""
        return f"page of all runs: {short_path(draw_study(paths, to).page.resolve())}"
    except Exception as error:
        return f"note: no page of the runs can be drawn ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def _read(paths: Sequence[Path], metrics: Sequence[str]) -> tuple[list[Record], list[str]]:
    runs, notes = [], []
    for path in paths:
        try:
            runs.append(read_run(path, metrics or None))
        except RunError as error:
            notes.append(f"{error}; passed over")
    if not runs:
        raise RunError(f"{notes[0] if notes else 'no run'}; no run can be read")
    return runs, notes


def _said(section: Section) -> list[str]:
    """What is to be known of a section besides its table."""
    notes = []
    if section.repeats:
        runs = [*section.runs, *section.repeats]
        typed = dict.fromkeys(key_of(word) for run in runs for word in run.typed)
        apart = [key for key in typed if key in HOUSEKEEPING and len({str(run.config.get(key)) for run in runs}) > 1]
        other = [key for key in apart if key not in ("name", "run_dir", "seeds")]
        hint = f"; by={other[0]} tells them apart" if other else ""
        notes.append(
            f"{section.title}: left out as repeats of a run with the same configuration and seed: "
            f"{len(section.repeats)}; the page names them{hint}"
        )
    single = [group.label for group in section.groups if any(len(stratum) == 1 for stratum in group.strata)]
    if single:
        which = "" if len(single) == len(section.groups) else f" of {', '.join(single[:3])}"
        notes.append(f"{section.title}: a configuration{which} has one seed alone; no interval is drawn of it")
    return notes


def _missing(section: Section, tags: Sequence[str]) -> list[str]:
    """Finished runs that have no value of a metric, or none at their end: a diverged run is not to vanish unsaid."""
    notes = []
    for tag in tags:
        done = [run for run in section.runs if run.finished]
        none = [run for run in done if tag not in run.curves]
        early = [run for run in done if tag in run.curves and run.curves[tag].steps[-1] < run.step]
        for runs, what in (
            (none, "no finite {}: not counted"),
            (early, "no finite {} at the end: an earlier one counts"),
        ):
            if runs:
                named = ", ".join(short_path(run.path) for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
                notes.append(f"{section.title}: finished runs with {what.format(tag)}: {len(runs)} ({named})")
    return notes


def _chapter(section: Section, metrics: Sequence[str]) -> Chapter:
    """Tables and figures of a section: all of them of the metrics that were asked for, curves of the headline."""
    from rlgan.runs.study import figures
    from rlgan.runs.study.response import draw_response

    measures = section.runs[0].measures
    chapter = Chapter(section, {})
    made: list[Row] = []
    for tag in metrics or [measures.best]:
        direction = measures.better.get(tag, "")
        chapter.tables[heading(tag, direction)] = made = rows(section, tag, direction)
        look, name = figures.looks(made), picture_name(tag)
        few = len(made) <= figures.MOST_CURVES
        which = "" if few else f" Of the {len(made)} groups the first {figures.MOST_CURVES} of the table are drawn."
        curves = figures.draw_curves(made, look, measures.explained.get(tag, ""))
        _add(chapter, f"curves_{name}", curves, _CURVES + which)
        _add(chapter, f"scores_{name}", figures.draw_scores(made, look), _SCORES)
        _add(chapter, f"response_{name}", draw_response(made), _RESPONSE)
        _add(chapter, f"improvement_{name}", figures.draw_improvement(made), _IMPROVEMENT + which)
        _add(chapter, f"profiles_{name}", figures.draw_profiles(made, look), _PROFILES + which)
    for tag in measures.headline if not metrics else ():
        if tag != measures.best:
            others = [replace(row, tag=tag, direction=measures.better.get(tag, "")) for row in made]
            curves = figures.draw_curves(others, figures.looks(made), measures.explained.get(tag, ""))
            _add(chapter, f"curves_{picture_name(tag)}", curves, f"The same of {tag}.")
    return chapter


_CURVES = (
    "Interquartile mean (IQM: the mean of the middle half; of fewer than four runs the mean) over the runs of each "
    "group, with its 95 % stratified bootstrap interval. Dotted: not all of the group's runs are there."
)
_SCORES = (
    "The last values of the runs that finished: IQM, mean and median with 95 % stratified bootstrap intervals; dots "
    "are runs. The order is the table's."
)
_RESPONSE = (
    "The IQM of the last values against what was varied: of a grid against the number that takes the most values, with "
    "95 % intervals; of a search against each number, the best run in a red circle."
)
_IMPROVEMENT = (
    "Probability that a run of one group ends better than a run of another; 1/2 is no difference. Bars are 95 % "
    "intervals; in a table of colours a bold number is one whose interval leaves out 1/2."
)
_PROFILES = "Performance profiles: the share of a group's runs that end better than x, with 95 % bands."


def _add(chapter: Chapter, name: str, figure: Figure | None, caption: str) -> None:
    if figure is not None:
        image = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Glyph"
            )  # a box stands for a letter that the font has not; the table has it
            figure.savefig(image, format="png", dpi=DPI)
        chapter.drawings.append(Drawing(name, image.getvalue(), caption))


def _folder(to: Path | None, words: Sequence[str]) -> Path:
    """Make the folder of a study.

    Raises:
        RunError: it cannot be made.
    """
    safe = re.sub(r"[^A-Za-z0-9.+-]+", "-", "_".join(filter(None, words)))[:60].strip("-_.")
    name = "_".join(filter(None, (f"{datetime.now():%Y-%m-%d_%H-%M-%S}", safe)))
    places = [to] if to else [Path("outputs/studies") / f"{name}{f'-{i}' if i > 1 else ''}" for i in range(1, 100)]
    folder = next((place for place in places if to or not place.exists()), places[-1])
    try:
        if (folder / "figures").is_symlink():
            raise RunError(f"to = {folder}: its folder figures is a link; remove it, or choose another folder")
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for old in (folder / "figures").glob("*.png") if (folder / "study.html").exists() else ():
            old.unlink()
    except OSError as error:
        raise RunError(f"to = {folder}: cannot be made ({error.strerror}); choose another folder") from error
    return folder
