"""What differs between runs, found in their configurations: sections, groups of seeds, and their names."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlgan.runs.study.reading import Record, counts, text
from rlgan.task.errors import ConfigError
from rlgan.task.suggest import closest, nearest

#: What a task learns from; runs that differ in it are told apart before anything else.
SUBJECTS = ("env.id", "env", "data", "problem")
LACKING = "–"
"""In the place of a value that a run does not have."""


@dataclass(frozen=True)
class Column:
    """What differs between runs: a setting, the class of a section, or an option of a group.

    Args:
        key: as it is typed: `critic.optimizer.lr`; of an option or a class the place, `critic.optimizer`.
        values: of every run, as text.
        option: whether the values name options or classes, and speak for themselves.
    """

    key: str
    values: tuple[str, ...]
    option: bool = False

    @property
    def varies(self) -> bool:
        """Whether the runs that have it differ in it; to lack it is no difference."""
        return len(set(self.values) - {LACKING}) > 1


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds, or in what the user does not ask about.

    Args:
        label: short and readable.
        values: what makes it this group, by key.
        strata: its runs; those of one configuration together.
    """

    label: str
    values: Mapping[str, str]
    strata: Sequence[Sequence[Record]]

    @property
    def runs(self) -> list[Record]:
        """All of its runs."""
        return [run for stratum in self.strata for run in stratum]


@dataclass(frozen=True)
class Section:
    """The runs that can be compared with each other: of one task on one subject.

    Args:
        title: such as `ddpg, Pendulum-v1`.
        groups: in the order of their values.
        keys: what the groups differ in.
        differing: every other key that differs between the groups as well, with each group's values.
        repeats: runs that were left out, as another one has the same configuration and seed.
    """

    title: str
    groups: Sequence[Group]
    keys: Sequence[str]
    differing: Mapping[str, Sequence[str]]
    repeats: Sequence[Record]

    @property
    def runs(self) -> list[Record]:
        """All runs that count."""
        return [run for group in self.groups for run in group.runs]


def sections(runs: Sequence[Record], by: Sequence[str] = ()) -> list[Section]:
    """Sort runs into sections, and each section's runs into groups.

    Args:
        runs: as they were read.
        by: keys that make the groups; empty: the fewest that tell apart all configurations, typed ones first.

    Raises:
        ConfigError: a key of `by` is none, or is several.
    """
    asked = [_asked(runs, key) for key in by]
    found = []
    for of_task in _split(runs, [(_task(run), run.measures.task) for run in runs]):
        subjects = [column for key in SUBJECTS if (column := _column(of_task, key)) is not None]
        subjects = _telling(of_task, [column for column in subjects if column.varies and column.key not in asked])
        names = list(zip(*(column.values for column in subjects), strict=True)) or [()] * len(of_task)
        found += [_section(same, asked if by else None) for same in _split(of_task, names)]
    return found


def _section(runs: Sequence[Record], by: Sequence[str] | None) -> Section:
    runs, repeats = _once(runs, by or ())
    every = _candidates(runs)
    candidates = [column for column in every if column.varies]
    if by is None:
        chosen = _telling(runs, [column for column in every if column.varies or _put_there(runs, column)])
    else:
        chosen = [_column(runs, key) or Column(key, (LACKING,) * len(runs)) for key in by]
    labels = _labels(chosen, len(runs))
    own = {id(run): i for i, run in enumerate(runs)}
    groups = []
    for members in _split(runs, labels):
        first = own[id(members[0])]
        values = {column.key: column.values[first] for column in chosen}
        groups.append(Group(labels[first], values, _split(members, [run.fingerprint for run in members])))
    groups.sort(key=lambda group: [_order(value) for value in group.values.values()])
    keys = [column.key for column in chosen]
    differing = {
        column.key: [_values_of(column, [own[id(run)] for run in group.runs]) for group in groups]
        for column in candidates
        if column.key not in keys
    }
    subject = next((column.values[0] for key in SUBJECTS if (column := _column(runs, key)) is not None), "")
    return Section(", ".join(filter(None, (_task(runs[0]), subject))), groups, keys, differing, repeats)


