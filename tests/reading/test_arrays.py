"""Arrays of images: which axis is which, which numbers are black and white, and that an array is known again."""

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlgan.gan.data import ArrayFile
from rlgan.task.errors import InputError


def stored(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "a.npy", array, allow_pickle=True)
    return folder / "a.npy"


def opened(folder: Path, array: np.ndarray, **options: Any) -> ArrayFile:
    return ArrayFile(path=stored(folder, array), **options)


def levels(data: ArrayFile) -> np.ndarray:
    return np.rint((data.read(torch.arange(data.total)).numpy() + 1) * 127.5).astype(np.uint8)


def noise(*shape: int) -> np.ndarray:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    array.flat[0], array.flat[1] = 0, 255
    return array


# --- which axis is which -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64, 48, 3), r"may be 64 grey images of 48x3 or one image in colour; .*layout=nhw; one image is too few"),
        ((3, 48, 64), r"may be 3 grey images of 48x64 or one image in colour; .*layout=nhw"),
        ((64, 48, 4), r"may be 64 grey images of 48x4 or one"),
        ((4, 28, 28), r"may be 4 grey images of 28x28 or one"),
        ((64, 48, 1), r"may be 64 grey images of 48x1 or one"),
        ((9, 3, 5, 3), r"may be 9 images of 3x5x3 \(layout=nhwc\) or 9 images of 5x3x3 \(layout=nchw\)"),
        ((9, 3, 3, 3), r"may be 9 images of 3x3x3 \(layout=nhwc\) or 9 images of 3x3x3 \(layout=nchw\)"),
        ((9, 1, 28, 1), r"may be .* \(layout=nhwc\) or .*\(layout=nchw\) or something else; say which"),
        ((9, 1, 28, 3), r"may be .* \(layout=nhwc\) or .*\(layout=nchw\) or something else; say which"),
        ((9, 3, 28, 3), r"may be .* \(layout=nhwc\) or .*\(layout=nchw\) or something else; say which"),
        ((28, 28, 3, 1), r"may be 28 images of 28x3x1 \(layout=nhwc\) or something else"),
        ((9, 8, 8, 4), r"is no batch of images; .*a channel of transparency has to be laid on a colour first"),
        ((9, 2, 8, 8), r"is no batch of images; .*a channel of transparency"),
        ((32, 32, 3, 90), r"is no batch of images"),
        ((9, 3072), r"is no batch of images"),
        ((2, 9, 8, 8, 3), r"is no batch of images"),
        ((0, 8, 8), r"holds no images"),
        ((9, 0, 8), r"holds no images"),
    ],
)
def test_an_array_that_could_be_several_things_is_asked_about(
    tmp_path: Path, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"^path = \S+a.npy: an array of shape {re.escape(str(shape))} {message}"):
        opened(tmp_path, np.full(shape, 9, np.uint8))


@pytest.mark.parametrize(
    ("shape", "layout", "seen"),
    [
        ((64, 48, 3), "nhw", (64, 1, 48, 3)),
        ((3, 28, 28), "nhw", (3, 1, 28, 28)),
        ((9, 3, 5, 3), "nhwc", (9, 3, 3, 5)),
        ((9, 3, 5, 3), "nchw", (9, 3, 5, 3)),
        ((9, 3, 3, 3), "nchw", (9, 3, 3, 3)),
        ((9, 28, 28), None, (9, 1, 28, 28)),
        ((9, 28, 28, 1), None, (9, 1, 28, 28)),
        ((9, 1, 28, 28), None, (9, 1, 28, 28)),
        ((9, 2, 2), None, (9, 1, 2, 2)),
        ((9, 1, 1, 1), None, (9, 1, 1, 1)),
        ((9, 48, 64, 3), None, (9, 3, 48, 64)),
        ((9, 3, 48, 64), None, (9, 3, 48, 64)),
    ],
)
def test_an_array_that_is_clear_or_that_is_said_is_read(tmp_path: Path, shape: Any, layout: Any, seen: Any) -> None:
    array = noise(*shape)
    data = opened(tmp_path, array, layout=layout)
    assert (data.total, *data.shape) == seen
    plain = array[:, None] if array.ndim == 3 else array if data.shape == shape[1:] else array.transpose(0, 3, 1, 2)
    assert np.array_equal(levels(data), plain if layout != "nhwc" else array.transpose(0, 3, 1, 2))


