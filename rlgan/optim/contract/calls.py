"""Calls of somebody else's code: whatever it raises, or gives that it may not, becomes one line that names it."""

import copy
import inspect
import math
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

_OURS = (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent), "<frozen")
_SETTING = re.compile(r"^[A-Za-z_][\w.\[\]]* = ")
_ARGUMENTS = re.compile(r"(\w+)\(\) (takes|missing|got an unexpected)")
_TRACEBACK = "HYDRA_FULL_ERROR=1 shows where"
T = TypeVar("T")


def foreign(*pieces: object) -> bool:
    """Whether any of them is of a class that is neither rlgan's nor torch's, so that no test of ours has seen it."""
    return any(type(piece).__module__.partition(".")[0] not in ("rlgan", "torch", "builtins") for piece in pieces)


def name_of(piece: object) -> str:
    """The name of a piece's class; of a class or function, its own."""
    return str(getattr(piece, "__name__", type(piece).__name__))


def twin_of(piece: T) -> T:
    """A copy to be tried, so that what a piece counts or keeps is not moved; itself where it cannot be copied."""
    try:
        return copy.deepcopy(piece)
    except Exception:  # whatever a foreign class raises: it is then tried as it is
        return piece


@contextmanager
def calling(key: str, piece: object, method: str, hint: str = "") -> Iterator[None]:
    """Calls of a method of `piece`, the value of the setting `key`.

    Args:
        key: as it is typed.
        piece: whose method it is, or the function itself.
        method: its name; "" of a function.
        hint: the remedy where torch's shapes do not fit (a RuntimeError).

    Raises:
        ValueError: in the place of any exception, as ``key = Class: method raised Kind: message (file.py, line 3);
            remedy``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again when it is called in earnest
            yield
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, ValueError) and _SETTING.match(text):  # a setting of its own, which it refuses
            raise ValueError(f"{key}.{text}" if not text.startswith(f"{key} = ") else text) from error
        where = line_of(error)
        fits = hint if isinstance(error, RuntimeError) else ""
        remedy = fits or _signature(piece, method, text) or ("mend it there" if where else _TRACEBACK)
        said = f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
        place = f" ({where})" if where else ""
        raise ValueError(f"{key} = {name_of(piece)}: {method or 'the call'} raised {said}{place}; {remedy}") from error


def line_of(error: BaseException) -> str:
    """Where somebody else's code raised it, ``file.py, line 3``: the last frame that is neither ours nor torch's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def _signature(piece: object, method: str, text: str) -> str:
    """How a method is to be defined, where it does not take the arguments that it is called with."""
    if (found := _ARGUMENTS.search(text)) is None:
        return ""
    asked = found[1] if method else ""
    for base in type(piece).__mro__:
        if base.__module__.startswith("rlgan.") and asked in vars(base) and callable(vars(base)[asked]):
            words = ", ".join(inspect.signature(vars(base)[asked]).parameters)
            return f"define it as {asked}({words})"
    return ""


def refuse(key: str, piece: object, what: str, remedy: str) -> ValueError:
    """The error ``key = Class: what; remedy``."""
    return ValueError(f"{key} = {name_of(piece)}: {what}; {remedy}")


def shown(value: object) -> str:
    """A value in a few words: of a tensor its shape, of a number itself, of another object its class."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, bool | int | float | str) or value is None:
        return str(value)
    return f"a {type(value).__name__}"


def check_tensor(
    key: str, piece: object, method: str, value: object, shape: Sequence[int], like: Tensor | None = None
) -> Tensor:
    """`value` as a tensor of `shape`.

    Args:
        key, piece, method: who gave it.
        value: what was given.
        shape: which is due.
        like: whose device, and whose dtype if that is not floating, are due; None asks for neither.

    Raises:
        ValueError: it is none, has another shape, stands on another device, or holds NaN or infinity.
    """
    due = tuple(shape)
    if not isinstance(value, Tensor):
        raise refuse(key, piece, f"{method} returned {shown(value)}", f"return a tensor of shape {due}")
    if tuple(value.shape) != due:
        remedy = "return a scalar, for example its mean" if due == () else f"return one of shape {due}"
        raise refuse(key, piece, f"{method} returned {shown(value)}", remedy)
    if like is not None and value.device != like.device:
        raise refuse(key, piece, f"{method} returned a tensor on {value.device}", f"make it on {like.device}")
    if not value.is_floating_point():
        raise refuse(key, piece, f"{method} returned numbers of {value.dtype}", "return floating ones, by .float()")
    if like is not None and like.is_floating_point() and value.dtype != like.dtype:
        raise refuse(key, piece, f"{method} returned {value.dtype}", f"return {like.dtype}, by .to(x.dtype)")
    if not value.isfinite().all():
        raise refuse(key, piece, f"{method} returned nan or inf", "look for a division or a root of 0")
    return value


def check_number(key: str, piece: object, method: str, value: object, low: float = -math.inf) -> float:
    """`value` as a finite number, at least `low`.

    Raises:
        ValueError: it is none.
    """
    one = value.numel() == 1 if isinstance(value, Tensor) else hasattr(value, "__float__")
    if not one:
        raise refuse(key, piece, f"{method} returned {shown(value)}", "return a number")
    number = float(value)  # type: ignore[arg-type]
    if not low <= number < math.inf:
        least = "" if low == -math.inf else f", at least {low:g}"
        raise refuse(key, piece, f"{method} returned {number:g}", f"return a finite number{least}")
    return number


def check_numbers(key: str, piece: object, method: str, value: object) -> dict[str, float]:
    """`value` as numbers by name.

    Raises:
        ValueError: it is no dictionary of numbers.
    """
    if not isinstance(value, Mapping):
        raise refuse(
            key, piece, f"{method} returned {shown(value)}", 'return a dict of numbers, for example {"rho": 0.9}'
        )
    return {str(name): check_number(key, piece, f"{method} for {name}", number) for name, number in value.items()}
