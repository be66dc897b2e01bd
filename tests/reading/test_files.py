"""Which files of a folder count, what is said of the others, and that a folder is known again."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rlgan.gan.data import Folder
from rlgan.reading.files import Listing, suffixes
from rlgan.task.errors import InputError


def fill(folder: Path, n: int, start: int = 0, suffix: str = "png", side: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(start)
    for i in range(start, start + n):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{i:03d}.{suffix}")
    return folder


def names(folder: Path) -> list[str]:
    return [file.name for file in Listing(folder).files]


def others(folder: Path) -> str:
    return "\n".join(note for note in Folder(path=folder, held_out=0.0).notes() if "passed over" in note)


# --- which count ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".thumbnails", "__MACOSX", "cats/.cache", "@eaDir"])
def test_hidden_copies_do_not_count_and_are_counted(tmp_path: Path, hidden: str) -> None:
    fill(tmp_path / "cats", 3)
    fill(tmp_path / hidden, 2)
    shutil.copy(tmp_path / "cats" / "000.png", tmp_path / "._000.png")
    assert names(tmp_path) == ["cats/000.png", "cats/001.png", "cats/002.png"]
    assert others(tmp_path) == "passed over below data.path: 3 hidden (.png)"


def test_every_format_that_is_read_counts_whatever_its_letters_and_its_content(tmp_path: Path) -> None:
    for kind in ("png", "JPG", "Jpeg", "webp", "bmp", "gif", "TIF", "tiff", "ppm", "avif", "jp2", "tga", "ico"):
        Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / f"a.{kind}")
    shutil.copy(tmp_path / "a.JPG", tmp_path / "lies.png")
    for name in ("labels.csv", "readme", "b.svg", "b.eps", "b.mpg", "b.vst"):
        (tmp_path / name).write_text("no picture")
    data = Folder(path=tmp_path, held_out=0.0)
    assert data.total == 14
    assert data.notes()[-1].startswith("passed over below data.path: 6 of another kind (")
    assert {".png", ".jpg", ".webp", ".avif"} <= suffixes() and not {".eps", ".mpg", ".h5", ".pdf"} & suffixes()


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    os.mkfifo(tmp_path / "waits.png")
    assert others(tmp_path) == "passed over below data.path: 1 of another kind (.png)"


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    folder, store = tmp_path / "in", fill(tmp_path / "store" / "dogs", 3)
    fill(folder / "cats", 2)
    (folder / "dogs").symlink_to(store)
    (store / "home").symlink_to(folder)  # a loop through the link
    (folder / "again").symlink_to(folder / "cats")
    (folder / "up").symlink_to("..")
    (folder / "self.png").symlink_to("self.png")
    (folder / "000.png").symlink_to(folder / "cats" / "000.png")
    outside = fill(tmp_path / "outside", 1)
    (folder / "one.png").symlink_to(outside / "000.png")
    expected = ["cats/000.png", "cats/001.png", "dogs/000.png", "dogs/001.png", "dogs/002.png", "one.png"]
    assert names(folder) == expected
    said = others(folder)
    assert "1 broken links (.png)" in said and "1 links to others of them (.png)" in said
    (tmp_path / "link").symlink_to(folder)
    assert names(tmp_path / "link") == names(folder)


def test_broken_links_are_counted_and_refused_where_there_is_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path / "some", 3)
    (tmp_path / "none").mkdir()
    for folder in ("some", "none"):
        for i in range(9):
            (tmp_path / folder / f"x{i}.png").symlink_to(f"/nowhere/annex/{i}.png")
    assert others(tmp_path / "some") == "passed over below data.path: 9 broken links (.png)"
    for name in ("001.png", "002.png"):
        (tmp_path / "some" / name).unlink()
    with pytest.raises(
        ValueError, match=r"^path = \S+some: holds one image \(passed over: 9 broken links \(.png\)\), "
    ):
        Folder(path=tmp_path / "some")
    with pytest.raises(ValueError, match=r"^path = \S+none: holds no pictures .* \(9 broken links \(.png\)\); give"):
        Folder(path=tmp_path / "none")


def test_links_into_a_hidden_store_count_by_their_own_names(tmp_path: Path) -> None:
    """As git-annex has them."""
    store = fill(tmp_path / ".git" / "annex" / "objects", 3)
    for i in range(3):
        (tmp_path / f"{i}.png").symlink_to(store / f"{i:03d}.png")
    assert names(tmp_path) == ["0.png", "1.png", "2.png"] and others(tmp_path) == ""


ODD = ["with space", "größe_日本", "a=b", "a,b", "[set]", "100%", "null", " leading", "two\nlines", "\udcff\udcfe"]


@pytest.mark.parametrize("name", ODD)
def test_a_name_may_be_any_and_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    folder = fill(tmp_path / name, 3)
    data = Folder(path=folder)
    assert data.total == 3 and data.inputs()["data.path"].isprintable()
    (folder / f"{name}.png").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"^path = .*: cannot be read \(no image that Pillow knows\)") as e:
        Folder(path=folder)
    str(e.value).encode()
    assert "\n" not in str(e.value)


def test_the_order_is_that_of_the_bytes_of_names_part_by_part(tmp_path: Path) -> None:
    for name in ("b.png", "B.png", "a-b/x.png", "a/z.png", "ä.png", "\udcff.png", "10.png", "9.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    order = ["10.png", "9.png", "B.png", "a/z.png", "a-b/x.png", "b.png", "ä.png", "\udcff.png"]
    assert names(tmp_path) == order


# --- a file that is at fault ---------------------------------------------------------------------------------------


def test_a_picture_of_too_many_pixels_is_refused_at_the_start(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    Image.new("1", (14000, 14000)).save(tmp_path / "satellite.png")
    with pytest.raises(ValueError, match=r"^path = \S+satellite.png: has more than the 178,956,970 pixels"):
        Folder(path=tmp_path, side=4)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "tif", "bmp"])
def test_a_truncated_picture_is_refused_at_the_start_in_memory_and_said_by_name_later(
    tmp_path: Path, kind: str
) -> None:
    fill(tmp_path, 2, suffix=kind, side=64)
    file = tmp_path / "001.png".replace("png", kind)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(ValueError, match=rf"^path = \S+001.{kind}: cannot be read \(.+\); replace"):
        Folder(path=tmp_path)
    try:
        large = Folder(path=tmp_path, memory_mb=0, held_out=0.0, workers=0)
    except ValueError as error:
        assert f"001.{kind}: cannot be read" in str(error)  # its header says so already
        return
    with pytest.raises(InputError, match=rf"^path = \S+001.{kind}: cannot be read \(.+\); replace") as e:
        large.sample(20, torch.Generator().manual_seed(0))
    assert e.value.intact


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("fault", ["deleted", "other", "size", "folder", "touched"])
def test_a_file_that_changes_while_it_is_read_from(tmp_path: Path, fault: str, workers: int) -> None:
    fill(tmp_path, 2)
    data = Folder(path=tmp_path, memory_mb=0, held_out=0.0, workers=workers)
    g = torch.Generator().manual_seed(0)
    before = data.sample(4, g)
    file = tmp_path / "000.png"
    if fault == "touched":
        os.utime(file, (1, 1))
        assert data.sample(4, g).shape == before.shape
        data.close()
        return
    file.unlink()
    if fault == "folder":
        file.mkdir()
    elif fault != "deleted":
        fill(tmp_path, 1, side=4 if fault == "other" else 9)
        Image.new("RGB", (4, 4) if fault == "other" else (9, 9)).save(file)
    message = (
        r"000.png: (has changed since the start|cannot be read any more \(No such file|cannot be read \(Is a directory)"
    )
    with pytest.raises(InputError, match=rf"^path = \S+{message}") as e:
        for _ in range(9):
            data.sample(4, g)
    assert e.value.intact and "\n" not in str(e.value)
    data.close()


# --- known again ---------------------------------------------------------------------------------------------------


def held(folder: Path) -> set[str]:
    data = Folder(path=folder)
    return {list(data.keys())[i].decode() for i in data._split[1]}


def test_added_and_removed_pictures_move_none_of_the_others(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    before = held(tmp_path)
    assert 2 <= len(before) <= 16
    for i in range(40, 60, 4):
        fill(tmp_path, 4, i)
        now = held(tmp_path)
        assert {name for name in now if name < "040"} == before
    for name in ("003.png", "017.png"):
        (tmp_path / name).unlink()
    assert held(tmp_path) == now - {"003.png", "017.png"}


def test_the_fingerprint_is_of_names_sizes_and_contents_and_not_of_place_or_time(tmp_path: Path) -> None:
    def line(folder: Path) -> str:
        (found,) = Folder(path=folder).inputs().values()
        return found

    first = line(fill(tmp_path / "a", 4))
    assert first.startswith("4 pictures, ") and "sha256 of names and contents" in first
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(tmp_path / "b" / "000.png", (1, 1))
    assert line(tmp_path / "b") == first
    seen = {first}
    file = tmp_path / "b" / "000.png"
    for change in (
        lambda: Image.new("RGB", (4, 4)).save(file),
        lambda: file.rename(file.with_name("zzz.png")),
        lambda: fill(tmp_path / "b", 1, 7),
        lambda: (tmp_path / "b" / "001.png").unlink(),
    ):
        change()
        assert line(tmp_path / "b") not in seen
        seen.add(line(tmp_path / "b"))
