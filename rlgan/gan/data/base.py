"""A distribution of real samples, and a finite one with a part that training never sees."""

from __future__ import annotations

import inspect
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlgan.optim.contract.calls import calling, foreign
from rlgan.optim.errors import positive
from rlgan.reading.split import split

if TYPE_CHECKING:
    from rlgan.gan.metrics.features import Extractor

SPLIT_SEED = 1797
"""The split of a finite data set is one for all runs: metrics of two seeds compare only on the same held-out part."""


class Data(ABC):
    """A distribution of real samples."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (d,) for a point, (C, H, W) with values in [-1, 1] for an image."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` independent samples ``(n, *shape)``, float32, on the generator's device."""

    @property
    def images(self) -> bool:
        """Whether a sample is an image (C, H, W)."""
        return len(self.shape) == 3

    @property
    def size(self) -> int | None:
        """Number of samples that a finite data set is drawn from; None for a distribution."""
        return None

    def measure(self, samples: Tensor) -> dict[str, float]:
        """What can be said of generated samples ``(n, *shape)`` for these data in particular, under its tags."""
        return {}

    def remarks(self, samples: Tensor) -> list[str]:
        """What numbers over all samples ``(n, *shape)`` hide, a sentence each; shown below a closing table."""
        return []

    def generator(self) -> nn.Module | None:
        """A generator that belongs to these data, ``(batch, latent_dim) -> (batch, *shape)``, in the place of the
        network; None where the network is free."""
        return None

    @property
    def latent_dim(self) -> int | None:
        """Length of the latent vector that `generator()` takes; None where the network is free."""
        return None

    def inputs(self) -> dict[str, str]:
        """What is read from outside of the run, a line by name, with a fingerprint; see `rlgan.task.Task.inputs`."""
        return {}

    @property
    def besides(self) -> str:
        """What is no part of it and might be meant to be, in words that go on after a number of samples; or nothing."""
        return ""

    @property
    def decodes(self) -> bool:
        """Whether samples are read from outside as they are drawn, so that a draw may raise `InputError`."""
        return False

    def notes(self) -> list[str]:
        """What a user has to know about the data, one sentence each; shown once at the start."""
        return []

    def close(self) -> None:
        """Release files and workers."""
        return None

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch that is larger than a finite data set: it could only repeat it.

        Raises:
            ValueError: naming both sizes.
        """
        if self.size is not None and batch_size > self.size:
            raise ValueError(
                f"batch_size = {batch_size}: larger than the data set ({self.size:,} samples{self.besides}); use at "
                f"most {self.size}"
            )


TRIED = 64


def tried(data: Data, device: torch.device | str = "cpu") -> list[str]:
    """Draw a few samples of data that anybody may have written, and look at them; notes on what is odd.

    Raises:
        ValueError: they are none; naming what was given and what is due.
    """
    name = f"data = {type(data).__name__}"
    with calling("data", data, "shape"):
        shape: object = data.shape
    if inspect.ismethod(shape):
        raise ValueError(f"{name}: its shape is a method; write @property above it")
    if (
        not isinstance(shape, tuple | list)
        or not shape
        or not all(isinstance(n, numbers.Integral) and int(n) > 0 for n in shape)
    ):
        raise ValueError(f"{name}: its shape is {shape!r}, where lengths are due, for example (2,)")
    if data.decodes:  # of files, which are looked at by themselves
        return []

    def drawn(n: int) -> Tensor:
        with calling("data", data, "sample"):
            return data.sample(n, torch.Generator(device).manual_seed(0))

    one, two = drawn(TRIED), drawn(TRIED)
    due = (TRIED, *shape)
    if not isinstance(one, Tensor) or tuple(one.shape) != due or not one.is_floating_point():
        given = f"{one.dtype} {tuple(one.shape)}" if isinstance(one, Tensor) else f"a {type(one).__name__}"
        raise ValueError(f"{name}: its sample({TRIED}, generator) gave {given}, where a tensor of floats {due} is due")
    if not one.isfinite().all():
        raise ValueError(f"{name}: its samples hold nan or inf; leave these out")
    if one.requires_grad:
        raise ValueError(f"{name}: its samples require a gradient, which no player has a use for; .detach() them")
    if foreign(data) and len(other := drawn(3)) != 3:
        raise ValueError(f"{name}: its sample(3, generator) gave {len(other)} samples; give as many as n says")
    notes = []
    if not torch.equal(one, two) and two is not one:
        notes.append(
            f"{name}: two draws by equal generators differ: its randomness is not that of `generator`, so this run "
            "cannot be gone on with exactly, nor perhaps repeated"
        )
    if data.images and float(one.abs().max()) > 1.01:
        low, high = float(one.min()), float(one.max())
        notes.append(f"{name}: images have values from {low:.4g} to {high:.4g}; generators make images in [-1, 1]")
    return notes


def draw(kind: Callable[..., Tensor], stream: torch.Generator, *shape: int) -> Tensor:
    """Random numbers of a kind, torch.rand or torch.randn, on the stream's device: float32 whatever the precision."""
    return kind(shape, generator=stream, device=stream.device)


