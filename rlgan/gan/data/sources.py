"""Images as they are found: files of a folder, an array, a data set; what is wrong is said with the file's name."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Levels = NDArray[np.uint8]
"""Grey levels, 0 ... 255."""
SUFFIXES = (".png", ".jpg", ".jpeg")
# Pillow's names for 8 bits per channel; 16-bit and floating modes would be cut to 8 bits in silence.
_MODES = {"1": 1, "L": 1, "LA": 3, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3, "CMYK": 3, "YCbCr": 3}


class Source(ABC):
    """Images of one shape, each decoded when it is asked for.

    Attributes:
        shape: (C, H, W).
        reading: how numbers became pixels.
    """

    shape: tuple[int, int, int]
    reading: str = "uint8 0..255 read as [-1, 1]"

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, i: int) -> Levels:
        """Image `i`, ``(C, H, W)``, uint8."""

    def rows(self, index: Sequence[int]) -> Levels:
        """The images at `index`, ``(len(index), C, H, W)``, uint8."""
        return np.stack([self[i] for i in index]) if len(index) else np.zeros((0, *self.shape), np.uint8)

    @cached_property
    def decoded(self) -> Levels:
        """All images, ``(n, C, H, W)``, uint8."""
        return self.rows(range(len(self)))


def pixels(image: Image.Image, channels: int, side: int | None) -> Levels:
    """A picture as ``(C, H, W)``, uint8; with `side`, its middle square resized to side x side (Lanczos)."""
    converted = image.convert("L" if channels == 1 else "RGB")
    if side is not None and converted.size != (side, side):
        edge = min(converted.size)
        left, top = (converted.width - edge) // 2, (converted.height - edge) // 2
        square = converted.crop((left, top, left + edge, top + edge))
        converted = square.resize((side, side), Image.Resampling.LANCZOS)
    array = np.asarray(converted, dtype=np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def channels_of(image: Image.Image, name: str) -> int:
    """The number of channels of a picture: 1 for grey and 3 for colour.

    Raises:
        ValueError: more than 8 bits per channel, or a mode that is neither; naming the file.
    """
    if image.mode not in _MODES:
        raise ValueError(
            f"{name}: pixels of mode {image.mode} are not 8 bits a channel and would lose their range; "
            "convert the file to 8-bit grey or RGB"
        )
    return _MODES[image.mode]


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture in a file, read to its end inside the block.

    Raises:
        ValueError: empty, truncated or no picture; naming the file.
    """
    try:
        with Image.open(path) as image:
            yield image
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        if path.exists() and path.stat().st_size == 0:
            raise ValueError(f"path = {path}: the file is empty; remove it") from error
        reason = "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ValueError(f"path = {path}: cannot be read ({reason}); replace or remove the file") from error


@final
class FolderSource(Source):
    """The PNG and JPG files below a folder, in the order of their names; arguments as `images.Folder` has them.

    Raises:
        ValueError: no such folder, no images in it, files of several sizes, a file that is no image.
    """

    def __init__(self, path: Path, side: int | None) -> None:
        if not path.is_dir():
            raise ValueError(f"path = {path}: there is no such folder; give one of PNG or JPG files")
        self.files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not self.files:
            raise ValueError(f"path = {path}: holds no {', '.join(SUFFIXES)} files; give a folder of images")
        self.side = side
        channels, sizes = 1, []
        for file in self.files:
            with opened(file) as image:
                channels = max(channels, channels_of(image, f"path = {file}"))
                sizes.append(image.size)
            if side is None and sizes[-1] != sizes[0]:
                raise ValueError(
                    f"path = {file}: is {_times(sizes[-1])} pixels and {self.files[0].name} is {_times(sizes[0])}; "
                    "make them one size, or set side, for example side=32"
                )
        width, height = (side, side) if side is not None else sizes[0]
        self.shape = (channels, height, width)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Levels:
        with opened(self.files[i]) as image:
            return pixels(image, self.shape[0], self.side)


def _times(size: Sequence[int]) -> str:
    return "x".join(str(s) for s in size)


@final
class ArraySource(Source):
    """One array of images in a .npy or .npz file, kept to 8 bits; arguments as `images.ArrayFile` has them.

    Raises:
        ValueError: the file is missing, damaged, empty, of another shape or outside of its range; naming it.
    """

    def __init__(self, path: Path, key: str | None, value_range: tuple[float, float] | None) -> None:
        array = _load(path, key)
        name = f"path = {path}"
        if array.ndim == 0 or len(array) == 0:
            raise ValueError(f"{name}: an array of shape {array.shape} holds no images; give (n, H, W, C)")
        if array.ndim == 3:
            array = array[:, None]
        elif array.ndim == 4 and array.shape[3] in (1, 3):
            array = array.transpose(0, 3, 1, 2)
        if array.ndim != 4 or array.shape[1] not in (1, 3):
            raise ValueError(
                f"{name}: an array of shape {array.shape} is no batch of images; give (n, H, W), (n, H, W, C) or "
                "(n, C, H, W) with C = 1 or 3"
            )
        self.shape = (array.shape[1], array.shape[2], array.shape[3])
        self._array, self.reading = _as_uint8(array, value_range, name)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, i: int) -> Levels:
        return self._array[i]

    def rows(self, index: Sequence[int]) -> Levels:
        return self._array[np.asarray(index, dtype=np.int64)]

    @cached_property
    def decoded(self) -> Levels:
        return np.ascontiguousarray(self._array)


