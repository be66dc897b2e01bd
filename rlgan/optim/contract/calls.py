"""Calls of somebody else's code: whatever it raises, or gives that it may not, becomes one line that names it."""

import copy
import inspect
import math
import re
import sysconfig
import traceback
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

_OURS = (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent), "<")
_STANDARD = sysconfig.get_paths()["stdlib"]
_SETTING = re.compile(r"^[A-Za-z_][\w.\[\]]* = ")
_ARGUMENTS = re.compile(r"(\w+)\(\) (?:takes|missing|got an unexpected)")
_LACKING = re.compile(r"__init__\(\) missing .*?: (.*)")
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
        method: its name.
        hint: the remedy where shapes do not fit (torch's RuntimeError), or a None is no tensor.

    Raises:
        ValueError: in the place of any exception, as ``key = Class: method raised Kind: message (file.py, line 3);
            remedy``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again when it is called in earnest
            yield
    except Exception as error:
        if _as_it_is(piece, error):
            raise
        raise ValueError(told(key, piece, method, error, hint)) from error


def _as_it_is(piece: object, error: Exception) -> bool:
    """Whether an error is not of the piece: of our own code, of memory, of a file; or one of ours with a meaning."""
    if isinstance(error, ValueError):
        return False
    meant = type(error).__module__.startswith("rlgan.") or isinstance(error, MemoryError | OSError)
    memory = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return meant or memory or not (foreign(piece) or inspect.isroutine(piece))


def told(key: str, piece: object, method: str, error: BaseException, hint: str = "") -> str:
    """The line of an error; see `calling`."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and _SETTING.match(text):  # a setting of its own, which it refuses
        return text if text.startswith(f"{key} = ") else f"{key}.{text}"
    where = line_of(error)
    fits = hint if isinstance(error, RuntimeError) or "NoneType" in text or "ambiguous" in text else ""
    remedy = fits or _signature(piece, text) or ("mend it there" if where else "HYDRA_FULL_ERROR=1 shows where")
    said = f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
    return f"{key} = {name_of(piece)}: {method or 'making it'} raised {said}{f' ({where})' if where else ''}; {remedy}"


def line_of(error: BaseException) -> str:
    """Where somebody else's code raised it, ``file.py, line 3``: the last frame that is no library's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _known(frame.filename)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def raised_in(error: BaseException, installed: Container[str] = ()) -> str:
    """What somebody else's code raised, in a line: ``Class.method raised Kind: message (file.py, line 3); remedy``.

    Args:
        error: with its traceback.
        installed: modules of site-packages that count as somebody's own, the others being libraries.

    Returns:
        The line; empty where no frame of the traceback is of such code.
    """
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
        library = re.search(r"[\\/](site|dist)-packages[\\/]", file) and module.partition(".")[0] not in installed
        if not (_known(file) or library):
            text = " ".join(str(error).split())
            said = f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
            where = f"{Path(file).name}, line {line}"
            return (
                f"{frame.f_code.co_qualname} raised {said} ({where}); mend it there, HYDRA_FULL_ERROR=1 shows the rest"
            )
    return ""


def _known(file: str) -> bool:
    """Whether a file is ours, torch's or of another library that a mistake is not in."""
    inner = "site-packages" in file or "dist-packages" in file
    library = re.search(r"[\\/](numpy|scipy|gymnasium)[\\/]", file) if inner else file.startswith(_STANDARD)
    return file.startswith(_OURS) or bool(library)


def _signature(piece: object, text: str) -> str:
    """What is to be given, or how a method is to be defined, where arguments do not fit."""
    if lacking := _LACKING.search(text):
        return f"give {lacking[1]}"
    if (found := _ARGUMENTS.search(text)) is None:
        return ""
    for base in type(piece).__mro__:
        if base.__module__.startswith("rlgan.") and callable(method := vars(base).get(found[1])):
            return f"define it as {found[1]}({', '.join(inspect.signature(method).parameters)})"
    return ""


def refuse(key: str, piece: object, what: str, remedy: str) -> ValueError:
    """The error ``key = Class: what; remedy``."""
    return ValueError(f"{key} = {name_of(piece)}: {what}; {remedy}")


def shown(value: object) -> str:
    """A value in a few words: of a tensor its shape, of a number itself, of another object its class."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, bool | int | float | str) or value is None:
        return f"{value!r:.60}"
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
