"""Your own images: a folder, an array in a file, a data set of the `datasets` library.

Small sets are decoded once and drawn from in memory, on the device; larger ones are decoded by workers as they are
drawn. Which image is drawn is decided by the run's own generator in either case, so that a run resumes exactly.
"""

import math
import os
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rlgan.gan.data.base import FiniteData, OnDevice, scaled
from rlgan.gan.data.hugging import HuggingFaceSource
from rlgan.gan.metrics.classifier import Classifier
from rlgan.gan.metrics.features import Extractor, Inception, Pixels, RandomConvolutions
from rlgan.reading.arrays import ArraySource, Layout
from rlgan.reading.files import FolderSource, Listing
from rlgan.reading.shown import colour, said
from rlgan.reading.sources import Source, shared
from rlgan.task.errors import InputError

Features = Literal["auto", "classifier", "random_convolutions", "pixels", "inception"]
ENOUGH = 20
"""Images that a class has on the average, where names of folders and the like are taken for labels."""

_FEW = (
    "held_out = {share}: holds out {held} of {total}, and what tells copying from learning needs two; give more images "
    "or a larger held_out"
)


class _Rows(Dataset[tuple[Tensor, Tensor | str]]):
    """What a DataLoader fetches from: a batch of indices at a time, given back beside the images, or what is wrong."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, index: list[int]) -> tuple[Tensor, Tensor | str]:
        try:
            return torch.tensor(index), torch.from_numpy(self.source.rows(index))
        except InputError as error:  # raised here it would come with the worker's traceback in its message
            return torch.tensor(index), str(error)


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

    def __init__(self, source: Source, workers: int) -> None:
        self._source, self._workers = source, workers
        self._former: tuple[int, int] | None = None
        self._batches: Iterator[tuple[Tensor, Tensor | str]] | None = None

    def fetch(self, index: Tensor, generator: torch.Generator, kept: Tensor) -> Tensor:
        """The images at `index` ``(n,)``, which `generator` has just drawn: ``(n, C, H, W)``, uint8, on the CPU.

        Raises:
            InputError: one of them cannot be read.
        """
        draw = (id(generator), len(index))
        if self._batches is not None and draw == self._former:
            ahead, images = next(self._batches)
            if torch.equal(ahead, index):
                if isinstance(images, str):
                    raise InputError(images, intact=True)
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
        features: in which images are compared: those of a small `classifier` of their own labels, of
            `random_convolutions`, `pixels`, averaged down to 8 x 8, or `inception` where torch-fidelity's weights are
            on disk. `auto`: a classifier's where there are labels; else pixels of images up to 8 x 8, and random
            convolutions of larger ones.
        memory_mb: sets up to this size are decoded once and drawn from in memory, on the device.
        workers: processes that decode larger ones.
    """

    which: ClassVar[tuple[str, str]]
    """The argument that says which images, and an example of it."""

    held_out: float = 0.2
    features: Features = "auto"
    memory_mb: int = 1024
    workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_mb < 0:
            raise ValueError(f"memory_mb = {self.memory_mb}: must not be negative, for example 1024; 0 always decodes")
        if self.workers < 0:
            raise ValueError(f"workers = {self.workers}: must not be negative, for example 2; 0 decodes in the run")
        if self.named:
            self._check_number()
        if self.named or self.features == "inception":
            _ = self.extractor  # what is not at hand or cannot be decoded is refused here, not in the middle of a run
        if self.named:
            _ = self._in_memory

    def _check_number(self) -> None:
        """Refuse what is too little to learn from, or to measure anything by."""
        if self.total < 2:
            field = self.which[0]
            others = f" (passed over: {self.source.others})" if self.source.others else ""
            raise ValueError(
                f"{field} = {said(getattr(self, field))}: holds one image{others}, and there is no distance between "
                "distributions of one; give at least two, and some hundreds to learn from"
            )
        if round(self.held_out * self.total) >= self.total:
            raise ValueError(f"held_out = {self.held_out}: leaves none of {self.total} images to train on; lower it")

    @property
    def named(self) -> bool:
        """Whether it was said which images."""
        return getattr(self, self.which[0]) is not None

    @cached_property
    def source(self) -> Source:
        """The images, decoded one by one; the same object at every call."""
        if not self.named:
            field, example = self.which
            raise ValueError(f"data.{field} = null: has to be given, for example data.{field}={example}")
        return self._open()

    @abstractmethod
    def _open(self) -> Source:
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
        if self.features == "inception":
            return Inception()
        if self.features in ("auto", "classifier") and self._classes is not None:
            labels, names = self._classes
            return Classifier("classifier", labels, self.read, names)
        if self.features == "classifier":
            raise ValueError(
                "features = classifier: there are no labels, or not of every image, or too few images of a class "
                f"({ENOUGH} on the average); put each picture into the folder of its class, or use "
                "features=random_convolutions"
            )
        large = min(self.shape[1:]) > 8 if self.features == "auto" else self.features == "random_convolutions"
        return RandomConvolutions() if large else Pixels()

    @cached_property
    def _classes(self) -> tuple[Tensor, list[str]] | None:
        """The class of each image, ``(n,)``, and their names; None where there are none, or too few images of each."""
        classes = self.source.classes()
        names = sorted(set(classes or ()))
        if classes is None or not 2 <= len(names) <= len(classes) // ENOUGH:
            return None
        return torch.tensor([names.index(one) for one in classes]), names

    def notes(self) -> list[str]:
        channels, height, width = self.shape
        held = self.total - self.size
        place = "in memory" if self._in_memory is not None else f"decoded by {self.workers} workers as they are drawn"
        what = f"{self.total:,} images {height}x{width}x{channels}, {self.source.reading}"
        note = f"{what}; {held:,} of them held out; {place}"
        large = not isinstance(self.extractor, Pixels)
        compared = [f"images are compared in the features {self.extractor.name} (data.features)"] if large else []
        if isinstance(self.extractor, Classifier):
            names = self.extractor.classes
            compared[0] += f", taught on {len(names)} classes: {', '.join(names[:10])}{', ...' * (len(names) > 10)}"
        few = [] if held > 1 or not self.held_out else [_FEW.format(held=held, total=self.total, share=self.held_out)]
        return [note, *compared, *few, *self.source.remarks()]

    def inputs(self) -> dict[str, str]:
        return {f"data.{self.which[0]}": self.source.fingerprint()} if self.named else {}

    @property
    def besides(self) -> str:
        held = self.total - self.size
        others = f"; passed over: {self.source.others}" if self.source.others else ""
        return f" to train on, {held:,} held out{others}"

    @property
    def decodes(self) -> bool:
        return self.named and self._in_memory is None

    def keys(self) -> list[bytes]:
        return self.source.keys()

    def close(self) -> None:
        self._decoders.close()