def _task(run: Record) -> str:
    return run.choices.get("task") or run.measures.task


def _split(runs: Sequence[Record], keys: Sequence[Any]) -> list[list[Record]]:
    """Runs of the same key together, in the order in which the keys come."""
    found: dict[Any, list[Record]] = {}
    for run, key in zip(runs, keys, strict=True):
        found.setdefault(key, []).append(run)
    return list(found.values())


def _once(runs: Sequence[Record], by: Sequence[str]) -> tuple[list[Record], list[Record]]:
    """Of runs of one configuration and seed, which are the same run again, the one that came furthest."""
    columns = [column for key in by if (column := _column(runs, key)) is not None]
    keys = [(run.fingerprint, text(run.seed), *(column.values[i] for column in columns)) for i, run in enumerate(runs)]
    kept, repeats = [], []
    for same in _split(runs, keys):
        best = max(same, key=lambda run: (run.finished, run.step))
        kept.append(best)
        repeats += [run for run in same if run is not best]
    return kept, repeats


def _candidates(runs: Sequence[Record]) -> list[Column]:
    """Everything in which runs may differ: typed keys first, then options, classes and settings."""
    typed = Counter(word.lstrip("+~").partition("=")[0] for run in runs for word in run.typed)
    choices = dict.fromkeys(choice for run in runs for choice in run.choices if choice != "task")
    settings = dict.fromkeys(key for run in runs for key in run.config if counts(key) and key != "task._target_")
    found: dict[str, Column] = {}
    variant = _column(runs, "variant")
    if variant is not None:
        found["variant"] = variant
    words = [_place(word) for word in typed if counts(_place(word)) and _place(word) != "task"]
    for key in (*words, *map(_place, choices), *settings):
        key = key.removesuffix("._target_")
        if key not in found and (column := _column(runs, key)) is not None:
            found[key] = column
    # How long a run is says least of what it is.
    return sorted(found.values(), key=lambda column: column.key in ("steps", "horizon"))


def _put_there(runs: Sequence[Record], column: Column) -> bool:
    """Whether some runs have a key and others lack it by what was typed: `+env.gravity=5`, `callbacks=[mine]`, `~x`.

    A key that one version of the library has and another lacks is none.
    """
    words: dict[bool, set[str]] = {True: set(), False: set()}
    for run, value in zip(runs, column.values, strict=True):
        for word in run.typed:
            place = _place(word.lstrip("+~").partition("=")[0])
            if column.key == place or column.key.startswith(f"{place}."):
                words[value != LACKING].add(word)
    return LACKING in column.values and words[True] != words[False]


def _place(choice: str) -> str:
    """Where an option is mounted: `optimizer@critic.optimizer` is at critic.optimizer."""
    return choice.partition("@")[2] or choice


def _column(runs: Sequence[Record], key: str) -> Column | None:
    """A key's values: of a setting, of an option, of a section's class, or a run's variant; None if no run has it."""
    if key == "variant":
        values = [run.variant for run in runs]
        if not any(values):
            return None
        return Column(key, tuple(value or LACKING for value in values), option=True)
    if any(key in run.config for run in runs):
        return Column(key, _brief([text(run.config[key]) if key in run.config else LACKING for run in runs]))
    options = [
        next((option for choice, option in run.choices.items() if _place(choice) == key), LACKING) for run in runs
    ]
    classes = [str(run.config.get(f"{key}._target_", LACKING)).rpartition(".")[2] for run in runs]
    # An option is as good a name as its class where the same configuration, and nothing of another class, has it.
    speaking = [o if o != LACKING else c for o, c in zip(options, classes, strict=True)]
    plain = _follows([run.fingerprint for run in runs], speaking) and _follows(speaking, classes)
    if set(options) != {LACKING} and plain:
        return Column(key, tuple(speaking), option=True)
    return Column(key, tuple(classes), option=True) if set(classes) != {LACKING} else None


