"""Characters of many type faces, drawn: labelled grey images one size up from the scans of digits."""

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from rlgan.gan.data.base import FiniteData, OnDevice, check_count, scaled, split_by_count
from rlgan.gan.metrics.classifier import Classifier

_FACES = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmss10", "cmtt10", "cmb10"),
)  # fmt: skip
_STENCIL = 96
"""Side of the stencils that all images are drawn with, in pixels; a character is half as high."""
_FINER = 2
"""Points along either side of a pixel, whose mean it is."""
_SEED = 28


@final
@dataclass(frozen=True)
class Glyphs(FiniteData):
    """Characters in 20 type faces that matplotlib ships (DejaVu, STIX, Computer Modern), light on a dark ground.

    Each is turned (standard deviation 8 degrees), slanted, stretched, moved by up to 2 of 28 pixels, and its strokes
    are drawn thinner or thicker; one seed for all runs. As many of every character, in [-1, 1], in memory. Nothing is
    downloaded.

    Args:
        characters: the classes, letters and digits of ASCII.
        side: of an image, in pixels.
        count: number of images, held out or not.
        held_out: share that training never sees, for measures of memorisation and of distance.

    Raises:
        ValueError: another character, or one that comes twice; a side below 8, fewer images than characters.
    """

    characters: str = "0123456789"
    side: int = 28
    count: int = 12_000
    held_out: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.characters.isascii() and self.characters.isalnum() and len(self.characters) > 1):
            raise ValueError(
                f"characters = {self.characters!r}: at least two letters or digits of ASCII, for example ABCDEFGHIJ"
            )
        if twice := [c for c in self.characters if self.characters.count(c) > 1]:
            raise ValueError(f"characters = {self.characters}: has {twice[0]} twice; each is one class")
        check_count(self, "side", 8)
        check_count(self, "count", len(self.characters))

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.side, self.side)

    @property
    def total(self) -> int:
        return self.count

    @cached_property
    def _split(self) -> tuple[Tensor, Tensor]:
        return split_by_count(self.total, self.held_out)

    @cached_property
    def _drawn(self) -> OnDevice:
        return OnDevice(_drawn(self.characters, self.side, self.count), scaled)

    @property
    def labels(self) -> Tensor:
        """The number of each image's character, ``(count,)``, int64."""
        return torch.arange(self.count) % len(self.characters)

    def read(self, index: Tensor) -> Tensor:
        return self._drawn[index]

    @cached_property
    def extractor(self) -> Classifier:
        return Classifier("glyphs_classifier", self.labels, self.read, self.characters)

    def notes(self) -> list[str]:
        held = self.total - self.size
        what = f"{self.total:,} drawn images {self.side}x{self.side}x1 of {self.characters}"
        return [f"{what}, {len(_FACES)} type faces; {held:,} of them held out; in memory"]


@lru_cache(maxsize=2)
def _drawn(characters: str, side: int, count: int) -> Tensor:
    """All images, ``(count, 1, side, side)``, uint8: the i-th is of character i modulo their number."""
    stencils = _stencils(characters)
    stream = torch.Generator().manual_seed(_SEED)
    kind = torch.arange(count) % len(characters)
    face = torch.randint(len(_FACES), (count,), generator=stream)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=stream)

    angle = 8 * torch.pi / 180 * torch.randn(count, generator=stream)
    slant, wide, high = uniform(-0.2, 0.2), uniform(0.85, 1.2), uniform(0.85, 1.2)
    # From a point of the image to one of the stencil, both in [-1, 1]: a character is half as high as its stencil.
    zoom = 0.64
    turn = torch.stack((angle.cos(), angle.sin(), -angle.sin(), angle.cos()), 1).reshape(-1, 2, 2)
    shape = torch.stack((zoom / wide, slant * zoom / high, torch.zeros(count), zoom / high), 1).reshape(-1, 2, 2)
    moved = zoom * torch.stack((uniform(-1, 1), uniform(-1, 1)), 1) * (4 / 28)
    affine = torch.cat((shape @ turn, moved[:, :, None]), 2)
    edge = uniform(0.25, 0.5)  # of the blurred stencil: low is a thick stroke
    images = []
    for part in torch.arange(count).split(512):
        fine = _FINER * side
        grid = F.affine_grid(affine[part], [len(part), 1, fine, fine], align_corners=False)
        found = F.grid_sample(stencils[face[part], kind[part]][:, None], grid, align_corners=False)
        at = edge[part, None, None, None]
        ink, none = torch.sigmoid(12 * (found - at)), torch.sigmoid(-12 * at)
        images.append((F.avg_pool2d((ink - none) / (1 - none), _FINER) * 255).clamp(0, 255).round().to(torch.uint8))
    return torch.cat(images)


def _stencils(characters: str) -> Tensor:
    """Every character in every face, blurred, in the middle of its square: ``(faces, characters, side, side)``."""
    import matplotlib

    folder = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
    stencils = np.zeros((len(_FACES), len(characters), _STENCIL, _STENCIL), np.float32)
    for i, face in enumerate(_FACES):
        font = ImageFont.truetype(os.path.join(folder, f"{face}.ttf"), 62)
        for j, character in enumerate(characters):
            left, top, right, bottom = font.getbbox(character)
            image = Image.new("L", (_STENCIL, _STENCIL))
            at = ((_STENCIL - left - right) / 2, (_STENCIL - top - bottom) / 2)
            ImageDraw.Draw(image).text(at, character, fill=255, font=font)
            stencils[i, j] = np.asarray(image.filter(ImageFilter.GaussianBlur(2.0)), np.float32) / 255
    return torch.from_numpy(stencils)
