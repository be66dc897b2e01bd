"""Pictures are read as a viewer shows them, or refused by name."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, TiffImagePlugin

from rlgan.gan.data import Folder

SHAPE = (6, 4)
"""Width and height."""


def noise(channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (SHAPE[1], SHAPE[0], channels) if channels > 1 else (SHAPE[1], SHAPE[0])
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def read(folder: Path, image: Image.Image, name: str = "a.png", *, data: Any = None, **save: Any) -> np.ndarray:
    """What training sees of a picture, as levels (H, W, C); decoded as it is drawn, and in memory, alike."""
    folder.mkdir(exist_ok=True)
    for i in range(2):
        image.save(folder / f"{i}{name}", **save)
    return levels(folder, **(data or {}))


def levels(folder: Path, **options: Any) -> np.ndarray:
    both = [Folder(path=folder, held_out=0.0, memory_mb=mb, workers=0, **options) for mb in (0, 64)]
    first, second = (data.read(torch.arange(1))[0] for data in both)
    assert torch.equal(first, second) and both[0].inputs() == both[1].inputs()
    return np.rint((first.permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)


def notes(folder: Path, **options: Any) -> str:
    return "\n".join(Folder(path=folder, held_out=0.0, **options).notes()[1:])


# --- the way up ----------------------------------------------------------------------------------------------------

#: How a viewer turns what is stored, by EXIF's number.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
@pytest.mark.parametrize("number", TURNS)
def test_a_picture_stands_as_it_is_shown(tmp_path: Path, number: int, kind: str) -> None:
    image = Image.fromarray(noise())
    exif = image.getexif()
    exif[0x0112] = number
    more = {"lossless": True} if kind == "webp" else {}
    seen = read(tmp_path / "in", image, f"a.{kind}", exif=exif, **more)
    assert np.array_equal(seen, TURNS[number](noise()))
    assert ("2 of 2 images are turned as their EXIF" in notes(tmp_path / "in")) == (number > 1)


def test_a_jpeg_stands_as_it_is_shown_and_a_number_that_says_nothing_turns_nothing(tmp_path: Path) -> None:
    dark_above = np.zeros((16, 16, 3), np.uint8)
    dark_above[8:] = 255
    lying = Image.fromarray(dark_above).transpose(Image.Transpose.ROTATE_90)
    exif = lying.getexif()
    exif[0x0112] = 6
    seen = read(tmp_path / "in", lying, "a.jpg", exif=exif, quality=100)
    assert seen[:6].max() < 30 and seen[10:].min() > 225
    exif[0x0112] = 77
    assert np.array_equal(read(tmp_path / "odd", lying, "a.png", exif=exif), np.asarray(lying))
    assert np.array_equal(read(tmp_path / "bad", lying, "a.png", exif=b"Exif\x00\x00MM\x00nonsense"), np.asarray(lying))


# --- what is transparent -------------------------------------------------------------------------------------------


def sprite(mode: str) -> Image.Image:
    """Opaque (10, 10, 10) in the left half; in the right another colour, all of it transparent."""
    grey = np.full((4, 6), 10, np.uint8)
    grey[:, 3:] = 200
    alpha = np.where(grey == 10, 255, 0).astype(np.uint8)
    if mode in ("RGBA", "LA"):
        bands = [grey] * (3 if mode == "RGBA" else 1) + [alpha]
        return Image.merge(mode, [Image.fromarray(band) for band in bands])
    if mode == "P":
        image = Image.fromarray(np.where(grey == 10, 0, 1).astype(np.uint8), "L").convert("P")
        image.putpalette([10, 10, 10, 200, 0, 0] + [0] * 762)
        return image
    return Image.fromarray(grey if mode == "L" else np.stack([grey] * 3, -1))


KEYS: dict[str, tuple[str, dict[str, Any]]] = {
    "RGBA": ("RGBA", {}),
    "LA": ("LA", {}),
    "palette with one": ("P", {"transparency": 1}),
    "palette with bytes": ("P", {"transparency": b"\xff\x00"}),
    "grey with a key": ("L", {"transparency": 200}),
    "colour with a key": ("RGB", {"transparency": (200, 200, 200)}),
}


@pytest.mark.parametrize("kind", KEYS)
def test_what_is_transparent_is_seen_on_white_or_another_colour(tmp_path: Path, kind: str) -> None:
    mode, save = KEYS[kind]
    seen = read(tmp_path / "in", sprite(mode), **save)
    assert np.all(seen[:, :3] == 10) and np.all(seen[:, 3:] == 255)
    assert notes(tmp_path / "in") == "2 of 2 images have transparency, and are put on white (data.background)"
    assert np.all(levels(tmp_path / "in", background="black")[:, 3:] == 0)
    red = levels(tmp_path / "in", background="rgb(255,0,0)")
    assert np.all(red[:, :3] == 10) and np.all(red[:, 3:] == (255, 0, 0))


def test_half_transparent_is_half_seen_and_opaque_is_no_matter(tmp_path: Path) -> None:
    half = np.dstack([np.full((4, 6, 3), 100, np.uint8), np.full((4, 6), 51, np.uint8)])
    assert np.all(read(tmp_path / "half", Image.fromarray(half)) == 224)  # 100 / 5 + 255 * 4 / 5
    whole = np.dstack([noise(), np.full((4, 6), 255, np.uint8)])
    assert np.array_equal(read(tmp_path / "whole", Image.fromarray(whole)), noise())
    assert notes(tmp_path / "whole") == ""


def test_a_one_bit_and_a_two_bit_key(tmp_path: Path) -> None:
    def png(bits: int, key: int, row: bytes) -> bytes:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
        parts = ((b"IHDR", head), (b"tRNS", struct.pack(">H", key)), (b"IDAT", zlib.compress(b"\0" + row)))
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*parts, (b"IEND", b"")))

    for name, content, shown in (
        ("one", png(1, 0, b"\x50"), [255, 255, 255, 255]),  # 0 1 0 1, and 0 is transparent
        ("two", png(2, 1, b"\x1b"), [0, 255, 170, 255]),  # 0 1 2 3, and 1 is
    ):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f"{i}.png").write_bytes(content)
        assert levels(tmp_path / name)[0, :, 0].tolist() == shown


def test_a_background_that_is_no_colour(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^background = chequered: is no colour; for example white, black"):
        Folder(path=tmp_path, background="chequered")


# --- how deep ------------------------------------------------------------------------------------------------------


def deep_png(channels: int) -> bytes:
    """16 bits a channel, which Pillow does not write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 8, 8, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = (b"\0" + struct.pack(">H", 4000) * channels * 8) * 8
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(array: np.ndarray, mode: str | None = None) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array, mode).save(out, "TIFF")
    return out.getvalue()


