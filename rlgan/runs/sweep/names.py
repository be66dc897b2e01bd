"""Short names of a sweep's runs: what is varied, and the seed last."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_LAST = ("seed", "seeds")
_LONGEST = 100


def key_of(word: str) -> str:
    """The key of `key=value`, without the signs that Hydra puts before it."""
    return word.partition("=")[0].lstrip("+~")


def last_seed(keys: Iterable[str]) -> list[str]:
    """The keys in their order, those of the seed last."""
    return sorted(keys, key=lambda key: key in _LAST)


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The shortest name of every key that no other one has: its last part, its first and last, or all of it.

    `critic.optimizer.lr` is `lr` where no other learning rate is among them, else `critic.lr`. Of an option,
    `optimizer@critic.optimizer`, the first name is that of its group.
    """
    forms = {key: _forms(key) for key in dict.fromkeys(keys)}
    short = {}
    for key, mine in forms.items():
        others = {form for other, all_ in forms.items() if other != key for form in all_}
        short[key] = next((form for form in mine if form not in others), key)
    return short


def _forms(key: str) -> list[str]:
    group, _, at = key.partition("@")
    if at:
        return [group, f"{at.partition('.')[0]}.{group}", f"{at}.{group}"]
    first, *_, last = key.split(".") if "." in key else (key, key)
    return [last, f"{first}.{last}", key]


def names(jobs: Sequence[Mapping[str, str]]) -> list[str]:
    """A name for every job, safe on every file system, at most 100 letters and different from the others'.

    Args:
        jobs: the value of each varied key, as text.
    """
    short = short_keys([key for job in jobs for key in job])
    found, seen = [], Counter[str]()
    for job in jobs:
        name = "_".join(f"{short[key]}={_safe(job[key])}" for key in last_seed(job))[:_LONGEST] or "run"
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


def _safe(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", value.strip("[]{}()'\" ")).rstrip("-") or "-"