@dataclass(frozen=True)
class _Resized(Images):
    """Pictures, that may be made one size."""

    side: int | None = None
    background: str = "white"

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise ValueError(f"side = {self.side}: must be at least 1 pixel, for example 32")
        colour(self.background)
        super().__post_init__()


@final
@dataclass(frozen=True)
class Folder(_Resized):
    """The pictures in a folder and below it: files of every format that Pillow reads, by their suffixes.

    They are read as they are shown: upright, in sRGB, and what is transparent on `background`. More than 8 bits a
    channel are refused. Hidden names are passed over, and links are followed. A file is held out by its name.

    Args:
        path: of the folder, from where the run starts.
        side: crop each to its middle square and resize it to side x side; null wants files of one size.
        channels: 1 makes all pictures grey, 3 colour; null: 1 where the files are all of a grey format.
        background: colour that is seen through what is transparent, as HTML names it.
    """

    which = ("path", "pictures")

    path: Path | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels = {self.channels}: must be 1 for grey or 3 for colour, or null to look")
        super().__post_init__()

    def notes(self) -> list[str]:
        levels = None if self._in_memory is None or self.total < ENOUGH else self._in_memory.whole
        if levels is None or self.channels is not None or levels.shape[1] == 1 or (levels != levels[:, :1]).any():
            return super().notes()
        return [*super().notes(), "all pictures are grey, in files of colour; data.channels=1 reads them as grey"]

    def _open(self) -> Source:
        path = Path(os.path.expanduser(str(self.path)))
        stamp = tuple(Listing(path).files) if os.path.isdir(path) else None
        return shared(FolderSource, path, self.side, self.background, "data", self.channels, stamp=stamp)


@final
@dataclass(frozen=True)
class ArrayFile(Images):
    """One array of images in a .npy or .npz file: ``(n, H, W)``, ``(n, H, W, C)`` or ``(n, C, H, W)``, C = 1 or 3.

    An image is held out by its content.

    Args:
        path: of the file, from where the run starts.
        key: name of the array in a .npz of several.
        layout: order of the axes, `nhw`, `nhwc` or `nchw`; null finds it by C where that leaves no doubt.
        value_range: values of black and white; null: 0 and 255 of uint8; of floating numbers -1 and 1 where one is
            below -0.5, else 0 and 1, where that leaves no doubt.
    """

    which = ("path", "images.npz")

    path: Path | None = None
    key: str | None = None
    layout: Layout | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.layout not in (None, "nhw", "nhwc", "nchw"):
            raise ValueError(f"layout = {self.layout}: must be nhw, nhwc or nchw, or null to find it")
        if self.value_range is not None and not -math.inf < self.value_range[0] < self.value_range[1] < math.inf:
            raise ValueError(f"value_range = {list(self.value_range)}: must ascend and be finite, for example [0, 255]")
        super().__post_init__()

    def _open(self) -> Source:
        values = None if self.value_range is None else (float(self.value_range[0]), float(self.value_range[1]))
        path = Path(os.path.expanduser(str(self.path)))
        stamp = (path.stat().st_size, path.stat().st_mtime_ns) if os.path.isfile(path) else None
        return shared(ArraySource, path, self.key, self.layout, values, stamp=stamp)


@final
@dataclass(frozen=True)
class HuggingFace(_Resized):
    """A data set of the `datasets` library (the extra `images`); offline, what is in that library's cache.

    Pictures are read as those of a `Folder`. A row is held out by its number.

    Args:
        name: as `datasets.load_dataset` takes it.
        config: the data set's configuration, if it has several.
        split: `train`, for example.
        column: of images; null takes the only one.
        side: crop each to its middle square and resize it to side x side; null wants images of one size.
        background: colour that is seen through what is transparent, as HTML names it.
    """

    which = ("name", "mnist")

    name: str | None = None
    config: str | None = None
    split: str = "train"
    column: str | None = None

    def _open(self) -> Source:
        options = (self.name, self.config, self.split, self.column, self.side, self.background)
        return shared(HuggingFaceSource, *options)