def signed() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[339] = (2,)
    out = io.BytesIO()
    Image.fromarray(noise(1)).save(out, "TIFF", tiffinfo=tags)
    return out.getvalue()


def jpeg_2000(bits: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noise()).save(out, "JPEG2000", no_jp2=True)
    content = bytearray(out.getvalue())
    at = content.find(b"\xff\x4f\xff\x51") + 42
    content[at : at + 9 : 3] = bytes([bits - 1]) * 3
    return bytes(content)


DEEP: dict[str, tuple[str, Callable[[], bytes], str]] = {
    **{f"png of {c}": ("a.png", partial(deep_png, c), r"(I|RGB|LA|RGBA);16B?") for c in (1, 2, 3, 4)},
    "grey tiff": ("a.tif", lambda: tiff(np.full((8, 8), 4000, np.uint16)), r"I;16"),
    "big-endian tiff": ("a.tif", lambda: tiff(np.full((8, 8), 4000, ">u2")), r"I;16B?"),
    "floating tiff": ("a.tif", lambda: tiff(np.full((8, 8), 0.5, np.float32)), r"F"),
    "integer tiff": ("a.tif", lambda: tiff(np.full((8, 8), 70000, np.int32)), r"I"),
    "signed tiff": ("a.tif", signed, r"L with signs"),
    "ppm of 10 bits": ("a.ppm", lambda: b"P6 2 2 1023\n" + struct.pack(">12H", *[500] * 12), r"RGB up to 1023"),
    "pgm": ("a.pgm", lambda: b"P5 2 2 65535\n" + struct.pack(">4H", *[500] * 4), r"I"),
    "sgi": ("a.rgb", lambda: sgi(), r"RGB;16B"),
    "jpeg 2000": ("a.j2k", lambda: jpeg_2000(12), r"RGB of 12 bits"),
}


def sgi() -> bytes:
    head = struct.pack(">hBBHHHHll4x80sl404x", 474, 0, 2, 3, 4, 4, 3, 0, 65535, b"", 0)
    return head + struct.pack(">48H", *[500] * 48)


@pytest.mark.parametrize("kind", DEEP)
def test_more_than_8_bits_a_channel_are_refused_by_name_in_every_mode(tmp_path: Path, kind: str) -> None:
    name, make, mode = DEEP[kind]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ValueError, match=rf"^path = \S+{name}: pixels of mode {mode} are not 8 bits a .*; convert"):
        Folder(path=tmp_path, memory_mb=0)


