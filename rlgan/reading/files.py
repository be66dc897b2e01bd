"""Which files of a folder are pictures, and the pictures in them."""

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, final

from PIL import Image

from rlgan.reading.shown import Header, Levels, colour, formats, header, levels, opened, said, times
from rlgan.reading.sources import Source
from rlgan.task.errors import InputError

USUAL = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm"}
"""Suffixes of which a file that is no picture is an error; others may mean something else."""
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}
"""Names of folders that are parts of a data set, and no classes."""
_HIDDEN = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
_VERSIONS = {".git", ".hg", ".svn"}
_WHOLE = 2**30
"""Bytes of a folder up to which its fingerprint is of all of them."""
_ENDS = 4096


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """The suffixes of the formats that Pillow reads, in small letters."""
    return frozenset(s for s, kind in Image.registered_extensions().items() if kind in formats())


class Found(NamedTuple):
    """A file below a folder: its name from there, with slashes, and what changes when it does."""

    name: str
    size: int
    modified: int


def _order(name: str) -> list[bytes]:
    return [os.fsencode(part) for part in name.split("/")]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


class Listing:
    """The pictures below a folder by their suffixes, in the order of their names, and what was passed over.

    Hidden names are passed over. Links are followed, after all that needs none: so a file that is reached twice has the
    name without a link. A link to a folder that was listed, or that holds this one, ends there.

    Attributes:
        files: the pictures.
        passed: how many others, by reason and suffix.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self.files: list[Found] = []
        self.passed: Counter[tuple[str, str]] = Counter()
        top = os.stat(root)
        above = [os.stat(folder) for folder in Path(os.path.realpath(root)).parents]
        self._folders = {(s.st_dev, s.st_ino) for s in (top, *above)}
        self._known: set[tuple[int, int]] = set()
        links: list[str] = []
        self._walk("", links)
        while links:
            now, links = sorted(links, key=_order), []
            for name in now:
                self._follow(name, links)
        self.files.sort(key=lambda file: _order(file.name))

    def _walk(self, start: str, links: list[str]) -> None:
        folders = [start]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(os.path.join(self._root, folder)) as found:
                    entries = list(found)
            except OSError:
                self.passed["folders that cannot be listed", ""] += 1
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(".") or entry.name in _HIDDEN:
                    self._hide(entry)
                elif entry.is_symlink():
                    links.append(name)
                else:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        self.passed["that may not be looked at", _suffix(name)] += 1
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        self._folders.add((status.st_dev, status.st_ino))
                        folders.append(name)
                    else:
                        self._take(name, status)

    def _follow(self, name: str, links: list[str]) -> None:
        try:
            status = os.stat(os.path.join(self._root, name))
        except OSError:
            self.passed["broken links", _suffix(name)] += 1
            return
        if not stat.S_ISDIR(status.st_mode):
            self._take(name, status, linked=True)
        elif (identity := (status.st_dev, status.st_ino)) not in self._folders:
            self._folders.add(identity)
            self._walk(name, links)

    def _take(self, name: str, status: os.stat_result, linked: bool = False) -> None:
        if not stat.S_ISREG(status.st_mode) or _suffix(name) not in suffixes():
            self.passed["of another kind", _suffix(name)] += 1
            return
        identity = (status.st_dev, status.st_ino)
        if linked and identity in self._known:
            self.passed["links to others of them", _suffix(name)] += 1
            return
        self._known.add(identity)
        self.files.append(Found(name, status.st_size, status.st_mtime_ns))

    def _hide(self, entry: os.DirEntry[str]) -> None:
        """Count the pictures that are hidden, but for what a version control keeps."""
        names: Iterable[str] = (entry.name,)
        if entry.is_dir(follow_symlinks=False) and entry.name not in _VERSIONS:
            names = (file for _, _, files in os.walk(entry.path) for file in files)
        for name in names:
            if _suffix(name) in suffixes():
                self.passed["hidden", _suffix(name)] += 1

    def others(self) -> str:
        """What was passed over, in words; empty where nothing was."""
        reasons = sorted({reason for reason, _ in self.passed})
        words = []
        for reason in reasons:
            own = Counter({suffix: n for (r, suffix), n in self.passed.items() if r == reason})
            kinds = [said(suffix) or "without a suffix" for suffix, _ in own.most_common(4)]
            kinds += ["..."] if len(own) > 4 else []
            what = "" if reason.startswith("folders") else f" ({', '.join(kinds)})"
            words.append(f"{own.total():,} {reason}{what}")
        return "; ".join(words)


@final
class FolderSource(Source):
    """The pictures below a folder, in the order of their names; arguments as `rlgan.gan.Folder` has them.

    Args:
        group: of the configuration that the arguments stand in, for notes.
        channels: 1 or 3; None: 1 where all files are grey.

    Raises:
        ValueError: no such folder, no images in it, files of several sizes, a file that is no image.
        InputError: a file that could be read at the start can no more, or is another.
    """

    def __init__(
        self, path: Path, side: int | None, background: str, group: str = "data", channels: int | None = None
    ) -> None:
        if not os.path.isdir(path):  # a pathlib.Path's own raises where it may not look
            what = "is no folder" if os.path.lexists(path) else "there is no such folder"
            raise ValueError(f"path = {said(path)}: {what}; give one of pictures")
        self._path, self.side, self.background, self.group = path, side, background, group
        self._background = colour(background)
        listing = Listing(path)
        whole = sum(file.size for file in listing.files) <= _WHOLE
        self.traits = Counter()
        found: list[tuple[Found, bytes]] = []
        first: tuple[str, Header] | None = None
        most = 1
        for file in listing.files:
            content = self._content(file, whole)
            try:
                with opened(content if whole else self._at(file), self._called(file)) as image:
                    head = header(image, self._called(file), self._background)
            except ValueError as error:
                if _suffix(file.name) in USUAL or "no image that Pillow knows" not in str(error):
                    raise
                listing.passed["of another kind", _suffix(file.name)] += 1
                continue
            first = first or (file.name, head)
            if side is None and head.size != first[1].size:
                raise ValueError(
                    f"{self._called(file)}: is {times(head.size)} pixels and {said(first[0])} is "
                    f"{times(first[1].size)}; make them one size, or set side, for example side=32"
                )
            most = max(most, head.channels)
            self.traits.update(head.traits)
            found.append((file, hashlib.blake2b(content, digest_size=16).digest()))
        self.others = listing.others()
        if first is None:
            what = f" ({self.others})" if self.others else ""
            raise ValueError(f"path = {said(path)}: holds no pictures that Pillow reads{what}; give a folder of images")
        self._found, self._whole = found, whole
        width, height = (side, side) if side is not None else first[1].size
        self.shape = (channels or most, height, width)

    @property
    def names(self) -> list[str]:
        """The files' names from the folder on, with slashes."""
        return [file.name for file, _ in self._found]

    def classes(self) -> list[str] | None:
        """The folder below `path` that each picture lies in, where each lies in one and they are no parts of a set."""
        found = [name.partition("/")[0] for name in self.names if "/" in name]
        return found if len(found) == len(self) and not {name.lower() for name in found} <= PARTS else None

    def _at(self, file: Found) -> Path:
        return self._path / file.name

    def _called(self, file: Found) -> str:
        return f"path = {said(self._at(file))}"

    def _content(self, file: Found, whole: bool) -> bytes:
        """The bytes of a file, or those of its two ends."""
        try:
            with open(self._at(file), "rb") as content:
                if whole or file.size <= 2 * _ENDS:
                    return content.read()
                start = content.read(_ENDS)
                content.seek(-_ENDS, os.SEEK_END)
                return start + content.read()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ValueError(f"{self._called(file)}: cannot be read ({reason}); replace or remove the file") from error

    def __len__(self) -> int:
        return len(self._found)

    def read(self, i: int) -> tuple[Levels, tuple[str, ...]]:
        file, known = self._found[i]
        name = self._called(file)
        try:
            status = os.stat(self._at(file))
            if (status.st_size, status.st_mtime_ns) != file[1:]:
                content = self._content(file, self._whole)
                if status.st_size != file.size or hashlib.blake2b(content, digest_size=16).digest() != known:
                    raise ValueError(f"{name}: has changed since the start of the run; put it back, or start anew")
            with opened(self._at(file), name) as image:
                pixels, traits = levels(image, self.shape[0], self.side, self._background, name)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(f"{name}: cannot be read any more ({reason}); put it back", intact=True) from error
        except ValueError as error:
            raise InputError(str(error), intact=True) from error
        if pixels.shape != self.shape:
            raise InputError(
                f"{name}: is {times(pixels.shape[:0:-1])} pixels and not {times(self.shape[:0:-1])}, as it said before "
                "it was decoded; save it again, or set side, for example side=32",
                intact=True,
            )
        return pixels, traits

    def keys(self) -> list[bytes]:
        """The files' names; one name is one key however a file system spells its accents."""
        return [os.fsencode(unicodedata.normalize("NFC", file.name)) for file, _ in self._found]

    def fingerprint(self) -> str:
        content = hashlib.sha256()
        for key, (file, own) in zip(self.keys(), self._found, strict=True):
            content.update(hashlib.sha256(key).digest() + file.size.to_bytes(8, "little") + own)
        total = sum(file.size for file, _ in self._found)
        of = "names and contents" if self._whole else "names, sizes and both ends of each"
        return f"{len(self):,} pictures, {total:,} bytes, sha256 of {of} {content.hexdigest()[:16]}"
