"""What can go wrong in a step, and the checks of settings that many classes share."""

import contextlib
import math
from collections.abc import Iterator


class NonFinite(FloatingPointError):
    """A loss or gradient is NaN or infinite; raised before anything of that step is written."""


def beyond(what: str) -> str:
    """The words for a gradient that is finite while the squares that a method keeps of it are not."""
    return f"{what}: finite, but its squares are beyond the largest number; use precision=float64, or scale the loss"


class LineSearchFailed(NonFinite):
    """No acceptable step exists, or none was found, along a descent direction at a point that is not stationary.

    To whoever trains it is the same as a loss that is not finite: the step is refused, nothing of it is written.
    """


def positive(name: str, value: float, remedy: str = "for example 1.0") -> None:
    """Refuse a number that is not positive and finite.

    Raises:
        ValueError: as ``name = value: must be positive, remedy``.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} = {value}: must be positive, {remedy}")


def weight_of_the_past(name: str, value: float) -> None:
    """Refuse a number outside of [0, 1), the weight of the old value in an exponential moving average.

    Raises:
        ValueError: as ``name = value: ...``.
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name} = {value}: the weight of the old mean lies in [0, 1), for example 0.9")


@contextlib.contextmanager
def called(**names: str) -> Iterator[None]:
    """Name settings in error messages as the user typed them: ``called(decay="beta2")`` for a slot's `decay`."""
    try:
        yield
    except ValueError as error:
        name, equals, rest = str(error).partition(" = ")
        raise ValueError(f"{names.get(name, name)}{equals}{rest}") from None
