"""`did you mean`: the nearest name that exists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], otherwise: str, cutoff: float = 0.6) -> str:
    """`did you mean X?` for the nearest known name, else `otherwise` and the list of all.

    Transposed letters (`wgna`) count as near.

    Args:
        word: what was typed.
        known: what exists.
        otherwise: words before the list.
        cutoff: least similarity, from 0 to 1 (difflib's ratio).
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    if close:
        return f"did you mean {close[0]}?"
    return f"{otherwise} {', '.join(names)}" if names else "there are none"