def test_a_mode_that_is_no_colour_is_refused_and_no_other_program_is_started(tmp_path: Path) -> None:
    Image.new("LAB", (8, 8), (50, 10, 10)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"^path = \S+a.tif: pixels of mode LAB are neither grey nor RGB; convert"):
        Folder(path=tmp_path)
    (tmp_path / "a.tif").unlink()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"^path = \S+a.png: cannot be read \(no image that Pillow knows\)"):
        Folder(path=tmp_path)


def test_16_bits_a_pixel_are_not_deep_and_other_modes_of_8_bits_are_read(tmp_path: Path) -> None:
    assert levels_of(tmp_path / "j2k", "a.j2k", jpeg_2000(8)).shape == (4, 6, 3)
    header = struct.pack("<2sIHHI", b"BM", 62, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 2, 2, 1, 16, 0, 8, 0, 0, 0, 0
    )
    bmp = header + struct.pack("<4H", 0x7C00, 0x03E0, 0x001F, 0x7FFF)  # 5 bits a channel, from below
    seen = levels_of(tmp_path / "bmp", "a.bmp", bmp)
    assert seen[1].tolist() == [[255, 0, 0], [0, 255, 0]] and seen[0].tolist() == [[0, 0, 255], [255, 255, 255]]


def levels_of(folder: Path, name: str, content: bytes) -> np.ndarray:
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}{name}").write_bytes(content)
    return levels(folder)


# --- colours -------------------------------------------------------------------------------------------------------


def wide() -> bytes:
    """An RGB profile whose red, green and blue are those of sRGB in another order."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert b"rXYZ" in profile and b"gXYZ" in profile
    content = bytes(profile).replace(b"rXYZ", b"tXYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tXYZ", b"gXYZ", 1)
    return content.replace("sRGB".encode("utf-16-be"), "ours".encode("utf-16-be")).replace(b"sRGB", b"ours")


def test_a_profile_of_another_space_is_turned_to_srgb_and_srgb_is_left(tmp_path: Path) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    seen = read(tmp_path / "wide", Image.fromarray(red), icc_profile=wide())
    assert np.abs(seen.astype(int) - (0, 255, 0)).max() <= 3  # its red is our green
    assert notes(tmp_path / "wide") == "2 of 2 images have a colour profile of their own, and are turned to sRGB"
    clear = np.dstack([red, np.where(np.arange(6) < 3, 255, 0) * np.ones((4, 1))]).astype(np.uint8)
    seen = read(tmp_path / "clear", Image.fromarray(clear), icc_profile=wide())
    assert np.abs(seen[:, :3].astype(int) - (0, 255, 0)).max() <= 3 and np.all(seen[:, 3:] == 255)
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in (("srgb", plain), ("damaged", b"no profile"), ("cut", wide()[:200])):
        assert np.array_equal(read(tmp_path / name, Image.fromarray(noise()), icc_profile=profile), noise())
        assert notes(tmp_path / name) == ""
    # A profile of another kind of picture means nothing.
    grey = read(tmp_path / "grey", Image.fromarray(noise(1)), icc_profile=wide())
    assert np.array_equal(grey[..., 0], noise(1))


def linear_grey() -> bytes:
    """A grey profile whose levels are light itself."""
    light = struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 7) + b"linear" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + light,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH2x", 1, 256),
        b"cprt": b"text" + bytes(4) + b"no\0\0",
    }
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">2I", at + len(body), len(content))
        body += content
    kinds = (b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"", b"acsp")
    return struct.pack(">I4sI4s4s4s12s4s28x12s48x", at + len(body), *kinds, light) + table + body


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_of_another_curve_is_turned_too(tmp_path: Path, mode: str) -> None:
    half = Image.new(mode, SHAPE, 128 if mode == "L" else (128, 255))
    seen = read(tmp_path / "in", half, icc_profile=linear_grey())
    assert np.all(seen == 188)  # 1.055 (128 / 255)^(1 / 2.4) - 0.055, in levels


def test_cmyk_is_read_as_the_colours_it_was_made_of(tmp_path: Path) -> None:
    seen = read(tmp_path / "in", Image.new("RGB", (16, 16), (250, 120, 10)).convert("CMYK"), "a.jpg", quality=100)
    assert np.abs(seen.astype(int) - (250, 120, 10)).max() <= 4


@pytest.mark.parametrize("kind", ["png", "gif", "webp", "tif"])
def test_of_several_frames_the_first_is_taken_and_a_note_says_so(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", SHAPE, (c, c, c)) for c in (10, 200)]
    more = {"lossless": True} if kind == "webp" else {}
    seen = read(tmp_path / "in", frames[0], f"a.{kind}", save_all=True, append_images=frames[1:], **more)
    assert np.all(seen == 10)
    assert notes(tmp_path / "in") == "2 of 2 images have several frames, of which the first is taken"
