"""What images are read from: a folder, an array, a data set; each says what is wrong with the file's name."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np

from rlgan.reading.shown import TRAITS, Levels
from rlgan.task.errors import InputError


class Source(ABC):
    """Images of one shape, each decoded when it is asked for.

    Attributes:
        shape: (C, H, W).
        reading: how numbers became pixels.
        traits: how many have which of `shown.TRAITS`; of all when they were decoded, else as far as it is known.
        background: colour that transparent pictures are put on.
        group: of the configuration that says which images, for notes.
        others: what was passed over, in words.
    """

    shape: tuple[int, int, int]
    reading: str = "uint8 0..255 read as [-1, 1]"
    traits: Counter[str]
    background: str = ""
    group: str = "data"
    others: str = ""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, i: int) -> tuple[Levels, tuple[str, ...]]:
        """Image `i`, ``(C, H, W)``, uint8, and its `shown.TRAITS`.

        Raises:
            InputError: it cannot be read any more, or is another.
        """

    @abstractmethod
    def keys(self) -> list[bytes]:
        """What names each image, and goes on naming it when others come or go; by this the held-out ones are chosen."""

    def classes(self) -> list[str] | None:
        """The name of each image's class, where that is known."""
        return None

    @abstractmethod
    def fingerprint(self) -> str:
        """What the images are, in a line that other images have not."""

    def rows(self, index: Sequence[int]) -> Levels:
        """The images at `index`, ``(len(index), C, H, W)``, uint8."""
        return np.stack([self.read(i)[0] for i in index]) if len(index) else np.zeros((0, *self.shape), np.uint8)

    @cached_property
    def decoded(self) -> Levels:
        """All images, ``(n, C, H, W)``, uint8.

        Raises:
            ValueError: one cannot be read.
        """
        images, traits = np.empty((len(self), *self.shape), np.uint8), Counter[str]()
        for i in range(len(self)):
            try:
                images[i], own = self.read(i)
            except InputError as error:  # nothing has begun yet: what was given is wrong
                raise ValueError(str(error)) from error
            traits.update(own)
        self.traits = traits
        return images

    def remarks(self) -> list[str]:
        """What was done to pictures so that they are as they are shown, and what was passed over."""
        done = [
            f"{n:,} of {len(self):,} images {TRAITS[trait].format(background=self.background, group=self.group)}"
            for trait, n in sorted(getattr(self, "traits", {}).items())
            if n
        ]
        return [*done, *([f"passed over below {self.group}.path: {self.others}"] if self.others else [])]


S = TypeVar("S", bound=Source)


# The tasks of several seeds in one process read the same data: once, unless the files changed meanwhile.
@lru_cache(maxsize=4)
def _opened(kind: Callable[..., S], arguments: tuple[Any, ...], stamp: object) -> S:
    return kind(*arguments)


def shared(kind: Callable[..., S], *arguments: Any, stamp: object = None) -> S:
    """The one source of this kind and these arguments in this process; another one where the stamp is another."""
    return _opened(kind, arguments, stamp)
