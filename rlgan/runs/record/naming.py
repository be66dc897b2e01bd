"""The name of a run's directory: when, what was changed, and the seed, short enough to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from rlgan.runs.sweep.names import key_of, short_keys

_LONGEST = 60
_LONGEST_VALUE = 24

#: Keys that change nothing of what is learnt: where a run is, how it is watched and kept, and what computes it. Studies
#: compare runs without them; hparams and a run's name leave them out.
HOUSEKEEPING = frozenset(
    {
        *("seeds", "run_dir", "resume", "name", "progress", "logger", "tensorboard", "compare", "sweep"),
        *("device", "threads", "compile", "log_every", "eval_every", "checkpoint_every", "keep_last"),
        *("draw", "sharpness", "eval_episodes", "histograms", "video_every", "metrics", "pictures"),
    }
)


def is_housekeeping(key: str) -> bool:
    """Whether a dotted key changes nothing of what is learnt."""
    return key.partition(".")[0] in HOUSEKEEPING


def run_name(overrides: Sequence[str], seeds: str, name: str | None = None, now: datetime | None = None) -> str:
    """Name a run `<date>_<time>_<name>_<what was changed>_<seeds>`, safe on every file system.

    Keys and values are shortened: `critic.optimizer.lr=1e-3` is `lr=1e-3` where no other rate is among them, of a path
    the last name stands, of an experiment nothing else. What does not fit is counted, `+3` for three more words.

    Args:
        overrides: the words that were typed; of two with one key the later counts.
        seeds: a word such as `seed=1`.
        name: a word of the user's.
        now: the date.
    """
    stamp = (now or datetime.now()).strftime("%Y-%m-%d_%H-%M-%S")
    said = changes(overrides)
    short = short_keys([key_of(word) for word in said])
    words = [_safe(name, _LONGEST)] if name else []
    words += [_word(word, short[key_of(word)]) for word in said]
    return "_".join(filter(None, (stamp, _fitting(words, "_"), _seeds(seeds))))


def changes(overrides: Sequence[str]) -> list[str]:
    """The words that change what is learnt, but for the task and the seed; of two with one key the later."""
    return [word for word in {key_of(word): word for word in overrides}.values() if _counts(word)]


def _counts(word: str) -> bool:
    key = key_of(word)
    # The task stands in the path, the seed at the end of the name.
    passed = key in ("task", "seed", *HOUSEKEEPING) or key.startswith("hydra")
    return not passed and word != "experiment=null"


def _word(word: str, key: str) -> str:
    if word.startswith("~"):
        return f"no-{_safe(key, _LONGEST_VALUE)}"
    value = word.partition("=")[2]
    if re.fullmatch(r"[^\[{,]*[/\\][^\[{,]*", value):
        value = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    value = _safe(value, _LONGEST_VALUE)
    return value if key == "experiment" else f"{key}={value or '-'}"


def _seeds(word: str) -> str:
    key, _, value = word.partition("=")
    return f"{key}={_fitting(value.split('-'), '-', _LONGEST_VALUE)}"


def _fitting(words: Sequence[str], between: str, longest: int = _LONGEST) -> str:
    """As many of the words as fit, at least one, and how many more there are."""
    kept = 1
    while kept < len(words) and len(between.join(words[: kept + 1])) <= longest:
        kept += 1
    more = len(words) - kept
    return between.join(words[:kept]) + (f"+{more}" if more > 0 else "")


def _safe(text: str, longest: int) -> str:
    """Text in letters that every file system takes, cut where a word in it ends if that is not near its beginning."""
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "-", text.strip("[]{}()'\" ")).rstrip("-_.")
    if len(safe) <= longest:
        return safe
    cut = safe[:longest]
    ends = [found.start() for found in re.finditer(r"[-_.]", cut)]
    return cut[: ends[-1]] if ends and ends[-1] > longest // 2 else cut
