"""One array of images in a file: which axis is which, and which numbers are black and white."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from rlgan.reading.shown import Levels, said
from rlgan.reading.sources import Source
from rlgan.task.errors import InputError

Layout = Literal["nhw", "nhwc", "nchw"]
Range = tuple[float, float]
LABELS = ("y", "Y", "labels", "targets", "target")
"""Usual names of an array of labels."""
_BLOCK = 1024
_NARROW = 4
"""Pixels of a side up to which a side may be meant as channels, where the other differs."""
_DIM = 0.25
"""Share of a range that was not said, below which all values are a reason to look at it."""
HALF = 0.5 / 255
"""Half a grey level, as a share of the range: what lies no further beyond an end of it is read as that end anyway."""


@final
class ArraySource(Source):
    """One array of images in a .npy or .npz file, kept to 8 bits; arguments as `rlgan.gan.ArrayFile` has them.

    Args:
        group: of the configuration that the arguments stand in, for notes.

    Raises:
        ValueError: the file is missing, damaged, empty, of another shape or outside of its range; naming it.
        InputError: the file has changed while it was read from.
    """

    def __init__(
        self, path: Path, key: str | None, layout: Layout | None, value_range: Range | None, group: str = "data"
    ) -> None:
        self._path, self._name, self.group = path, f"path = {said(path)}", group
        array = load(path, key)
        self._status = _status(path)
        if array.dtype.kind not in "uif":
            raise ValueError(
                f"{self._name}: dtype {array.dtype} is no image's; give uint8, or floating numbers in [0, 1]"
            )
        ordered = _ordered(array, layout, self._name)
        self.shape = (ordered.shape[1], ordered.shape[2], ordered.shape[3])
        self._stored = f"{array.dtype.name} {array.shape}"
        self._array, self.reading, self._remarks = _as_uint8(ordered, value_range, self._name, group)
        self._mapped = isinstance(array, np.memmap) and np.may_share_memory(array, self._array)

    def __len__(self) -> int:
        return len(self._array)

    def read(self, i: int) -> tuple[Levels, tuple[str, ...]]:
        return self.rows([i])[0], ()

    def rows(self, index: Sequence[int]) -> Levels:
        # A mapped file that is cut short kills the process that reads it.
        if self._mapped and _status(self._path) != self._status:
            raise InputError(f"{self._name}: has changed since the start of the run; put it back", intact=True)
        return self._array[np.asarray(index, dtype=np.int64)]

    @cached_property
    def decoded(self) -> Levels:
        if self._mapped:
            self._array, self._mapped = np.array(self._array, order="C"), False
        self._array = np.ascontiguousarray(self._array)
        return self._array

    @cached_property
    def _digests(self) -> list[bytes]:
        return [hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in self._array]

    def keys(self) -> list[bytes]:
        """The images' contents: they are where they are in whatever order, and two that are alike are both held out or
        both not."""
        return self._digests

    def fingerprint(self) -> str:
        content = hashlib.sha256(b"".join(self._digests)).hexdigest()[:16]
        return f"array {self._stored}, sha256 of the images {content}"

    def classes(self) -> list[str] | None:
        """Words or whole numbers, one for each image, in the .npz beside the images under one of the `LABELS`."""
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                found = [stored[name] for name in LABELS if name in stored.files]
        except (OSError, ValueError, TypeError, AttributeError):  # an .npy; Python objects
            return None
        labels = [array for array in found if array.shape == (len(self),) and array.dtype.kind in "iubU"]
        return [str(label) for label in labels[0]] if len(labels) == 1 else None

    def remarks(self) -> list[str]:
        return self._remarks


def _status(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def load(path: Path, key: str | None, field: str = "key", what: str = "images") -> NDArray[Any]:
    """The array in a .npy file, or the one that `key` names in an .npz file, or the only one there.

    Args:
        path: of the file.
        key: name of the array.
        field: the setting that `key` is, for messages.
        what: the array is of.

    Raises:
        ValueError: the file is missing, empty or damaged, holds Python objects, or no such array; naming it.
    """
    if not os.path.isfile(path) or path.stat().st_size == 0:
        there = "is no file" if os.path.lexists(path) else "there is no such file"
        fault = "the file is empty" if os.path.isfile(path) else there
        raise ValueError(f"path = {said(path)}: {fault}; give a .npy or .npz of {what}")
    try:
        found = np.load(path, mmap_mode="c", allow_pickle=False)
        if isinstance(found, np.ndarray):
            if key is not None:
                raise ValueError(
                    f"{field} = {key}: {said(path.name)} holds one array without a name; leave {field} out"
                )
            return found
        with found:
            names = list(found)
            if key is None and len(names) != 1:
                holds = ", ".join(names) or "nothing"
                raise ValueError(f"{field} = null: {said(path.name)} holds {holds}; say which is {what}")
            if key is not None and key not in names:
                raise ValueError(f"{field} = {key}: {said(path.name)} holds {', '.join(names)}; choose one of them")
            array: NDArray[Any] = found[key or names[0]]
            return array
    except Exception as error:
        if str(error).startswith(f"{field} = "):
            raise
        reason = said(" ".join(str(error).split())) or type(error).__name__
        if "pickle" in reason or "Python objects" in reason:  # numpy's own words go on to say how to load them
            reason = "Python objects, pickled, are not loaded: they can run anything"
        raise ValueError(
            f"path = {said(path)}: cannot be read as .npy or .npz ({reason}); save it again with numpy.savez"
        ) from error


def _ordered(array: NDArray[Any], layout: Layout | None, name: str) -> NDArray[Any]:
    """The array as (n, C, H, W).

    Raises:
        ValueError: it holds nothing, or is no batch of images, or could be several things and `layout` says not which.
    """
    shape = array.shape
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name}: an array of shape {shape} holds no images; give (n, H, W, C)")
    fits: dict[Layout, NDArray[Any]] = {}
    if array.ndim == 3:
        fits["nhw"] = array[:, None]
    if array.ndim == 4 and shape[3] in (1, 3):
        fits["nhwc"] = array.transpose(0, 3, 1, 2)
    if array.ndim == 4 and shape[1] in (1, 3):
        fits["nchw"] = array
    if layout is not None and layout in fits:
        return fits[layout]
    if layout is not None and fits:
        raise ValueError(f"layout = {layout}: an array of shape {shape} is not that; use layout={', '.join(fits)}")
    if not fits:
        alpha = array.ndim == 4 and {shape[1], shape[3]} & {2, 4}
        remedy = "; a channel of transparency has to be laid on a colour first" if alpha else ""
        raise ValueError(
            f"{name}: an array of shape {shape} is no batch of images; give (n, H, W), (n, H, W, C) or (n, C, H, W) "
            f"with C = 1 or 3{remedy}"
        )
    first, *others = fits.values()
    narrow = min(first.shape[2:]) <= _NARROW and first.shape[2] != first.shape[3]
    if array.ndim == 3 and (narrow or shape[0] in (3, 4)):
        raise ValueError(
            f"{name}: an array of shape {shape} may be {shape[0]} grey images of {shape[1]}x{shape[2]} or one image in "
            "colour; if it is the first, set layout=nhw; one image is too few"
        )
    if narrow or (others and shape[1:] != (1, 1, 1)):
        kinds = " or ".join(
            f"{one.shape[0]} images of {one.shape[2]}x{one.shape[3]}x{one.shape[1]} (layout={kind})"
            for kind, one in fits.items()
        )
        raise ValueError(f"{name}: an array of shape {shape} may be {kinds} or something else; say which by layout")
    return first


def _as_uint8(array: NDArray[Any], value_range: Range | None, name: str, group: str) -> tuple[Levels, str, list[str]]:
    """The numbers of an array (n, C, H, W) as grey levels 0 ... 255, how it was read, and what a user has to know."""
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name}: holds nan or inf{_where(array)}; replace these values")
    black, white = value_range or _guessed(array.dtype, low, high, name)
    width = white - black
    below, above = black - low, high - white
    if max(below, above) > HALF * width:
        excess = " and ".join(f"by {x:.9g} {side}" for x, side in ((below, "below"), (above, "above")) if x > 0)
        raise ValueError(
            f"{name}: values from {low:.9g} to {high:.9g} are outside of value_range = [{black:g}, {white:g}], {excess}"
            "; widen it, or clip the array"
        )
    remarks = [f"every value of the array is {low:g}: there is nothing to learn"] if low == high else []
    if value_range is None and low < high and high < black + _DIM * width:
        remarks.append(
            f"the brightest value of the array is {high:.3g}, and white is {white:g}; if it is white, set "
            f"{group}.value_range=[{black:g},{high:.9g}]"
        )
    if max(below, above) > 0:
        remarks.append(
            f"values up to {max(below, above):.3g} beyond [{black:g}, {white:g}] are clipped, less than half a grey "
            f"level; another range is said by {group}.value_range"
        )
    reading = f"{array.dtype} {black:g}..{white:g} read as [-1, 1]"
    if array.dtype == np.uint8 and (black, white) == (0.0, 255.0):
        return array, reading, remarks
    levels = np.empty(array.shape, np.uint8)
    for i in range(0, len(array), _BLOCK):
        scaled = (array[i : i + _BLOCK].astype(np.float64) - black) * (255 / width)
        levels[i : i + _BLOCK] = np.rint(scaled).clip(0, 255)
    if value_range is not None and low < high and levels.max() - levels.min() < 2:
        remarks.append(
            f"values from {low:.9g} to {high:.9g} are but one or two grey levels of [{black:g}, {white:g}]; see "
            f"{group}.value_range"
        )
    return levels, reading, remarks


def _where(array: NDArray[Any]) -> str:
    for i in range(0, len(array), _BLOCK):
        wrong = np.argwhere(~np.isfinite(array[i : i + _BLOCK]))
        if len(wrong):
            return f", the first in image {i + int(wrong[0][0])}"
    return ""


def _guessed(dtype: np.dtype[Any], low: float, high: float, name: str) -> Range:
    """Black and white of numbers from `low` to `high`, where these leave no doubt.

    Raises:
        ValueError: they do.
    """
    if dtype == np.uint8:
        if high > 1:
            return 0.0, 255.0
        raise ValueError(
            f"{name}: uint8 values from {low:g} to {high:g} would all be black; if 1 is white, set value_range=[0,1]"
        )
    if dtype.kind == "f" and low >= -HALF and high <= 1 + HALF:
        if high < 2 / 255:
            raise ValueError(
                f"{name}: {dtype} values from {low:.9g} to {high:.9g} would all be black; say what black and white "
                "are, for example value_range=[0,0.0039]"
            )
        return 0.0, 1.0
    # Of [-1, 1] something is dark: a little below 0 is [0, 1] that was sharpened, or centred.
    if dtype.kind == "f" and -1 - 2 * HALF <= low < -0.5 and high <= 1 + 2 * HALF:
        return -1.0, 1.0
    what = "are neither uint8 nor in [-1, 1]"
    if dtype.kind == "f" and -1 <= low < 0 and high <= 1:
        what = "may be of [0, 1] or of [-1, 1]"
    elif dtype.kind == "f" and (-2 <= low < -1 or 1 < high <= 2):
        beyond = ((-1 - low, "below -1"), (high - 1, "above 1"))
        what += " (" + ", ".join(f"{x:.9g} {side}" for x, side in beyond if x > 0) + ")"
    raise ValueError(
        f"{name}: {dtype} values from {low:.9g} to {high:.9g} {what}; say what black and white are, for example "
        "value_range=[0,255]"
    )
