"""Suggest the nearest existing name for a misspelt one: `did you mean …?`."""

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Find the known name that is nearest to a word, if one is near enough.

    Transposed letters (`wgna`) count as near, and so do initials (`gp` is near `gradient_penalty`). Capitals and
    hyphens do not count (`Half-Cheetah` is near `half_cheetah`).

    Args:
        word: what was typed.
        known: what exists.
        cutoff: least similarity, from 0 to 1 (difflib's ratio).
    """
    names = sorted(set(known))
    initials = {"".join(part[0] for part in name.split("_") if part): name for name in names if "_" in name}
    plain = {_plain(name): name for name in reversed(names)}
    close = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=cutoff)
    return plain[close[0]] if close else initials.get(word.lower().rstrip("0123456789"))


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


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