def test_a_layout_that_does_not_fit_or_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^layout = nhwc: an array of shape \(9, 28, 28\) is not that; use layout=nhw"
    ):
        opened(tmp_path, noise(9, 28, 28), layout="nhwc")
    with pytest.raises(ValueError, match=r"^layout = hwc: must be nhw, nhwc or nchw"):
        opened(tmp_path, noise(9, 28, 28), layout="hwc")


def test_one_image_is_too_little(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^path = \S+a.npy: holds one image, .* give at least two"):
        opened(tmp_path, noise(1, 28, 28, 3))


# --- which numbers are black and white -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "g"])
@pytest.mark.parametrize("excess", [0.0, -1e-7, 1.0000001, -1e-4, 1.0009765625, -0.0019, 1.0019])
def test_rounding_beyond_an_end_is_clipped(tmp_path: Path, dtype: str, excess: float) -> None:
    u = noise(9, 8, 8, 3)
    array = (u / 255).astype(dtype)
    array[0, 0, 0, 0 if excess <= 0.5 else 1] = excess  # it was 0, or 1
    data = opened(tmp_path, array)
    name = array.dtype.name if array.dtype.isnative else array.dtype.str
    assert np.abs(levels(data).astype(int) - u.transpose(0, 3, 1, 2)).max() <= 0
    assert "0..1 read as [-1, 1]" in data.notes()[0] and name[-2:] in data.notes()[0]
    beyond = float(array.min()) < 0 or float(array.max()) > 1
    assert ("are clipped, less than half a grey level" in data.notes()[-1]) == beyond


@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_of_a_range_about_0_too(tmp_path: Path, end: float) -> None:
    array = (noise(9, 8, 8) / 127.5 - 1).astype(np.float32)
    array.flat[0 if end < 0 else 1] = end * 1.0000001
    data = opened(tmp_path, array)
    assert "-1..1 read as [-1, 1]" in data.notes()[0]
    assert np.array_equal(levels(data)[:, 0], noise(9, 8, 8))


@pytest.mark.parametrize(
    ("low", "high", "dtype", "message"),
    [
        (-0.01, 1.0, "f4", r"values from -0.00999999978 to 1 may be of \[0, 1\] or of \[-1, 1\]; .*value_range="),
        (-0.5, 0.5, "f8", r"values from -0.5 to 0.5 may be of \[0, 1\] or of \[-1, 1\]"),
        (0.0, 1.003, "f8", r"values from 0 to 1.003 are neither .* \(0.003 above 1\); say what black and white"),
        (-1.01, 1.0, "f8", r"values from -1.01 to 1 are neither .*\(0.01 below -1\)"),
        (-2.1, 2.6, "f8", r"values from -2.1 to 2.6 are neither"),
        (0.0, 255.0, "f4", r"values from 0 to 255 are neither uint8 nor in \[-1, 1\]"),
        (0.0, 1 / 255, "f8", r"values from 0 to 0.00392156863 would all be black"),
        (0, 255, "i8", r"int64 values from 0 to 255 are neither"),
        (0, 65535, "u2", r"uint16 values from 0 to 65535 are neither"),
        (0, 1, "i8", r"int64 values from 0 to 1 are neither"),
        (-128, 127, "i1", r"int8 values from -128 to 127 are neither"),
        (0, 1, "u1", r"uint8 values from 0 to 1 would all be black"),
    ],
)
def test_numbers_that_leave_doubt_are_asked_about(
    tmp_path: Path, low: float, high: float, dtype: str, message: str
) -> None:
    array = np.full((9, 8, 8), high, dtype)
    array[0] = low
    with pytest.raises(ValueError, match=rf"^path = \S+a.npy: .*{message}"):
        opened(tmp_path, array)
    said = opened(tmp_path, array, value_range=(low, high))
    assert levels(said)[0].max() == 0 and levels(said)[1].min() == 255


def test_beyond_a_range_that_was_said_by_more_than_rounding(tmp_path: Path) -> None:
    array = np.linspace(-0.25, 1.5, 9 * 64).reshape(9, 8, 8)
    message = r"outside of value_range = \[0, 1\], by 0.25 below and by 0.5 above; widen it, or clip the array"
    with pytest.raises(ValueError, match=rf"values from -0.25 to 1.5 are {message}"):
        opened(tmp_path, array, value_range=(0.0, 1.0))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 8, 8), complex), r"dtype complex128 is no image's"),
        (np.zeros((9, 8, 8), [("r", "u1"), ("g", "u1")]), r"dtype \[\('r', 'u1'\), .* is no image's"),
        (np.zeros((9, 8, 8), "S3"), r"dtype \|S3 is no image's"),
        (np.zeros((9, 8, 8), "M8[s]"), r"dtype datetime64\[s\] is no image's"),
        (np.zeros((9, 8, 8), bool), r"dtype bool is no image's"),
        (np.full((9, 8, 8), None), r"cannot be read as .npy or .npz \(.*Python objects.*\)"),
        (np.where(np.arange(9 * 64).reshape(9, 8, 8) == 200, np.nan, 0.5), r"holds nan or inf, the first in image 3"),
        (np.where(np.arange(9 * 64).reshape(9, 8, 8) == 575, np.inf, 0.5), r"holds nan or inf, the first in image 8"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^path = \S+a.npy: {message}") as e:
        opened(tmp_path, array)
    assert "\n" not in str(e.value)


def test_fortran_order_big_endian_and_mapped_are_the_same_images(tmp_path: Path) -> None:
    u = noise(9, 8, 8, 3)
    first = opened(tmp_path, u)
    lines = set(first.inputs().values())
    for array in (np.asfortranarray(u), u.astype(">f4") / 255, u.astype(">i2")):
        for mb in (0, 64):
            value_range = (0.0, 255.0) if array.dtype.kind == "i" else None
            data = opened(tmp_path, array, memory_mb=mb, value_range=value_range)
            assert np.array_equal(levels(data), u.transpose(0, 3, 1, 2))
            assert data._split[1].tolist() == first._split[1].tolist()
            lines |= set(data.inputs().values())
    assert len(lines) == 3 and len({line.rpartition(" ")[2] for line in lines}) == 1


@pytest.mark.parametrize(
    ("scale", "dtype", "expected"), [(16, "u1", "[0,16]"), (2, "u1", "[0,2]"), (0.1, "f8", "[0,0.1]")]
)
def test_of_a_dark_array_a_note_names_the_range(tmp_path: Path, scale: float, dtype: str, expected: str) -> None:
    array = (noise(9, 8, 8) / 255 * scale).astype(dtype)
    assert opened(tmp_path, array).notes()[-1].endswith(f"if it is white, set data.value_range={expected}")
    said = opened(tmp_path, array, value_range=(0.0, scale))
    assert len(said.notes()) == 1 and levels(said).max() == 255


@pytest.mark.parametrize("wrong", [(0.0, math.inf), (0.0, math.nan), (1.0, 0.0)])
def test_a_range_that_is_none(tmp_path: Path, wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"^value_range = .*: must ascend and be finite"):
        opened(tmp_path, noise(9, 8, 8), value_range=wrong)


def test_of_a_constant_array_a_note_says_so(tmp_path: Path) -> None:
    assert opened(tmp_path, np.full((9, 8, 8), 0.5)).notes()[-1] == (
        "every value of the array is 0.5: there is nothing to learn"
    )


def test_a_mapped_array_that_changes_while_it_is_read_from(tmp_path: Path) -> None:
    data = opened(tmp_path, noise(9, 8, 8), memory_mb=0, workers=0)
    g = torch.Generator().manual_seed(0)
    data.sample(4, g)
    os.truncate(tmp_path / "a.npy", 200)
    with pytest.raises(InputError, match=r"^path = \S+a.npy: has changed since the start of the run") as e:
        data.sample(4, g)
    assert e.value.intact
    memory = opened(tmp_path, noise(9, 8, 8))
    os.truncate(tmp_path / "a.npy", 200)
    assert memory.sample(40, g).shape == (40, 1, 8, 8)


# --- known again ---------------------------------------------------------------------------------------------------


def test_rows_that_are_appended_or_moved_move_no_other_and_twins_stay_together(tmp_path: Path) -> None:
    def held(array: np.ndarray) -> set[bytes]:
        data = opened(tmp_path, array)
        return {array[i].tobytes() for i in data._split[1].tolist()}

    whole = noise(80, 8, 8)
    before = held(whole[:40])
    assert 2 <= len(before) <= 16
    old = {image.tobytes() for image in whole[:40]}
    assert held(whole) & old == before
    assert held(whole[np.random.default_rng(1).permutation(80)]) == held(whole)
    twice = np.concatenate((whole, whole))
    data = opened(tmp_path, twice)
    apart = set(data._split[1].tolist())
    assert apart and all((i in apart) == (i + 80 in apart) for i in range(80))
    assert held(whole[40:]) & before == set()
