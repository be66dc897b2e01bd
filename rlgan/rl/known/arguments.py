"""Numbers, vectors and matrices from a configuration; what will not do is refused by name."""

from typing import Any

import numpy as np
from gymnasium import spaces

from rlgan.rl.envs.batched import Unsuitable


def numbers(name: str, given: Any, shape: tuple[int | None, ...], remedy: str) -> np.ndarray:
    """`given` as finite float64 numbers of `shape`, where None stands for any length; a number alone fills a vector.

    Raises:
        Unsuitable: no numbers, not finite, another shape.
    """
    try:
        found = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Unsuitable(f"{name} = {given}: no rectangle of numbers; {remedy}") from error
    if found.ndim == 0 and len(shape) == 1:
        found = np.full(shape[0] or 1, found)
    if not found.size:
        raise Unsuitable(f"{name} = {given}: is empty; {remedy}")
    fits = found.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, found.shape, strict=True))
    if not fits:
        said = " x ".join(map(str, found.shape)) or "a number"
        wanted = " x ".join("any" if want is None else str(want) for want in shape)
        raise Unsuitable(f"{name} = {given}: is {said}, must be {wanted}; {remedy}")
    if not np.isfinite(found).all():
        raise Unsuitable(f"{name} = {given}: must be finite; {remedy}")
    return found


def number(name: str, given: Any, least: float, remedy: str) -> float:
    """`given` as a finite number of at least `least`.

    Raises:
        Unsuitable: it is none.
    """
    found = float(numbers(name, given, (1,), remedy)[0])
    if found < least:
        raise Unsuitable(f"{name} = {given}: must be at least {least:g}; {remedy}")
    return found


def bounds(low: Any, high: Any, size: int) -> spaces.Box:
    """The space of actions between `low` and `high`, each a number or one for every component.

    Raises:
        Unsuitable: low is not below high.
    """
    lows, highs = (
        numbers(name, given, (size,), f"give a number, or one for each of the {size} components")
        for name, given in (("low", low), ("high", high))
    )
    if not (lows < highs).all():
        raise Unsuitable(f"low = {low}: must be below high, which is {high}; for example low = -1 and high = 1")
    return spaces.Box(lows.astype(np.float32), highs.astype(np.float32), dtype=np.float32)
