"""A column of images of a data set of the `datasets` library."""

from functools import cached_property
from pathlib import Path
from typing import Any, final

from PIL import Image

from rlgan.reading.shown import Levels, colour, header, levels, opened, said, times
from rlgan.reading.sources import Source
from rlgan.task.errors import InputError


@final
class HuggingFaceSource(Source):
    """A column of images of a data set of the `datasets` library; arguments as `images.HuggingFace` has them.

    That images are of one size is checked as they are decoded.

    Raises:
        ValueError: the library is missing, the data set cannot be had (offline and not in its cache, for example), it
            has no such column.
        InputError: an image cannot be read, or is of another size.
    """

    def __init__(
        self, name: str, config: str | None, split: str, column: str | None, side: int | None, background: str
    ) -> None:
        self.background, self._background = background, colour(background)
        try:
            import datasets
        except ImportError as error:
            raise ValueError(
                f"name = {name}: needs the library datasets, which is not installed; pip install 'rlgan[images]'"
            ) from error
        try:
            rows: Any = datasets.load_dataset(name, config, split=split)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"name = {name}: the data set cannot be loaded ({type(error).__name__}: {reason}); without a network "
                "only what is in the cache of datasets can be had: load it once where there is one, or use data=folder"
            ) from error
        columns = [key for key, feature in rows.features.items() if type(feature).__name__ == "Image"]
        if column is None and len(columns) != 1:
            raise ValueError(f"column = null: {name} has image columns {columns}; say which, for example column=image")
        self.column = column or columns[0]
        if self.column not in columns:
            raise ValueError(f"column = {column}: {name} has image columns {columns}; choose one of them")
        if len(rows) == 0:
            raise ValueError(f"split = {split}: holds no images; choose another")
        self._print = getattr(rows, "_fingerprint", None)
        # A picture that the library has decoded does not say how deep its file is.
        encoded = hasattr(rows, "cast_column") and hasattr(datasets, "Image")
        self._rows = rows.cast_column(self.column, datasets.Image(decode=False)) if encoded else rows
        self.name, self.side = name, side
        try:
            with self._opened(0) as image:
                head = header(image, self._called(0), self._background)
        except InputError as error:
            raise ValueError(str(error)) from error
        width, height = (side, side) if side is not None else head.size
        self.shape = (head.channels, height, width)

    def __len__(self) -> int:
        return len(self._rows)

    def _called(self, i: int) -> str:
        return f"name = {said(self.name)}: image {i}"

    def _opened(self, i: int) -> Any:
        try:
            found = self._rows[i][self.column]
        except Exception as error:
            raise InputError(f"{self._called(i)} cannot be read ({said(error)}); leave it out", intact=True) from error
        if isinstance(found, dict):  # a file: its bytes, or where it is
            content, path = found.get("bytes"), found.get("path")
            found = bytes(content) if content is not None else Path(path) if path else None
        if isinstance(found, bytes | Path):
            return opened(found, self._called(i))
        if not isinstance(found, Image.Image):
            raise InputError(f"{self._called(i)} is missing; leave it out", intact=True)
        return found

    def read(self, i: int) -> tuple[Levels, tuple[str, ...]]:
        name = self._called(i)
        try:
            with self._opened(i) as image:
                head = header(image, name, self._background)
                if head.channels > self.shape[0]:
                    raise ValueError(f"{name} has colours and image 0 is grey; give a larger data.memory_mb")
                size = (self.shape[2], self.shape[1])
                if self.side is None and head.size != size:
                    raise ValueError(
                        f"{name} is {times(head.size)} pixels and image 0 is {times(size)}; set side, for example "
                        "side=32"
                    )
                return levels(image, self.shape[0], self.side, self._background, name)
        except ValueError as error:
            raise InputError(str(error), intact=True) from error

    @cached_property
    def decoded(self) -> Levels:
        if self.shape[0] == 1 and any(self._channels(i) == 3 for i in range(len(self))):
            self.shape = (3, *self.shape[1:])  # grey images among colour are made colour
        return super().decoded

    def _channels(self, i: int) -> int:
        try:
            with self._opened(i) as image:
                return header(image, self._called(i), self._background).channels
        except InputError as error:
            raise ValueError(str(error)) from error

    def classes(self) -> list[str] | None:
        """The labels of the only column of them."""
        columns = [key for key, feature in self._rows.features.items() if type(feature).__name__ == "ClassLabel"]
        if len(columns) != 1:
            return None
        names = getattr(self._rows.features[columns[0]], "names", ())
        found = list(self._rows[columns[0]]) if names else [-1]  # -1 is a label that is not told
        return [names[i] for i in found] if min(found) >= 0 else None

    def keys(self) -> list[bytes]:
        """The rows' numbers: rows that are appended move none."""
        return [str(i).encode() for i in range(len(self))]

    def fingerprint(self) -> str:
        print_ = f"fingerprint of the library {self._print}" if self._print else "of which the library tells no more"
        return f"{len(self):,} rows, {print_}"
