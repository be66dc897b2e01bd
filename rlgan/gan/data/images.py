"""Your own images: a folder, an array in a file, a data set of the `datasets` library.

Small sets are decoded once and drawn from in memory, on the device; larger ones are decoded by workers as they are
drawn. Which image is drawn is decided by the run's own generator in either case, so that a run resumes exactly.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rlgan.gan.data import sources
from rlgan.gan.data.base import FiniteData, OnDevice
from rlgan.gan.metrics.features import Extractor, Inception, Pixels

Features = Literal["pixels", "inception"]


def scaled(levels: Tensor) -> Tensor:
    """Grey levels 0 ... 255 as float32 in [-1, 1]."""
    return levels.float() / 127.5 - 1


class _Rows(Dataset[tuple[Tensor, Tensor]]):
    """What a DataLoader fetches from: a batch of indices at a time, given back beside the images."""

    def __init__(self, source: sources.Source) -> None:
        self.source = source

    def __getitem__(self, index: list[int]) -> tuple[Tensor, Tensor]:
        return torch.tensor(index), torch.from_numpy(self.source.rows(index))


class _Ahead:
    """Yields the draws that a generator is about to make, from a copy of it: a guess that the real draw confirms.

    Args:
        generator: copied as it is now.
        n: samples in a draw.
        kept: numbers of the training samples, on the CPU; a draw is of these.
    """

    def __init__(self, generator: torch.Generator, n: int, kept: Tensor) -> None:
        self._generator = torch.Generator(device=generator.device)
        self._generator.set_state(generator.get_state())
        self._n, self._kept = n, kept

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            device = self._generator.device
            drawn = torch.randint(len(self._kept), (self._n,), generator=self._generator, device=device)
            yield self._kept[drawn.cpu()].tolist()


class _Workers:
    """Worker processes that decode ahead of one generator's draws of one size.

    They draw nothing and decide nothing: what they fetched is used if it is what the run's generator then draws, and
    thrown away otherwise. So no state of theirs belongs in a checkpoint.
    """

    def __init__(self, source: sources.Source, workers: int) -> None:
        self._source, self._workers = source, workers
        self._former: tuple[int, int] | None = None
        self._batches: Iterator[tuple[Tensor, Tensor]] | None = None

    def fetch(self, index: Tensor, generator: torch.Generator, kept: Tensor) -> Tensor:
        """The images at `index` ``(n,)``, which `generator` has just drawn: ``(n, C, H, W)``, uint8, on the CPU."""
        draw = (id(generator), len(index))
        if self._batches is not None and draw == self._former:
            ahead, images = next(self._batches)
            if torch.equal(ahead, index):
                return images
            self._batches = None  # the generator was moved, by a resume for example
        if self._batches is None and draw == self._former:
            # The second of two draws of one size by one generator: more will come.
            self._batches = iter(
                DataLoader(
                    _Rows(self._source),
                    batch_size=None,  # an index is a whole batch already
                    sampler=_Ahead(generator, len(index), kept),
                    num_workers=self._workers,
                    # Without one DataLoader draws the workers' seeds from torch's global generator.
                    generator=torch.Generator(),
                )
            )
        if self._batches is None:
            self._former = draw
        return torch.from_numpy(self._source.rows(index.tolist()))

    def close(self) -> None:
        self._batches = None


@dataclass(frozen=True)
class Images(FiniteData):
    """Images of one shape, (C, H, W) in [-1, 1].

    Args:
        held_out: share that training never sees, for measures of memorisation and of distance.
        features: in which images are compared: `pixels`, averaged down to 8 x 8, or `inception` where torch-fidelity's
            weights are on disk.
        memory_mb: sets up to this size are decoded once and drawn from in memory, on the device.
        workers: processes that decode larger ones.
    """

    which: ClassVar[tuple[str, str]]
    """The argument that says which images, and an example of it."""

    held_out: float = 0.2
    features: Features = "pixels"
    memory_mb: int = 1024
    workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_mb < 0:
            raise ValueError(f"memory_mb = {self.memory_mb}: must not be negative, for example 1024; 0 always decodes")
        if self.workers < 0:
            raise ValueError(f"workers = {self.workers}: must not be negative, for example 2; 0 decodes in the run")
        if self.named and self.size < 1:
            raise ValueError(f"held_out = {self.held_out}: leaves none of {self.total} images to train on; lower it")
        _ = self.extractor  # what is not at hand or cannot be decoded is refused here, and not in the middle of a run
        if self.named:
            _ = self._in_memory

    @property
    def named(self) -> bool:
        """Whether it was said which images."""
        return getattr(self, self.which[0]) is not None

    @cached_property
    def source(self) -> sources.Source:
        """The images, decoded one by one; the same object at every call."""
        if not self.named:
            field, example = self.which
            raise ValueError(f"data.{field} = null: has to be given, for example data.{field}={example}")
        return self._open()

    @abstractmethod
    def _open(self) -> sources.Source:
        """The images that `which` names."""

    @cached_property
    def _in_memory(self) -> OnDevice | None:
        if len(self.source) * math.prod(self.source.shape) > self.memory_mb * 2**20:
            return None
        return OnDevice(torch.from_numpy(self.source.decoded), scaled)

    @cached_property
    def _decoders(self) -> _Workers:
        return _Workers(self.source, self.workers)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def total(self) -> int:
        return len(self.source)

    def read(self, index: Tensor) -> Tensor:
        if self._in_memory is not None:
            return self._in_memory[index]
        return scaled(torch.from_numpy(self.source.rows(index.tolist()))).to(index.device)

    def _gather(self, drawn: Tensor, generator: torch.Generator) -> Tensor:
        if self._in_memory is not None:
            return super()._gather(drawn, generator)
        kept = self._kept.whole
        return scaled(self._decoders.fetch(kept[drawn.cpu()], generator, kept).to(drawn.device))

    @cached_property
    def extractor(self) -> Extractor:
        return Inception() if self.features == "inception" else Pixels()

    def notes(self) -> list[str]:
        channels, height, width = self.shape
        held = self.total - self.size
        place = "in memory" if self._in_memory is not None else f"decoded by {self.workers} workers as they are drawn"
        what = f"{self.total:,} images {height}x{width}x{channels}, {self.source.reading}"
        return [f"{what}; {held:,} of them held out; {place}"]

    def close(self) -> None:
        self._decoders.close()


@dataclass(frozen=True)
class _Resized(Images):
    """Images that may be made one size."""

    side: int | None = None

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise ValueError(f"side = {self.side}: must be at least 1 pixel, for example 32")
        super().__post_init__()


@final
@dataclass(frozen=True)
class Folder(_Resized):
    """The PNG and JPG files in a folder and below it.

    Args:
        path: of the folder, from where the run starts.
        side: crop each to its middle square and resize it to side x side; null wants files of one size.
    """

    which = ("path", "pictures")

    path: str | None = None

    def _open(self) -> sources.Source:
        return sources.shared(sources.FolderSource, Path(str(self.path)).expanduser(), self.side)


@final
@dataclass(frozen=True)
class ArrayFile(Images):
    """One array of images in a .npy or .npz file: ``(n, H, W)``, ``(n, H, W, C)`` or ``(n, C, H, W)``, C = 1 or 3.

    Args:
        path: of the file, from where the run starts.
        key: name of the array in a .npz of several.
        value_range: values of black and white; null: 0 and 255 of uint8; of floating numbers -1 and 1 where one is
            negative, else 0 and 1.
    """

    which = ("path", "images.npz")

    path: str | None = None
    key: str | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range = {list(self.value_range)}: must ascend, for example [0, 255]")
        super().__post_init__()

    def _open(self) -> sources.Source:
        values = None if self.value_range is None else (float(self.value_range[0]), float(self.value_range[1]))
        return sources.shared(sources.ArraySource, Path(str(self.path)).expanduser(), self.key, values)


@final
@dataclass(frozen=True)
class HuggingFace(_Resized):
    """A data set of the `datasets` library (the extra `images`); offline, what is in that library's cache.

    Args:
        name: as `datasets.load_dataset` takes it.
        config: the data set's configuration, if it has several.
        split: `train`, for example.
        column: of images; null takes the only one.
        side: crop each to its middle square and resize it to side x side; null wants images of one size.
    """

    which = ("name", "mnist")

    name: str | None = None
    config: str | None = None
    split: str = "train"
    column: str | None = None

    def _open(self) -> sources.Source:
        return sources.shared(sources.HuggingFaceSource, self.name, self.config, self.split, self.column, self.side)