def fill(kind: Callable[..., Tensor], stream: torch.Generator, out: Tensor) -> None:
    """The same numbers into memory of any precision, contiguous."""
    if out.dtype is torch.float32:
        kind(out.shape, generator=stream, out=out)
    else:
        out.copy_(draw(kind, stream, *out.shape))


def check_positive(data: Data, *names: str) -> None:
    """Refuse arguments of a dataclass that are not positive and finite; the message has the default for an example."""
    for name in names:
        positive(name, getattr(data, name), f"for example {getattr(type(data), name)}")


def check_not_negative(data: Data, *names: str) -> None:
    """Refuse arguments of a dataclass that are negative or not finite."""
    for name in names:
        if not 0 <= (value := getattr(data, name)) < math.inf:
            raise ValueError(f"{name} = {value}: must not be negative, for example {getattr(type(data), name)}")


def check_count(data: Data, name: str, least: int = 1) -> None:
    """Refuse an argument of a dataclass that is less than `least`."""
    if (value := getattr(data, name)) < least:
        raise ValueError(f"{name} = {value}: must be at least {least}, for example {getattr(type(data), name)}")


def split_by_count(n: int, held_out: float) -> tuple[Tensor, Tensor]:
    """The same of a set that never changes, h = round(held_out n), by its size alone."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SPLIT_SEED))
    h = round(held_out * n)
    return order[h:].sort().values, order[:h].sort().values


def scaled(levels: Tensor) -> Tensor:
    """Grey levels 0 ... 255 as float32 in [-1, 1]."""
    return levels.float() / 127.5 - 1


class FiniteData(Data):
    """A data set: drawn from WITH replacement, less the share `held_out`, which is only ever measured against.

    Which samples are held out is decided by their `keys`, whatever the run's seed.
    """

    held_out: float

    def __post_init__(self) -> None:
        if not 0 <= (h := self.held_out) < 1:
            raise ValueError(f"held_out = {h}: must be a share of the data set, 0 <= held_out < 1, for example 0.2")

    @abstractmethod
    def read(self, index: Tensor) -> Tensor:
        """The samples at `index` ``(n,)`` of the whole set, ``(n, *shape)``, float32, on the index's device."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Number of samples, held out or not."""

    def keys(self) -> Iterable[bytes]:
        """What names each sample, and goes on naming it when others come or go: its number, if no more is known."""
        return (str(i).encode() for i in range(self.total))

    @property
    @abstractmethod
    def extractor(self) -> Extractor:
        """The features in which distances between samples are taken."""

    def measure(self, samples: Tensor) -> dict[str, float]:
        return self.extractor.measure(samples)

    def remarks(self, samples: Tensor) -> list[str]:
        return self.extractor.remarks(samples)

    @property
    def size(self) -> int:
        return len(self._split[0])

    @cached_property
    def _split(self) -> tuple[Tensor, Tensor]:
        """Numbers of the training samples, and of those held out."""
        return split(self.keys(), self.held_out)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = torch.randint(self.size, (n,), generator=generator, device=generator.device)
        return self._gather(drawn, generator)

    def _gather(self, drawn: Tensor, generator: torch.Generator) -> Tensor:
        """The training samples of the numbers `drawn`, which `generator` has just drawn."""
        return self.read(self._kept[drawn])

    def training(self, n: int | None = None) -> Tensor:
        """Training samples, at most `n` of them, the same at every call: ``(min(n, size), *shape)``, on the CPU."""
        return self.read(self._part(0, n))

    def unseen(self, n: int | None = None) -> Tensor:
        """Held-out samples, at most `n`, the same at every call: ``(min(n, total - size), *shape)``, on the CPU."""
        return self.read(self._part(1, n))

    def _part(self, which: int, n: int | None) -> Tensor:
        part = self._split[which]
        if n is None or n >= len(part):
            return part
        order = torch.randperm(len(part), generator=torch.Generator().manual_seed(SPLIT_SEED))
        return part[order[:n].sort().values]

    @cached_property
    def _kept(self) -> OnDevice:
        """Numbers of the training samples."""
        return OnDevice(self._split[0])


class OnDevice:
    """Tensors held on the CPU, copied to another device once, at the first use there."""

    def __init__(self, whole: Tensor, convert: Callable[[Tensor], Tensor] | None = None) -> None:
        self.whole = whole
        self._convert = convert
        self._copies = {whole.device: whole}

    def __getitem__(self, index: Tensor) -> Tensor:
        if index.device not in self._copies:
            self._copies[index.device] = self.whole.to(index.device)
        rows = self._copies[index.device][index]
        return rows if self._convert is None else self._convert(rows)
