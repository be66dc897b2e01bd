"""What an environment gives, as what it declared and in memory of our own; what is something else is refused by name.

Lists, tensors, arrays of one number and the like are taken for what they mean. The words of `Broken` go on after the
environment's name.
"""

import copy
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces


class Broken(RuntimeError):
    """An environment gives what gymnasium does not allow; the words begin with a verb."""


def described(value: Any) -> str:
    """A value in a few words, with its shape and dtype where it has any."""
    if value is None or isinstance(value, bool | str):
        return repr(value)[:40]
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{kind} of shape {tuple(value.shape)} and dtype {value.dtype}"
    if isinstance(value, Mapping):
        return f"{kind} with the keys {', '.join(map(repr, value)) or 'none'}"[:80]
    if isinstance(value, list | tuple):
        return f"{kind} of length {len(value)}"
    return f"{kind} {value!r}"[:60]


def _array(value: Any, what: str) -> np.ndarray:
    """As an array, perhaps without a copy: also tensors that hang on a graph or a device."""
    for way in ("detach", "cpu"):
        value = getattr(value, way)() if callable(getattr(value, way, None)) else value
    if np.ma.is_masked(value):
        raise Broken(
            f"gave {what} with {np.ma.count_masked(value)} numbers that are masked; put something in their place"
        )
    try:
        return np.asarray(value)
    except Exception as error:  # ragged lists, and what classes from outside do when they are asked
        raise Broken(f"gave {what} that is no array: {described(value)} ({error})") from error


def observed(space: spaces.Space, value: Any, what: str = "an observation") -> Any:
    """An observation as `space` declares it: arrays of its dtype and shape, in memory of their own.

    Raises:
        Broken: another shape, structure or kind of numbers.
    """
    if isinstance(space, spaces.Box):
        return _in_box(space, value, what)
    if isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping):
            raise Broken(f"gave {what} that is {described(value)}, where a dict is declared ({space})")
        lacking = [key for key in space.spaces if key not in value]
        if lacking:
            raise Broken(
                f"gave {what} without {', '.join(map(repr, lacking))} ({described(value)}), declared in {space}"
            )
        return {key: observed(part, value[key], f"{what}[{key!r}]") for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            raise Broken(
                f"gave {what} that is {described(value)}, where {len(space.spaces)} parts are declared ({space})"
            )
        pairs = enumerate(zip(space.spaces, value, strict=True))
        return tuple(observed(part, one, f"{what}[{i}]") for i, (part, one) in pairs)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        array = _in_box(space, value, what)
        found = array[()] if isinstance(space, spaces.Discrete) else array
        if not space.contains(found):
            raise Broken(f"gave {what} that is {array.tolist()}, which is not in {space}")
        return found
    if not space.contains(value):
        raise Broken(f"gave {what} that is {described(value)}, which is not in {space}")
    return copy.deepcopy(value)


def _in_box(space: Any, value: Any, what: str) -> np.ndarray:
    if type(value) is np.ndarray and value.dtype == space.dtype and value.shape == space.shape:
        return value.copy()
    array = _array(value, what)
    if array.shape != space.shape and isinstance(space, spaces.Discrete) and array.size == 1:
        array = array.reshape(())
    whole = array.dtype.kind in "biu" and space.dtype.kind in "biu"
    if array.shape != space.shape or not (whole or np.can_cast(array.dtype, space.dtype, "same_kind")):
        raise Broken(
            f"gave {what} of shape {array.shape} and dtype {array.dtype}, where shape {space.shape} and dtype "
            f"{space.dtype} are declared"
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        made = np.array(array, dtype=space.dtype)
    if made.dtype.kind == "f" and (lost := np.isinf(made) & np.isfinite(array)).any():
        one = float(array[lost][0])
        raise Broken(f"gave {what} with {one:g} in it, which is beyond the declared dtype {space.dtype}; scale it")
    if whole and not np.array_equal(made, array):
        raise Broken(f"gave {what} with {array.min()} to {array.max()} in it, which dtype {space.dtype} does not hold")
    return made


def number(value: Any) -> float:
    """A reward: one number, in whatever it comes.

    Raises:
        Broken: none, several, or no number.
    """
    if type(value) is float:
        return value
    if isinstance(value, numbers.Real) and not isinstance(value, np.generic):  # also fractions
        try:
            return float(value)
        except OverflowError:
            raise Broken(f"gave a reward beyond every float: {str(value)[:20]}...") from None
    array = None if value is None or isinstance(value, str | bytes) else _array(value, "a reward")
    if array is None or array.size != 1 or array.dtype.kind not in "biufO":
        raise Broken(f"gave a reward that is {described(value)}, where one number is due")
    try:
        return float(array.reshape(-1)[0])
    except (TypeError, ValueError) as error:
        raise Broken(f"gave a reward that is {described(value)}, where one number is due") from error


def flag(value: Any, what: str) -> bool:
    """Whether an episode `terminated` or was `truncated`: one truth value, in whatever it comes.

    Raises:
        Broken: anything but one of True, False, 1 and 0.
    """
    if type(value) is bool:
        return value
    array = None if value is None or isinstance(value, str | bytes) else _array(value, what)
    if array is None or array.size != 1 or array.dtype.kind not in "biuf" or array.reshape(-1)[0] not in (0, 1):
        raise Broken(f"gave {what} = {described(value)}, where one of True and False is due")
    return bool(array.reshape(-1)[0])


def start(given: Any, space: spaces.Space) -> tuple[Any, Any]:
    """What a reset gives: observation and info, whatever that is, as nobody reads it.

    Raises:
        Broken: it is not these two.
    """
    if isinstance(given, tuple | list) and len(given) == 2:
        informed = given[1] is None or isinstance(given[1], Mapping)
        # Two observations in a tuple are no observation and info.
        if informed or (isinstance(given, tuple) and not isinstance(space, spaces.Tuple)):
            return given[0], given[1]
    raise Broken(
        f"gave {described(given)}, where a reset gives (observation, info); before gymnasium it was the observation "
        'alone: add an info, "return observation, {}"'
    )


def successor(given: Any) -> tuple[Any, Any, Any, Any, Any]:
    """What a step gives: observation, reward, terminated, truncated, info.

    Raises:
        Broken: it is not these five.
    """
    if isinstance(given, tuple | list) and len(given) == 5:
        return given[0], given[1], given[2], given[3], given[4]
    raise Broken(
        f"gave {described(given)}, where a step gives (observation, reward, terminated, truncated, info); before "
        "gymnasium these were four: split done into terminated and truncated"
    )
