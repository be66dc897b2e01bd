"""A picture as it is shown: upright, its colours turned to sRGB, what is transparent on a colour that is said."""

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

Levels = NDArray[np.uint8]
"""Grey levels, 0 ... 255."""
# Pillow's names for 8 bits per channel; 16-bit and floating modes would be cut to 8 bits in silence.
_MODES = {"1": 1, "L": 1} | dict.fromkeys(("LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr"), 3)
_STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_ORIENTATION = 0x0112
_SAMPLE_FORMAT = 339
_RAW = "rlgan raw mode"
#: What is done to pictures, as a note counts it.
TRAITS = {
    "transparent": "have transparency, and are put on {background} ({group}.background)",
    "profile": "have a colour profile of their own, and are turned to sRGB",
    "upright": "are turned as their EXIF orientation says",
    "animated": "have several frames, of which the first is taken",
}


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """The formats that Pillow reads itself. Some it only knows, and for EPS it starts another program."""
    Image.init()
    return tuple(kind for kind in Image.ID if kind not in _STUBS)


class Header(NamedTuple):
    """What is known of a picture before it is decoded: (width, height) as shown, channels, which `TRAITS` it has."""

    size: tuple[int, int]
    channels: int
    traits: tuple[str, ...]


def said(path: object) -> str:
    """A path in one line that can be printed anywhere."""
    text = str(path)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def times(size: tuple[int, ...]) -> str:
    """A size as `8x6`."""
    return "x".join(str(s) for s in size)


def colour(background: str) -> tuple[int, int, int]:
    """The colour of that name, as HTML has it.

    Raises:
        ValueError: it has none.
    """
    try:
        return ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"background = {background}: is no colour; for example white, black or rgb(128,128,128)"
        ) from error


@contextmanager
def opened(content: Path | bytes, name: str) -> Iterator[Image.Image]:
    """The picture in a file, or in the bytes of one, to be read inside the block.

    Args:
        content: where the picture is.
        name: for messages.

    Raises:
        ValueError: empty, truncated, too large or no picture; naming the file.
    """
    if content == b"" or (isinstance(content, Path) and content.is_file() and content.stat().st_size == 0):
        raise ValueError(f"{name}: the file is empty; remove it")
    try:
        with warnings.catch_warnings():  # of Pillow's, about what is dealt with here
            warnings.simplefilter("ignore")
            with Image.open(content if isinstance(content, Path) else io.BytesIO(content), formats=formats()) as image:
                yield image
    except _Said as error:
        raise ValueError(*error.args) from error.__cause__
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"{name}: has more than the {most:,} pixels that are read; make it smaller") from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        reason = "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else said(error)
        raise ValueError(
            f"{name}: cannot be read ({reason or type(error).__name__}); replace or remove the file"
        ) from error


class _Said(ValueError):
    """A message that is a user's already."""


def header(image: Image.Image, name: str, background: tuple[int, int, int]) -> Header:
    """Look at a picture that is open, not decoded.

    Raises:
        ValueError: more than 8 bits per channel, or a mode that is neither grey nor colour; naming the file.
    """
    if image.mode in ("LAB", "HSV"):
        raise _Said(f"{name}: pixels of mode {image.mode} are neither grey nor RGB; convert the file to RGB")
    if (deep := _deep(image)) is not None:
        raise _Said(
            f"{name}: pixels of mode {deep} are not 8 bits a channel and would lose their range; "
            "convert the file to 8-bit grey or RGB"
        )
    turn = _orientation(image, before=True)
    # Pillow gives the size of a TIFF as it is shown.
    size = image.size[::-1] if turn >= 5 and image.format != "TIFF" else image.size
    channels, transparent = _MODES[image.mode], image.has_transparency_data
    if transparent and len(set(background)) > 1:
        channels = 3
    found = {
        "transparent": transparent,
        "profile": _profile(image) is not None,
        "upright": turn > 1,
        # The second frame of a telephone's MPO is a depth or a brightness.
        "animated": image.format != "MPO" and bool(getattr(image, "is_animated", False)),
    }
    return Header(size, channels, tuple(trait for trait, has in found.items() if has))