def _load(path: Path, key: str | None) -> NDArray[Any]:
    if not path.is_file() or path.stat().st_size == 0:
        what = "the file is empty" if path.is_file() else "there is no such file"
        raise ValueError(f"path = {path}: {what}; give a .npy or .npz of images")
    try:
        found = np.load(path, mmap_mode="c", allow_pickle=False)
        if isinstance(found, np.ndarray):
            if key is not None:
                raise ValueError(f"key = {key}: {path.name} holds one array without a name; leave key out")
            return found
        with found:
            names = list(found)
            if key is None and len(names) != 1:
                raise ValueError(f"key = null: {path.name} holds {', '.join(names) or 'nothing'}; say which is images")
            if key is not None and key not in names:
                raise ValueError(f"key = {key}: {path.name} holds {', '.join(names)}; choose one of them")
            array: NDArray[Any] = found[key or names[0]]
            return array
    except Exception as error:
        if str(error).startswith("key = "):
            raise
        raise ValueError(
            f"path = {path}: cannot be read as .npy or .npz ({error}); save it again with numpy.savez"
        ) from error


def _as_uint8(array: NDArray[Any], value_range: tuple[float, float] | None, name: str) -> tuple[Levels, str]:
    """The array's numbers as grey levels 0 ... 255, and how it was read."""
    if array.dtype.kind not in "uif":
        raise ValueError(f"{name}: dtype {array.dtype} is no image's; give uint8, or floating numbers in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name}: holds nan or inf; replace these values")
    if value_range is None:
        if array.dtype == np.uint8:
            value_range = (0.0, 255.0)
            if high <= 1:
                raise ValueError(
                    f"{name}: uint8 values from {low:g} to {high:g} would all be black; if 1 is white, set "
                    "value_range=[0,1]"
                )
        elif array.dtype.kind == "f" and low >= -1 and high <= 1:
            value_range = (-1.0, 1.0) if low < 0 else (0.0, 1.0)
        else:
            raise ValueError(
                f"{name}: {array.dtype} values from {low:g} to {high:g} are neither uint8 nor in [-1, 1]; say what "
                "black and white are, for example value_range=[0,255]"
            )
    black, white = value_range
    if low < black or high > white:
        raise ValueError(
            f"{name}: values from {low:g} to {high:g} are outside of value_range = [{black:g}, {white:g}]; widen it"
        )
    reading = f"{array.dtype} {black:g}..{white:g} read as [-1, 1]"
    if array.dtype == np.uint8 and (black, white) == (0.0, 255.0):
        return array, reading
    levels = np.empty(array.shape, np.uint8)
    for i in range(0, len(array), 4096):
        levels[i : i + 4096] = np.rint((array[i : i + 4096].astype(np.float64) - black) * (255 / (white - black)))
    return levels, reading


@final
class HuggingFaceSource(Source):
    """A column of images of a data set of the `datasets` library; arguments as `images.HuggingFace` has them.

    That images are of one size is checked as they are decoded.

    Raises:
        ValueError: the library is missing, the data set cannot be had (offline and not in its cache, for example), it
            has no such column.
    """

    def __init__(self, name: str, config: str | None, split: str, column: str | None, side: int | None) -> None:
        try:
            import datasets
        except ImportError as error:
            raise ValueError(
                f"name = {name}: needs the library datasets, which is not installed; pip install 'rlgan[images]'"
            ) from error
        try:
            self._rows: Any = datasets.load_dataset(name, config, split=split)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"name = {name}: the data set cannot be loaded ({type(error).__name__}: {reason}); without a network "
                "only what is in the cache of datasets can be had: load it once where there is one, or use data=folder"
            ) from error
        columns = [key for key, feature in self._rows.features.items() if type(feature).__name__ == "Image"]
        if column is None and len(columns) != 1:
            raise ValueError(f"column = null: {name} has image columns {columns}; say which, for example column=image")
        self.column = column or columns[0]
        if self.column not in columns:
            raise ValueError(f"column = {column}: {name} has image columns {columns}; choose one of them")
        if len(self._rows) == 0:
            raise ValueError(f"split = {split}: holds no images; choose another")
        self.name, self.side = name, side
        image = self._picture(0)
        width, height = (side, side) if side is not None else image.size
        self.shape = (channels_of(image, f"name = {name}: image 0"), height, width)

    def __len__(self) -> int:
        return len(self._rows)

    def _picture(self, i: int) -> Image.Image:
        try:
            image = self._rows[i][self.column]
        except Exception as error:
            raise ValueError(f"name = {self.name}: image {i} cannot be read ({error}); leave it out") from error
        if not isinstance(image, Image.Image):
            raise ValueError(f"name = {self.name}: image {i} is missing; leave it out")
        return image

    def __getitem__(self, i: int) -> Levels:
        image = self._picture(i)
        channels_of(image, f"name = {self.name}: image {i}")
        if self.side is None and image.size != (self.shape[2], self.shape[1]):
            raise ValueError(
                f"name = {self.name}: image {i} is {_times(image.size)} pixels and image 0 is "
                f"{self.shape[2]}x{self.shape[1]}; set side, for example side=32"
            )
        return pixels(image, self.shape[0], self.side)


S = TypeVar("S", bound=Source)


# The tasks of several seeds in one process read the same data: once, unless the files changed meanwhile.
@lru_cache(maxsize=4)
def _opened(kind: Callable[..., S], arguments: tuple[Any, ...], stamps: tuple[Any, ...]) -> S:
    return kind(*arguments)


def shared(kind: Callable[..., S], *arguments: Any) -> S:
    """The one source of this kind and these arguments in this process; files that changed are read anew."""
    stamps = tuple(_stamp(argument) for argument in arguments if isinstance(argument, Path))
    return _opened(kind, arguments, stamps)


def _stamp(path: Path) -> tuple[Any, ...]:
    """What changes when a file does, or a folder or a file in it."""
    files = sorted(file for file in (path, *path.rglob("*")) if file.is_file())
    return tuple((str(file), (status := os.stat(file)).st_mtime_ns, status.st_size) for file in files)
