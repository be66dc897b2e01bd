"""Suggest the nearest existing name for a misspelt one: `did you mean …?`."""

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Find the known name that is nearest to a word, if one is near enough.

    Transposed letters (`wgna`) count as near, and so do initials (`gp` is near `gradient_penalty`).

    Args:
        word: what was typed.
        known: what exists.
        cutoff: least similarity, from 0 to 1 (difflib's ratio).
    """
    names = sorted(set(known))
    initials = {"".join(part[0] for part in name.split("_") if part): name for name in names if "_" in name}
    close = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return close[0] if close else initials.get(word.rstrip("0123456789"))


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """Say `did you mean X?` of the closest known name, else `otherwise` and the list of all.

    Args:
        word: what was typed.
        known: what exists.
        otherwise: words before the list.
    """
    names = sorted(set(known))
    found = closest(word, names)
    if found is not None:
        return f"did you mean {found}?"
    return f"{otherwise} {', '.join(names)}" if names else "there are none"