def _brief(values: Sequence[str]) -> tuple[str, ...]:
    """Numbers in four digits, or in as many more as tell them apart."""
    for digits in (4, 6, 8):
        short = {value: _rounded(value, digits) for value in values}
        if len(set(short.values())) == len(short):
            return tuple(short[value] for value in values)
    return tuple(values)


def _rounded(value: str, digits: int) -> str:
    try:
        return f"{float(value):.{digits}g}" if "." in value or "e" in value else value
    except ValueError:
        return value


def _follows(keys: Sequence[Any], values: Sequence[str]) -> bool:
    """Whether equal keys have equal values."""
    first: dict[Any, str] = {}
    return all(first.setdefault(key, value) == value for key, value in zip(keys, values, strict=True))


def _telling(runs: Sequence[Record], columns: Sequence[Column]) -> list[Column]:
    """Of these columns those that tell apart runs which the ones before do not; the others go along with them.

    What was typed goes along with an option alone, and not with a number, which may be another one in every run of a
    search.
    """
    typed = {_place(word.lstrip("+~").partition("=")[0]) for run in runs for word in run.typed}
    kept: list[Column] = []
    parts: list[Any] = [()] * len(runs)
    for column in columns:
        finer = list(zip(parts, column.values, strict=True))
        spoken_for = any(_follows(one.values, column.values) for one in kept if one.option)
        if len(set(finer)) > len(set(parts)) or (column.key in typed and not spoken_for):
            numbers = {part: i for i, part in enumerate(dict.fromkeys(finer))}
            parts = [numbers[part] for part in finer]
            kept.append(column)
    return kept


def _asked(runs: Sequence[Record], word: str) -> str:
    """The key that a word of `by` means: a whole one, or the end of one.

    Raises:
        ConfigError: it is none, or may be several.
    """
    if word == "variant" or _column(runs, word) is not None:
        return word
    keys = {key.removesuffix("._target_") for run in runs for key in run.config}
    keys |= {_place(choice) for run in runs for choice in run.choices}
    fits = sorted(key for key in keys if key.endswith(f".{word}"))
    varying = [key for key in fits if (column := _column(runs, key)) is not None and column.varies]
    if len(varying or fits) == 1:
        return (varying or fits)[0]
    if fits:
        raise ConfigError(f"by = {word}: may be {' or '.join(varying or fits)}; name one")
    ends = {key.rpartition(".")[2] for key in keys}
    differing = {column.key for column in _candidates(runs) if column.varies}
    hint = nearest(word, keys | ends if closest(word, keys | ends) else differing, "the runs differ in")
    raise ConfigError(f"by = {word}: no run has such a key; {hint}")


def _labels(columns: Sequence[Column], count: int) -> list[str]:
    """A run's group in a few words: options by their names, settings as `lr=0.1`, where no other key ends so."""
    ends = Counter(column.key.rpartition(".")[2] for column in columns)
    taken = Counter(value for column in columns if column.option for value in set(column.values))
    parts: list[list[str]] = [[] for _ in range(count)]
    for column in columns:
        short = column.key.rpartition(".")[2]
        name = short if ends[short] == 1 else column.key
        alone = column.option and all(taken[value] == 1 for value in column.values if value != LACKING)
        for words, value in zip(parts, column.values, strict=True):
            if value != LACKING:
                words.append(value if alone else f"{name}={value}")
    return [", ".join(words) or ("all" if not columns else LACKING) for words in parts]


def _values_of(column: Column, members: Sequence[int]) -> str:
    return ", ".join(sorted({column.values[i] for i in members}, key=_order))


def _order(value: str) -> tuple[int, float, str]:
    """Numbers by size, before words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def command_of(run: Record) -> str:
    """The command that a run was started with, without its seed and place."""
    dropped = {"seed", "seeds", "run_dir", "resume", "progress", "name"}
    kept = [word for word in run.typed if word.lstrip("+~").partition("=")[0] not in dropped]
    return shlex.join(["rlgan", *kept])