def levels(
    image: Image.Image, channels: int, side: int | None, background: tuple[int, int, int], name: str
) -> tuple[Levels, tuple[str, ...]]:
    """A picture as ``(C, H, W)``, uint8, and its `TRAITS`; "transparent" only where some of it is.

    Args:
        image: open, not decoded.
        channels: 1 or 3.
        side: crop to the middle square, and resize that to side x side (Lanczos).
        background: what is seen through it.
        name: for messages.

    Raises:
        ValueError: as `header` does.
    """
    traits = header(image, name, background).traits
    # What follows is gone once it is decoded.
    tile = getattr(image, "tile", ())
    image.info[_RAW] = str(tile[0][3]) if image.format == "PNG" and tile else ""
    image.load()
    if _orientation(image) > 1:
        image = ImageOps.exif_transpose(image)
    transform, alpha = _profile(image), None
    if image.has_transparency_data:
        _rescale_key(image)
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    if transform is not None:
        image = transform.apply(image if image.mode in ("L", "CMYK") else image.convert(transform.input_mode))
    if (shows := alpha is not None and alpha.getextrema() != (255, 255)) and alpha is not None:
        front = image.convert("RGB")
        front.putalpha(alpha)
        image = Image.alpha_composite(Image.new("RGBA", front.size, (*background, 255)), front)
    converted = image.convert("L" if channels == 1 else "RGB")
    if side is not None and converted.size != (side, side):
        edge = min(converted.size)
        left, top = (converted.width - edge) // 2, (converted.height - edge) // 2
        square = converted.crop((left, top, left + edge, top + edge))
        converted = square.resize((side, side), Image.Resampling.LANCZOS)
    array = np.asarray(converted, dtype=np.uint8)
    traits = tuple(trait for trait in traits if shows or trait != "transparent")
    return (array[None] if channels == 1 else array.transpose(2, 0, 1)), traits


def _rescale_key(image: Image.Image) -> None:
    """Pillow spreads grey levels of 2 and 4 bits over 0 ... 255, but not the one that a PNG names as transparent."""
    key, raw = image.info.get("transparency"), image.info.get(_RAW, "")
    if image.mode == "L" and isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)
        image.info[_RAW] = "L"


def _orientation(image: Image.Image, before: bool = False) -> int:
    """EXIF's number, 1 (upright) to 8; `before` the picture is decoded, which a PNG is for its last chunks."""
    keys = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
    if before and image.format == "PNG" and not any(key in image.info for key in keys):
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF says nothing
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _deep(image: Image.Image) -> str | None:
    """The name of what is stored, where it is not 8 bits a channel."""
    if image.mode not in _MODES:
        return image.mode
    for tile in getattr(image, "tile", ()):
        # (raw mode, ...), or the raw mode alone; 16 bits a PIXEL are BGR;16 and less than 8 a channel.
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        raw = next((a for a in arguments if isinstance(a, str)), "")
        if re.search(r";16[A-Z]+$", raw) and not raw.startswith("BGR"):
            return raw
        if tile[0] in ("ppm", "ppm_plain") and isinstance(arguments[-1], int) and arguments[-1] > 255:
            return f"{image.mode} up to {arguments[-1]}"
        if tile[0] == "SGI16" or (tile[0] == "sgi_rle" and arguments[-1] == 2):
            return f"{image.mode};16B"
        if image.format == "DDS" and tile[0] == "bcn" and arguments[0] == 6:
            return "BC6H"
    if image.format == "TIFF" and set(getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (1,))) - {1, 4}:
        return f"{image.mode} with signs"
    if image.format == "JPEG2000" and (bits := _jpeg_2000_bits(image)) > 8:
        return f"{image.mode} of {bits} bits"
    return None


def _jpeg_2000_bits(image: Any) -> int:
    """Bits of the deepest component, by the marker SIZ of the code stream."""
    at = image.fp.tell()
    image.fp.seek(0)
    start = image.fp.read(2**16)
    image.fp.seek(at)
    found = start.find(b"\xff\x4f\xff\x51")
    if found < 0 or len(start) < found + 42:
        return 8
    components = struct.unpack(">H", start[found + 40 : found + 42])[0]
    return max((1 + (b & 0x7F) for b in start[found + 42 : found + 42 + 3 * components : 3]), default=8)


def _profile(image: Image.Image) -> Any:
    """The transform of a picture's own colours to sRGB; None where they are that, or nothing usable is said."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile:
        return None
    mode = "CMYK" if image.mode == "CMYK" else "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return _to_srgb(profile, mode)


@lru_cache(maxsize=64)
def _to_srgb(profile: bytes, mode: str) -> Any:
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = own.profile.xcolor_space.strip()
        if space != {"L": "GRAY"}.get(mode, mode) or "srgb" in ImageCms.getProfileDescription(own).lower():
            return None
        transform = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return transform
        # A profile that is sRGB under another name changes nothing worth a note.
        ramp = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3), -1).reshape(1, -1, 3).astype(np.uint8)
        trial = Image.fromarray(np.arange(256, dtype=np.uint8)[None] if mode == "L" else ramp)
        before, after = (np.asarray(i.convert("RGB"), dtype=int) for i in (trial, transform.apply(trial)))
        return transform if np.abs(before - after).max() > 3 else None
    except (ImportError, OSError, ImageCms.PyCMSError, TypeError, ValueError):
        return None
